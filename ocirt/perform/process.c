/* What is done to the process by its pid, and what the runtime opens of the host for the init. */
#define _GNU_SOURCE
#include "perform.h"
#include "launcher/record.h"
#include "linux/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

/* The process, or the first stage that is to make it. */
static int process_id(const struct performance *p)
{
	return p->pid ? p->pid : p->first;
}

/* From here on no signal undoes what there is; one that has come by now still does. With Python, that has the handlers. */
int perform_commit(struct performance *p, const struct operation *op)
{
	sigset_t all;

	(void)op;
	if (!p->interrupted)
		return -ENOSYS;
	(void)sigfillset(&all);
	if (sigprocmask(SIG_BLOCK, &all, NULL) < 0)
		return -errno;
	return *p->interrupted ? -ECANCELED : 0;
}

/* exec: whoever has opened it has seen that it is the one that the state names. */
int perform_open_process(struct performance *p, const struct operation *op)
{
	return p->target < 0 ? -ENOSYS : performance_lend(p, (int)op->args[0], take_fd(&p->target));
}

int perform_open_tree(struct performance *p, const struct operation *op)
{
	return performance_lend(p, (int)op->args[0], shim_open_tree(string_of(op, 1), (int)op->args[2]));
}

/* Without a path it is a pair, whose other end stays here: Python's. */
int perform_connect_console(struct performance *p, const struct operation *op)
{
	return *string_of(op, 1) ? performance_lend(p, (int)op->args[0], shim_connect(string_of(op, 1))) : -ENOSYS;
}

/* In one write, as user_namespaces(7) demands. */
static int write_map(int pid, const char *name, char *const *lines)
{
	_cleanup_fd_ int fd = -1;
	char path[64], text[340 * 36]; /* the most that it can have */
	size_t size = 0;

	for (; *lines; lines++) {
		int n = snprintf(text + size, sizeof(text) - size, "%s\n", *lines);

		if (n >= (int)(sizeof(text) - size)) /* the kernel takes less than a page */
			return -EINVAL;
		size += (size_t)n;
	}
	if (size == 0)
		return 0;
	(void)snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd >= 0 && write(fd, text, size) == (ssize_t)size ? 0 : -errno;
}

/* detail: how many of the two maps are written, -1 before them. Who may not write them asks newuidmap(1), by Python. */
int perform_map_ids(struct performance *p, const struct operation *op)
{
	static char deny[] = "deny";
	char *const denied[] = { deny, NULL };
	int r = op->args[2] ? 0 : write_map(p->pid, "setgroups", denied);

	p->detail = -1;
	if (r < 0)
		return r;
	p->detail = 0;
	r = write_map(p->pid, "uid_map", vector_of(op, 0));
	if (r < 0)
		return r;
	p->detail = 1;
	return write_map(p->pid, "gid_map", vector_of(op, 1));
}

int perform_scheduler(struct performance *p, const struct operation *op)
{
	return shim_sched_setattr(p->pid, plan_bytes(&p->plan, op->args[0]));
}

int perform_io_priority(struct performance *p, const struct operation *op)
{
	return shim_ioprio_set(p->pid, (int)op->args[0]);
}

/* By the system call: glibc's wrapper wants a cpu_set_t, the kernel takes a mask of any length. */
int perform_affinity(struct performance *p, const struct operation *op)
{
	unsigned long mask[1024] = { 0 };
	uint32_t length = plan_length(op->args[0]);

	if (length > sizeof(mask))
		return -EINVAL;
	memcpy(mask, plan_bytes(&p->plan, op->args[0]), length);
	return syscall(SYS_sched_setaffinity, process_id(p), sizeof(mask), mask) < 0 ? -errno : 0;
}

int perform_send_pidfd(struct performance *p, const struct operation *op)
{
	_cleanup_fd_ int pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
	_cleanup_fd_ int socket = -1;

	if (pidfd < 0)
		return -errno;
	socket = shim_connect(string_of(op, 0));
	return socket < 0 ? socket : shim_send(socket, "pidfd", 5, &pidfd, 1);
}
