/*
 * Mounts below the container's root. A target is opened once and the mount is attached to that fd, so no swap of a
 * component between a check and the mount can move it (CVE-2021-30465, CVE-2019-19921, CVE-2025-52881).
 */
#include <linux/magic.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include "init.h"

#define PROC_ROOT_INO 1

/*
 * Nothing may be mounted inside a procfs, where writes of labels and sysctls would be led astray (CVE-2019-16884);
 * on its root only another procfs (`tree`, or -1 where that is not known yet).
 */
static int check_proc(struct init *init, int target, int tree, uint64_t flags)
{
	struct statx s;

	if (flags & MOUNT_PROC_OK || !is_filesystem(target, PROC_SUPER_MAGIC))
		return 0;
	if (file_status(target, &s) == 0 && s.stx_ino == PROC_ROOT_INO && (tree < 0 || is_filesystem(tree, PROC_SUPER_MAGIC)))
		return 0;
	return fail(init, -EACCES, DETAIL_IN_PROC);
}

/* The target of a mount, O_PATH. `type`: what it is made as where it is missing, and must be, S_IFDIR or S_IFREG. */
static int open_target(struct init *init, const char *path, unsigned int type, uint64_t flags, bool *ret_made)
{
	bool real = flags & MOUNT_NO_SYMLINKS;
	int target = open_or_make(init, path, type, RESOLVE_NO_SYMLINKS, ret_made);
	struct statx s;
	int r;

	if (target == -ELOOP && !real) {
		init->doubtful = true;
		target = open_or_make(init, path, type, 0, ret_made);
	}
	if (target < 0)
		return fail(init, target, real && (target == -ELOOP || target == -ENOTDIR) ? DETAIL_NOT_DIR : DETAIL_TARGET);
	r = check_proc(init, target, -1, flags);
	if (r == 0)
		r = fail(init, file_status(target, &s), DETAIL_TARGET);
	/* move_mount says EINVAL where mount(2) says ENOTDIR; the latter tells more. */
	if (r == 0 && S_ISDIR(s.stx_mode) != (type == S_IFDIR))
		r = fail(init, -ENOTDIR, real ? DETAIL_NOT_DIR : DETAIL_ATTACH);
	if (r == 0)
		return target;
	(void)sys(SYS_close, target);
	return r;
}

/* Where a mount goes: its path, the fd of what it covers, its propagation, MOUNT_… flags. */
struct place {
	const char *path;
	int target;
	uint64_t propagation;
	uint64_t flags;
};

/*
 * Attach, set the propagation (after, for a mount becomes shared when it is attached below a shared one), and let
 * SLOT_ROOT follow where the container's root itself was covered. Takes the tree's fd.
 */
static int attach_at(struct init *init, int tree, const struct place *place)
{
	_cleanup_close_ int owned = tree;
	struct statx root, covered;
	int r = attach(init, tree, place->target);

	if (r >= 0)
		r = set_propagation(init, tree, place->propagation);
	if (r < 0)
		return r;
	if (file_status(slot_fd(init, SLOT_ROOT), &root) == 0 && file_status(place->target, &covered) == 0 &&
	    root.stx_ino == covered.stx_ino && root.stx_mnt_id == covered.stx_mnt_id) {
		slot_set(init, SLOT_ROOT, take_fd(&owned));
		return keep_mount(init, "", -1, 0);
	}
	return keep_mount(init, place->path, take_fd(&owned), place->flags);
}

int op_open_tree(struct init *init, const uint64_t *args)
{
	int tree = clone_tree(AT_FDCWD, arg_string(args, 1), args[2] ? AT_RECURSIVE : 0);

	if (tree < 0)
		return fail(init, tree, DETAIL_SOURCE);
	slot_set(init, args[0], tree);
	return 0;
}

int op_tree_fs(struct init *init, const uint64_t *args)
{
	const char *fstype = arg_string(args, 1);
	int tree = make_filesystem(init, fstype, fstype, arg_vector(args, 2), args[3]);

	if (tree < 0)
		return tree;
	slot_set(init, args[0], tree);
	return 0;
}

