/* What the parts of ocirt-init share. An operation is op_NAME(init, args): 0 or a negative errno. */
#ifndef OCIRT_INIT_H
#define OCIRT_INIT_H

#include <sys/stat.h>
#include "sys.h"
#include "plan.h"

#define HOME_MAX 1024

/* A mount that a later operation resolves a path below: its path as the plan has it, and its root's fd. */
struct kept {
	const char *path;
	int mount;
};

struct init {
	int doorbell;          /* rung when the first plan is in the channel; -1 without one */
	int channel;           /* where errors are reported: the runtime's socket, later the connection of `start` */
	int slots[SLOT_COUNT]; /* fds, or -1 */
	struct plan plan;
	uint32_t before;       /* operations of the plans before this one */
	uint32_t index;        /* of the operation under way */
	bool more;             /* another plan is to come */
	bool children_unseen;  /* SIGCHLD has SA_NOCLDWAIT (op_notify.c), which whoever waits for a child has to undo */
	bool unprivileged;     /* the caller is not root: /proc/self belongs to it only while dumpable */
	unsigned int umask;    /* what hooks get: the caller's, until `umask` sets the container's */
	const char *rootfs;    /* the host path of SLOT_ROOT */
	const char *program;   /* what find_exec found */
	bool entered;          /* the working directory: a chdir has succeeded */
	char home[HOME_MAX];   /* "HOME=…", or "" */
	struct message report; /* error, detail and text of a failure under way */
	struct message *shared_report; /* the same where the runtime sees it, NULL without `report_file` */
	uint32_t text_length;
	struct kept *kept;     /* KEPT_MAX of them */
	uint32_t kept_count;
	bool doubtful;         /* mounts may be hidden by others that the plan does not tell of */
};

#define OP(name, kinds) int op_##name(struct init *init, const uint64_t *args);
#include "ops.def"
#undef OP

_Noreturn void init_main(int argc, char **argv);

/* ---- relocate.c ---- */

/* Before all else, and without a system call. */
void relocate(void);

/* From here on the tables cannot be written any more. */
int protect_relocated(void);

static inline const char *arg_string(const uint64_t *args, int i)
{
	return (const char *)(uintptr_t)args[i];
}

static inline char **arg_vector(const uint64_t *args, int i)
{
	return (char **)(uintptr_t)args[i];
}

/* ---- report.c ---- */

/* Note what an error is about and pass it through: `return fail(init, r, DETAIL_TARGET)`. */
int fail(struct init *init, int error, uint32_t detail);
void say(struct init *init, const char *text, size_t length);
void say_string(struct init *init, const char *text);
void forget_failure(struct init *init);
void report_failure(struct init *init, uint32_t index, int error);
int send_message(const struct init *init, uint32_t type, uint32_t value);
int send_locked(const struct init *init, uint64_t attributes);
int receive_go(struct init *init, uint32_t point);
int send_with_fd(int socket, int fd, const char *bytes, size_t length);
int slot_fd(const struct init *init, uint64_t slot); /* -EBADF when it is empty */
void slot_set(struct init *init, uint64_t slot, int fd);

/* ---- load.c ---- */

/* Wait for the plan and decode it into init->plan; *ret_bad as for plan_decode. */
int load_plan(struct init *init, uint32_t *ret_bad);

extern const struct vocabulary operations; /* of ops.def */

/* ---- kept.c ---- */

/*
 * Open a path below the container's root as it is, without magic links: from the innermost kept mount at or above it,
 * which it may not leave (EXDEV), else from SLOT_ROOT.
 */
int open_path(const struct init *init, const char *path, uint64_t flags, uint64_t resolve);

/* Take note that `mount`, whose fd is taken, is at `path` now; with MOUNT_KEEP it stays open. */
int keep_mount(struct init *init, const char *path, int mount, uint64_t flags);

bool is_kept(const struct init *init, const char *path);
size_t kept_length(const struct init *init, const char *path); /* of the path of the mount that it is below; 0: none */
int check_seen(struct init *init, const char *path);

/* ---- path.c ---- */

/* openat2(2) below `root` without magic links; retried, within bounds, when renames disturb it (EAGAIN). */
int open_below(int root, const char *path, uint64_t flags, uint64_t resolve);

/*
 * Open (O_PATH) a path below SLOT_ROOT, made as a directory or an empty file (S_IFDIR, S_IFREG) with its parents
 * where it is missing. `resolve`: RESOLVE_NO_SYMLINKS or 0. *ret_made tells whether it was missing; may be NULL.
 */
int open_or_make(struct init *init, const char *path, unsigned int type, uint64_t resolve, bool *ret_made);

/* Open the directory that holds the last component of `path` (made where missing); *ret_name is that component. */
int open_parent(struct init *init, const char *path, char ret_name[256]);

int file_status(int fd, struct statx *ret_status);
int same_inode_type(int fd, unsigned int mode, uint32_t device);
bool is_filesystem(int fd, long magic);

/* ---- mount helpers, op_mount.c ---- */

#define ATTACH_FROM_TO 0x44 /* MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH */

int attach(struct init *init, int tree, int target);
int set_attributes(struct init *init, int tree, uint64_t set, uint64_t clear, bool recursive);

/* The same for one mount, but what a more privileged mount namespace has locked stays; the runtime is told. */
int set_unlocked(struct init *init, int tree, uint64_t set, uint64_t clear);
int set_propagation(struct init *init, int tree, uint64_t propagation);
int make_filesystem(struct init *init, const char *fstype, const char *source, char *const *options, uint64_t attributes);
int clone_tree(int fd, const char *path, unsigned int flags);

/* ---- others ---- */

/*
 * Not dumpable, so that no process of the container can trace it or open its files by /proc (CVE-2016-9962). To be
 * called after every change of ids or user namespace: the kernel sets the flag to fs.suid_dumpable then, which may
 * be 1. `visible` for the moments in which an unprivileged runtime, or we, must open its /proc files.
 */
void set_dumpable(bool visible); /* op_namespace.c */

/*
 * close_range(2), op_process.c. Where a filter in force does not know that call, one fd after the other, up to a
 * number that nothing of ours reaches. flags: 0 or CLOSE_RANGE_CLOEXEC.
 */
int close_fds(unsigned int first, unsigned int last, unsigned int flags);

int load_filter(struct init *init, uint64_t array, uint64_t flags); /* op_security.c; the listener with NEW_LISTENER */
/* Put HOME at the end of an environment of the plan, where `home` found one: op_process.c. Two words of zero end a vector. */
void add_home(struct init *init, char **env);

int copy_up(struct init *init, int from, int to);  /* copy.c */
int write_file(int directory, const char *path, uint64_t resolve, const char *value); /* op_namespace.c */

#endif
