/*
 * See launch_exec.h: performed as perform.c does, and in the foreground the company of the process. What goes wrong before
 * it is executed is undone, and Python finds the words.
 */
#define _GNU_SOURCE
#include "launch_exec.h"
#include "attend.h"
#include "launcher.h"
#include "quick.h"
#include "signals.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#define FILTER_FILE "seccomp.bpf" /* SECCOMP_FILE of container/prepare.py */

/* The container that is entered. */
struct site {
	struct container container;
	struct text config; /* its own */
	struct shape shape, asked; /* of that, and of the errand's document */
	struct strings cgroups;
	char bundle[PATH_MAX];
};

static struct errand errand; /* Python is given its document */

static void site_free(struct site *site)
{
	container_close(&site->container);
	text_free(&site->config);
	shape_free(&site->shape);
	shape_free(&site->asked);
	strings_free(&site->cgroups);
}

/* ---- the key ---- */

/* By which of its files the init enters each cgroup; false where it cannot. */
static bool add_cgroups(struct text *key, struct site *site)
{
	struct slice rest = site->container.members[MEMBER_CGROUPS];
	char path[PATH_MAX], file[PATH_MAX + 16], letters[HOLES_OF_CGROUPS];
	size_t count = 0;

	while (slice_next(&rest, path, sizeof(path)) > 0) {
		if (count == sizeof(letters) || strings_add(&site->cgroups, path) < 0)
			return false;
		(void)snprintf(file, sizeof(file), "%s/tasks", path);
		letters[count] = access(file, W_OK) == 0 ? 't' : 'p';
		(void)snprintf(file, sizeof(file), "%s/cgroup.procs", path);
		if (letters[count++] == 'p' && access(file, W_OK) < 0)
			return false;
	}
	key_add(key, letters, count);
	return true;
}

/* The compiled filter of the container, which an older libseccomp may have made. */
static bool add_filter(struct text *key, int directory)
{
	_cleanup_text_ struct text filter = { .bytes = NULL };
	int r = read_config(state_file(directory, FILTER_FILE, NULL, 0), &filter);

	key_add(key, filter.bytes, filter.size);
	return r == 0 || r == -ENOENT;
}

static bool add_container(struct text *key, const struct errand *errand, struct site *site)
{
	const struct container *c = &site->container;
	const uint8_t said[] = {
		member_has_word(c, MEMBER_PYTHON, "oldkeyring"), errand->pid_file != NULL, errand->console_socket != NULL,
	};
	struct slice bundle = c->members[MEMBER_BUNDLE];

	if (slice_next(&bundle, site->bundle, sizeof(site->bundle)) < 0)
		return false;
	if (read_config(state_file(c->fd, "config.json", NULL, 0), &site->config) < 0)
		return false;
	if (shape_of(site->config.bytes, site->config.size, &site->shape) < 0)
		return false;
	if (shape_of(errand->document.bytes, errand->document.size, &site->asked) < 0)
		return false;
	key_add(key, errand->flags.bytes, errand->flags.size);
	if (!add_cgroups(key, site))
		return false;
	key_add(key, said, sizeof(said));
	if (!add_filter(key, c->fd))
		return false;
	key_add(key, site->shape.bytes, site->shape.size);
	key_add(key, site->asked.bytes, site->asked.size);
	return true;
}

/* ---- carrying out ---- */

/* The plan ends when the process has been executed: it is ours to wait for. */
static int execute(struct performance *p, const struct errand *errand, struct text plans[BLOBS])
{
	sigset_t set, before;

	block_signals(&set, &before);
	if (launch_perform(p, plans) < 0) {
		launch_hold_signals(&before);
		return -1;
	}
	close_fd(&p->socket);
	p->socket = -1;
	return errand->detach ? 0 : attend(p->pid, &set, false);
}

static struct filling filling_of(const struct errand *errand, const struct site *site)
{
	struct filling f = { .shapes = { &site->shape, &site->asked } };

	f.own[HOLE_ID] = slice_of(errand->id);
	f.own[HOLE_BUNDLE] = slice_of(site->bundle);
	f.own[HOLE_PID_FILE] = slice_of(errand->pid_file);
	f.own[HOLE_CONSOLE] = slice_of(errand->console_socket);
	for (uint32_t i = 0; i < site->cgroups.count; i++)
		f.own[HOLE_CGROUP + i] = slice_of(site->cgroups.items[i]);
	return f;
}

/* Whether a process may be brought in; what is left to Python says why not. */
static bool open_site(const char *root, const char *id, struct performance *p, struct site *site)
{
	const struct container *c = &site->container;

	if (container_open(root, id, false, &site->container) < 0)
		return false;
	p->target = container_process(c);
	if (p->target < 0 || container_frozen(c) || !member_is(c, MEMBER_PHASE, "\"created\""))
		return false;
	return true;
}

static int run_kept(const char *root, struct performance *p, struct site *site, bool told)
{
	struct text *key = launch_begin("exec", p->program);

	if (!key || !add_container(key, &errand, site))
		return launch_none("what it depends on cannot be read");
	const struct filling filling = filling_of(&errand, site);
	struct text *plans = launch_fill(root, &filling, &errand.document);

	return plans && !told ? execute(p, &errand, plans) : -1;
}

int run_exec(const char *root, char **arguments, bool kept, bool told)
{
	static struct site site = { .container = CONTAINER_NONE };
	static struct performance p; /* Python may go on with it */
	static char program[PATH_MAX + 32];

	if (getenv("LISTEN_FDS")) /* who is told of descriptors, prepare.py says */
		return launch_none("the caller hands on descriptors");
	if (!errand_of(arguments, &errand))
		return launch_none("such flags, or such a process file, are compiled each time");
	(void)performance_begin(&p);
	site_free(&site);
	if (!open_site(root, errand.id, &p, &site))
		return -1;
	find_init(program);
	(void)performance_program(&p, program, root, NULL, 0);
	if (!kept) /* and nobody asks why */
		return -1;
	if (errand.unkept)
		return launch_none("such flags are compiled each time");
	return run_kept(root, &p, &site, told);
}
