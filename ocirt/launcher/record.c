/* See record.h. Everything is read through the id directory's fd: an id reused meanwhile is another directory. */
#define _GNU_SOURCE
#include "record.h"
#include "quick.h"
#include "trust.h"
#include "linux/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#define FORKED_NOT_EXECUTED 0x40 /* PF_FORKNOEXEC of the kernel, which execve(2) clears before it closes descriptors */

/* Up to size-1 bytes of a small file as a string; its length or a negative errno. */
static ssize_t read_text(int dirfd, const char *path, char *ret_text, size_t size)
{
	_cleanup_fd_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, ret_text, size - 1);
	if (n < 0)
		return -errno;
	ret_text[n] = 0;
	return n;
}

/* A directory that was copied or renamed is that of another container, whose process this one's delete would kill. */
static bool has_id(const struct container *c, const char *id)
{
	const struct slice *value = &c->members[MEMBER_ID];

	return value->size == strlen(id) + 2 && memcmp(value->start + 1, id, value->size - 2) == 0;
}

static int read_state(struct container *c, const char *id)
{
	_cleanup_fd_ int fd = state_file(c->fd, STATE_FILE, NULL, 0);
	struct stat st;
	ssize_t n;
	long pid;
	int r;

	if (fd < 0)
		return fd == -ENOENT || fd == -ELOOP ? -EBADMSG : fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size > STATE_MAX)
		return -EBADMSG;
	c->text = malloc((size_t)st.st_size + 1);
	if (!c->text)
		return -ENOMEM;
	n = read(fd, c->text, (size_t)st.st_size);
	if (n < 0)
		return -errno;
	c->text[n] = 0;
	r = split_lines(c->text, c->members);
	if (r < 0 || !has_id(c, id) || strlen(c->text) != (size_t)n)
		return -EBADMSG;
	pid = strtol(c->members[MEMBER_PID].start, NULL, 10);
	if (pid > INT_MAX)
		return -EBADMSG;
	c->pid = (pid_t)pid;
	c->start_time = strtoull(c->members[MEMBER_START_TIME].start, NULL, 10);
	return 0;
}

