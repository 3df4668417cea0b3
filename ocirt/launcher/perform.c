/* See perform.h: the loop, and what is done in the runtime's own namespaces; the exchange with the init is perform_init.c's. */
#define _GNU_SOURCE
#include "perform.h"
#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define LAST_WORDS_MS 1000

#define OP(name, kinds) kinds,
static const char *const kinds[] = {
#include "../spawn/init/host_ops.def"
};
#undef OP

#define OP(name, kinds) HOST_##name,
enum host_operation {
#include "../spawn/init/host_ops.def"
};
#undef OP

static const struct vocabulary host_operations = { kinds, sizeof(kinds) / sizeof(*kinds) };

typedef int action(struct performance *p, const uint64_t *args);

static const char *string(uint64_t arg)
{
	return (const char *)(uintptr_t)arg;
}

/* Opens a file of the directory. */
static int open_below(const char *directory, const char *name, int flags)
{
	char path[PATH_MAX];
	int fd;

	if (snprintf(path, sizeof(path), "%s/%s", directory, name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int open_tasks(struct performance *p, const uint64_t *args)
{
	return perform_lend(p, (uint32_t)args[0], open_below(string(args[1]), "tasks", O_WRONLY));
}

/* exec: unless the init was started there. */
static int attach(struct performance *p, const uint64_t *args)
{
	_cleanup_fd_ int fd = -1;
	char text[16];
	int length;

	if (p->in_cgroup && strcmp(string(args[0]), p->home) == 0)
		return 0;
	fd = open_below(string(args[0]), "cgroup.procs", O_WRONLY);
	if (fd < 0)
		return fd;
	length = snprintf(text, sizeof(text), "%d", p->pid ? p->pid : p->first);
	return write(fd, text, (size_t)length) == length ? 0 : -errno;
}

/* The caller has opened it, and seen that it is the one that the state names. */
static int open_process(struct performance *p, const uint64_t *args)
{
	return p->target < 0 ? -ENOSYS : perform_lend(p, (uint32_t)args[0], take_fd(&p->target));
}

static action *const actions[sizeof(kinds) / sizeof(*kinds)] = {
	[HOST_open_tasks] = open_tasks,
	[HOST_attach] = attach,
	[HOST_open_process] = open_process,
	[HOST_spawn_init] = perform_spawn_init,
	[HOST_report_file] = perform_report_file,
	[HOST_send_plan] = perform_send_plan,
	[HOST_wait_process] = perform_wait_process,
	[HOST_wait] = perform_wait,
	[HOST_go] = perform_go,
	[HOST_executed] = perform_executed,
};

static bool is_ignored(const struct plan_op *head, int error)
{
	return error < 0 && (-error == head->ignore[0] || -error == head->ignore[1]);
}

static int run(struct performance *p, struct plan *plan)
{
	uint32_t next = 0;

	for (uint32_t i = 0; i < plan->count; i++) {
		struct operation op = plan_next(plan);
		int r;

		if (i < next)
			continue;
		r = actions[op.head.code] ? actions[op.head.code](p, op.args) : -ENOSYS;
		if (r < 0 && !is_ignored(&op.head, r))
			return r;
		next = i + 1 + (r < 0 ? 0 : op.head.skip);
	}
	return 0;
}

int perform(struct performance *p, const void *bytes, size_t size)
{
	struct plan plan;
	uint8_t *copy;
	uint32_t bad;
	int r;

	if (size > PLAN_MAX)
		return -EBADMSG;
	copy = calloc(1, size + PLAN_SLACK);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, bytes, size);
	r = plan_decode(copy, (uint32_t)size, &host_operations, &plan, &bad);
	if (r == 0)
		r = run(p, &plan);
	free(copy);
	return r;
}

/*
 * A first stage that is killed behind its clone(2) leaves a process that nobody knows: it is told that there is nothing to
 * come, and has its time to say what it has made, or to end.
 */
static void hear_it_out(struct performance *p)
{
	if (p->socket >= 0 && p->first > 0 && p->pid == 0) {
		(void)shutdown(p->socket, SHUT_WR);
		p->pid = perform_last_words(p, LAST_WORDS_MS);
	}
}

void performance_end(struct performance *p)
{
	hear_it_out(p);
	for (int i = 0; i < 2; i++) {
		pid_t pid = i == 0 ? p->first : p->pid;

		if (pid > 0) {
			(void)kill(pid, SIGKILL);
			(void)waitpid(pid, NULL, 0);
		}
	}
	p->first = p->pid = 0;
}

void performance_close(struct performance *p)
{
	while (p->count > 0)
		(void)close(p->fds[--p->count]);
	close_fd(&p->target);
	close_fd(&p->socket);
	close_fd(&p->report);
	p->target = p->socket = p->report = -1;
}
