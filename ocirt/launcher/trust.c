/* See trust.h. From a directory that nobody else can write, one step leads to what nobody else can exchange. */
#define _GNU_SOURCE
#include "trust.h"
#include "quick.h"
#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/vfs.h>

#define OTHERS_WRITE (S_IWGRP | S_IWOTH)
#define LINKS_MAX 40 /* as the kernel, path_resolution(7) */

struct walk {
	int fd;                  /* the directory reached so far, O_PATH */
	bool make;
	unsigned int links;
	char path[PATH_SIZE];    /* what has been reached, for words */
	char rest[PATH_SIZE];    /* what is still to go */
	char name[NAME_MAX + 1]; /* the step that is taken */
	char *text;              /* what to say of a refusal */
	size_t size;
};

/*
 * In a user namespace all that is not mapped there is shown as one id (user_namespaces(7)): also the host's root, to
 * whom the directories above a rootless engine's belong. Who it really is cannot be told from inside.
 */
static bool is_unmapped(uid_t uid)
{
	_cleanup_fd_ int fd = open("/proc/sys/kernel/overflowuid", O_RDONLY | O_CLOEXEC);
	char text[16] = "";

	return fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && strtoul(text, NULL, 10) == uid && in_user_namespace();
}

static bool is_believed(uid_t uid)
{
	return uid == 0 || uid == geteuid() || is_unmapped(uid);
}

static int refuse_owner(const struct stat *st, const char *name, char *ret_text, size_t size)
{
	(void)snprintf(ret_text, size, "\"%s\" belongs to user %u", name, st->st_uid);
	return -EKEYREJECTED;
}

static int refuse_mode(const struct stat *st, const char *name, char *ret_text, size_t size)
{
	(void)snprintf(ret_text, size, "\"%s\" can be written by others (mode %04o)", name, st->st_mode & 07777);
	return -EKEYREJECTED;
}

int trusted(const struct stat *st, const char *name, char *ret_text, size_t size)
{
	if (st->st_uid != geteuid())
		return refuse_owner(st, name, ret_text, size);
	return st->st_mode & OTHERS_WRITE ? refuse_mode(st, name, ret_text, size) : 0;
}

/* Past slashes and "." components. */
static const char *skip_idle(const char *at)
{
	at += strspn(at, "/");
	while (at[0] == '.' && (at[1] == '/' || at[1] == 0))
		at += 1 + strspn(at + 1, "/");
	return at;
}

/* The next component into `name`; false at the end. */
static bool take_step(struct walk *w)
{
	const char *at = skip_idle(w->rest);
	size_t length = strcspn(at, "/");

	if (length == 0 || length > NAME_MAX)
		return false;
	memcpy(w->name, at, length);
	w->name[length] = 0;
	memmove(w->rest, at + length, strlen(at + length) + 1);
	return true;
}

static bool is_last(const struct walk *w)
{
	return *skip_idle(w->rest) == 0;
}

/* What a directory on the way, or a symlink there, must be like. */
static int judge(const struct walk *w, const struct stat *st)
{
	if (!is_believed(st->st_uid))
		return refuse_owner(st, w->path, w->text, w->size);
	if (!S_ISLNK(st->st_mode) && (st->st_mode & OTHERS_WRITE) && !(st->st_mode & S_ISVTX))
		return refuse_mode(st, w->path, w->text, w->size);
	return 0;
}

static int begin(struct walk *w)
{
	struct stat st;

	close_fd(&w->fd);
	w->fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	strcpy(w->path, "/");
	if (w->fd < 0 || fstat(w->fd, &st) < 0)
		return -errno;
	return judge(w, &st);
}

/* Whether it may lead elsewhere than it says, as those of proc_pid_fd(5) and proc_pid_root(5). */
static bool is_magic(const struct walk *w, int link)
{
	struct statfs fs;

	return (fstatfs(link, &fs) < 0 || fs.f_type == PROC_SUPER_MAGIC) && strcmp(w->name, "self") != 0 &&
	       strcmp(w->name, "thread-self") != 0;
}

/* What the link says goes ahead of the rest; `parent` is the length of the path without it. */
static int follow(struct walk *w, int link, size_t parent)
{
	char target[PATH_SIZE], rest[PATH_SIZE];
	ssize_t n = readlinkat(link, "", target, sizeof(target) - 1);

	if (n < 0)
		return -errno;
	target[n] = 0;
	if (is_last(w) || is_magic(w, link)) {
		(void)snprintf(w->text, w->size, "\"%s\" is a symlink%s", w->path, is_last(w) ? "" : " of procfs");
		return -EKEYREJECTED;
	}
	strcpy(rest, w->rest);
	if (++w->links > LINKS_MAX)
		return -ELOOP;
	if (snprintf(w->rest, sizeof(w->rest), "%s/%s", target, rest) >= (int)sizeof(w->rest))
		return -ENAMETOOLONG;
	if (target[0] == '/')
		return begin(w);
	w->path[parent] = 0;
	return 0;
}

