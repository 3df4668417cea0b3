/* Starting ocirt-init, from a program that may be large and have threads. */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * The child between vfork and exec. It shares the parent's memory: only system calls, no allocation, no locks,
 * nothing that a Python thread could be in the middle of. It returns only when it fails, with errno set.
 */
static void exec_program(int program, int socket, int doorbell, int target)
{
	static char *const environment[] = { NULL };
	char numbers[2][12];
	char *argv[] = { (char *)"ocirt-init", NULL, NULL, NULL };

	for (int i = 0; i < 2; i++) {
		char *digit = numbers[i] + sizeof(numbers[i]) - 1;
		*digit = 0;
		for (int n = target + i; n > 0; n /= 10)
			*--digit = (char)('0' + n % 10);
		argv[1 + i] = digit;
	}
	/* Any of the three may sit on one of the two numbers: out of the way first. */
	program = fcntl(program, F_DUPFD_CLOEXEC, target + 2);
	socket = fcntl(socket, F_DUPFD_CLOEXEC, target + 2);
	doorbell = fcntl(doorbell, F_DUPFD_CLOEXEC, target + 2);
	if (program < 0 || socket < 0 || doorbell < 0)
		return;
	if (dup2(socket, target) < 0 || dup2(doorbell, target + 1) < 0)
		return;
	/* What the caller has open must not get in (CVE-2024-21626). */
	if (syscall(SYS_close_range, target + 2, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
		(void)syscall(SYS_execveat, program, "", argv, environment, AT_EMPTY_PATH);
}

/*
 * With a cgroup it is a fork, for a frozen one would hold up the vfork too: `failed` is another's memory then, and what the
 * child fails at is seen by the end of the socket.
 */
static int spawn(int program, int socket, int doorbell, int target, const int *keep, size_t count, int cgroup, int *ret_pid)
{
	struct clone_args arguments = { .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (uint64_t)cgroup };
	volatile int failed = 0; /* written by the vfork's child, in our memory */
	sigset_t all, saved;
	pid_t pid;

	(void)sigfillset(&all);
	/* No handler of the program we live in may run in the child's borrowed memory. */
	(void)pthread_sigmask(SIG_SETMASK, &all, &saved);
	pid = cgroup < 0 ? vfork() : (pid_t)syscall(SYS_clone3, &arguments, sizeof(arguments));
	if (pid == 0) {
		size_t kept = 0;

		while (kept < count && fcntl(keep[kept], F_SETFD, 0) == 0)
			kept++;
		if (kept == count)
			exec_program(program, socket, doorbell, target);
		failed = errno;
		_exit(127);
	}
	int error = errno;
	(void)pthread_sigmask(SIG_SETMASK, &saved, NULL);
	if (pid < 0)
		return -error;
	if (failed) {
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		return -failed;
	}
	*ret_pid = pid;
	return 0;
}

/* Starts the program with the socket at fd 3+preserve, the doorbell after it, the `keep` fds below, and stdio. */
int shim_spawn(int program, int socket, int doorbell, int preserve, const int *keep, size_t count, int *ret_pid)
{
	return spawn(program, socket, doorbell, 3 + preserve, keep, count, -1, ret_pid);
}

/* The same, preserving nothing, in a cgroup of v2 (clone3(2), CLONE_INTO_CGROUP): born there it waits for no migration. */
int shim_spawn_in_cgroup(int program, int socket, int doorbell, int cgroup, int *ret_pid)
{
	return spawn(program, socket, doorbell, 3, NULL, 0, cgroup, ret_pid);
}
