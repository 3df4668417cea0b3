/* The process itself: limits, directory, program, the wait for `start`, its descriptors, and execve. */
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "init.h"

#define PATH_LIMIT 4096
#define CPUS_MAX 8192
#define FDS_OPENED_MAX 1024
#define BYTE_DEADLINE 5000 /* ms in which `start` must follow its connection with its byte */

int op_close(struct init *init, const uint64_t *args)
{
	slot_set(init, args[0], -1);
	return 0;
}

/* Pipes and sockets only: a terminal is the console's business, and a file or /dev/null is somebody else's. */
int op_stdio_owner(struct init *init, const uint64_t *args)
{
	(void)init;
	for (int fd = 0; fd <= 2; fd++) {
		struct statx s;

		if (file_status(fd, &s) < 0 || (!S_ISFIFO(s.stx_mode) && !S_ISSOCK(s.stx_mode)))
			continue;
		/* Without the right to, or where the uid is not mapped, stdio stays the caller's: it is open already. */
		(void)sys(SYS_fchown, fd, args[0], -1);
	}
	return 0;
}

/* RLIMIT_…, soft, hard */
int op_rlimit(struct init *init, const uint64_t *args)
{
	(void)init;
	return sys(SYS_prlimit64, 0, args[0], args + 1, NULL); /* struct rlimit64 is soft, hard */
}

/* MPOL_…, mask of nodes. The kernel wants the number of bits and one more. */
int op_memory_policy(struct init *init, const uint64_t *args)
{
	uint32_t length = plan_length(args[1]);

	if (length == 0)
		return sys(SYS_set_mempolicy, args[0], NULL, 0);
	return sys(SYS_set_mempolicy, args[0], plan_bytes(&init->plan, args[1]), (unsigned long)length * 8 + 1);
}

int op_personality(struct init *init, const uint64_t *args)
{
	int r = sys(SYS_personality, args[0]);

	(void)init;
	return r < 0 ? r : 0;
}

/* The kernel cuts the mask down to what the cgroup allows, and remembers the whole for a cgroup to come (Linux 6.2). */
int op_affinity(struct init *init, const uint64_t *args)
{
	char mask[CPUS_MAX / 8];

	(void)init, (void)args;
	memset(mask, 0xff, sizeof(mask));
	return sys(SYS_sched_setaffinity, 0, sizeof(mask), mask);
}

int op_umask(struct init *init, const uint64_t *args)
{
	init->umask = (unsigned int)args[0];
	(void)sys(SYS_umask, args[0]);
	return 0;
}

/* A filter that is in force already may be older than a system call (faccessat2: Linux 5.8, close_range: 5.9). */
static bool unknown_call(int r)
{
	return r == -EPERM || r == -ENOSYS;
}

/* The same directory, by a way on which nothing leads out of the root: for a filter that refuses getcwd. */
static int chdir_inside(const char *path)
{
	_cleanup_close_ int fd = open_below(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0);

	return fd < 0 ? fd : sys(SYS_fchdir, fd);
}

/* A directory that is not below the root is "(unreachable)/…" to the kernel (CVE-2024-21626). */
static int check_directory(struct init *init)
{
	char path[PATH_LIMIT];
	int r = sys(SYS_getcwd, path, sizeof(path));

	if (r >= 0 && path[0] != '/')
		return fail(init, -ENOENT, DETAIL_OUTSIDE);
	return r < 0 ? r : 0;
}

/* Once before the change of user and once after it: whoever of the two may not enter relies on the other. */
int op_chdir(struct init *init, const uint64_t *args)
{
	int r = init->entered ? 0 : sys(SYS_chdir, arg_string(args, 0));

	if (r >= 0)
		r = check_directory(init);
	if (unknown_call(r))
		r = init->entered ? 0 : chdir_inside(arg_string(args, 0));
	init->entered = r >= 0;
	return r;
}

static int can_execute(const char *path)
{
	struct stat s;
	int r = sys(SYS_faccessat2, AT_FDCWD, path, 1 /* X_OK */, AT_EACCESS);

	if (unknown_call(r))
		r = sys(SYS_faccessat, AT_FDCWD, path, 1); /* the real ids are the effective ones by now */
	if (r >= 0)
		r = sys(SYS_newfstatat, AT_FDCWD, path, &s, 0);
	if (r < 0)
		return r == -ENOTDIR ? -ENOENT : r;
	return S_ISREG(s.st_mode) ? 0 : -EACCES;
}

/* name as the user wrote it (for the runtime's words), candidates */
int op_find_exec(struct init *init, const uint64_t *args)
{
	int result = -ENOENT;

	for (char **candidate = arg_vector(args, 1); *candidate; candidate++) {
		int r = can_execute(*candidate);

		if (r == 0) {
			init->program = *candidate;
			return 0;
		}
		/* What was found and cannot run says more than what was not found. */
		if (result != -EACCES && r != -ENOENT)
			result = r;
	}
	return result;
}

static bool asks_for_start(int connection)
{
	struct pollfd poll = { .fd = connection, .events = POLLIN };
	const long deadline[2] = { BYTE_DEADLINE / 1000, 0 };
	char byte;

	if (sys(SYS_ppoll, &poll, 1, deadline, NULL, 8) <= 0)
		return false;
	return sys(SYS_read, connection, &byte, 1) == 1 && byte == 's';
}

/*
 * Wait for `start`. A connection that closes without the byte is a look whether we still wait. The connection with
 * the byte takes the runtime socket's place, and nobody can connect any more: the container is not `created` now.
 */
int op_wait_start(struct init *init, const uint64_t *args)
{
	int listening = slot_fd(init, args[0]);

	if (listening < 0)
		return listening;
	for (;;) {
		_cleanup_close_ int connection = sys(SYS_accept4, listening, NULL, NULL, SOCK_CLOEXEC);

		if (connection == -ECONNABORTED)
			continue;
		if (connection < 0)
			return connection;
		if (!asks_for_start(connection))
			continue;
		(void)sys(SYS_close, init->channel);
		init->channel = take_fd(&connection);
		slot_set(init, args[0], -1);
		return 0;
	}
}

int close_fds(unsigned int first, unsigned int last, unsigned int flags)
{
	int r = sys(SYS_close_range, first, last, flags);

	if (!unknown_call(r))
		return r;
	for (unsigned int fd = first; fd <= last && fd < first + FDS_OPENED_MAX; fd++) {
		if (flags)
			(void)sys(SYS_fcntl, fd, F_SETFD, FD_CLOEXEC);
		else
			(void)sys(SYS_close, fd);
	}
	return 0;
}

/* Number of fds to keep, from 3 on. The report channel stays open until execve closes it. */
int op_close_fds(struct init *init, const uint64_t *args)
{
	unsigned int first = 3 + (unsigned int)args[0], channel = (unsigned int)init->channel;
	int r = 0;

	if (args[0] > 1U << 20 || channel < first) /* see fill_holes */
		return -EINVAL;
	if (channel > first)
		r = close_fds(first, channel - 1, 0);
	if (r >= 0)
		r = close_fds(channel + 1, ~0U, 0);
	memset(init->slots, 0xff, sizeof(init->slots));
	return r;
}

void add_home(struct init *init, char **env)
{
	size_t n = 0;

	while (env[n])
		n++;
	if (init->home[0] && !env[n + 1])
		env[n] = init->home;
}

/* argv, env */
int op_exec(struct init *init, const uint64_t *args)
{
	char **argv = arg_vector(args, 0), **env = arg_vector(args, 1);

	add_home(init, env);
	return sys(SYS_execve, init->program ? init->program : argv[0], argv, env);
}
