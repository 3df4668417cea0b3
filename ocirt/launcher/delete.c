/*
 * quick_delete: the container's process, its cgroups, its files, in this order, and state.json last of all, so that a
 * delete that is killed can be repeated.
 */
#define _GNU_SOURCE
#include "quick.h"
#include "record.h"
#include "trust.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#define KILL_DEADLINE_MS 2000
#define BUSY_DEADLINE_MS 2000

static bool wait_exit(int pidfd)
{
	struct pollfd exited = { .fd = pidfd, .events = POLLIN };
	int r;

	do
		r = poll(&exited, 1, KILL_DEADLINE_MS);
	while (r < 0 && errno == EINTR);
	return r > 0;
}

/* What a quick delete may touch: no hooks to run after it, and processes that end with the first one. */
static bool is_plain(const struct container *c)
{
	return (member_is(c, MEMBER_PYTHON, "\"\"") || member_is(c, MEMBER_PYTHON, "\"noprocess\"") ||
		member_is(c, MEMBER_PYTHON, "\"poststart\"")) &&
	       member_is(c, MEMBER_MANAGER, "\"cgroupfs\"") && member_is(c, MEMBER_PID_NAMESPACE, "true");
}

/*
 * Before the lock is taken: whoever holds it may be waiting for this very process (a start whose hook hangs), and lets
 * go when it dies. The members of its pid namespace are gone when its pidfd says that it is.
 */
static int kill_process(const char *root, const char *id)
{
	_cleanup_container_ struct container c = CONTAINER_NONE;
	_cleanup_fd_ int pidfd = -1;
	int r = container_open(root, id, false, &c);

	if (r < 0)
		return r;
	if (!is_plain(&c) || container_frozen(&c))
		return -EOPNOTSUPP;
	pidfd = container_process(&c);
	if (pidfd < 0)
		return pidfd == -ESRCH ? 0 : pidfd;
	if (syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
		return -errno;
	return wait_exit(pidfd) ? 0 : -ETIMEDOUT;
}

int remove_cgroup(const char *path)
{
	struct stat st;
	long waited = 0;

	for (long ms = 1; rmdir(path) < 0; ms *= 2) {
		struct timespec pause = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
		if (errno == ENOENT)
			return 0;
		if (errno != EBUSY || waited >= BUSY_DEADLINE_MS)
			return -errno;
		if (stat(path, &st) == 0 && st.st_nlink > 2)
			return -EBUSY;
		(void)nanosleep(&pause, NULL);
		waited += ms;
	}
	return 0;
}

static bool list_has(struct slice list, const char *wanted)
{
	char path[PATH_SIZE];

	while (slice_next(&list, path, sizeof(path)) >= 0)
		if (strcmp(path, wanted) == 0)
			return true;
	return false;
}

/* Parents that create made are removed where nobody else has moved in. */
static int remove_cgroups(const struct container *c)
{
	struct slice rest = c->members[MEMBER_MADE];
	char path[PATH_SIZE];
	int r;

	r = container_same_boot(c);
	if (r <= 0) /* somebody else's may have the name by now */
		return r;
	while ((r = slice_next(&rest, path, sizeof(path))) >= 0) {
		if (!list_has(c->members[MEMBER_CGROUPS], path)) {
			(void)rmdir(path);
			continue;
		}
		r = remove_cgroup(path);
		if (r < 0)
			return r;
	}
	return r == -ENODATA ? 0 : r;
}

/* What a writer that was stopped has left, and the plans that versions before this one have kept for exec. */
static bool is_leftover(const char *name)
{
	size_t size = strlen(name);

	return (name[0] == '.' && size > 4 && strcmp(name + size - 4, ".tmp") == 0) || strncmp(name, "exec-", 5) == 0;
}

/* Remove what is left over. Whether the directory then holds nothing but state.json. */
static bool only_state_left(int dir_fd)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	bool only = dir != NULL;

	if (!dir) {
		close_fd(&fd);
		return false;
	}
	while (only && (entry = readdir(dir)))
		only = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
		       strcmp(entry->d_name, "state.json") == 0 ||
		       (is_leftover(entry->d_name) && unlinkat(dir_fd, entry->d_name, 0) == 0);
	(void)closedir(dir);
	return only;
}

int remove_state(const char *root, const char *id, int directory)
{
	static const char *const files[] = {
		"config.json", "start.sock", "plan.bin", "seccomp.bpf", "start.failure", MARK_FILE,
	};
	char path[PATH_SIZE];

	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
		if (unlinkat(directory, files[i], 0) < 0 && errno != ENOENT)
			return -errno;
	if (snprintf(path, sizeof(path), "%s/%s", root, id) >= (int)sizeof(path) || !only_state_left(directory))
		return -EOPNOTSUPP;
	/* The mode of docs/plan.md: a directory without state.json that a crash leaves here is known as ours. */
	if (fchmod(directory, 01700) < 0 || (unlinkat(directory, STATE_FILE, 0) < 0 && errno != ENOENT) || rmdir(path) < 0)
		return -errno;
	return 0;
}

static int delete_stopped(const char *root, const char *id)
{
	_cleanup_container_ struct container c = CONTAINER_NONE;
	_cleanup_fd_ int pidfd = -1;
	int r = container_open(root, id, true, &c);

	if (r < 0)
		return r;
	if (!is_plain(&c))
		return -EOPNOTSUPP;
	pidfd = container_process(&c);
	r = container_status(&c, pidfd);
	if (r != STATUS_STOPPED)
		return r < 0 ? r : -EBUSY;
	r = remove_cgroups(&c);
	return r < 0 ? r : remove_state(root, id, c.fd);
}

/* Nothing by this name at all; an entry that is not ours is Python's to judge. */
static bool is_absent(const char *root, const char *id)
{
	char path[PATH_SIZE];
	struct stat st;

	return snprintf(path, sizeof(path), "%s/%s", root, id) < (int)sizeof(path) && lstat(path, &st) < 0 && errno == ENOENT;
}

int quick_delete(const char *root, const char *id, int force)
{
	int r = force ? kill_process(root, id) : 0;

	if (r == 0)
		r = delete_stopped(root, id);
	if (r == -ENOENT && force && is_absent(root, id))
		return QUICK_DONE;
	return r == 0 ? QUICK_DONE : QUICK_PYTHON;
}
