/* See shim.h: a hook's process. */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>

/* Strings, each with its NUL, as the vector that execve takes; free(3) it. NULL where memory is short. */
static char **vector(const char *strings, size_t size)
{
	size_t count = 0, at = 0;
	char **made;

	for (size_t i = 0; i < size; i++)
		count += strings[i] == '\0';
	made = calloc(count + 1, sizeof(*made));
	for (size_t i = 0; made && i < count; i++) {
		made[i] = (char *)strings + at;
		at += strlen(made[i]) + 1;
	}
	return made;
}

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

/* argv, env: as vector() takes them */
int shim_spawn_hook(const char *path, const char *directory, const char *argv, size_t argv_size, const char *env,
		    size_t env_size, int input, int output, int *ret_pid)
{
	char **arguments = vector(argv, argv_size), **environment = vector(env, env_size);
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	pid_t pid = 0;
	int r = -ENOMEM;

	if (!arguments || !environment)
		goto out;
	r = -posix_spawn_file_actions_init(&actions);
	if (r < 0)
		goto out;
	r = -posix_spawnattr_init(&attributes);
	if (r == 0) {
		r = set_attributes(&attributes);
		if (r == 0)
			r = set_actions(&actions, directory, input, output);
		if (r == 0)
			r = posix_spawn(&pid, path, &actions, &attributes, arguments, environment);
		r = -r;
		(void)posix_spawnattr_destroy(&attributes);
	}
	(void)posix_spawn_file_actions_destroy(&actions);
	*ret_pid = pid;
out:
	free(arguments);
	free(environment);
	return r;
}