/* A directory that was deleted while we waited for its lock is no container any more. */
static int lock_directory(struct container *c)
{
	struct stat st;

	while (flock(c->fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return -errno;
	c->locked = true;
	if (fstat(c->fd, &st) < 0)
		return -errno;
	return st.st_nlink == 0 ? -ENOENT : 0;
}

int container_open(const char *root, const char *id, bool lock, struct container *c)
{
	int r = 0;

	c->fd = state_directory(root, id, NULL, 0);
	if (c->fd < 0)
		return c->fd;
	if (lock)
		r = lock_directory(c);
	return r < 0 ? r : read_state(c, id);
}

void container_close(struct container *c)
{
	free(c->text);
	c->text = NULL;
	close_fd(&c->fd);
	c->fd = -1;
}

bool member_is(const struct container *c, enum member member, const char *text)
{
	return slice_is(&c->members[member], text);
}

bool member_has_word(const struct container *c, enum member member, const char *word)
{
	struct slice rest = c->members[member];
	char text[64], *save = NULL;

	if (slice_next(&rest, text, sizeof(text)) < 0)
		return false;
	for (char *at = strtok_r(text, " ", &save); at; at = strtok_r(NULL, " ", &save))
		if (strcmp(at, word) == 0)
			return true;
	return false;
}

/* What stands after a backslash → its byte, and how far to go on; no path of ours has an escape beyond ASCII. */
static int unescape(const char *at, const char *end, char *ret)
{
	static const char names[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
	const char *name = at < end && *at ? strchr(names, *at) : NULL;
	char digits[5] = "";
	unsigned long code;

	if (name) {
		*ret = bytes[name - names];
		return 1;
	}
	if (end - at < 5 || *at != 'u')
		return -EILSEQ;
	memcpy(digits, at + 1, 4);
	code = strtoul(digits, NULL, 16);
	if (code == 0 || code > 0x7f)
		return -EILSEQ;
	*ret = (char)code;
	return 5;
}

int slice_next(struct slice *slice, char *ret_text, size_t size)
{
	const char *at = slice->start, *end = at + slice->size;
	size_t used = 0;

	at = memchr(at, '"', slice->size);
	if (!at)
		return -ENODATA;
	for (at++; at < end && *at != '"'; used++) {
		if (used + 1 >= size)
			return -ENAMETOOLONG;
		ret_text[used] = *at++;
		if (ret_text[used] == '\\') {
			int n = unescape(at, end, &ret_text[used]);
			if (n < 0)
				return n;
			at += n;
		}
	}
	if (at >= end)
		return -EILSEQ;
	ret_text[used] = 0;
	slice->start = at + 1;
	slice->size = (size_t)(end - slice->start);
	return (int)used;
}

int boot_id(void *ret_id, size_t size)
{
	char *id = ret_id;
	ssize_t n = read_text(AT_FDCWD, "/proc/sys/kernel/random/boot_id", id, size);

	if (n < 0) /* no /proc is not the absence of a container */
		return n == -ENOENT ? -EIO : (int)n;
	id[strcspn(id, "\n")] = 0;
	return 0;
}

/* Pids start anew with every boot: one of an earlier boot says nothing. */
int container_same_boot(const struct container *c)
{
	const struct slice *recorded = &c->members[MEMBER_BOOT_ID];
	char id[BOOT_ID_SIZE];
	int r = boot_id(id, sizeof(id));

	if (r < 0)
		return r;
	return *id && recorded->size == strlen(id) + 2 && memcmp(recorded->start + 1, id, strlen(id)) == 0;
}

/* A number of /proc/PID/stat, counted after the last ')': a process can name itself "a) b". */
static int stat_field(pid_t pid, int number, uint64_t *ret)
{
	char path[32], text[1024];
	const char *at;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	n = read_text(AT_FDCWD, path, text, sizeof(text));
	if (n < 0)
		return n == -ENOENT ? -ESRCH : (int)n;
	at = strrchr(text, ')');
	for (int field = 2; at && field < number; field++)
		at = strchr(at + 1, ' ');
	*ret = at ? strtoull(at, NULL, 10) : 0;
	return 0;
}

int process_start_time(int pid, void *ret_time)
{
	return stat_field(pid, 22, ret_time);
}

int process_never_executed(int pid)
{
	uint64_t flags;

	return stat_field(pid, 9, &flags) == 0 && (flags & FORKED_NOT_EXECUTED) != 0;
}

int process_is_child(unsigned int pid)
{
	siginfo_t status;

	if (pid == 0 || pid > INT_MAX)
		return 0;
	/* Any other error says nothing of it, and to refuse the pid would leave a process that nobody knows. */
	return waitid(P_PID, (id_t)pid, &status, WEXITED | WNOHANG | WNOWAIT) == 0 || errno != ECHILD;
}

int process_open(int pid, const void *start_time)
{
	_cleanup_fd_ int pidfd = -1;
	uint64_t recorded, found;
	int r;

	memcpy(&recorded, start_time, sizeof(recorded));
	if (pid <= 0 || recorded == 0)
		return -ESRCH;
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0) /* EINVAL, ENOENT (Linux 6.13): the id is a thread's now */
		return errno == EINVAL || errno == ENOENT ? -ESRCH : -errno;
	/* In this order: the pidfd pins whoever has the id now, and the start time tells whether that is our process. */
	r = process_start_time(pid, &found);
	if (r < 0 || found != recorded)
		return r < 0 ? r : -ESRCH;
	return take_fd(&pidfd);
}

int container_process(const struct container *c)
{
	_cleanup_fd_ int pidfd = -1;
	int r = c->pid > 0 ? container_same_boot(c) : 0;

	if (r <= 0)
		return r < 0 ? r : -ESRCH;
	pidfd = process_open(c->pid, &c->start_time);
	if (pidfd >= 0 && shim_poll(pidfd, 0) > 0)
		return -ESRCH;
	return take_fd(&pidfd);
}

int container_frozen(const struct container *c)
{
	struct slice rest = c->members[MEMBER_FREEZERS];
	char path[PATH_SIZE], text[256];

	while (slice_next(&rest, path, sizeof(path)) > 0) {
		ssize_t n = read_text(AT_FDCWD, path, text, sizeof(text));

		if (n == -ENOENT || n == -ENODEV)
			continue;
		if (n < 0)
			return (int)n;
		/* freezer.state of v1 is one word, cgroup.events of v2 has a line of its own */
		if (strcmp(text, "FROZEN\n") == 0 || strstr(text, "frozen 1") != NULL)
			return 1;
	}
	return 0;
}

int container_connect(const struct container *c)
{
	/* sun_path has 108 bytes, an id alone may have 255 */
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_fd_ int fd = -1;
	struct stat st;

	if (fstatat(c->fd, "start.sock", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (st.st_uid != geteuid() || !S_ISSOCK(st.st_mode)) /* connect would follow a symlink */
		return -EKEYREJECTED;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/start.sock", c->fd);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return take_fd(&fd);
}

/* Who creates holds the lock until the process exists; so without a process a free lock means that it died. */
static bool being_created(const struct container *c)
{
	if (c->locked || c->pid != 0 || !member_is(c, MEMBER_PHASE, "\"creating\""))
		return false;
	if (flock(c->fd, LOCK_SH | LOCK_NB) < 0)
		return errno == EWOULDBLOCK;
	(void)flock(c->fd, LOCK_UN);
	return false;
}

int container_status(const struct container *c, int pidfd)
{
	int fd;

	if (pidfd == -ESRCH)
		return being_created(c) ? STATUS_CREATING : STATUS_STOPPED;
	if (pidfd < 0)
		return pidfd;
	if (!member_is(c, MEMBER_PHASE, "\"created\""))
		return STATUS_CREATING;
	fd = container_frozen(c);
	if (fd != 0)
		return fd < 0 ? fd : STATUS_PAUSED;
	/* A connection that says nothing is a probe to the init, and a full queue (EAGAIN) is one that it has yet to see. */
	fd = container_connect(c);
	close_fd(&fd);
	if (fd >= 0 || fd == -EAGAIN)
		return STATUS_CREATED;
	return fd == -ECONNREFUSED || fd == -ENOENT ? STATUS_RUNNING : fd;
}

int quick_status(const char *root, const char *id, int *ret_pid)
{
	_cleanup_container_ struct container c = CONTAINER_NONE;
	_cleanup_fd_ int pidfd = -1;
	int r = container_open(root, id, false, &c);

	if (r < 0)
		return r;
	pidfd = container_process(&c);
	r = container_status(&c, pidfd);
	if (r >= 0)
		*ret_pid = r == STATUS_STOPPED ? 0 : c.pid;
	return r;
}
