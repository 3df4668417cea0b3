/* See launch.h: a launch is carried out, and undone where that fails. */
#define _GNU_SOURCE
#include "launch.h"
#include "attend.h"
#include "launcher.h"
#include "quick.h"
#include "record.h"
#include "signals.h"
#include "linux/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

static struct launch_outcome outcome;
static struct text key, plans[BLOBS];
static char name[32], words[PATH_MAX + 64];

const struct launch_outcome *launch_outcome(void)
{
	return &outcome;
}

/* ---- carrying out ---- */

static struct sigaction former[ENDING];
static volatile sig_atomic_t interrupted;
static struct launch_stopped stopped;
static struct wish asked; /* of `create` or `run` */
static struct text config; /* the same */
static sigset_t held;

struct launch_stopped launch_take(void)
{
	struct launch_stopped taken = stopped;

	stopped.performance = NULL;
	return taken;
}

bool launch_interrupted(void)
{
	return interrupted != 0;
}

static void interrupt(int number)
{
	interrupted = number;
}

/* In the foreground signals wait for the process; else some of them end the launch. */
static void handle_signals(bool foreground, sigset_t *ret_set, sigset_t *ret_before)
{
	const struct sigaction action = { .sa_handler = interrupt }; /* without SA_RESTART: it ends a wait */

	if (foreground) {
		block_signals(ret_set, ret_before);
		return;
	}
	(void)sigprocmask(SIG_BLOCK, NULL, ret_before);
	handle_ending(&action, former);
}

void launch_hold_signals(const sigset_t *before)
{
	sigset_t mask = *before;

	(void)sigemptyset(&held);
	for (size_t i = 0; i < ENDING; i++)
		if (!sigismember(before, ending_signals[i])) {
			(void)sigaddset(&held, ending_signals[i]);
			(void)sigaddset(&mask, ending_signals[i]);
		}
	(void)sigprocmask(SIG_SETMASK, &mask, NULL);
}

void launch_release_signals(void)
{
	(void)sigprocmask(SIG_UNBLOCK, &held, NULL);
	(void)sigemptyset(&held);
}

static void restore_handlers(void)
{
	for (size_t i = 0; i < ENDING; i++)
		(void)sigaction(ending_signals[i], &former[i], NULL);
}

/* What has begun. 0, or a negative errno. */
static int go_on(struct performance *p)
{
	int r;

	do
		r = perform(p);
	while ((r == PERFORM_AGAIN || r == PERFORM_LOCKED) && !interrupted);
	return r != 0 && interrupted ? -EINTR : r;
}

static int stop(struct performance *p, int half, int result)
{
	p->interrupted = NULL;
	stopped = (struct launch_stopped){ p, half, result, asked.id ? &config : NULL };
	outcome.plans = NULL;
	outcome.name = NULL; /* nor is it tried again */
	return launch_none("the launch is under way");
}

int launch_perform(struct performance *p, struct text plans[BLOBS])
{
	for (int half = 0; half < BLOBS / 2; half++) {
		const struct text *host = &plans[2 * half], *init = host + 1;
		int r;

		if (host->size == 0)
			continue;
		if (performance_plan(p, host->bytes, host->size) < 0)
			return stop(p, half, 0);
		(void)performance_init_plan(p, init->bytes, init->size);
		r = go_on(p);
		if (r != 0)
			return stop(p, half, r);
	}
	if (p->pid > 0)
		return 0;
	(void)performance_end(p);
	(void)performance_close(p);
	outcome.plans = NULL;
	return launch_none("the file of the launch is damaged");
}