/* "mode=" and the mode of a directory, octal, for tmpfs. */
static void mode_option(char ret_option[16], unsigned int mode)
{
	memcpy(ret_option, "mode=", 5);
	for (int i = 0; i < 4; i++)
		ret_option[5 + i] = (char)('0' + (mode >> (9 - 3 * i) & 7));
	ret_option[9] = 0;
}

/* The covered directory's mode stands in front, so that an explicit option would win. */
static int make_like(struct init *init, const uint64_t *args, int target, uint64_t attributes)
{
	char mode[16];
	char *options[66];
	char **given = arg_vector(args, 3);
	struct statx s;
	size_t n = 0;
	int r = file_status(target, &s);

	if (r < 0)
		return fail(init, r, DETAIL_TARGET);
	mode_option(mode, s.stx_mode);
	options[0] = mode;
	for (; given[n]; n++) {
		if (n == 64)
			return -E2BIG;
		options[n + 1] = given[n];
	}
	options[n + 1] = NULL;
	return make_filesystem(init, arg_string(args, 1), arg_string(args, 2), options, attributes);
}

/* Fill the new filesystem, which is read-only only afterwards. */
static int fill(struct init *init, int tree, int target, uint64_t attributes)
{
	int r = copy_up(init, target, tree);

	if (r < 0)
		return r;
	return set_attributes(init, tree, attributes & MOUNT_ATTR_RDONLY, 0, false);
}

/* target, fstype, source, options, attributes, propagation, flags */
int op_mount_fs(struct init *init, const uint64_t *args)
{
	uint64_t attributes = args[4], flags = args[6];
	uint64_t at_first = flags & MOUNT_COPY_UP ? attributes & ~(uint64_t)MOUNT_ATTR_RDONLY : attributes;
	_cleanup_close_ int target = -1;
	_cleanup_close_ int tree = -1;
	bool made;
	int r;

	target = open_target(init, arg_string(args, 0), S_IFDIR, flags, &made);
	if (target < 0)
		return target;
	if (flags & MOUNT_INHERIT_MODE && !made)
		tree = make_like(init, args, target, at_first);
	else
		tree = make_filesystem(init, arg_string(args, 1), arg_string(args, 2), arg_vector(args, 3), at_first);
	if (tree < 0)
		return tree;
	r = check_proc(init, target, tree, flags);
	if (r == 0 && flags & MOUNT_COPY_UP)
		r = fill(init, tree, target, attributes);
	if (r < 0)
		return r;
	return attach_at(init, take_fd(&tree), &(struct place){ arg_string(args, 0), target, args[5], flags });
}

/*
 * The root of what was mounted on the directory `below` just now. mount(2) gives no fd and a path is needed once
 * more, so the answer counts only if it is a mount's root in the same parent directory.
 */
static int open_mounted(struct init *init, const char *path, int below)
{
	_cleanup_close_ int root = open_path(init, path, O_PATH, 0);
	_cleanup_close_ int parent = -1;
	_cleanup_close_ int parent_below = -1;
	struct statx s, p, b;

	if (root < 0)
		return fail(init, root, DETAIL_TARGET);
	parent = sys(SYS_openat, root, "..", O_PATH | O_CLOEXEC, 0);
	parent_below = sys(SYS_openat, below, "..", O_PATH | O_CLOEXEC, 0);
	if (file_status(root, &s) < 0 || file_status(parent, &p) < 0 || file_status(parent_below, &b) < 0)
		return fail(init, -ESTALE, DETAIL_TARGET);
	if (!(s.stx_attributes & STATX_ATTR_MOUNT_ROOT) || p.stx_ino != b.stx_ino || p.stx_mnt_id != b.stx_mnt_id)
		return fail(init, -ESTALE, DETAIL_TARGET);
	return take_fd(&root);
}

