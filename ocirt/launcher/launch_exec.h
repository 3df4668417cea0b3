/* A launch of `exec` that is kept: its plans depend on the container's config, and on what is asked for besides. */
#ifndef OCIRT_LAUNCH_EXEC_H
#define OCIRT_LAUNCH_EXEC_H

#include "launch.h"
#include "record.h"

/* What `exec` was asked for. */
struct errand {
	const char *id;
	const char *pid_file; /* NULL for none */
	const char *console_socket; /* NULL for none */
	bool detach;
	bool unkept;          /* it is compiled each time */
	struct text flags;    /* those that plans depend on, as they are */
	struct text variables; /* those that are given, a list of JSON without its end; empty for none */
	struct text document;  /* {"process": …}: the process file, or the words and variables that are given */
};

/* False for what nobody can make sense of here. `ret`: of an earlier command, or zeros. */
bool errand_of(char **arguments, struct errand *ret);

/*
 * Runs `exec` from plans that were kept for an equal key. The exit code; or -1, and it is Python's.
 * `kept`: whether any are looked for. `told`: as run_launch.
 */
int run_exec(const char *root, char **arguments, bool kept, bool told);

#endif
