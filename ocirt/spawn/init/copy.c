/*
 * tmpcopyup: what a directory holds, copied into the filesystem that will cover it. By fds and without following a
 * symlink, with owner, mode and time of modification. Extended attributes, ACLs and hard links are not kept.
 */
#include "init.h"

#define DEPTH_MAX 64 /* each level holds two fds and a buffer on the stack */

struct directory_entry {
	uint64_t inode;
	int64_t offset;
	uint16_t length;
	uint8_t type;
	char name[];
};

static int copy_directory(struct init *init, int from, int to, int depth);

static int entry_status(int directory, const char *name, struct statx *ret_status)
{
	return sys(SYS_statx, directory, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, ret_status);
}

/* `fd` is writable, or a directory. chown clears the set-id bits: so it comes first. */
static int copy_attributes(int fd, const struct statx *s)
{
	const long times[4] = {
		s->stx_atime.tv_sec, s->stx_atime.tv_nsec, s->stx_mtime.tv_sec, s->stx_mtime.tv_nsec,
	};
	int r = sys(SYS_fchown, fd, s->stx_uid, s->stx_gid);

	if (r >= 0)
		r = sys(SYS_fchmod, fd, s->stx_mode & 07777);
	return r < 0 ? r : sys(SYS_utimensat, fd, NULL, times, 0);
}

static int copy_bytes(int in, int out)
{
	int r;

	do
		r = sys(SYS_sendfile, out, in, NULL, 1 << 20);
	while (r > 0);
	return r;
}

static int copy_regular(int from, int to, const char *name, const struct statx *s)
{
	_cleanup_close_ int in = -1;
	_cleanup_close_ int out = -1;
	int r;

	in = sys(SYS_openat, from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0);
	if (in < 0)
		return in;
	r = same_inode_type(in, S_IFREG, 0);
	if (r < 0)
		return r;
	out = sys(SYS_openat, to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (out < 0)
		return out;
	r = copy_bytes(in, out);
	return r < 0 ? r : copy_attributes(out, s);
}

static int copy_node(int from, int to, const char *name, const struct statx *s)
{
	uint32_t minor = s->stx_rdev_minor;
	uint32_t device = (minor & 0xff) | s->stx_rdev_major << 8 | (minor & ~0xffU) << 12;
	const long times[4] = {
		s->stx_atime.tv_sec, s->stx_atime.tv_nsec, s->stx_mtime.tv_sec, s->stx_mtime.tv_nsec,
	};
	char text[4096];
	int r;

	if (S_ISLNK(s->stx_mode)) {
		r = sys(SYS_readlinkat, from, name, text, sizeof(text) - 1);
		if (r < 0)
			return r;
		text[r] = 0;
		r = sys(SYS_symlinkat, text, to, name);
	} else {
		r = sys(SYS_mknodat, to, name, s->stx_mode, device);
	}
	if (r >= 0)
		r = sys(SYS_fchownat, to, name, s->stx_uid, s->stx_gid, AT_SYMLINK_NOFOLLOW);
	return r < 0 ? r : sys(SYS_utimensat, to, name, times, AT_SYMLINK_NOFOLLOW);
}

static int copy_subdirectory(struct init *init, int from, int to, const char *name, int depth)
{
	_cleanup_close_ int in = -1;
	_cleanup_close_ int out = -1;
	struct statx s;
	int r = sys(SYS_mkdirat, to, name, 0700);

	if (r < 0)
		return r;
	in = sys(SYS_openat, from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
	if (in < 0)
		return in;
	out = sys(SYS_openat, to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
	if (out < 0)
		return out;
	r = copy_directory(init, in, out, depth + 1);
	if (r >= 0)
		r = file_status(in, &s);
	return r < 0 ? r : copy_attributes(out, &s);
}

static int copy_entry(struct init *init, int from, int to, const char *name, int depth)
{
	struct statx s;
	int r;

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return 0;
	r = entry_status(from, name, &s);
	if (r < 0)
		return r;
	if (S_ISDIR(s.stx_mode))
		r = copy_subdirectory(init, from, to, name, depth);
	else if (S_ISREG(s.stx_mode))
		r = copy_regular(from, to, name, &s);
	else
		r = copy_node(from, to, name, &s);
	if (r < 0 && init->text_length == 0)
		say_string(init, name);
	return r;
}

static int copy_directory(struct init *init, int from, int to, int depth)
{
	_Alignas(struct directory_entry) char entries[2048];
	int length;

	if (depth > DEPTH_MAX)
		return -EOVERFLOW;
	while ((length = sys(SYS_getdents64, from, entries, sizeof(entries))) > 0)
		for (int at = 0; at < length;) {
			const struct directory_entry *entry = (const struct directory_entry *)(entries + at);
			int r = copy_entry(init, from, to, entry->name, depth);

			if (r < 0)
				return r;
			at += entry->length;
		}
	return length;
}

int copy_up(struct init *init, int from, int to)
{
	_cleanup_close_ int in = sys(SYS_openat, from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	_cleanup_close_ int out = sys(SYS_openat, to, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);

	if (in < 0 || out < 0)
		return fail(init, in < 0 ? in : out, DETAIL_SOURCE);
	return fail(init, copy_directory(init, in, out, 0), DETAIL_SOURCE);
}
