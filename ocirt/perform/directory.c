/* The state directory, and files of the host's: container/state.py tells why they are kept so. */
#define _GNU_SOURCE
#include "perform.h"
#include "launcher/quick.h"
#include "launcher/record.h"
#include "launcher/trust.h"
#include "linux/shim.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#define UNFINISHED 01700 /* no state.json yet */
#define PLAIN 0700

/* ---- files ---- */

static int write_all(int fd, const void *data, size_t size)
{
	const char *at = data;

	while (size > 0) {
		ssize_t n = write(fd, at, size);

		if (n < 0 && errno != EINTR)
			return -errno;
		at += n < 0 ? 0 : n;
		size -= n < 0 ? 0 : (size_t)n;
	}
	return 0;
}

/* Made or emptied, readable by its owner only. */
static int open_new(int directory, const char *name)
{
	int fd = openat(directory, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);

	return fd < 0 ? -errno : fd;
}

static int write_file(int directory, const char *name, const void *data, size_t size)
{
	_cleanup_fd_ int fd = open_new(directory, name);

	return fd < 0 ? fd : write_all(fd, data, size);
}

/* Whoever reads has the old file or the new one. No fsync: containers do not outlive a power cut. */
static int replace_file(int directory, const char *name, const struct text *text)
{
	char temporary[NAME_MAX + 1];
	int r;

	(void)snprintf(temporary, sizeof(temporary), ".%s.tmp", name);
	r = write_file(directory, temporary, text->bytes, text->size);
	if (r < 0)
		return r;
	return renameat(directory, temporary, directory, name) < 0 ? -errno : 0;
}

int perform_keep_file(struct performance *p, const struct operation *op)
{
	return write_file(p->directory, string_of(op, 0), plan_bytes(&p->plan, op->args[1]), plan_length(op->args[1]));
}

/* As wire.archive has it: the plan's own head tells where the tail begins. */
int perform_keep_plan(struct performance *p, const struct operation *op)
{
	_cleanup_fd_ int fd = -1;
	int r;

	if (!p->init_plan)
		return -EINVAL;
	fd = open_new(p->directory, "plan.bin");
	if (fd < 0)
		return fd;
	r = write_all(fd, p->init_plan, p->init_size);
	return r < 0 ? r : write_all(fd, string_of(op, 0), strlen(string_of(op, 0)));
}

int perform_listen(struct performance *p, const struct operation *op)
{
	return performance_lend(p, (int)op->args[0], shim_listen(p->directory, string_of(op, 1)));
}

static int write_pid(const char *path, pid_t pid)
{
	_cleanup_fd_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	char text[16];

	(void)snprintf(text, sizeof(text), "%d", pid);
	return fd < 0 ? -errno : write_all(fd, text, strlen(text));
}

/* Decimal and without newline; whoever finds the file finds it whole. */
int perform_write_pid_file(struct performance *p, const struct operation *op)
{
	const char *path = string_of(op, 0), *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	char temporary[PATH_MAX];
	int r;

	p->pid_file = 1;
	r = snprintf(temporary, sizeof(temporary), "%.*s.%s.tmp", (int)(name - path), path, name);
	if (r >= (int)sizeof(temporary))
		return -ENAMETOOLONG;
	(void)unlink(temporary); /* a killed create's; or somebody's symlink to a file that is to be overwritten */
	r = write_pid(temporary, p->pid);
	if (r == 0 && rename(temporary, path) < 0)
		r = -errno;
	if (r < 0)
		(void)unlink(temporary);
	return r;
}

/* ---- the id ---- */

