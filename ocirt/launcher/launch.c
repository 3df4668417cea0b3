/* See launch.h: a launch is carried out, and undone where that fails. */
#define _GNU_SOURCE
#include "launch.h"
#include "attend.h"
#include "launcher.h"
#include "quick.h"
#include "record.h"
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

static const int interrupting[] = { SIGHUP, SIGINT, SIGTERM };
static struct sigaction former[sizeof(interrupting) / sizeof(*interrupting)];
static volatile sig_atomic_t interrupted;

static void interrupt(int number)
{
	interrupted = number;
}

/* In the foreground signals wait for the process; else some of them undo what there is. */
static void handle_signals(bool foreground, sigset_t *ret_set, sigset_t *ret_before)
{
	const struct sigaction action = { .sa_handler = interrupt }; /* without SA_RESTART: it ends a wait */

	if (foreground) {
		block_signals(ret_set, ret_before);
		return;
	}
	(void)sigprocmask(SIG_BLOCK, NULL, ret_before);
	for (size_t i = 0; i < sizeof(interrupting) / sizeof(*interrupting); i++)
		if (sigaction(interrupting[i], NULL, &former[i]) == 0 && former[i].sa_handler != SIG_IGN) /* as nohup(1) leaves one */
			(void)sigaction(interrupting[i], &action, NULL);
}

static void restore_signals(bool foreground, const sigset_t *before)
{
	for (size_t i = 0; !foreground && i < sizeof(interrupting) / sizeof(*interrupting); i++)
		(void)sigaction(interrupting[i], &former[i], NULL);
	(void)sigprocmask(SIG_SETMASK, before, NULL);
}

bool launch_was_interrupted(void)
{
	return interrupted != 0;
}

int perform_half(struct performance *p, struct text *host, const struct text *init, const volatile sig_atomic_t *ended)
{
	int r = performance_plan(p, host->bytes, host->size);

	if (r < 0)
		return r;
	(void)performance_init_plan(p, init->bytes, init->size);
	do
		r = perform(p);
	while ((r == PERFORM_AGAIN || r == PERFORM_LOCKED) && !(ended && *ended));
	return r > 0 ? -ECANCELED : r;
}

