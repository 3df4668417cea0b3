/*
 * Carries out a host plan (docs/plan.md): one function for the launcher, which has no interpreter then, and, through cffi,
 * for Python. Nothing is put into words here, and nothing is undone but the processes.
 *
 * Thread-safe: no global state, every descriptor is close-on-exec from birth.
 */
#ifndef OCIRT_PERFORM_H
#define OCIRT_PERFORM_H

#include "../linux/shim.h"
#include "../spawn/init/plan.h"

#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* cdef begins */
/* What perform() returns; a negative errno is that of the operation PERFORM_AT. */
enum { PERFORM_DONE, PERFORM_AGAIN, PERFORM_LOCKED };

/*
 * The ints that a performance begins with, for Python to read and set: see struct performance.
 */
enum { PERFORM_AT, PERFORM_NEXT, PERFORM_STEPPING, PERFORM_TOOK_US, PERFORM_DETAIL, PERFORM_DIRECTORY, PERFORM_SOCKET, PERFORM_BELL, PERFORM_REPORT, PERFORM_TARGET, PERFORM_DEADLINE, PERFORM_FIRST, PERFORM_PID, PERFORM_RECORDED, PERFORM_OURS, PERFORM_BROUGHT, PERFORM_PID_FILE, PERFORM_IN_CGROUP, PERFORM_SENT, PERFORM_HOOKS_RAN, PERFORM_OUTPUT, PERFORM_NUMBERS };

/* Bytes of a struct performance. */
int performance_size(void);

/* Make one, in 8-aligned memory. 0. */
int performance_begin(void *performance);

/*
 * The host plan to carry out next: `size` bytes, 8-aligned, and PLAN_SLACK zeros after them. They are changed, and must stay
 * where they are until the end: what is noted points into them. 0, or -EBADMSG for what is no host plan.
 */
int performance_plan(void *performance, void *plan, size_t size);

/* The part of the init's plan that the next send_plan sends; it must stay until then. 0. */
int performance_init_plan(void *performance, const void *plan, size_t size);

/*
 * Carry out the plan, from operation PERFORM_NEXT on. PERFORM_DONE at its end; PERFORM_AGAIN where it is to be called again:
 * signals may have come, or one operation is done and PERFORM_STEPPING is set; PERFORM_LOCKED: likewise, and the message
 * (performance_message) is MSG_LOCKED. Else the negative errno of the operation PERFORM_AT, and -ENOSYS where that is Python's:
 * who has done it goes on with PERFORM_NEXT set behind it.
 *
 * Of the operations that hear the init: -EREMOTEIO its failure is in the message; -EPROTO the message does not belong there;
 * -ECONNRESET it has ended without a word; -ETIMEDOUT.
 */
int perform(void *performance);

/* Have a descriptor sent to the init's slot with the next message; it is closed then, and where this fails. 0, or -E2BIG. */
int performance_lend(void *performance, int slot, int fd);

/* The descriptor lent for a slot, which stays there; -1 for none. */
int performance_lent(const void *performance, int slot);

/* A struct message: what the init has said last, zeros behind it. 0. */
int performance_message(const void *performance, void *ret_message);

/* The directories that were made for cgroups, deepest first, each with a NUL behind it. Their bytes, or -ENOSPC. */
int performance_made(const void *performance, char *ret_text, size_t size);

/*
 * The state of runtime.md, as JSON without a NUL: what hooks read (record.document). Its size, also where it does not fit:
 * then nothing is written. -EINVAL before `claim` and `record`, -ENOMEM.
 */
int performance_document(const void *performance, const char *status, int pid, void *ret_text, size_t size);

/* Write the mark of a directory that was just claimed. 0. */
int state_mark(int directory);

/*
 * The path of ocirt-init; a directory for an unlinked copy of it, where no memfd may be executed (vm.memfd_noexec), or NULL;
 * which of the descriptors to be passed on are open. All stay the caller's. 0.
 */
int performance_program(void *performance, const char *program, const char *fallback, const int *keep, size_t count);

/* Kill and reap what was started, and close the exchange with it. The wait status of the last one, -1 for none. */
int performance_end(void *performance);

/* Close and free all that it has; the processes stay. 0. */
int performance_close(void *performance);
/* cdef ends */

struct strings {
	char **items;
	uint32_t count;
	uint32_t room;
};

