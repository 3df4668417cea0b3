/*
 * Paths below the container's root. The root filesystem is hostile: any component may be a symlink that points
 * outside, now or a moment later. So every look-up is an openat2(2) that the kernel keeps below SLOT_ROOT, every
 * creation is a *at(2) call with a single name on the parent's fd, and nothing is ever opened to be created.
 */
#include <linux/openat2.h>
#include <sys/vfs.h>
#include "init.h"

#define PATH_LIMIT 4096
#define SYMLINKS_MAX 40 /* the kernel's own limit (MAXSYMLINKS) */
#define AGAIN_MAX 1024

int open_below(int root, const char *path, uint64_t flags, uint64_t resolve)
{
	struct open_how how = { .flags = flags | O_CLOEXEC, .resolve = resolve | RESOLVE_NO_MAGICLINKS };
	int r = -EAGAIN;

	/* EAGAIN: a rename or mount somewhere made the kernel unsure whether ".." stayed below the root. */
	for (int i = 0; r == -EAGAIN && i < AGAIN_MAX; i++)
		r = sys(SYS_openat2, root, path, &how, sizeof(how));
	return r;
}

int file_status(int fd, struct statx *ret_status)
{
	return sys(SYS_statx, fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, STATX_BASIC_STATS | STATX_MNT_ID, ret_status);
}

/* Whether fd is of the type of `mode` and, for devices, has that number: 0, -EEXIST if not, or an error. */
int same_inode_type(int fd, unsigned int mode, uint32_t device)
{
	struct statx s;
	int r = file_status(fd, &s);

	if (r < 0)
		return r;
	if ((s.stx_mode & S_IFMT) != (mode & S_IFMT))
		return -EEXIST;
	if (!S_ISCHR(mode) && !S_ISBLK(mode))
		return 0;
	/* The kernel's encoding of mknod(2): 12 bits of major between the low 8 and the high 12 bits of minor. */
	if (s.stx_rdev_major != (device >> 8 & 0xfff) || s.stx_rdev_minor != ((device & 0xff) | (device >> 12 & ~0xffU)))
		return -EEXIST;
	return 0;
}

bool is_filesystem(int fd, long magic)
{
	struct statfs s;

	return sys(SYS_fstatfs, fd, &s) == 0 && s.f_type == magic;
}

/*
 * The state of a walk that makes what is missing. `done` is the path walked so far, clean and free of symlinks when
 * it was walked; `rest` is what remains, with the texts of symlinks put in front. `fd` is the inode at `done`.
 */
struct walk {
	const struct init *init;
	unsigned int type;
	uint64_t resolve;
	int fd;
	int links;
	bool made;
	char done[PATH_LIMIT];
	char rest[PATH_LIMIT];
};

static int put_in_front(char *rest, const char *text, size_t length)
{
	size_t rest_length = strlen(rest);

	if (length + 1 + rest_length + 1 > PATH_LIMIT)
		return -ENAMETOOLONG;
	memmove(rest + length + 1, rest, rest_length + 1);
	memcpy(rest, text, length);
	rest[length] = '/';
	return 0;
}

/* Take the first component out of `rest`: its length, 0 at the end. */
static int next_name(char *rest, char name[256])
{
	char *start = rest;
	size_t length = 0;

	while (*start == '/')
		start++;
	while (start[length] && start[length] != '/')
		length++;
	if (length > 255)
		return -ENAMETOOLONG;
	memcpy(name, start, length);
	name[length] = 0;
	memmove(rest, start + length, strlen(start + length) + 1);
	return (int)length;
}

static bool is_last(const char *rest)
{
	while (*rest == '/')
		rest++;
	return !*rest;
}

static void walk_to(struct walk *w, int fd)
{
	if (w->fd >= 0)
		(void)sys(SYS_close, w->fd);
	w->fd = fd;
}

/* Go on from `done`, looked up anew: after ".." and absolute symlinks, where a fd could be outside. */
static int walk_from_done(struct walk *w)
{
	int fd = open_path(w->init, w->done, O_PATH, w->resolve);

	if (fd < 0)
		return fd;
	walk_to(w, fd);
	return 0;
}

static int walk_up(struct walk *w)
{
	size_t length = strlen(w->done);

	while (length > 0 && w->done[length - 1] != '/')
		length--;
	w->done[length > 0 ? length - 1 : 0] = 0;
	return walk_from_done(w);
}