/* Python is asked where the quick way does not do. */
static void delete_container(const struct wish *wish)
{
	int status;
	pid_t pid;

	if (quick_delete(wish->root, wish->id, 1) == QUICK_DONE)
		return;
	pid = fork();
	if (pid == 0) {
		(void)execl("/proc/self/exe", "ocirt", "--root", wish->root, "delete", "--force", wish->id, (char *)NULL);
		_exit(EXIT_FAILURE);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
}

/* Whether the id is still that of the container with this directory: another may have got it, once ours was deleted. */
static bool is_ours(const struct wish *wish, int directory)
{
	struct stat ours, there;
	char path[PATH_MAX];

	return snprintf(path, sizeof(path), "%s/%s", wish->root, wish->id) < (int)sizeof(path) && fstat(directory, &ours) == 0 &&
	       lstat(path, &there) == 0 && there.st_dev == ours.st_dev && there.st_ino == ours.st_ino;
}

/* In the foreground: hand signals on, reap what the container orphans, remove it. */
static int attend_to_the_end(const struct wish *wish, pid_t pid, int directory, const sigset_t *set)
{
	int code = attend(pid, set, !wish->no_subreaper);

	if (!wish->keep && is_ours(wish, directory))
		delete_container(wish);
	return code;
}

bool launch_abandon(void)
{
	struct performance *p = launch_take().performance;
	_cleanup_fd_ int directory = -1;

	if (!p)
		return false;
	(void)performance_end(p); /* lets go of its descriptors too: they may be what has run out */
	if (p->directory >= 0)
		directory = openat(p->directory, ".", O_PATH | O_CLOEXEC);
	if (p->pid_file && asked.id)
		(void)unlink(asked.pid_file);
	(void)performance_close(p);
	if (asked.id && directory >= 0 && is_ours(&asked, directory))
		delete_container(&asked);
	launch_release_signals();
	return true;
}

static int carry_out(const struct wish *wish, const char *program, struct text plans[BLOBS])
{
	static struct performance p; /* Python may go on with it */
	bool foreground = strcmp(wish->verb, "run") == 0 && !wish->detach;
	_cleanup_fd_ int directory = -1; /* holds the inode, not the lock */
	sigset_t set, before;
	pid_t pid;

	if (foreground && !wish->no_subreaper && shim_subreaper() < 0)
		return launch_none("become a subreaper");
	(void)performance_begin(&p);
	(void)performance_program(&p, program, wish->root, NULL, 0);
	p.interrupted = &interrupted;
	handle_signals(foreground, &set, &before);
	if (launch_perform(&p, plans) < 0) {
		launch_hold_signals(&before);
		if (!foreground)
			restore_handlers();
		return -1;
	}
	pid = p.pid;
	directory = openat(p.directory, ".", O_PATH | O_CLOEXEC);
	(void)performance_close(&p);
	return foreground ? attend_to_the_end(wish, pid, directory, &set) : 0;
}

static int fill_plans(const char *root, const struct filling *filling)
{
	struct kept_launch l = { .bytes = NULL };
	const char *changed = NULL;
	int r = launch_read(root, name, &key, &l);

	if (r == 0 && (changed = launch_changed(&l))) {
		(void)snprintf(words, sizeof(words), "the host has changed: %s", changed);
		r = -ESTALE;
	}
	for (uint32_t i = 0; r == 0 && i < BLOBS; i++) {
		text_free(&plans[i]);
		if (!launch_plan(&l, filling, i, &plans[i]))
			r = -EBADMSG;
	}
	free(l.bytes);
	return r;
}

static const char *words_of(int r)
{
	switch (-r) {
	case 0:            return "";
	case ENOENT:       return "none is kept for such a container";
	case ESTALE:       return words;
	case EBADMSG:      return "the file of the launch is damaged";
	case EKEYREJECTED: return "others could have written what is kept";
	default:           return strerror(-r);
	}
}

void find_init(char ret_program[PATH_MAX + 32])
{
	char parent[PATH_MAX];

	find_package(parent);
	(void)snprintf(ret_program, PATH_MAX + 32, "%s/ocirt/_bin/ocirt-init", parent);
}

int launch_none(const char *why)
{
	outcome.words = why;
	return -1;
}

struct text *launch_begin(const char *verb, const char *program)
{
	text_free(&key);
	return key_begin(&key, verb, program) ? &key : NULL;
}

struct text *launch_fill(const char *root, const struct filling *filling, const struct text *document)
{
	int r;

	if (key.error)
		return NULL;
	key_name(&key, name);
	r = fill_plans(root, filling);
	outcome = (struct launch_outcome){
		.name = name, .key = &key, .plans = r == 0 ? plans : NULL, .document = document, .words = words_of(r),
	};
	return r == 0 ? plans : NULL;
}

static struct filling filling_of(const struct wish *wish, const struct shape *shape)
{
	struct filling f = { .shapes = { shape } };

	f.own[HOLE_ID] = slice_of(wish->id);
	f.own[HOLE_BUNDLE] = slice_of(wish->bundle);
	f.own[HOLE_RAW] = (struct slice){ config.bytes, config.size };
	f.own[HOLE_PID_FILE] = slice_of(wish->pid_file);
	f.own[HOLE_CONSOLE] = slice_of(wish->console_socket);
	return f;
}

static int run_wish(const struct wish *wish, bool told)
{
	_cleanup_shape_ struct shape shape = { .bytes = NULL };
	static char program[PATH_MAX + 32];
	struct text *filled;

	if (shape_of(config.bytes, config.size, &shape) < 0)
		return launch_none("config.json can be read in more than one way");
	find_init(program);
	if (!launch_begin(wish->verb, program) || !add_wish(&key, wish, &shape))
		return launch_none("what it depends on cannot be read");
	const struct filling filling = filling_of(wish, &shape);
	filled = launch_fill(wish->root, &filling, NULL);
	if (!filled || told)
		return -1;
	return carry_out(wish, program, filled);
}

int run_launch(const char *root, const char *verb, char **arguments, bool told)
{
	char path[2 * PATH_MAX];

	if (getenv("LISTEN_FDS") || getenv("NOTIFY_SOCKET"))
		return launch_none("the caller hands on a socket");
	if (!wish_of(root, verb, arguments, &asked))
		return launch_none("such flags, or such paths, are compiled each time");
	(void)snprintf(path, sizeof(path), "%s/config.json", asked.bundle);
	text_free(&config);
	if (read_path(path, &config) < 0)
		return launch_none("config.json cannot be read, or is too large");
	return run_wish(&asked, told);
}
