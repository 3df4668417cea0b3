/* See shim.h. What is done from outside to another process, its namespaces and its mounts. */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/netlink.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef AT_RECURSIVE /* glibc before 2.37 */
#define AT_RECURSIVE 0x8000
#endif

/*
 * A child that does nothing but keep a new user namespace: its pid. It makes system calls only, for other threads may
 * hold locks; every signal but SIGKILL is blocked, for the handlers are the program's. It dies with the caller's thread.
 */
int shim_user_namespace(void)
{
	sigset_t all, saved;
	pid_t parent = getpid();
	long pid;
	int error;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &saved);
	pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
	if (pid == 0) {
		(void)syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		while (syscall(SYS_getppid) == parent)
			(void)syscall(SYS_ppoll, NULL, 0, NULL, NULL, 0);
		_exit(1);
	}
	error = errno;
	(void)pthread_sigmask(SIG_SETMASK, &saved, NULL);
	return pid < 0 ? -error : (int)pid;
}

int shim_idmap(int tree, int user_namespace, int recursive)
{
	struct mount_attr attributes = { .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)user_namespace };
	unsigned int flags = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0);

	return syscall(SYS_mount_setattr, tree, "", flags, &attributes, sizeof(attributes)) < 0 ? -errno : 0;
}

int shim_sched_setattr(int pid, const void *attributes)
{
	return syscall(SYS_sched_setattr, pid, attributes, 0) < 0 ? -errno : 0;
}

int shim_ioprio_set(int pid, int value)
{
	return syscall(SYS_ioprio_set, 1 /* IOPRIO_WHO_PROCESS */, pid, value) < 0 ? -errno : 0;
}

/* 1 where the kernel knows the flags: it looks at them before it looks for the program, which is missing (EFAULT). */
int shim_seccomp_flags(uint64_t flags)
{
	return syscall(SYS_seccomp, 1 /* SECCOMP_SET_MODE_FILTER */, flags, NULL) < 0 && errno == EFAULT;
}

/*
 * A NETLINK_ROUTE socket of another network namespace. A child that shares our descriptors enters the namespace, makes
 * the socket and puts it in place of ours, which keeps the number for it; we enter nothing.
 */
int shim_netlink_socket(int network_namespace)
{
	int number = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int status = 0;
	long pid;

	if (number < 0)
		return -errno;
	pid = syscall(SYS_clone, CLONE_FILES | CLONE_VFORK | SIGCHLD, 0, 0, 0, 0);
	if (pid == 0) {
		int fd = -1;

		if (syscall(SYS_setns, network_namespace, CLONE_NEWNET) == 0)
			fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
		if (fd >= 0 && dup3(fd, number, O_CLOEXEC) >= 0 && close(fd) == 0)
			_exit(0);
		_exit(errno);
	}
	if (pid > 0)
		while (waitpid((pid_t)pid, &status, 0) < 0 && errno == EINTR)
			;
	if (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return number;
	status = pid < 0 ? errno : WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
	(void)close(number);
	return -status;
}
