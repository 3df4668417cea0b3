/*
 * Hooks that run on this side: createContainer in the runtime's view of the file system, startContainer in the
 * container's. A hook gets a session of its own, its argv and env as they are, the state on stdin; what it prints is
 * kept only to tell why it failed. It is waited for by its pidfd, and killed with its group when its time is over.
 */
#include <poll.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include "init.h"

#define KILL 9
#define READS_MAX 2048 /* fs.pipe-max-size: what fits in a pipe */

struct hook {
	const char *path;
	char **argv;
	char **env;
	int state;      /* fd of the state, or -1 */
	int directory;  /* fd of its working directory; -1: the init's own */
	uint64_t filter, filter_flags; /* what confines it alone, for the process is not confined yet; an empty array for none */
	int output[2];  /* pipe of stdout and stderr */
	int failure[2]; /* pipe that carries execve's errno; closed by a successful execve */
	int pid;
	int pidfd;
	bool timed_out;
};

struct clock {
	long seconds;
	long nanoseconds;
};

static int64_t now(void)
{
	struct clock c = { 0, 0 };

	(void)sys(SYS_clock_gettime, 1 /* CLOCK_MONOTONIC */, &c);
	return (int64_t)c.seconds * 1000 + c.nanoseconds / 1000000;
}

/* The hook's own process, until execve. fork, not vfork: this program is small, and shares nothing by accident. */
static _Noreturn void run_hook(struct init *init, const struct hook *hook)
{
	int r = sys(SYS_setsid);

	(void)sys(SYS_umask, init->umask);
	if (r >= 0 && hook->directory >= 0)
		r = sys(SYS_fchdir, hook->directory);
	if (r >= 0 && hook->state >= 0)
		r = sys(SYS_lseek, hook->state, 0, SEEK_SET);
	if (r >= 0 && hook->state >= 0)
		r = sys(SYS_dup3, hook->state, 0, 0);
	if (r >= 0)
		r = sys(SYS_dup3, hook->output[1], 1, 0);
	if (r >= 0)
		r = sys(SYS_dup3, hook->output[1], 2, 0);
	if (r >= 0)
		r = close_fds(3, ~0U, CLOSE_RANGE_CLOEXEC);
	/* Its program is the image's. Here, so that the filter need not allow what the init does to run a hook. */
	if (r >= 0 && plan_length(hook->filter))
		r = load_filter(init, hook->filter, hook->filter_flags);
	if (r >= 0)
		r = sys(SYS_execve, hook->path, hook->argv, hook->env);
	(void)sys(SYS_write, hook->failure[1], &r, sizeof(r));
	leave(127);
}

/* Keep the end of what was printed: an error stands there. */
static void keep_output(struct init *init, const char *bytes, size_t length)
{
	const size_t limit = MSG_TEXT_MAX - 1;
	size_t excess = init->text_length + length > limit ? init->text_length + length - limit : 0;

	if (excess > init->text_length) {
		bytes += length - limit;
		length = limit;
		excess = init->text_length;
	}
	memmove(init->report.text, init->report.text + excess, init->text_length - excess);
	init->text_length -= (uint32_t)excess;
	say(init, bytes, length);
}

/* false at the end of the output */
static bool read_output(struct init *init, const struct hook *hook)
{
	char bytes[512];
	int r = sys(SYS_read, hook->output[0], bytes, sizeof(bytes));

	if (r > 0)
		keep_output(init, bytes, (size_t)r);
	return r > 0;
}

static bool wait_event(const struct hook *hook, bool output_open, int64_t deadline, short *ret_exit, short *ret_output)
{
	struct pollfd polls[2] = {
		{ .fd = hook->pidfd, .events = POLLIN },
		{ .fd = output_open ? hook->output[0] : -1, .events = POLLIN },
	};
	int64_t left = deadline ? deadline - now() : 0;
	struct clock timeout = { left / 1000, left % 1000 * 1000000 };

	if (deadline && left <= 0)
		return false;
	if (sys(SYS_ppoll, polls, 2, deadline ? &timeout : NULL, NULL, 8) <= 0)
		return false;
	*ret_exit = polls[0].revents;
	*ret_output = polls[1].revents;
	return true;
}

