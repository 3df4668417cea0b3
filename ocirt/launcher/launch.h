/* A launch that is kept: `create`, `run` and `exec` from plans that were compiled for a config of the same shape. */
#ifndef OCIRT_LAUNCH_H
#define OCIRT_LAUNCH_H

#include "perform/perform.h"
#include "perform/shape.h"
#include "perform/text.h"

#include <signal.h>
#include <stdbool.h>

#define CONFIG_MAX (256 * 1024)
#define LAUNCH_MAX (1 << 20) /* SIZE_MAX of container/launches.py */
#define LAUNCHES "@launches" /* DIRECTORY there; no container can have that id */

/* Holes that are not of the config, as there; those of the config come behind. */
enum { HOLE_ID, HOLE_BUNDLE, HOLE_RAW, HOLE_PID_FILE, HOLE_CONSOLE, HOLE_CGROUP, HOLE_FIRST = 64 };

#define HOLES_OF_CGROUPS (HOLE_FIRST - HOLE_CGROUP)

/* What `create` or `run` were asked for, in a form that can be kept. */
struct wish {
	const char *root;
	const char *verb;
	const char *id;
	char bundle[PATH_MAX];
	const char *pid_file; /* absolute, or NULL */
	const char *console_socket; /* NULL for none */
	bool detach, keep, no_pivot, no_new_keyring, no_subreaper;
};

/* ---- launch_key.c ---- */

struct flag {
	const char *name;
	const char *letter; /* "" for none */
	bool takes_value;
	int use;
};

/*
 * Takes the flags off the front of the arguments: "--name", "--name=value" or "-n", each given to `take` with its value and
 * `wanted`. False for one that is not of the table, lacks its value, or is not taken.
 */
bool take_flags(const struct flag *flags, size_t count, char ***arguments,
		bool (*take)(void *wanted, const struct flag *flag, const char *value), void *wanted);

/* One part of a key. */
void key_add(struct text *key, const void *data, size_t size);

/* What plans of any verb depend on. False where that cannot be known. */
bool key_begin(struct text *key, const char *verb, const char *program);

/* The name of the key's file. */
void key_name(const struct text *key, char ret_name[32]);

/* False for what is compiled each time. */
bool wish_of(const char *root, const char *verb, char **arguments, struct wish *ret);

/* What `create` and `run` depend on besides. */
bool add_wish(struct text *key, const struct wish *wish, const struct shape *shape);

#define BLOBS 4 /* host plan and init's plan, up to the process and from there on */

/* The file: the head, then the parts that it has the sizes of. */
struct launch_head {
	uint64_t magic;
	uint32_t key;
	uint32_t blobs[BLOBS];
	uint32_t patches;
	uint32_t pool;
	uint32_t witnesses;
	uint64_t uses;
};

struct kept_launch {
	char *bytes;
	struct launch_head head;
	const char *blobs[BLOBS];
	const char *patches, *pool, *witnesses;
};

/* The strings that fill the holes. */
struct filling {
	struct slice own[HOLE_FIRST];
	const struct shape *shapes[2]; /* the holes of the second come behind those of the first; NULL for none */
};

static inline struct slice slice_of(const char *text)
{
	return (struct slice){ text, text ? strlen(text) : 0 };
}

/* ---- launch_file.c ---- */

/* A file up to CONFIG_MAX, read once: what is matched is what is written to the state. Takes the fd, or a negative errno. */
int read_config(int fd, struct text *ret);

/* The same by its path. */
int read_path(const char *path, struct text *ret);

/* The launch that was kept for this key, whose bytes the caller frees in any case; -ENOENT where it is another's. */
int launch_read(const char *root, const char *file, const struct text *wanted, struct kept_launch *ret);

/* A file that is not the one that was looked at when it was kept, NULL for none; "" where it is damaged. */
const char *launch_changed(const struct kept_launch *launch);

/* One of its plans, filled in; decoded where it lies, with zeros behind it. Empty where it has none. False: it is damaged. */
bool launch_plan(const struct kept_launch *launch, const struct filling *filling, uint32_t blob, struct text *ret_plan);

/* ---- launch.c ---- */

/* The path of ocirt-init. */
void find_init(char ret_program[PATH_MAX + 32]);

/* The key that is to be added to; NULL where what plans depend on cannot be read. */
struct text *launch_begin(const char *verb, const char *program);

/* The plans of the launch that was kept for the key, filled in, BLOBS of them; NULL where there is none. */
struct text *launch_fill(const char *root, const struct filling *filling, const struct text *document);

/* That there is none, and why: -1. */
int launch_none(const char *why);

/*
 * Both halves, in order. 0, or -1: Python takes over where it has stopped, with all that was done by then. The caller holds
 * the signals that would end the command, until Python has.
 */
int launch_perform(struct performance *p, struct text plans[BLOBS]);

/*
 * The exit code of `create` or `run`; or -1, and it is Python's. `told`: Python is to say what is done, and whether the plans
 * are those that it would make.
 */
int run_launch(const char *root, const char *verb, char **arguments, bool told);

/* Blocks the signals that end a command, besides those that were blocked before; and lets go of those it has blocked. */
void launch_hold_signals(const sigset_t *before);
void launch_release_signals(void);

/* Whether one of them has ended the launch. */
bool launch_interrupted(void);

/* A launch that has stopped half way. */
struct launch_stopped {
	struct performance *performance; /* NULL for none, or one that was taken over already */
	int half;
	int result;                      /* of perform(), or -EINTR for a signal that ends the command; 0: it has not begun */
	const struct text *config;       /* config.json as it was read; NULL for `exec` */
};

/* The one that there is, which is the caller's from now on. */
struct launch_stopped launch_take(void);

/* Where there is no interpreter to take it over: it is undone. Whether there was one; its descriptors are free then. */
bool launch_abandon(void);

/* What Python goes on with. */
struct launch_outcome {
	const char *name;         /* of the file to keep the launch in, NULL where it is not to be kept */
	const struct text *key;
	const struct text *plans; /* of the launch that is kept, BLOBS of them; NULL for none */
	const struct text *document; /* of `exec`, what is asked for; NULL for none */
	const char *words;        /* why it was none; NULL where nobody asked for one */
};

const struct launch_outcome *launch_outcome(void);

#endif
