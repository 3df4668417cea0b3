/* Parts of the `ocirt` program that are not the quick verbs'. */
#ifndef OCIRT_LAUNCHER_H
#define OCIRT_LAUNCHER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Whether launches are kept, and carried out again; with `verify`, the plans are also compiled, and have to be the same. */
enum keeping { KEPT_OFF, KEPT_ON, KEPT_VERIFY };

#define KEPT_DEFAULT KEPT_ON

/*
 * Carries out what was asked for, from the launch that has been kept for it since, and exits. Returns where that cannot be
 * done; what was done by then is undone.
 */
void launch_kept(void);

/* False where the word says none of these. */
bool kept_of(const char *value, enum keeping *ret);

/* What holds where the command does not say. Ends the program where the file of settings is wrong. */
enum keeping kept_setting(void);

/*
 * Runs ocirt.cli.main.main with the arguments after argv[0] in this process and exits with what it returns. `lean` is
 * the verb when its modules are packed: then the interpreter starts half, and is completed when something is missing.
 * `early`: a container will be made that keeps no fds, so an ocirt-init can be started ahead.
 */
_Noreturn void run_python(int argc, char *const argv[], const char *lean, bool early);

/* Whether the container is to get descriptors of the caller's, which also change the number of the init's socket. */
bool keeps_fds(char *const *arguments);

/* The directory that holds the Python package; ends the program where there is none. */
void find_package(char *ret_parent);

/* Starts, in the background, what makes the next attach to a cgroup v1 cheap. */
void warm_cgroup_attach(void);

/* An ocirt-init that waits for a plan. `cgroup`: the inode of the cgroup of v2 that it was born in, or 0. */
struct waiting_init {
	int socket;
	int doorbell;
	int pid;
	uint64_t cgroup;
};

/* Starts one in the background, for a container that keeps no fds. `cgroup`: an fd of a cgroup of v2, or -1. */
void start_init(const char *package_parent, int cgroup);

/* The init that was started, if it could be: it is the caller's from now on. */
bool take_init(struct waiting_init *ret);

/* The same, unless it was born in another cgroup of v2 than this one, an fd or -1: then it is ended. */
bool take_init_in(int cgroup, struct waiting_init *ret);

/* Ends and reaps an init that nobody took. */
void discard_init(void);

/* A thread without signals. */
bool start_thread(pthread_t *ret_thread, void *(*function)(void *), void *argument);

#endif
