/* See shim.h: a hook's process. */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* No signal is blocked or ignored, and a process group of its own. */
static int set_attributes(posix_spawnattr_t *attributes)
{
	sigset_t none, all;
	int r;

	(void)sigemptyset(&none);
	(void)sigfillset(&all);
	(void)sigdelset(&all, SIGKILL);
	(void)sigdelset(&all, SIGSTOP);
	r = posix_spawnattr_setsigmask(attributes, &none);
	if (r == 0)
		r = posix_spawnattr_setsigdefault(attributes, &all);
	if (r == 0)
		r = posix_spawnattr_setpgroup(attributes, 0);
	if (r == 0)
		r = posix_spawnattr_setflags(attributes,
			POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	return r;
}

static int set_actions(posix_spawn_file_actions_t *actions, const char *directory, int input, int output)
{
	int r = posix_spawn_file_actions_adddup2(actions, input, 0);

	if (r == 0)
		r = posix_spawn_file_actions_adddup2(actions, output, 1);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(actions, output, 2);
	if (r == 0)
		r = posix_spawn_file_actions_addchdir_np(actions, directory);
	return r;
}

static int spawn_hook(const char *path, const char *directory, char *const *argv, char *const *env, const int stdio[2], pid_t *ret_pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int r = posix_spawn_file_actions_init(&actions);

	if (r != 0)
		return -r;
	r = posix_spawnattr_init(&attributes);
	if (r == 0) {
		r = set_attributes(&attributes);
		if (r == 0)
			r = set_actions(&actions, directory, stdio[0], stdio[1]);
		if (r == 0)
			r = posix_spawn(ret_pid, path, &actions, &attributes, argv, env);
		(void)posix_spawnattr_destroy(&attributes);
	}
	(void)posix_spawn_file_actions_destroy(&actions);
	return -r;
}

int hook_size(void)
{
	return (int)sizeof(struct hook);
}

/* Files, not pipes: a hook that reads nothing, or leaves a daemon behind with its output open, blocks nobody. */
int hook_begin(void *hook, const char *path, const char *directory, char *const *argv, char *const *env, const void *state,
	       size_t size, unsigned int timeout_s)
{
	struct hook *h = hook;
	int stdio[] = { shim_sealed_memfd("hook-state", state, size), memfd_create("hook-output", MFD_CLOEXEC) };
	int r = stdio[0] < 0 ? stdio[0] : stdio[1] < 0 ? -errno : 0;

	*h = (struct hook){ .output = stdio[1], .pidfd = -1 };
	if (r == 0) /* a bundle may be gone by the time of delete: its hooks run all the same */
		r = spawn_hook(path, access(directory, F_OK) == 0 ? directory : "/", argv, env ? env : environ, stdio, &h->pid);
	if (stdio[0] >= 0)
		(void)close(stdio[0]);
	if (r == 0) {
		h->pidfd = (int)syscall(SYS_pidfd_open, h->pid, 0);
		r = h->pidfd < 0 ? -errno : 0;
	}
	h->until_ms = timeout_s ? shim_now_ms() + timeout_s * 1000LL : 0;
	if (r < 0)
		(void)hook_end(h);
	return r;
}

/* Its process group, and itself, if it has joined another. Who has become somebody else's, by a setuid bit, is let be. */
static void kill_hook(struct hook *h)
{
	bool ours = kill(-h->pid, SIGKILL) == 0 || errno == ESRCH;

	ours = ours && (kill(h->pid, SIGKILL) == 0 || errno == ESRCH);
	while (ours && waitpid(h->pid, NULL, 0) < 0 && errno == EINTR)
		;
	h->pid = 0;
}

int hook_wait(void *hook)
{
	struct hook *h = hook;
	struct pollfd ended = { .fd = h->pidfd, .events = POLLIN };
	long long left = h->until_ms ? h->until_ms - shim_now_ms() : -1;
	int status, r;

	if (h->until_ms && left < 0)
		left = 0;
	r = poll(&ended, 1, left > INT_MAX ? INT_MAX : (int)left);
	if (r < 0)
		return -errno;
	if (r == 0 && left > INT_MAX)
		return -EINTR; /* not over yet */
	if (r == 0) {
		kill_hook(h);
		return -ETIMEDOUT;
	}
	while (waitpid(h->pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	h->pid = 0;
	return status;
}

int hook_end(void *hook)
{
	struct hook *h = hook;

	if (h->pid > 0)
		kill_hook(h);
	if (h->pidfd >= 0)
		(void)close(h->pidfd);
	if (h->output >= 0)
		(void)close(h->output);
	h->pidfd = h->output = -1;
	return 0;
}
