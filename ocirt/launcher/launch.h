/* A launch that is kept: `create` and `run` from plans that were compiled for a config of the same shape. */
#ifndef OCIRT_LAUNCH_H
#define OCIRT_LAUNCH_H

#include "perform/perform.h"
#include "perform/shape.h"
#include "perform/text.h"

#include <stdbool.h>

#define CONFIG_MAX (256 * 1024)
#define LAUNCH_MAX (1 << 20) /* SIZE_MAX of container/launches.py */
#define LAUNCHES "@launches" /* DIRECTORY there; no container can have that id */

/* Holes that are not of the config, as there; those of the config come behind. */
enum { HOLE_ID, HOLE_BUNDLE, HOLE_RAW, HOLE_PID_FILE, HOLE_FIRST = 16 };

/* What `create` or `run` were asked for, in a form that can be kept. */
struct wish {
	const char *root;
	const char *verb;
	const char *id;
	char bundle[PATH_MAX];
	const char *pid_file; /* absolute, or NULL */
	bool detach, keep, no_pivot, no_new_keyring, no_subreaper;
};

/* False for what is compiled each time. */
bool wish_of(const char *root, const char *verb, char **arguments, struct wish *ret);

/* All that the plans depend on, as bytes, and a name made of them. False where that cannot be known. */
bool launch_key(const struct wish *wish, const char *program, const struct shape *shape, struct text *ret_key, char ret_name[32]);

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
	const struct wish *wish;
	const struct shape *shape;
	const struct text *config;
};

/* ---- launch_file.c ---- */

/* The launch that was kept for this key, whose bytes the caller frees in any case; -ENOENT where it is another's. */
int launch_read(const char *root, const char *file, const struct text *wanted, struct kept_launch *ret);

/* A file that is not the one that was looked at when it was kept, NULL for none; "" where it is damaged. */
const char *launch_changed(const struct kept_launch *launch);

/* One of its plans, filled in; decoded where it lies, with zeros behind it. Empty where it has none. False: it is damaged. */
bool launch_plan(const struct kept_launch *launch, const struct filling *filling, uint32_t blob, struct text *ret_plan);

/*
 * As the quick verbs: exits where a launch was carried out, else QUICK_PYTHON; `told`: Python is to say what is done, and
 * whether the plans are those that it would make. A launch that has failed is undone, and Python does it anew.
 */
int run_launch(const char *root, const char *verb, char **arguments, bool told);

/* Whether a signal has ended the launch; all is undone, the command has to end. */
bool launch_was_interrupted(void);

/* What Python goes on with. */
struct launch_outcome {
	const char *name;         /* of the file to keep the launch in, NULL where it is not to be kept */
	const struct text *key;
	const struct text *plans; /* of the launch that is kept, BLOBS of them; NULL for none */
	const char *words;        /* why it was none; NULL where nobody asked for one */
};

const struct launch_outcome *launch_outcome(void);

#endif
