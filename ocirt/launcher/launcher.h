/* Parts of the `ocirt` program that are not the quick verbs'. */
#ifndef OCIRT_LAUNCHER_H
#define OCIRT_LAUNCHER_H

#include <stdbool.h>

/* Whether launches are kept, and carried out again; with `verify`, the plans are also compiled, and have to be the same. */
enum keeping { KEPT_OFF, KEPT_ON, KEPT_VERIFY };

#define KEPT_DEFAULT KEPT_ON

/*
 * Carries out what was asked for, from the launch that has been kept for it since, and exits. Returns where that cannot be
 * done; what was done by then is there to be taken over (launch.h).
 */
void launch_kept(void);

/* False where the word says none of these. */
bool kept_of(const char *value, enum keeping *ret);

/* What holds where the command does not say. Ends the program where the file of settings is wrong. */
enum keeping kept_setting(void);

/*
 * Runs ocirt.cli.main.main with the arguments after argv[0] in this process and exits with what it returns. `lean` is
 * the verb when its modules are packed: then the interpreter starts half, and is completed when something is missing.
 */
_Noreturn void run_python(int argc, char *const argv[], const char *lean);

/* Whether the container is to get descriptors of the caller's, which also change the number of the init's socket. */
bool keeps_fds(char *const *arguments);

/* The directory that holds the Python package; ends the program where there is none. */
void find_package(char *ret_parent);

/* Starts, in the background, what makes the next attach to a cgroup v1 cheap. */
void warm_cgroup_attach(void);

#endif
