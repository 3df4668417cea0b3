/*
 * A hybrid host: after a quiet moment the first move of a process between cgroups waits for an RCU grace period, 7 to 13
 * ms, and for some time the next ones do not (the kernel's cgroup_threadgroup_rwsem stays in its slow mode). Moving to
 * where we are already counts, so it is done in a thread while the interpreter starts.
 *
 * With v1 alone the process enters its cgroups by itself, without that lock; with v2 alone it is born in its cgroup.
 */
#define _GNU_SOURCE
#include "launcher.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define STACK_SIZE (256 * 1024)

/* Writes to cgroup.procs of the hierarchy on this line of /proc/self/cgroup, "4:pids:/path", where that is a v1 one. */
static bool attach(const char *line)
{
	const char *controllers = strchr(line, ':');
	const char *path = controllers ? strchr(controllers + 1, ':') : NULL;
	char file[4096];
	int fd, n;

	if (!path)
		return false;
	controllers++;
	if (strncmp(controllers, "name=", 5) == 0)
		controllers += 5;
	/* v2 has none; and memory's own charges make a move there anything but free */
	if (controllers >= path || strncmp(controllers, "memory", 6) == 0)
		return false;
	n = snprintf(file, sizeof(file), "/sys/fs/cgroup/%.*s%s/cgroup.procs", (int)(path - controllers), controllers, path + 1);
	fd = n < (int)sizeof(file) ? open(file, O_WRONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		return false;
	n = (int)write(fd, "0", 1);
	(void)close(fd);
	return n == 1;
}

static void *warm(void *unused)
{
	char text[4096], *save = NULL;
	int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return unused;
	n = read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	text[n > 0 ? n : 0] = 0;
	for (const char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (attach(line))
			break;
	return unused;
}

void warm_cgroup_attach(void)
{
	pthread_attr_t attributes;
	sigset_t all, before;
	pthread_t thread;

	if (access("/sys/fs/cgroup/unified/cgroup.procs", W_OK) < 0 || pthread_attr_init(&attributes) != 0)
		return;
	(void)pthread_attr_setstacksize(&attributes, STACK_SIZE);
	(void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	/* No signal is this thread's: the main one may have blocked it to read it from a signalfd. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	(void)pthread_create(&thread, &attributes, warm, NULL);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)pthread_attr_destroy(&attributes);
}