/* 0755 on the way, the root itself 0700, whatever the caller's umask is. Somebody else may be faster: it is looked at. */
static int make_directory(const struct walk *w)
{
	mode_t mode = is_last(w) ? 0700 : 0755;

	if (mkdirat(w->fd, w->name, mode) < 0)
		return errno == EEXIST ? 0 : -errno;
	return fchmodat(w->fd, w->name, mode, 0) < 0 ? -errno : 0;
}

static int open_step(const struct walk *w)
{
	int fd = openat(w->fd, w->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	int r;

	if (fd >= 0 || errno != ENOENT || !w->make)
		return fd < 0 ? -errno : fd;
	r = make_directory(w);
	if (r < 0)
		return r;
	fd = openat(w->fd, w->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int step(struct walk *w)
{
	size_t length = strlen(w->path);
	_cleanup_fd_ int fd = -1;
	struct stat st;
	int r;

	if (length + 1 + strlen(w->name) >= sizeof(w->path))
		return -ENAMETOOLONG;
	(void)sprintf(w->path + length, "%s%s", w->path[length - 1] == '/' ? "" : "/", w->name);
	fd = open_step(w);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	r = judge(w, &st);
	if (r < 0)
		return r;
	if (S_ISLNK(st.st_mode))
		return follow(w, fd, length);
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	close_fd(&w->fd);
	w->fd = take_fd(&fd);
	return 0;
}

/* A relative path starts at the current directory, and the way to that counts too. */
static int set_out(struct walk *w, const char *root)
{
	size_t length = 0;

	if (root[0] != '/') {
		if (!getcwd(w->rest, sizeof(w->rest)))
			return -errno;
		length = strlen(w->rest);
		w->rest[length++] = '/';
	}
	if (length + strlen(root) >= sizeof(w->rest))
		return -ENAMETOOLONG;
	strcpy(w->rest + length, root);
	return begin(w);
}

int state_root(const char *root, int make, char *ret_text, size_t size)
{
	struct walk w = { .fd = -1, .make = make, .text = ret_text, .size = size };
	int r = set_out(&w, root);

	while (r == 0 && take_step(&w))
		r = step(&w);
	if (r == 0 && !is_last(&w))
		r = -ENAMETOOLONG; /* a component, which was no step */
	if (r < 0)
		close_fd(&w.fd);
	return r < 0 ? r : w.fd;
}

/* What stands there is another runtime's, unless one of ours has written to it. */
static bool has_ours(int fd)
{
	return faccessat(fd, MARK_FILE, F_OK, AT_SYMLINK_NOFOLLOW) == 0 || faccessat(fd, STATE_FILE, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int container_id_is_valid(const char *id)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+.-";
	size_t length = strspn(id, allowed);

	return length > 0 && length <= NAME_MAX && id[length] == 0 && strcmp(id, ".") != 0 && strcmp(id, "..") != 0;
}

int state_directory(const char *root, const char *id, char *ret_text, size_t size)
{
	_cleanup_fd_ int root_fd = -1;
	_cleanup_fd_ int fd = -1;
	char name[2 * PATH_SIZE];
	struct stat st;
	int r;

	if (!container_id_is_valid(id))
		return -EINVAL;
	root_fd = state_root(root, 0, ret_text, size);
	if (root_fd < 0)
		return root_fd;
	fd = openat(root_fd, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) /* a file or a symlink: nothing that create makes */
		return errno == ENOTDIR || errno == ELOOP ? -ENOENT : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	(void)snprintf(name, sizeof(name), "%s/%s", root, id);
	r = trusted(&st, name, ret_text, size);
	if (r < 0 && (st.st_uid != geteuid() || !has_ours(fd)))
		return -ENOENT;
	return r < 0 ? r : take_fd(&fd);
}

int state_owned(int fd)
{
	char words[1];
	struct stat st;

	return fstat(fd, &st) < 0 ? -errno : trusted(&st, "", words, sizeof(words));
}

int state_file(int directory, const char *name, char *ret_text, size_t size)
{
	_cleanup_fd_ int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode)) /* as a symlink, which is not opened */
		return -ELOOP;
	r = trusted(&st, name, ret_text, size);
	return r < 0 ? r : take_fd(&fd);
}