static int walk_symlink(struct walk *w, int link)
{
	char text[PATH_LIMIT];
	int length;

	if (w->resolve & RESOLVE_NO_SYMLINKS || ++w->links > SYMLINKS_MAX)
		return -ELOOP;
	length = sys(SYS_readlinkat, link, "", text, sizeof(text));
	if (length <= 0)
		return length < 0 ? length : -ENOENT;
	if (put_in_front(w->rest, text, (size_t)length) < 0)
		return -ENAMETOOLONG;
	if (text[0] != '/')
		return 0;
	w->done[0] = 0;
	return walk_from_done(w);
}

static int make_name(struct walk *w, const char *name)
{
	int r;

	if (w->type == S_IFREG && is_last(w->rest))
		r = sys(SYS_mknodat, w->fd, name, S_IFREG | 0644, 0);
	else
		r = sys(SYS_mkdirat, w->fd, name, 0755);
	if (r == 0)
		w->made = true;
	return r == -EEXIST ? 0 : r; /* somebody else made it: what it is will be seen when it is opened */
}

static int walk_into(struct walk *w, const char *name)
{
	_cleanup_close_ int fd = -1;
	struct statx s;
	size_t length = strlen(w->done);
	int r;

	fd = open_below(w->fd, name, O_PATH | O_NOFOLLOW, RESOLVE_BENEATH);
	if (fd == -ENOENT) {
		r = make_name(w, name);
		if (r < 0)
			return r;
		fd = open_below(w->fd, name, O_PATH | O_NOFOLLOW, RESOLVE_BENEATH);
	}
	if (fd < 0)
		return fd;
	r = file_status(fd, &s);
	if (r < 0)
		return r;
	if (S_ISLNK(s.stx_mode))
		return walk_symlink(w, fd);
	if (length + 1 + strlen(name) + 1 > PATH_LIMIT)
		return -ENAMETOOLONG;
	w->done[length] = '/';
	memcpy(w->done + length + 1, name, strlen(name) + 1);
	if (is_kept(w->init, w->done))
		return walk_from_done(w);
	walk_to(w, take_fd(&fd));
	return 0;
}

static int walk(struct walk *w)
{
	char name[256];
	int r = walk_from_done(w);

	while (r >= 0) {
		r = next_name(w->rest, name);
		if (r <= 0)
			break;
		if (strcmp(name, ".") == 0)
			continue;
		r = strcmp(name, "..") == 0 ? walk_up(w) : walk_into(w, name);
	}
	return r;
}

static int make_path(struct init *init, const char *path, unsigned int type, uint64_t resolve, bool *ret_made)
{
	size_t kept = kept_length(init, path);
	struct walk w;
	int r;

	if (strlen(path) >= PATH_LIMIT)
		return -ENAMETOOLONG;
	w.init = init;
	w.type = type;
	w.resolve = resolve;
	w.fd = -1;
	w.links = 0;
	w.made = false;
	memcpy(w.done, path, kept);
	w.done[kept] = 0;
	memcpy(w.rest, path + kept, strlen(path + kept) + 1);
	r = walk(&w);
	if (r == -ENOTDIR)
		say_string(init, w.done);
	if (r < 0) {
		walk_to(&w, -1);
		return r;
	}
	if (ret_made)
		*ret_made = w.made;
	return w.fd;
}

/* Go the way once more, for the words of an error: which part of the path is no directory. */
static int say_where(struct init *init, const char *path, uint64_t resolve)
{
	int fd = make_path(init, path, S_IFDIR, resolve, NULL);

	if (fd >= 0) {
		(void)sys(SYS_close, fd);
		say_string(init, path);
	}
	return -ENOTDIR;
}

int open_or_make(struct init *init, const char *path, unsigned int type, uint64_t resolve, bool *ret_made)
{
	int fd = open_path(init, path, O_PATH, resolve);

	if (ret_made)
		*ret_made = false;
	if (fd == -ENOTDIR)
		return say_where(init, path, resolve);
	/* EXDEV: a symlink leads out of a kept mount, and is followed like any other. */
	return fd == -ENOENT || fd == -EXDEV ? make_path(init, path, type, resolve, ret_made) : fd;
}

int open_parent(struct init *init, const char *path, char ret_name[256])
{
	char parent[PATH_LIMIT];
	size_t end = strlen(path), start;

	while (end > 0 && path[end - 1] == '/')
		end--;
	for (start = end; start > 0 && path[start - 1] != '/';)
		start--;
	if (end - start > 255 || start >= sizeof(parent))
		return -ENAMETOOLONG;
	memcpy(ret_name, path + start, end - start);
	ret_name[end - start] = 0;
	if (!ret_name[0] || strcmp(ret_name, ".") == 0 || strcmp(ret_name, "..") == 0)
		return -EINVAL;
	memcpy(parent, path, start);
	parent[start] = 0;
	return open_or_make(init, parent, S_IFDIR, 0, NULL);
}