static bool has(int directory, const char *name)
{
	return faccessat(directory, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int state_mark(int directory)
{
	return write_file(directory, MARK_FILE, FIRST_MARK, strlen(FIRST_MARK));
}

/* Lock and mark it. -EEXIST: somebody else has been here since it was made, and it is his, or a leftover of his. */
static int take(int fd)
{
	struct stat st;

	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EEXIST : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_nlink == 0 || (st.st_mode & 07777) != UNFINISHED || has(fd, STATE_FILE) || has(fd, MARK_FILE))
		return -EEXIST;
	return state_mark(fd);
}

/* -EEXIST where what has the name is no directory of ours any more. */
static int open_made(int root, const char *id)
{
	int fd = openat(root, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? -EEXIST : -errno;
	return fd;
}

/* Undone as far as that is possible, by name: there may be no descriptor left. `delete --force` knows the rest by its mode. */
static void give_up(int root, const char *id, int fd)
{
	if (fd >= 0)
		(void)unlinkat(fd, MARK_FILE, 0);
	(void)unlinkat(root, id, AT_REMOVEDIR);
}

static int make_directory(int root, const char *id)
{
	_cleanup_fd_ int fd = -1;
	int r;

	if (mkdirat(root, id, UNFINISHED) < 0)
		return -errno;
	r = fchmodat(root, id, UNFINISHED, 0) < 0 ? -errno : 0; /* whatever the caller's umask is */
	if (r == 0)
		r = fd = open_made(root, id);
	if (r >= 0)
		r = take(fd);
	if (r < 0 && r != -EEXIST)
		give_up(root, id, fd);
	return r < 0 ? r : take_fd(&fd);
}

/* -EEXIST: Python takes a leftover over, or says what is in the way. */
int perform_claim(struct performance *p, const struct operation *op)
{
	_cleanup_fd_ int root = -1;
	int fd;

	p->id = string_of(op, 1); /* whoever claims it in the end */
	if (!container_id_is_valid(p->id))
		return -EINVAL;
	root = state_root(string_of(op, 0), 1, NULL, 0);
	if (root < 0)
		return root;
	fd = make_directory(root, p->id);
	if (fd < 0)
		return fd;
	close_fd(&p->directory);
	p->directory = fd;
	return 0;
}

/* ---- what there is to be recorded ---- */


/* RFC 3339 in UTC, with nanoseconds. */
static int tell_time(char *ret_text, size_t size)
{
	struct timespec now;
	struct tm tm;
	size_t used;

	if (clock_gettime(CLOCK_REALTIME, &now) < 0 || !gmtime_r(&now.tv_sec, &tm))
		return -errno;
	used = strftime(ret_text, size, "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(ret_text + used, size - used, ".%09ldZ", now.tv_nsec);
	return 0;
}

int perform_record(struct performance *p, const struct operation *op)
{
	int r = boot_id(p->boot_id, sizeof(p->boot_id));

	if (r == 0)
		r = tell_time(p->created, sizeof(p->created));
	for (char *const *pair = vector_of(op, 3); r == 0 && *pair; pair += 2)
		r = pair[1] ? 0 : -EBADMSG;
	if (r < 0)
		return r;
	p->oci_version = string_of(op, 0);
	p->bundle = string_of(op, 1);
	p->rootfs = string_of(op, 2);
	p->annotations = vector_of(op, 3);
	p->owner = string_of(op, 4);
	p->manager = string_of(op, 5);
	p->words = string_of(op, 6);
	p->pid_namespace = op->args[7] != 0;
	p->unit = "";
	return 0;
}

int perform_note_freezer(struct performance *p, const struct operation *op)
{
	return access(string_of(op, 0), F_OK) == 0 ? strings_add(&p->freezers, string_of(op, 0)) : 0;
}

/* ---- state.json ---- */

/* The mark first: it has what `delete` needs. What is larger than STATE_MAX nobody would read. */
int perform_write_state(struct performance *p, const struct operation *op)
{
	_cleanup_strings_ struct strings made = { .items = NULL };
	_cleanup_text_ struct text state = { .bytes = NULL };
	_cleanup_text_ struct text mark = { .bytes = NULL };
	int r = performance_list_made(p, &made);

	p->recorded = 1;
	if (r == 0)
		r = state_text(p, string_of(op, 0), &made, &state);
	if (r == 0)
		r = mark_text(p, string_of(op, 0), &made, &mark);
	if (r == 0 && state.size > STATE_MAX)
		r = -EOVERFLOW;
	if (r == 0)
		r = replace_file(p->directory, MARK_FILE, &mark);
	if (r == 0)
		r = replace_file(p->directory, STATE_FILE, &state);
	if (r < 0)
		return r;
	return fchmod(p->directory, PLAIN) < 0 ? -errno : 0;
}
