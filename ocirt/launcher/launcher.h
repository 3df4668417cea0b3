/* Parts of the `ocirt` program that are not the quick verbs'. */
#ifndef OCIRT_LAUNCHER_H
#define OCIRT_LAUNCHER_H

/*
 * Runs ocirt.cli.main.main with the arguments after argv[0] in this process and exits with what it returns. `lean` is
 * the verb when its modules are packed: then the interpreter starts half, and is completed when something is missing.
 */
_Noreturn void run_python(int argc, char *const argv[], const char *lean);

/* Starts, in the background, what makes the next attach to a cgroup v1 cheap. */
void warm_cgroup_attach(void);

#endif
