/* See perform.h: the loop over the operations, and the numbers that Python sees. */
#define _GNU_SOURCE
#include "perform.h"
#include "launcher/record.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#define LAST_WORDS_MS 1000

_Static_assert(offsetof(struct performance, pid_file) == PERFORM_PID_FILE * sizeof(int), "numbers as the enumerators say");
_Static_assert(offsetof(struct performance, socket) == PERFORM_SOCKET * sizeof(int), "numbers as the enumerators say");

#define OP(name, kinds) kinds,
static const char *const kinds[] = {
#include "../spawn/init/host_ops.def"
};
#undef OP

#define OP(name, kinds) HOST_##name,
enum host_operation {
#include "../spawn/init/host_ops.def"
};
#undef OP

static const struct vocabulary host_operations = { kinds, sizeof(kinds) / sizeof(*kinds), HOST_PLAN_MAX };

static action try_again;

/* Those that are not here are Python's. */
static action *const actions[sizeof(kinds) / sizeof(*kinds)] = {
	[HOST_claim] = perform_claim,
	[HOST_record] = perform_record,
	[HOST_expect_cgroups] = perform_expect_cgroups,
	[HOST_write_state] = perform_write_state,
	[HOST_keep_file] = perform_keep_file,
	[HOST_keep_plan] = perform_keep_plan,
	[HOST_make_cgroup] = perform_make_cgroup,
	[HOST_fill_cpuset] = perform_fill_cpuset,
	[HOST_refuse_frozen] = perform_refuse_frozen,
	[HOST_refuse_shared] = perform_refuse_shared,
	[HOST_hand_down] = perform_hand_down,
	[HOST_try_again] = try_again,
	[HOST_write_limit] = perform_write_limit,
	[HOST_device_rules] = perform_device_rules,
	[HOST_device_program] = perform_device_program,
	[HOST_note_freezer] = perform_note_freezer,
	[HOST_open_cgroup] = perform_open_cgroup,
	[HOST_open_tasks] = perform_open_tasks,
	[HOST_attach] = perform_attach,
	[HOST_connect_console] = perform_connect_console,
	[HOST_spawn_init] = perform_spawn_init,
	[HOST_open_tree] = perform_open_tree,
	[HOST_report_file] = perform_report_file,
	[HOST_send_plan] = perform_send_plan,
	[HOST_wait_process] = perform_wait_process,
	[HOST_map_ids] = perform_map_ids,
	[HOST_hook] = perform_hook,
	[HOST_hook_state] = perform_hook_state,
	[HOST_listen] = perform_listen,
	[HOST_wait] = perform_wait,
	[HOST_go] = perform_go,
	[HOST_executed] = perform_executed,
	[HOST_scheduler] = perform_scheduler,
	[HOST_io_priority] = perform_io_priority,
	[HOST_affinity] = perform_affinity,
	[HOST_send_pidfd] = perform_send_pidfd,
	[HOST_write_pid_file] = perform_write_pid_file,
	[HOST_commit] = perform_commit,
	[HOST_open_process] = perform_open_process,
};

static bool is_ignored(const struct plan_op *head, int error)
{
	return error < 0 && (-error == head->ignore[0] || -error == head->ignore[1]);
}

/* The operation at the cursor, which moves on; how many to pass over then, or a negative errno that counts. */
static int step(struct performance *p)
{
	struct operation op = plan_next(&p->plan);
	int r;

	p->at = (int)p->index++;
	r = actions[op.head.code] ? actions[op.head.code](p, &op) : -ENOSYS;
	if (r == 0)
		return op.head.skip;
	return is_ignored(&op.head, r) ? 0 : r;
}

static void move_to(struct performance *p, uint32_t index)
{
	for (; p->index < index && p->index < p->plan.count; p->index++)
		(void)plan_next(&p->plan);
}

/* Where the operation at the cursor ends, with those that are its fallback. */
static uint32_t group_end(const struct performance *p)
{
	struct plan plan = p->plan;

	return p->index + 1 + plan_next(&plan).head.skip;
}

/* There are none within one. */
static bool is_group(const struct performance *p)
{
	struct plan plan = p->plan;

	return plan_next(&plan).head.code == HOST_try_again;
}

/* One of those that depend on each other; a failure is told of its first operation. */
static int try_group(struct performance *p, uint32_t end)
{
	int first = (int)p->index, r = 0;

	while (r == 0 && p->index < end)
		r = step(p);
	move_to(p, end);
	p->at = first;
	return r < 0 ? r : 0;
}

/* All that are not done yet, once. How many were refused with EINVAL, the first of which is *ret_refused. */
static int try_groups(struct performance *p, uint32_t last, bool *done, int *ret_refused)
{
	int left = 0;

	while (p->index < last) {
		uint32_t first = p->index, end = group_end(p);
		int r;

		if (end > last || is_group(p))
			return -EBADMSG;
		r = done[last - end] ? 0 : try_group(p, end);
		move_to(p, end);
		if (r < 0 && r != -EINVAL)
			return r;
		if (r < 0 && left++ == 0)
			*ret_refused = (int)first;
		done[last - end] = r == 0;
	}
	return left;
}

