/*
 * Carries out a host plan (docs/plan.md) without Python, as far as C has the operations: perform() returns at one that is
 * Python's, or that fails. Nothing is undone here, and nothing is put into words.
 */
#ifndef OCIRT_PERFORM_H
#define OCIRT_PERFORM_H

#include "../spawn/init/plan.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* A host plan under way. What is -1 is not open, or not there. */
struct performance {
	const char *program;   /* path of ocirt-init */
	const void *init_plan; /* the part of the init's plan that the next send_plan sends */
	size_t init_size;
	int target;            /* pidfd of the container's process, for exec */
	int cgroup;            /* one of v2 to start the init in */
	char home[PATH_MAX];   /* its path */
	int socket;            /* to the init */
	int report;            /* the file for its failure */
	int deadline;          /* milliseconds that it may be silent; -1 for ever */
	pid_t first;           /* the init's first stage, 0 once it is reaped or has become the process */
	pid_t pid;             /* the process; 0 until it is known */
	bool to_start;         /* the init is started with its first plan */
	bool in_cgroup;        /* it was started in `cgroup` */
	uint32_t count;        /* descriptors to send with the next message */
	uint32_t slots[MSG_FDS_MAX];
	int fds[MSG_FDS_MAX];
	struct message message; /* what the init has said last */
};

#define PERFORMANCE_NONE { .target = -1, .cgroup = -1, .socket = -1, .report = -1, .deadline = -1 }

/*
 * Carry out the plan of `size` bytes. 0, or the negative errno of the operation that it stopped at: -ENOSYS where C does not
 * have it. -EBADMSG for bytes that are no host plan, -ENOMEM.
 */
int perform(struct performance *p, const void *plan, size_t size);

/* Kill and reap what was started. */
void performance_end(struct performance *p);

/* Close what is open. */
void performance_close(struct performance *p);

/* ---- perform_init.c ---- */

/* Have a descriptor sent to the init's slot with the next message; it is closed then. Also where `fd` is a negative errno. */
int perform_lend(struct performance *p, uint32_t slot, int fd);

/* The process that the first stage still tells of within `patience_ms`; 0 for none. */
pid_t perform_last_words(struct performance *p, int patience_ms);

int perform_spawn_init(struct performance *p, const uint64_t *args);
int perform_report_file(struct performance *p, const uint64_t *args);
int perform_send_plan(struct performance *p, const uint64_t *args);
int perform_wait_process(struct performance *p, const uint64_t *args);
int perform_wait(struct performance *p, const uint64_t *args);
int perform_go(struct performance *p, const uint64_t *args);
int perform_executed(struct performance *p, const uint64_t *args);

#endif
