/*
 * What the runtime and ocirt-init say to each other: the plan's layout and the messages.
 * Shared by the init, the shim and (through cffi) Python. docs/plan.md is the prose.
 */
#ifndef OCIRT_WIRE_H
#define OCIRT_WIRE_H

#include <stdint.h>

#define PLAN_MAGIC 0x3154505452434fULL /* "OCRTPT1" */
#define PLAN_MAX (16U << 20)
#define HOST_PLAN_MAX (512U << 20) /* config.json is in it, up to 64 MiB */
#define OP_MAX_ARGS 9

struct plan_header {
	uint64_t magic;
	uint32_t size;  /* of the whole plan, bytes */
	uint32_t count; /* of operations */
};

/*
 * An operation: this head, then one u64 an argument. A number or a slot stands for itself; a string or bytes is
 * offset | length << 32 (offset from the plan's start; a string's NUL follows and is not counted); a vector is
 * offset | count << 32, and at the offset (8-aligned) stand count such words and two words of zero: one ends the
 * vector, the other leaves room for one string more (HOME). All that an argument points at lies behind the last
 * operation. Strings and bytes may be shared between arguments; vectors may not.
 */
struct plan_op {
	uint16_t code;
	uint16_t ignore[2]; /* errnos that do not count as a failure; 0: none */
	uint16_t skip;      /* operations to pass over when this one succeeds */
};

enum { SLOT_ROOT, SLOT_PROC, SLOT_NULL, SLOT_EMPTY, SLOT_CONSOLE, SLOT_START, SLOT_STATE_CREATING, SLOT_STATE_CREATED, SLOT_FIRST_FREE };
#define SLOT_COUNT 256
#define SLOT_PLAN 255
#define SLOT_BELL 254 /* the doorbell of the next plan */
#define SLOT_CGROUP 253 /* where it holds a cgroup of v2, clone makes the process in that */
#define SLOT_TARGET 252 /* a pidfd of the process whose namespaces are joined */
#define SLOT_REPORT 251 /* a file of REPORT_SIZE bytes, for the report of a failure that a filter may refuse to send */
#define SLOT_NONE 0xffffffffU

#define KEPT_MAX 1024 /* mounts with MOUNT_KEEP */

/* Points at which init waits for the runtime's go. */
enum { SYNC_PLAN, SYNC_MAPPED, SYNC_CGROUP, SYNC_RUNTIME_HOOKS, SYNC_CREATED, SYNC_START };

/* Flags of the mount operations. */
enum {
	MOUNT_PROC_OK = 1,      /* the target may lie inside a procfs (a file that lxcfs replaces) */
	MOUNT_NO_SYMLINKS = 2,  /* the target must be a real directory reached without a symlink (proc, sysfs) */
	MOUNT_COPY_UP = 4,      /* fill the new filesystem with what the target held */
	MOUNT_INHERIT_MODE = 8, /* tmpfs without mode=: take the mode of the directory that it covers */
	MOUNT_COPY_SYMLINK = 16, /* a source that is a symlink is made again, not followed */
	MOUNT_DEVICE = 32,      /* the source must be a device node; the target is made as an empty file */
	MOUNT_RECURSIVE = 64,   /* mount_bind of a host path: with the mounts below it (rbind); a slot's tree is what it is */
	MOUNT_KEEP = 128,       /* paths below the target are resolved later: below this mount, wherever its name leads by then */
};

/* Which procfs open_proc opens. */
enum {
	PROC_WHOLE,     /* a new one, of the pid namespace that we are in */
	PROC_PROCESSES, /* the same, with the directories of processes alone */
	PROC_HOST,      /* what is on /proc, before anything of the container's can be there */
};

enum { MSG_GO = 1, MSG_PID, MSG_SYNC, MSG_ERROR, MSG_LOCKED };

#define MSG_TEXT_MAX 1024
#define MSG_FDS_MAX 200

struct message {
	uint32_t type;
	uint32_t value;  /* GO, SYNC: the point; PID: the pid; ERROR, LOCKED: the operation's index, or NO_OP */
	uint32_t error;  /* ERROR: errno; LOCKED: MOUNT_ATTR_… that the mount keeps from its source */
	uint32_t detail; /* ERROR: DETAIL_…; GO: number of fds, their slots follow as u32 in text */
	char text[MSG_TEXT_MAX]; /* ERROR: what else there is to say; sent only as far as used */
};
#define MESSAGE_HEAD 16
#define REPORT_SIZE 4096 /* a struct message, zeros until there is one */
#define NO_OP 0xffffffffU

/* Flags of the operation hook. */
enum {
	HOOK_HOME = 1,    /* it has the process's environment: with HOME, where `home` found one */
	HOOK_IN_ROOT = 2, /* its working directory is the container's root, which is not entered yet */
};

enum {
	DETAIL_NONE,
	DETAIL_TARGET,    /* the target path could not be resolved or made */
	DETAIL_SOURCE,    /* the source could not be opened */
	DETAIL_OPTION,    /* an option was refused; text: the option, then the kernel's log */
	DETAIL_IN_PROC,   /* the target lies inside a procfs */
	DETAIL_NOT_DIR,   /* the target is not a directory, or reached through a symlink */
	DETAIL_WRONG_INODE, /* not the device, terminal or filesystem that it must be */
	DETAIL_EXIT,      /* hook: error holds the wait status instead; text: its output */
	DETAIL_TIMEOUT,   /* hook: out of time; text: its output */
	DETAIL_OUTSIDE,   /* the directory is not below the container's root */
	DETAIL_CREATE,    /* fsopen/fsconfig create refused; text: the kernel's log */
	DETAIL_ATTACH,    /* move_mount refused */
	DETAIL_ATTRIBUTE, /* mount_setattr refused */
	DETAIL_PLAN,      /* the plan itself is malformed */
	DETAIL_HIDDEN,    /* the mount that the path is below is not what can be seen there */
	DETAIL_KILLED,    /* the runtime's own: the init was killed before it had executed the process */
};

#endif
