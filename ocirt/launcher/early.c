/* What need not wait for the interpreter: in a thread ocirt-init is brought to where it waits for a plan. */
#define _GNU_SOURCE
#include "launcher.h"
#include "linux/shim.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define STACK_SIZE (256 * 1024)

static struct {
	pthread_t thread;
	bool running;
	char program[PATH_MAX];
	int cgroup;
	struct waiting_init waiting;
} init = { .waiting = { .socket = -1, .doorbell = -1 } };

bool start_thread(pthread_t *ret_thread, void *(*function)(void *), void *argument)
{
	pthread_attr_t attributes;
	sigset_t all, before;
	bool started;

	if (pthread_attr_init(&attributes) != 0)
		return false;
	(void)pthread_attr_setstacksize(&attributes, STACK_SIZE);
	/* No signal is this thread's: the main one may have blocked it to read it from a signalfd. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	started = pthread_create(ret_thread, &attributes, function, argument) == 0;
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)pthread_attr_destroy(&attributes);
	return started;
}

/* 0 where it cannot be told */
static uint64_t inode(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

static void *start(void *unused)
{
	struct waiting_init *w = &init.waiting;
	int program = shim_program_memfd(init.program, NULL);
	int ends[2];

	w->doorbell = eventfd(0, EFD_CLOEXEC);
	if (program >= 0 && w->doorbell >= 0 && shim_socketpair(ends) == 0) {
		bool born = init.cgroup >= 0 && shim_spawn_in_cgroup(program, ends[1], w->doorbell, init.cgroup, &w->pid) == 0;

		w->cgroup = born ? inode(init.cgroup) : 0;
		if (born || shim_spawn(program, ends[1], w->doorbell, 0, NULL, 0, &w->pid) == 0)
			w->socket = ends[0];
		else
			(void)close(ends[0]);
		(void)close(ends[1]);
	}
	if (program >= 0)
		(void)close(program);
	return unused;
}

void start_init(const char *package_parent, int cgroup)
{
	init.cgroup = cgroup;
	(void)snprintf(init.program, sizeof(init.program), "%s/ocirt/_bin/ocirt-init", package_parent);
	init.running = start_thread(&init.thread, start, NULL);
}

bool take_init(struct waiting_init *ret)
{
	if (init.running)
		(void)pthread_join(init.thread, NULL);
	init.running = false;
	*ret = init.waiting;
	init.waiting.socket = -1;
	return ret->socket >= 0;
}

/* Without its socket's other end the init ends by itself; nobody else is to find it among the children. */
static void end(const struct waiting_init *waiting)
{
	(void)close(waiting->socket);
	(void)close(waiting->doorbell);
	(void)kill(waiting->pid, SIGKILL); /* in a cgroup that was frozen meanwhile it does not end by itself */
	(void)waitpid(waiting->pid, NULL, 0);
}

void discard_init(void)
{
	struct waiting_init waiting;

	if (take_init(&waiting))
		end(&waiting);
}

bool take_init_in(int cgroup, struct waiting_init *ret)
{
	if (!take_init(ret))
		return false;
	if (ret->cgroup == 0 || ret->cgroup == inode(cgroup))
		return true;
	end(ret);
	return false;
}