/* Until the hook ends: its wait status. What it leaves running keeps neither us nor the pipe. */
static int wait_hook(struct init *init, struct hook *hook, int64_t timeout)
{
	int64_t deadline = timeout ? now() + timeout : 0;
	bool output_open = true;
	short exited = 0, output = 0;
	int status = 0, r;

	while (!exited) {
		if (!wait_event(hook, output_open, deadline, &exited, &output)) {
			hook->timed_out = true;
			(void)sys(SYS_kill, -hook->pid, KILL);
			(void)sys(SYS_kill, hook->pid, KILL);
			break;
		}
		if (output && !exited)
			output_open = read_output(init, hook);
	}
	r = sys(SYS_wait4, hook->pid, &status, 0, NULL);
	for (int i = 0; output_open && i < READS_MAX; i++) /* a daemon that it left may print for ever */
		output_open = read_output(init, hook);
	/* As the first process of a pid namespace we inherit what the hook left behind. */
	while (sys(SYS_wait4, -1, NULL, 1 /* WNOHANG */, NULL) > 0)
		;
	return r < 0 ? r : status;
}

/* The hook's own failure as an errno, with words in the report. */
static int judge(struct init *init, const struct hook *hook, int status)
{
	int error;

	if (status < 0)
		return status;
	if (hook->timed_out)
		return fail(init, -ETIMEDOUT, DETAIL_TIMEOUT);
	if (sys(SYS_read, hook->failure[0], &error, sizeof(error)) == (int)sizeof(error))
		return error;
	if (status != 0) {
		init->report.error = (uint32_t)status;
		return fail(init, -ECANCELED, DETAIL_EXIT);
	}
	forget_failure(init);
	return 0;
}

static int start_hook(struct init *init, struct hook *hook)
{
	/* clone and not clone3, which container engines' filters refuse. SIGCHLD is 17. */
	hook->pid = sys(SYS_clone, CLONE_PIDFD | 17, NULL, &hook->pidfd, NULL, NULL);
	if (hook->pid == 0)
		run_hook(init, hook);
	(void)sys(SYS_close, hook->output[1]);
	(void)sys(SYS_close, hook->failure[1]);
	return hook->pid;
}

/* path, argv, env, timeout in milliseconds, slot of the state, flags, struct sock_filter array, SECCOMP_FILTER_FLAG_… */
int op_hook(struct init *init, const uint64_t *args)
{
	struct hook hook = {
		.path = arg_string(args, 0),
		.argv = arg_vector(args, 1),
		.env = arg_vector(args, 2),
		.state = slot_fd(init, args[4]),
		.directory = args[5] & HOOK_IN_ROOT ? slot_fd(init, SLOT_ROOT) : -1,
		.filter = args[6],
		.filter_flags = args[7],
		.pidfd = -1,
	};
	int r;

	if (init->children_unseen)
		(void)sys(SYS_rt_sigaction, 17 /* SIGCHLD */, (unsigned long[4]){ 0 }, NULL, sizeof(uint64_t));
	init->children_unseen = false;
	if (args[4] != SLOT_NONE && hook.state < 0)
		return fail(init, -EBADF, DETAIL_PLAN);
	if (args[5] & HOOK_HOME)
		add_home(init, hook.env);
	r = sys(SYS_pipe2, hook.output, O_CLOEXEC);
	if (r < 0)
		return r;
	/* Reading never blocks: a daemon that the hook left behind may hold the other end for ever. Writing does as usual. */
	(void)sys(SYS_fcntl, hook.output[0], F_SETFL, O_NONBLOCK);
	r = sys(SYS_pipe2, hook.failure, O_CLOEXEC);
	if (r < 0) {
		(void)sys(SYS_close, hook.output[0]);
		(void)sys(SYS_close, hook.output[1]);
		return r;
	}
	r = start_hook(init, &hook);
	if (r > 0)
		r = judge(init, &hook, wait_hook(init, &hook, (int64_t)args[3]));
	(void)sys(SYS_close, hook.pidfd);
	(void)sys(SYS_close, hook.output[0]);
	(void)sys(SYS_close, hook.failure[0]);
	return r;
}
