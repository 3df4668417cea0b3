/* Detached mounts: made, changed and attached by their fds. The words of their errors come from the kernel. */
#include <linux/mount.h>
#include <sys/vfs.h>
#include "init.h"

#define LOCKABLE (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC) /* as ST_… of statfs(2) too */

_Static_assert(ATTACH_FROM_TO == (MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH), "ATTACH_FROM_TO");

int clone_tree(int fd, const char *path, unsigned int flags)
{
	if (!*path)
		flags |= AT_EMPTY_PATH;
	return sys(SYS_open_tree, fd, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | flags);
}

int attach(struct init *init, int tree, int target)
{
	return fail(init, sys(SYS_move_mount, tree, "", target, "", ATTACH_FROM_TO), DETAIL_ATTACH);
}

int set_attributes(struct init *init, int tree, uint64_t set, uint64_t clear, bool recursive)
{
	struct mount_attr attributes = { .attr_set = set, .attr_clr = clear };
	unsigned int flags = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0);

	if (!set && !clear)
		return 0;
	return fail(init, sys(SYS_mount_setattr, tree, "", flags, &attributes, sizeof(attributes)), DETAIL_ATTRIBUTE);
}

/* mount_namespaces(7): neither the four flags may be cleared nor the time of access be changed. */
int set_unlocked(struct init *init, int tree, uint64_t set, uint64_t clear)
{
	int r = set_attributes(init, tree, set, clear, false);
	uint64_t locked = 0;
	struct statfs s;

	if (r != -EPERM)
		return r;
	if (sys(SYS_fstatfs, tree, &s) == 0)
		locked = clear & LOCKABLE & (uint64_t)s.f_flags;
	for (int i = 0; r == -EPERM && i < 2; i++) {
		forget_failure(init);
		r = set_attributes(init, tree, set, clear & ~locked, false);
		set &= ~(uint64_t)MOUNT_ATTR__ATIME;
		clear &= ~(uint64_t)MOUNT_ATTR__ATIME;
	}
	return r < 0 || !locked ? r : send_locked(init, locked);
}

int set_propagation(struct init *init, int tree, uint64_t propagation)
{
	struct mount_attr attributes = { .propagation = propagation & ~(uint64_t)MS_REC };
	unsigned int flags = AT_EMPTY_PATH | ((propagation & MS_REC) ? AT_RECURSIVE : 0);

	if (!attributes.propagation)
		return 0;
	return fail(init, sys(SYS_mount_setattr, tree, "", flags, &attributes, sizeof(attributes)), DETAIL_ATTRIBUTE);
}

/* The messages of a filesystem context, one a read: "e tmpfs: Bad value for 'size'" (the letter is its level). */
static void say_log(struct init *init, int context)
{
	char line[512];
	int length;

	while ((length = sys(SYS_read, context, line, sizeof(line))) > 2) {
		while (line[length - 1] == '\n' && length > 2)
			length--;
		if (init->text_length > 0)
			say_string(init, ": ");
		say(init, line + 2, (size_t)length - 2);
	}
}

/* `key=value` is a string parameter, `key` alone a flag. The text is cut at the = for the call, then mended. */
static int configure(struct init *init, int context, char *option)
{
	char *equals = strchr(option, '=');
	int r;

	if (equals) {
		*equals = 0;
		r = sys(SYS_fsconfig, context, FSCONFIG_SET_STRING, option, equals + 1, 0);
		*equals = '=';
	} else {
		r = sys(SYS_fsconfig, context, FSCONFIG_SET_FLAG, option, NULL, 0);
	}
	if (r < 0) {
		say_string(init, option);
		say_log(init, context);
	}
	return fail(init, r, DETAIL_OPTION);
}

static int create(struct init *init, int context, uint64_t attributes)
{
	int r = sys(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0);

	if (r >= 0)
		r = sys(SYS_fsmount, context, FSMOUNT_CLOEXEC, attributes);
	if (r < 0)
		say_log(init, context);
	return fail(init, r, DETAIL_CREATE);
}

int make_filesystem(struct init *init, const char *fstype, const char *source, char *const *options, uint64_t attributes)
{
	_cleanup_close_ int context = sys(SYS_fsopen, fstype, FSOPEN_CLOEXEC);
	int r = 0;

	if (context < 0)
		return fail(init, context, DETAIL_CREATE);
	if (*source)
		r = sys(SYS_fsconfig, context, FSCONFIG_SET_STRING, "source", source, 0);
	if (r < 0) {
		say_log(init, context);
		return fail(init, r, DETAIL_SOURCE);
	}
	for (; *options; options++) {
		r = configure(init, context, *options);
		if (r < 0)
			return r;
	}
	return create(init, context, attributes);
}