void launch_lend_init(struct performance *p)
{
	struct waiting_init waiting;

	if (!take_init_in(p->cgroup, &waiting))
		return;
	p->socket = waiting.socket;
	p->bell = waiting.doorbell;
	p->first = waiting.pid;
	p->in_cgroup = waiting.cgroup != 0;
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

/* Of the directories that were made for cgroups, parents may have got others by now. */
static void remove_made(const struct performance *p)
{
	_cleanup_strings_ struct strings made = { .items = NULL };

	(void)performance_list_made(p, &made);
	for (uint32_t i = 0; i < made.count; i++)
		(void)(strings_have(&p->usable, made.items[i]) ? remove_cgroup(made.items[i]) : rmdir(made.items[i]));
}

/* Whether the id is still that of the container with this directory: another may have got it, once ours was deleted. */
static bool is_ours(const struct wish *wish, int directory)
{
	struct stat ours, there;
	char path[PATH_MAX];

	return snprintf(path, sizeof(path), "%s/%s", wish->root, wish->id) < (int)sizeof(path) && fstat(directory, &ours) == 0 &&
	       lstat(path, &there) == 0 && there.st_dev == ours.st_dev && there.st_ino == ours.st_ino;
}

/* What there is of a container by then, none of whose own programs was executed. Its lock is held: the name is ours. */
static void undo(struct performance *p, const struct wish *wish)
{
	_cleanup_fd_ int directory = -1; /* holds the inode, not the lock */

	(void)performance_end(p);
	if (p->recorded)
		remove_made(p);
	if (p->pid_file)
		(void)unlink(wish->pid_file);
	if (p->directory < 0 || remove_state(wish->root, wish->id, p->directory) == 0)
		return;
	directory = openat(p->directory, ".", O_PATH | O_CLOEXEC);
	(void)performance_close(p);
	if (is_ours(wish, directory))
		delete_container(wish);
}

/* In the foreground: hand signals on, reap what the container orphans, remove it. */
static int attend_to_the_end(const struct wish *wish, pid_t pid, int directory, const sigset_t *set)
{
	int code = attend(pid, set, !wish->no_subreaper);

	if (!wish->keep && is_ours(wish, directory))
		delete_container(wish);
	return code;
}

static int perform_both(struct performance *p, struct text plans[BLOBS])
{
	int r = perform_half(p, &plans[0], &plans[1], &interrupted);

	return r < 0 ? r : perform_half(p, &plans[2], &plans[3], &interrupted);
}

static int carry_out(const struct wish *wish, const char *program, struct text plans[BLOBS], int *ret_code)
{
	bool foreground = strcmp(wish->verb, "run") == 0 && !wish->detach;
	_cleanup_performance_ struct performance p;
	_cleanup_fd_ int directory = -1; /* holds the inode, not the lock */
	sigset_t set, before;
	pid_t pid;
	int r;

	(void)performance_begin(&p);
	p.program = program;
	p.interrupted = &interrupted;
	if (foreground && !wish->no_subreaper && (r = shim_subreaper()) < 0)
		return r;
	handle_signals(foreground, &set, &before);
	launch_lend_init(&p);
	r = perform_both(&p, plans);
	if (r < 0) {
		undo(&p, wish);
		restore_signals(foreground, &before);
		return r;
	}
	pid = p.pid;
	directory = openat(p.directory, ".", O_PATH | O_CLOEXEC);
	(void)performance_close(&p);
	*ret_code = foreground ? attend_to_the_end(wish, pid, directory, &set) : 0;
	return 0;
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

int launch_failed(void)
{
	outcome.plans = NULL;
	outcome.name = NULL; /* nor is it tried again */
	return launch_none("the launch has failed, and is undone");
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

static struct filling filling_of(const struct wish *wish, const struct shape *shape, const struct text *config)
{
	struct filling f = { .shapes = { shape } };

	f.own[HOLE_ID] = slice_of(wish->id);
	f.own[HOLE_BUNDLE] = slice_of(wish->bundle);
	f.own[HOLE_RAW] = (struct slice){ config->bytes, config->size };
	f.own[HOLE_PID_FILE] = slice_of(wish->pid_file);
	return f;
}

static int run_wish(const struct wish *wish, const struct text *config, bool told)
{
	_cleanup_shape_ struct shape shape = { .bytes = NULL };
	char program[PATH_MAX + 32];
	struct text *filled;
	int code;

	if (shape_of(config->bytes, config->size, &shape) < 0)
		return launch_none("config.json can be read in more than one way");
	find_init(program);
	if (!launch_begin(wish->verb, program) || !add_wish(&key, wish, &shape))
		return launch_none("what it depends on cannot be read");
	const struct filling filling = filling_of(wish, &shape, config);
	filled = launch_fill(wish->root, &filling, NULL);
	if (!filled || told)
		return -1;
	if (carry_out(wish, program, filled, &code) == 0)
		return code;
	return launch_failed();
}

int run_launch(const char *root, const char *verb, char **arguments, bool told)
{
	_cleanup_text_ struct text config = { .bytes = NULL };
	char path[2 * PATH_MAX];
	struct wish wish;

	if (getenv("LISTEN_FDS") || getenv("NOTIFY_SOCKET"))
		return launch_none("the caller hands on a socket");
	if (!wish_of(root, verb, arguments, &wish))
		return launch_none("such flags, or such paths, are compiled each time");
	(void)snprintf(path, sizeof(path), "%s/config.json", wish.bundle);
	if (read_path(path, &config) < 0)
		return launch_none("config.json cannot be read, or is too large");
	return run_wish(&wish, &config, told);
}