/*
 * Values depend on each other: memory with swap, quota with period and burst, idle with weight. Which has to be changed first
 * depends on what is set now, and the kernel knows: it is tried as long as any of them goes through.
 */
static int try_again(struct performance *p, const struct operation *op)
{
	const struct plan begin = p->plan;
	const uint32_t first = p->index;
	uint32_t count = (uint32_t)op->args[0], last = first + count;
	int before = INT_MAX, left = INT_MAX, refused = 0;
	bool *done;

	if (count > begin.count - first)
		return -EBADMSG;
	done = calloc(count + 1U, sizeof(*done));
	if (!done)
		return -ENOMEM;
	do {
		before = left;
		p->plan = begin;
		p->index = first;
		left = try_groups(p, last, done, &refused);
	} while (left > 0 && left < before);
	free(done);
	if (left > 0)
		p->at = refused;
	return left > 0 ? -EINVAL : left;
}

static long long now_us(void)
{
	struct timespec now = { 0 };

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

/* One operation, with those of its group. PERFORM_DONE, or as perform(). */
static int step_once(struct performance *p)
{
	const struct plan before = p->plan;
	const uint32_t index = p->index;
	long long begin = p->stepping ? now_us() : 0;
	int r = step(p);

	p->took_us = p->stepping ? (int)(now_us() - begin) : 0;
	if (r == -EINTR || r == -EREMCHG) {
		p->plan = before;
		p->index = index;
		return r == -EINTR ? PERFORM_AGAIN : PERFORM_LOCKED;
	}
	if (r < 0)
		return r;
	move_to(p, p->index + (uint32_t)r);
	p->next = (int)p->index;
	if (!p->stepping)
		return PERFORM_DONE;
	p->at = (int)index;
	return PERFORM_AGAIN;
}

int perform(void *performance)
{
	struct performance *p = performance;
	int r = PERFORM_DONE;

	move_to(p, (uint32_t)p->next);
	while (r == PERFORM_DONE && p->index < p->plan.count)
		r = step_once(p);
	return r;
}

int performance_program(void *performance, const char *program, const char *fallback, const int *keep, size_t count)
{
	struct performance *p = performance;

	p->program = program;
	p->fallback = fallback;
	p->keep = keep;
	p->kept = count;
	return 0;
}

int performance_plan(void *performance, void *plan, size_t size)
{
	struct performance *p = performance;
	uint32_t bad;

	p->index = 0;
	p->at = p->next = 0;
	p->plan = (struct plan){ .count = 0 };
	return size > HOST_PLAN_MAX ? -EBADMSG : plan_decode(plan, (uint32_t)size, &host_operations, &p->plan, &bad);
}

int performance_init_plan(void *performance, const void *plan, size_t size)
{
	struct performance *p = performance;

	p->init_plan = plan;
	p->init_size = size;
	return 0;
}

int performance_size(void)
{
	return (int)sizeof(struct performance);
}

int performance_begin(void *performance)
{
	struct performance *p = performance;

	memset(p, 0, sizeof(*p));
	p->directory = p->socket = p->bell = p->report = p->target = p->deadline = -1;
	p->output = p->hook.output = p->hook.pidfd = -1;
	return 0;
}

/*
 * A first stage that is killed behind its clone(2) leaves a process that nobody knows: it is told that there is nothing to
 * come, and has its time to say what it has made, or to end.
 */
static void hear_it_out(struct performance *p)
{
	if (p->socket >= 0 && p->first > 0 && p->pid == 0 && p->sent) {
		(void)shutdown(p->socket, SHUT_WR);
		p->pid = perform_last_words(p, LAST_WORDS_MS);
	}
}

static void close_exchange(struct performance *p)
{
	int *const fds[] = { &p->socket, &p->bell, &p->report };

	while (p->count > 0)
		(void)close(p->fds[--p->count]);
	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++) {
		close_fd(fds[i]);
		*fds[i] = -1;
	}
}

pid_t perform_reap(pid_t pid, int *ret_status)
{
	pid_t r;

	do
		r = waitpid(pid, ret_status, 0);
	while (r < 0 && errno == EINTR);
	return r;
}

int performance_end(void *performance)
{
	struct performance *p = performance;
	const int *const pids[] = { &p->first, &p->pid };
	int status, last = -1;

	(void)hook_end(&p->hook);
	hear_it_out(p);
	for (size_t i = 0; i < sizeof(pids) / sizeof(*pids); i++) {
		if (*pids[i] <= 0)
			continue;
		/* One that is dying by itself keeps its own status: SIGKILL to a zombie changes nothing. */
		(void)kill(*pids[i], SIGKILL);
		if (perform_reap(*pids[i], &status) > 0)
			last = status;
	}
	p->first = p->pid = 0;
	close_exchange(p);
	return last;
}

int performance_close(void *performance)
{
	struct performance *p = performance;

	(void)hook_end(&p->hook);
	close_exchange(p);
	close_fd(&p->directory);
	close_fd(&p->target);
	p->directory = p->target = -1;
	strings_free(&p->freezers);
	strings_free(&p->expected);
	strings_free(&p->new);
	strings_free(&p->usable);
	return 0;
}
