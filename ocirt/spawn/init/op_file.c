/* Directories, devices and symlinks in the container's root, each made by its name on the parent's fd. */
#include <linux/openat2.h>
#include "init.h"

/* path, mode (parents get 0755) */
int op_mkdir(struct init *init, const uint64_t *args)
{
	const char *path = arg_string(args, 0);
	_cleanup_close_ int parent = -1;
	_cleanup_close_ int fd = -1;
	char name[256];
	struct statx s;
	int r;

	fd = open_path(init, path, O_PATH, 0);
	if (fd == -ENOENT && args[1] != 0755) {
		parent = open_parent(init, path, name);
		r = parent < 0 ? parent : sys(SYS_mkdirat, parent, name, args[1]);
		if (r < 0 && r != -EEXIST)
			return fail(init, r, DETAIL_TARGET);
	}
	if (fd == -ENOENT || fd == -EXDEV || fd == -ENOTDIR)
		fd = open_or_make(init, path, S_IFDIR, 0, NULL);
	r = fd < 0 ? fd : file_status(fd, &s);
	if (r >= 0 && !S_ISDIR(s.stx_mode))
		r = -ENOTDIR;
	return fail(init, r < 0 ? r : 0, DETAIL_TARGET);
}

/* path of a directory, label: as libselinux writes it, with its NUL */
int op_label(struct init *init, const uint64_t *args)
{
	const char *label = arg_string(args, 1);
	_cleanup_close_ int fd = open_path(init, arg_string(args, 0), O_RDONLY | O_DIRECTORY, 0);
	size_t size = 1;

	if (fd < 0)
		return fail(init, fd, DETAIL_TARGET);
	while (label[size - 1])
		size++;
	return (int)sys(SYS_fsetxattr, fd, "security.selinux", label, size, 0);
}

/* path, mode with type, device, uid, gid */
int op_mknod(struct init *init, const uint64_t *args)
{
	char name[256];
	_cleanup_close_ int parent = open_parent(init, arg_string(args, 0), name);
	_cleanup_close_ int fd = -1;
	uint32_t mode = (uint32_t)args[1], device = (uint32_t)args[2];
	int made, r;

	if (parent < 0)
		return fail(init, parent, DETAIL_TARGET);
	if (args[2] > UINT32_MAX)
		return fail(init, -EINVAL, DETAIL_WRONG_INODE);
	made = sys(SYS_mknodat, parent, name, mode, device);
	if (made < 0 && made != -EEXIST)
		return made;
	fd = open_below(parent, name, O_PATH | O_NOFOLLOW, RESOLVE_BENEATH);
	if (fd < 0)
		return fail(init, fd, DETAIL_TARGET);
	r = same_inode_type(fd, mode, device);
	if (r < 0)
		return fail(init, r, DETAIL_WRONG_INODE);
	/* What the image had keeps its owner. A directory with the setgid bit would give its group: so always set. */
	return made < 0 ? 0 : sys(SYS_fchownat, fd, "", args[3], args[4], AT_EMPTY_PATH);
}

/* text, path */
int op_symlink(struct init *init, const uint64_t *args)
{
	char name[256];
	_cleanup_close_ int parent = open_parent(init, arg_string(args, 1), name);
	int r = parent < 0 ? parent : sys(SYS_symlinkat, arg_string(args, 0), parent, name);

	return r == -EEXIST ? 0 : fail(init, r, DETAIL_TARGET);
}
