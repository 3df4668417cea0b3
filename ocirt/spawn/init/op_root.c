/* The container's root: how it is mounted, entered, and what of it is made read-only or hidden afterwards. */
#include <linux/magic.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include "init.h"

#define UMOUNT_DETACH 2 /* MNT_DETACH */
#define NULL_DEVICE (1 << 8 | 3)

int op_propagate(struct init *init, const uint64_t *args)
{
	(void)init;
	return sys(SYS_mount, NULL, "/", NULL, args[0], NULL);
}

/*
 * Make the mount that holds `directory` private, so that the root's mounts do not propagate to the host and
 * pivot_root(2) does not refuse. It is the nearest mount point upwards; at most 4096/2 steps, by PATH_MAX.
 */
static int make_private(struct init *init, int directory)
{
	_cleanup_close_ int fd = sys(SYS_openat, directory, ".", O_PATH | O_CLOEXEC, 0);

	for (int i = 0; fd >= 0 && i < 2048; i++) {
		struct statx s;
		int up, r = file_status(fd, &s);

		if (r < 0)
			return r;
		if (s.stx_attributes & STATX_ATTR_MOUNT_ROOT)
			return set_propagation(init, fd, MS_PRIVATE);
		up = sys(SYS_openat, fd, "..", O_PATH | O_CLOEXEC, 0);
		(void)sys(SYS_close, fd);
		fd = up;
	}
	return fail(init, fd < 0 ? fd : -EINVAL, DETAIL_ATTRIBUTE);
}

static int open_rootfs(struct init *init, const char *host)
{
	int fd = sys(SYS_openat, AT_FDCWD, host, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);

	init->rootfs = host;
	return fail(init, fd, DETAIL_SOURCE);
}

/* The tree of the slot, which is used up, or a clone of the directory. */
static int root_tree(struct init *init, int directory, uint64_t slot)
{
	int tree = slot == SLOT_NONE ? clone_tree(directory, "", AT_RECURSIVE) : slot_fd(init, slot);

	if (slot != SLOT_NONE && tree >= 0)
		init->slots[slot] = -1;
	return fail(init, tree, DETAIL_SOURCE);
}

/* host, slot of a detached tree, private */
int op_rootfs(struct init *init, const uint64_t *args)
{
	_cleanup_close_ int target = open_rootfs(init, arg_string(args, 0));
	_cleanup_close_ int tree = -1;
	int r = 0;

	/*
	 * A user namespace's root may be kept out of the directories that lead there. Any mount point serves for
	 * pivot_root(2): so the tree goes on top of "/", where look-ups of host paths, which start below it, go on.
	 */
	if (target == -EACCES && args[1] != SLOT_NONE)
		target = open_rootfs(init, "/");
	if (target < 0)
		return target;
	tree = root_tree(init, target, args[1]);
	if (tree < 0)
		return tree;
	if (args[2])
		r = make_private(init, target);
	/* A clone of a shared mount is shared; pivot_root(2) refuses such a new root. What comes from the host still does. */
	if (r >= 0)
		r = set_propagation(init, tree, MS_SLAVE);
	if (r >= 0)
		r = attach(init, tree, target);
	if (r < 0)
		return r;
	slot_set(init, SLOT_ROOT, take_fd(&tree));
	return 0;
}

int op_root_dir(struct init *init, const uint64_t *args)
{
	int root = open_rootfs(init, arg_string(args, 0));

	if (root < 0)
		return root;
	slot_set(init, SLOT_ROOT, root);
	return 0;
}

static int enter_root(const struct init *init)
{
	int root = slot_fd(init, SLOT_ROOT);

	return root < 0 ? root : sys(SYS_fchdir, root);
}

int op_pivot(struct init *init, const uint64_t *args)
{
	_cleanup_close_ int old = sys(SYS_openat, AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	int r = old < 0 ? old : enter_root(init);

	(void)args;
	/* With "." for both, the old root ends up on top of the new one and needs no directory of its own. */
	if (r >= 0)
		r = sys(SYS_pivot_root, ".", ".");
	if (r >= 0)
		r = sys(SYS_fchdir, old);
	/* Slave, not private: the host's unmounts must still reach the tree until it is gone. */
	if (r >= 0)
		r = sys(SYS_mount, NULL, ".", NULL, MS_SLAVE | MS_REC, NULL);
	if (r >= 0)
		r = sys(SYS_umount2, ".", UMOUNT_DETACH);
	return r < 0 ? r : sys(SYS_chdir, "/");
}

int op_chroot(struct init *init, const uint64_t *args)
{
	int r = enter_root(init);

	(void)args;
	if (r >= 0)
		r = sys(SYS_chroot, ".");
	return r < 0 ? r : sys(SYS_chdir, "/");
}

/* set, clear, propagation, recursive */
int op_root_attr(struct init *init, const uint64_t *args)
{
	int root = slot_fd(init, SLOT_ROOT);
	int r;

	if (root < 0)
		return root;
	r = set_attributes(init, root, args[0], args[1], args[3]);
	return r < 0 ? r : set_propagation(init, root, args[2]);
}

/* What is there, to be protected: never what lies elsewhere than below the mount that the plan made above it. */
static int open_existing(struct init *init, const char *path)
{
	int fd = fail(init, open_path(init, path, O_PATH, 0), DETAIL_TARGET);
	int r = fd < 0 ? fd : check_seen(init, path);

	if (r < 0 && fd >= 0)
		(void)sys(SYS_close, fd);
	return r < 0 ? r : fd;
}

/* path, flags */
int op_readonly(struct init *init, const uint64_t *args)
{
	const char *path = arg_string(args, 0);
	_cleanup_close_ int target = open_existing(init, path);
	_cleanup_close_ int tree = -1;
	int r;

	if (target < 0)
		return target;
	tree = clone_tree(target, "", AT_RECURSIVE);
	if (tree < 0)
		return fail(init, tree, DETAIL_SOURCE);
	r = set_attributes(init, tree, MOUNT_ATTR_RDONLY, 0, true);
	if (r >= 0)
		r = attach(init, tree, target);
	return r < 0 ? r : keep_mount(init, path, take_fd(&tree), args[1]);
}

/* path, slot of a null device, slot of an empty directory */
int op_mask(struct init *init, const uint64_t *args)
{
	_cleanup_close_ int target = open_existing(init, arg_string(args, 0));
	_cleanup_close_ int tree = -1;
	struct statx s;
	bool directory;
	int cover, r;

	if (target < 0)
		return target;
	r = file_status(target, &s);
	if (r < 0)
		return fail(init, r, DETAIL_TARGET);
	directory = S_ISDIR(s.stx_mode);
	cover = slot_fd(init, args[directory ? 2 : 1]);
	if (cover < 0)
		return fail(init, cover, DETAIL_SOURCE);
	/* A null device that is something else would be readable and writable in the masked file's place (CVE-2025-31133). */
	r = directory ? same_inode_type(cover, S_IFDIR, 0) : same_inode_type(cover, S_IFCHR, NULL_DEVICE);
	if (r < 0)
		return fail(init, r, DETAIL_WRONG_INODE);
	tree = clone_tree(cover, "", 0);
	/* Before Linux 6.15 a detached tree cannot be cloned: the first mask moves it, and the later ones clone that. */
	if (tree == -EINVAL)
		return attach(init, cover, target);
	return tree < 0 ? fail(init, tree, DETAIL_SOURCE) : attach(init, tree, target);
}
