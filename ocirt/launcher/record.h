/*
 * A container's directory as the quick verbs see it: state.json read without a JSON parser (docs/plan.md, "The state
 * directory", fixes its lines), the lock, and who is alive.
 */
#ifndef OCIRT_RECORD_H
#define OCIRT_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define STATE_FORMAT "2" /* FORMAT of container/record.py; 1 had no number and no mark */
#define STATE_MAX (65 << 20) /* LIMIT of container/state.py */
#define PATH_SIZE 4096
#define BOOT_ID_SIZE 64

/* Part of state.json's text; not NUL-terminated. A string's slice includes its quotes. */
struct slice {
	const char *start;
	size_t size;
};

#define MEMBER(name, indent, json, kind) MEMBER_##name,
enum member {
#include "state.def"
	MEMBER_COUNT,
};
#undef MEMBER

struct container {
	int fd;     /* the id directory */
	bool locked;
	char *text; /* state.json */
	struct slice members[MEMBER_COUNT];
	pid_t pid;
	uint64_t start_time; /* clock ticks after boot: field 22 of proc_pid_stat(5) */
};

#define CONTAINER_NONE { .fd = -1 }

/*
 * Fills a CONTAINER_NONE, which the caller closes in any case. With lock, waits for the directory's lock and holds it until
 * then. 0, or negative errnos as of quick_status.
 */
int container_open(const char *root, const char *id, bool lock, struct container *container);
void container_close(struct container *container);

/* rmdir(2); what was still leaving it when its process died is waited for. -EBUSY for one that has cgroups below. */
int remove_cgroup(const char *path);

/* Remove what the runtime has made in a state directory, whose lock the caller has, and the directory. -EOPNOTSUPP: it has more. */
int remove_state(const char *root, const char *id, int directory);

/* The pidfd of the container's process; -ESRCH when it has exited, even if nobody has reaped it. */
int container_process(const struct container *container);

/* A STATUS_ value, given what container_process returned; or a negative errno. */
int container_status(const struct container *container, int pidfd);

/* 1 if it was made since the host has started: if not (0), what it had besides its directory is gone. Or a negative errno. */
int container_same_boot(const struct container *container);

/* 1 if a freezer has stopped the container, 0 if none has, or a negative errno. */
int container_frozen(const struct container *container);

/* A stream connected to start.sock; -ECONNREFUSED or -ENOENT when the init does not wait for start (any more). */
int container_connect(const struct container *container);

/* Whether the member is exactly this JSON text. */
bool member_is(const struct container *container, enum member member, const char *text);

/* Whether the member is a string with this among its space-separated words. */
bool member_has_word(const struct container *container, enum member member, const char *word);

/*
 * The next string of a list, or the only string of a slice, without its quotes and escapes; takes it off the slice.
 * Its length, -ENODATA at the end, or another negative errno.
 */
int slice_next(struct slice *slice, char *ret_text, size_t size);

/* Whether the slice is exactly this text. */
bool slice_is(const struct slice *slice, const char *text);

/* The lines of state.json, each up to its value. */
extern const char *const state_heads[MEMBER_COUNT];

/* The length of the character, 0 for what is not UTF-8 (RFC 3629: no surrogate, none in more bytes than it needs). */
size_t utf8_character(const unsigned char *at);

/* The members of a state.json; -EBADMSG where it is not what perform/text.c writes. */
int split_lines(const char *text, struct slice ret_members[MEMBER_COUNT]);

/* Close an fd that may be none; for `__attribute__((cleanup))`. */
static inline void close_fd(const int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

/* Hand an fd over: it is no longer closed here. */
static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#define _cleanup_fd_ __attribute__((cleanup(close_fd)))
#define _cleanup_container_ __attribute__((cleanup(container_close)))

#endif