/* A host plan under way. What is -1 is not open, or not there. */
struct performance {
	int at;        /* the operation that it stopped at */
	int next;      /* the one to go on with */
	int stepping;  /* return behind each operation */
	int took_us;   /* microseconds that the last one took */
	int detail;    /* of a failure: as the operation says */
	int directory; /* the container's state directory, whose lock is held */
	int socket;    /* to the init */
	int bell;      /* rung when a plan is on its way */
	int report;    /* the file for the init's failure */
	int target;    /* pidfd of the container's process, for exec */
	int deadline;  /* milliseconds that the init may be silent; -1 for ever */
	int first;     /* the init's first stage, 0 once it is reaped or has become the process */
	int pid;       /* the process; 0 until it is known */
	int recorded;  /* whether there is a state: something to undo by it */
	int ours;      /* with systemd: whether the unit is nobody else's, as far as is known */
	int brought;   /* with systemd: whether the unit has brought its cgroups */
	int pid_file;  /* whether the pid file was written */
	int in_cgroup; /* whether the init was started in the cgroup `home` */
	int sent;      /* whether a plan is on its way to the init */
	int hooks_ran; /* whether poststop hooks are due if this fails */
	int output;    /* what the hook has said that has failed; `hook` closes it */

	struct plan plan;
	uint32_t index; /* of the operation at the plan's cursor */

	const void *init_plan;
	size_t init_size;
	struct hook hook; /* that is running, or has failed */

	/* What state.json is made of; the strings are those of the plan. */
	const char *id, *oci_version, *bundle, *rootfs, *owner, *manager, *words, *unit;
	char *const *annotations; /* a name, its value, … */
	char *const *cgroups;     /* the container's directory in each hierarchy */
	bool pid_namespace;
	uint64_t start_time;      /* of the process, in clock ticks after boot */
	char boot_id[64], created[64];
	struct strings freezers;
	struct strings expected;  /* the directories that make_cgroup will make, deepest first */
	struct strings new;       /* those that it has made, parents first */
	struct strings usable;    /* the cgroups that can be used: of a hierarchy that is not ours there is none */
	bool made;                /* make_cgroup has begun: `new` counts, not `expected` */

	/* The exchange with the init. */
	const char *program, *fallback; /* as performance_program says */
	const int *keep;
	size_t kept;
	int preserve;        /* how many descriptors from 3 on are passed on */
	const volatile sig_atomic_t *interrupted; /* the signal that has come, or 0; NULL where Python has the handlers */
	const char *home;    /* the cgroup of v2 to be born in; "" for none */
	bool looked;         /* signals were looked at since the last message: the caller has handlers to run */
	long long until_ms;  /* when the deadline is over, by CLOCK_MONOTONIC; 0: nobody waits */
	bool to_start;       /* the init is started with its first plan */
	uint32_t count;      /* descriptors to send with the next message */
	uint32_t slots[MSG_FDS_MAX];
	int fds[MSG_FDS_MAX];
	struct message message; /* what the init has said last */
};

/* 0 or a negative errno; `op` is of p->plan. */
typedef int action(struct performance *p, const struct operation *op);

static inline const char *string_of(const struct operation *op, int index)
{
	return (const char *)(uintptr_t)op->args[index];
}

static inline char *const *vector_of(const struct operation *op, int index)
{
	return (char *const *)(uintptr_t)op->args[index];
}

static inline void close_performance(struct performance *p)
{
	(void)performance_close(p);
}

#define _cleanup_performance_ __attribute__((cleanup(close_performance)))

/* ---- strings.c ---- */

/* Append a copy. 0, or -ENOMEM. */
int strings_add(struct strings *strings, const char *text);
bool strings_have(const struct strings *strings, const char *text);
void strings_free(struct strings *strings);

#define _cleanup_strings_ __attribute__((cleanup(strings_free)))

/* ---- exchange.c: the init ---- */

action perform_spawn_init, perform_report_file, perform_send_plan, perform_wait_process, perform_wait, perform_go, perform_executed;

/* waitpid(2) to its end. */
pid_t perform_reap(pid_t pid, int *ret_status);

/* The process that the first stage still tells of within `patience_ms`; 0 for none. */
pid_t perform_last_words(struct performance *p, int patience_ms);

/* ---- directory.c: the state directory, and files of the host's ---- */

action perform_claim, perform_record, perform_write_state, perform_keep_file, perform_keep_plan, perform_note_freezer;
action perform_listen, perform_write_pid_file;

/* ---- made.c: the directories made for cgroups ---- */

action perform_expect_cgroups;

/* Those that are made, deepest first; until make_cgroup has begun, those that are expected. Appended; 0, or a negative errno. */
int performance_list_made(const struct performance *p, struct strings *found);

/* ---- cgroup.c: making cgroups, and who enters them ---- */

action perform_make_cgroup, perform_fill_cpuset, perform_refuse_frozen, perform_refuse_shared, perform_hand_down;
action perform_open_cgroup, perform_open_tasks, perform_attach;

/* ---- limit.c: what is written to their files ---- */

action perform_write_limit, perform_device_rules, perform_device_program;

/* ---- hook.c ---- */

action perform_hook, perform_hook_state;

/* ---- process.c: what is done to the process by its pid, and by paths of the host ---- */

action perform_commit, perform_open_process, perform_open_tree, perform_map_ids, perform_connect_console;
action perform_scheduler, perform_io_priority, perform_affinity, perform_send_pidfd;

#endif