/* target, fstype, source, data, MS_… flags, propagation, flags */
int op_mount_legacy(struct init *init, const uint64_t *args)
{
	const char *path = arg_string(args, 0);
	_cleanup_close_ int target = open_target(init, path, S_IFDIR, args[6], NULL);
	_cleanup_close_ int mounted = -1;
	int r;

	if (target < 0)
		return target;
	r = sys(SYS_fchdir, target);
	if (r < 0)
		return fail(init, r, DETAIL_TARGET);
	r = sys(SYS_mount, arg_string(args, 2), ".", arg_string(args, 1), args[4], arg_string(args, 3));
	(void)sys(SYS_chdir, "/");
	if (r >= 0)
		r = keep_mount(init, path, -1, 0);
	if (r < 0 || (!args[5] && !(args[6] & MOUNT_KEEP)))
		return r;
	mounted = open_mounted(init, path, target);
	r = mounted < 0 ? mounted : set_propagation(init, mounted, args[5]);
	return r < 0 ? r : keep_mount(init, path, take_fd(&mounted), args[6]);
}

/* MOUNT_COPY_SYMLINK: 1 when the source was a symlink and has been made again at the target. */
static int copy_symlink(struct init *init, const char *path, int source)
{
	char text[4096], name[256];
	_cleanup_close_ int parent = -1;
	int r = sys(SYS_readlinkat, source, "", text, sizeof(text) - 1);

	if (r < 0)
		return fail(init, r, DETAIL_SOURCE);
	text[r] = 0;
	parent = open_parent(init, path, name);
	r = parent < 0 ? parent : sys(SYS_symlinkat, text, parent, name);
	return r < 0 && r != -EEXIST ? fail(init, r, DETAIL_TARGET) : 1;
}

/* The tree to bind: the slot's, which is used up, or a clone of the host path. */
static int open_source(struct init *init, const uint64_t *args, uint64_t flags, struct statx *ret_status)
{
	uint64_t slot = args[2];
	unsigned int how = (flags & MOUNT_RECURSIVE ? AT_RECURSIVE : 0) | (flags & MOUNT_COPY_SYMLINK ? AT_SYMLINK_NOFOLLOW : 0);
	_cleanup_close_ int tree = slot == SLOT_NONE ? clone_tree(AT_FDCWD, arg_string(args, 1), how) : slot_fd(init, slot);
	int r;

	if (tree < 0)
		return fail(init, tree, DETAIL_SOURCE);
	if (slot != SLOT_NONE)
		init->slots[slot] = -1;
	r = file_status(tree, ret_status);
	if (r < 0)
		return fail(init, r, DETAIL_SOURCE);
	if (flags & MOUNT_DEVICE && !S_ISCHR(ret_status->stx_mode) && !S_ISBLK(ret_status->stx_mode))
		return fail(init, -ENODEV, DETAIL_WRONG_INODE);
	return take_fd(&tree);
}

/* target, host, slot, set, clear, recursive set, recursive clear, propagation, flags */
int op_mount_bind(struct init *init, const uint64_t *args)
{
	const char *path = arg_string(args, 0);
	uint64_t flags = args[8];
	_cleanup_close_ int target = -1;
	struct statx source = { 0 };
	_cleanup_close_ int tree = open_source(init, args, flags, &source);
	int r;

	if (tree < 0)
		return tree;
	if (S_ISLNK(source.stx_mode)) {
		r = copy_symlink(init, path, tree);
		return r < 0 ? r : 0;
	}
	/* Attributes go on while the tree is detached: there is no moment in which it can be written to. */
	r = set_attributes(init, tree, args[5], args[6], true);
	if (r >= 0)
		r = set_unlocked(init, tree, args[3], args[4]);
	if (r < 0)
		return r;
	target = open_target(init, path, S_ISDIR(source.stx_mode) ? S_IFDIR : S_IFREG, flags, NULL);
	if (target < 0)
		return target;
	r = check_proc(init, target, tree, flags);
	return r < 0 ? r : attach_at(init, take_fd(&tree), &(struct place){ path, target, args[7], flags });
}

/* target, set, clear, propagation, recursive */
int op_mount_attr(struct init *init, const uint64_t *args)
{
	_cleanup_close_ int target = open_path(init, arg_string(args, 0), O_PATH, 0);
	int r;

	if (target < 0)
		return fail(init, target, DETAIL_TARGET);
	r = set_attributes(init, target, args[1], args[2], args[4]);
	return r < 0 ? r : set_propagation(init, target, args[3]);
}
