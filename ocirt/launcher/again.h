/* A plan of `exec` that was compiled before is run again, without an interpreter. */
#ifndef OCIRT_AGAIN_H
#define OCIRT_AGAIN_H

#include "record.h"

#include <signal.h>

#define KEY_MAX (32 * 1024)

/* A command that can be run again; see key.c. */
struct key {
	const char *id;
	const char *pid_file; /* NULL for none */
	bool detach;
	bool unkept;          /* a flag asks for what no kept plan has */
	char name[32];        /* of the plan's file in the container's directory */
	char bytes[KEY_MAX];
	size_t size;
};

/* Fills what the words say. False for a command that is compiled each time. */
bool key_of_command(char **arguments, struct key *key);

/* Completes it by what the container, the caller and the build say. `program` is the path of ocirt-init. */
bool key_of_container(const struct container *container, const char *program, struct key *key);

/*
 * Runs `exec` with the plan that an equal command has left. The exit code; or -1: nothing was executed, there is no such
 * plan, or it has failed, and Python does it anew.
 */
int run_again(const char *root, char **arguments);

/* Block all signals that a process can be sent, but those about ourselves. */
void block_signals(sigset_t *ret_set, sigset_t *ret_before);

/* Hand signals on until the process has ended; its exit code. `reap_all`: orphans come to us, and are reaped too. */
int attend(pid_t pid, const sigset_t *set, bool reap_all);

/* The cgroup of v2 of the container that the command names: an fd, -1 for none. Its first process may have left it. */
int cgroup_to_join(void);

/* The key of the command that was not run, for Python to keep its plan by; NULL where there is none. */
const struct key *key_to_keep(void);

#endif
