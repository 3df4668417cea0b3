/*
 * The verbs that need no config and no compiler: one implementation, for the launcher (which starts no interpreter for
 * them) and, through cffi, for Python. Thread-safe: no global state, every fd is close-on-exec from birth.
 *
 * A verb returns QUICK_DONE, or QUICK_PYTHON for a case that it does not cover or an error that somebody has to
 * explain: then nothing was changed, or nothing that is not safe to do again, and Python does it anew and finds the words.
 */
#ifndef OCIRT_QUICK_H
#define OCIRT_QUICK_H

#include <stdbool.h>
#include <stddef.h>

struct message; /* spawn/init/wire.h */

/* cdef begins */
enum { QUICK_DONE, QUICK_PYTHON };
enum { STATUS_CREATING, STATUS_CREATED, STATUS_RUNNING, STATUS_PAUSED, STATUS_STOPPED };

/* Print the state as JSON on out_fd. */
int quick_state(const char *root, const char *id, int out_fd);

/* Let a created container's process be executed. What the init refused with is left in <id>/start.failure. */
int quick_start(const char *root, const char *id);

/* Send a signal (0: none, only check) to the container's process. */
int quick_kill(const char *root, const char *id, int signal);

/* Remove a stopped container with all that create made; with force, kill it first, and none at all is fine. */
int quick_delete(const char *root, const char *id, int force);

/*
 * A STATUS_ value; ret_pid is the process's id, 0 when stopped. -EBADMSG: state.json is missing, or is not what create
 * writes; else as state_directory.
 */
int quick_status(const char *root, const char *id, int *ret_pid);

/*
 * quick_start for who wants the words: 0 the process was executed; 1 the init refused, ret_message (zeroed beyond its
 * text) tells why; -ENOENT as quick_status, -EINVAL the container is not created; or another negative errno.
 */
int quick_start_report(const char *root, const char *id, struct message *ret_message);

/*
 * Whether a process is in its maker's program still, be it alive, dying or a zombie. 0 also where nothing can be known: it
 * is reaped, or its /proc is out of sight.
 */
int process_never_executed(int pid);

/*
 * Whether it is a child of ours, not reaped yet. A container that seizes what `exec` brings in can send what it likes over the
 * socket: an id that is told there is signalled and handed to the engine only where this holds.
 */
int process_is_child(unsigned int pid);

/* Field 22 of proc_pid_stat(5), clock ticks after boot, a uint64_t; 0, -ESRCH for no process, or another negative errno. */
int process_start_time(int pid, void *ret_time);

/* The pidfd of the process that has this id and that start time (a uint64_t, as of process_start_time), else -ESRCH. */
int process_open(int pid, const void *start_time);

/* The id of this boot, as text (random(4)); 0, or a negative errno. BOOT_ID_SIZE is enough. */
int boot_id(void *ret_id, size_t size);

/* Whether some user ids are not mapped to those of the initial user namespace (user_namespaces(7)); no where /proc does not say. */
int in_user_namespace(void);

/* Whether this may be a container's id: 1 to 255 of [A-Za-z0-9_+.-], not "." or "..". */
int container_id_is_valid(const char *id);

/* The state root where --root does not say; 0, or -ENAMETOOLONG. */
int default_root(char *ret_path, size_t size);

/*
 * An O_PATH descriptor of the state root; with `make`, what is missing is made. -EKEYREJECTED: somebody else could have
 * written what is in it (trust.h), ret_text tells why; or another negative errno.
 */
int state_root(const char *root, int make, char *ret_text, size_t size);

/* A descriptor of the id's directory; -ENOENT where there is none of the caller's, -EINVAL: not an id; else as state_root. */
int state_directory(const char *root, const char *id, char *ret_text, size_t size);

/* A regular file of such a directory, open to be read; -ELOOP where it is none; else as state_root. */
int state_file(int directory, const char *name, char *ret_text, size_t size);

/* 0 where nobody but the caller could have written what the descriptor is open to; else as state_root. */
int state_owned(int fd);

/* 0 where this is the text of a state.json as create writes it; else -EBADMSG. */
int state_is_laid_out(const char *text);

/*
 * The state of runtime.md as JSON, as `state` prints it and hooks read it: from a state.json's text, with this status and pid.
 * Its size, also where it does not fit, as snprintf(3); or -EBADMSG.
 */
int state_document(const char *text, const char *status, int pid, void *ret_text, size_t size);

/* "9", "KILL", "sigkill", "RTMIN+3" → number, 0 to 64; -EINVAL for anything else. */
int signal_number(const char *text);
/* cdef ends */

#endif
