/* The exchange with the init, from the runtime's end: docs/plan.md draws it. */
#define _GNU_SOURCE
#include "perform.h"
#include "launcher/quick.h"
#include "launcher/record.h"
#include "linux/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>

#define REPORT_FILE "start.failure" /* in the state directory, which launcher/quick.c knows */

int performance_lend(void *performance, int slot, int fd)
{
	struct performance *p = performance;

	if (fd < 0)
		return fd;
	if (p->count == MSG_FDS_MAX) {
		(void)close(fd);
		return -E2BIG;
	}
	p->slots[p->count] = (uint32_t)slot;
	p->fds[p->count++] = fd;
	return 0;
}

int performance_lent(const void *performance, int slot)
{
	const struct performance *p = performance;

	for (uint32_t i = 0; i < p->count; i++)
		if (p->slots[i] == (uint32_t)slot)
			return p->fds[i];
	return -1;
}

int performance_message(const void *performance, void *ret_message)
{
	memcpy(ret_message, &((const struct performance *)performance)->message, sizeof(struct message));
	return 0;
}

/* A dead init shows when it is heard next, with what it has sent: a broken pipe is no error here. */
static int send_go(struct performance *p, uint32_t point)
{
	struct message message = { .type = MSG_GO, .value = point, .detail = p->count };
	int r;

	memcpy(message.text, p->slots, p->count * sizeof(*p->slots));
	r = shim_send(p->socket, &message, MESSAGE_HEAD + p->count * sizeof(*p->slots), p->fds, p->count);
	if (r < 0 && r != -EPIPE && r != -ECONNRESET)
		return r;
	while (p->count > 0)
		(void)close(p->fds[--p->count]);
	return 0;
}

/* The report that a filter has kept the init from sending; its type, 0 for none. */
static int read_report(struct performance *p)
{
	if (p->report < 0 || pread(p->report, &p->message, sizeof(p->message), 0) != sizeof(p->message) || p->message.type == 0)
		return 0;
	return p->message.type == MSG_ERROR ? MSG_ERROR : -EPROTO;
}

/* Milliseconds that are left of the deadline, which begins with the first wait for a message; -1: for ever. */
static int left(struct performance *p)
{
	long long now = shim_now_ms();

	if (p->deadline < 0)
		return -1;
	if (p->until_ms == 0)
		p->until_ms = now + p->deadline;
	return now >= p->until_ms ? 0 : (int)(p->until_ms - now);
}

/*
 * The next message; its type, 0 at end of file, or a negative errno. -EINTR for the caller's signal handlers to run: also
 * once before it waits, for a signal that has come since they had the chance.
 */
static int receive(struct performance *p)
{
	int fd, n;

	if (!p->looked || (p->interrupted && *p->interrupted)) {
		p->looked = true;
		return -EINTR;
	}
	n = shim_poll(p->socket, left(p));
	if (n <= 0)
		return n < 0 ? n : -ETIMEDOUT;
	p->looked = false;
	p->until_ms = 0;
	memset(&p->message, 0, sizeof(p->message));
	n = shim_receive(p->socket, &p->message, sizeof(p->message), &fd);
	close_fd(&fd);
	if (n <= 0)
		return n;
	return p->message.type == 0 || p->message.type > INT_MAX ? -EPROTO : (int)p->message.type;
}

/* What the init says next, its failure excepted. Which flags a mount has kept from its source is told where somebody asks. */
static int hear(struct performance *p)
{
	int r = receive(p);

	if (r == 0)
		r = read_report(p);
	return r == MSG_ERROR ? -EREMOTEIO : r == MSG_LOCKED ? -EREMCHG : r;
}

/* To go on by. */
static int answer(struct performance *p)
{
	int r = hear(p);

	return r == 0 ? -ECONNRESET : r;
}

/* The init itself is started with its first plan, which is there before it looks. */
int perform_spawn_init(struct performance *p, const struct operation *op)
{
	p->preserve = (int)op->args[0];
	p->home = string_of(op, 1);
	p->to_start = true;
	return 0;
}

/* The cgroup of v2 to be born in; -1 where that is none, or gone. */
static int open_home(const char *path)
{
	int fd = *path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (fd >= 0 && faccessat(fd, "cgroup.controllers", F_OK, 0) < 0)
		close_fd(&fd);
	return fd;
}

static int start_init(struct performance *p, int theirs)
{
	_cleanup_fd_ int program = shim_program_memfd(p->program, p->fallback);
	_cleanup_fd_ int home = p->preserve ? -1 : open_home(p->home);
	_cleanup_fd_ int bell = eventfd(1, EFD_CLOEXEC);

	if (program < 0)
		return program;
	if (bell < 0)
		return -errno;
	p->to_start = false;
	p->in_cgroup = home >= 0 && shim_spawn_in_cgroup(program, theirs, bell, home, &p->first) == 0;
	return p->in_cgroup ? 0 : shim_spawn(program, theirs, bell, p->preserve, p->keep, p->kept, &p->first);
}

/* Of exec it is in no directory. */
int perform_report_file(struct performance *p, const struct operation *op)
{
	int fd;

	p->report = shim_zeros(p->directory, REPORT_FILE, REPORT_SIZE);
	if (p->report < 0)
		return p->report;
	fd = fcntl(p->report, F_DUPFD_CLOEXEC, 0);
	return performance_lend(p, (int)op->args[0], fd < 0 ? -errno : fd);
}

static int start_with_plan(struct performance *p, int next_bell)
{
	int ends[2], r = shim_socketpair(ends);

	if (r < 0) {
		close_fd(&next_bell);
		return r;
	}
	p->socket = ends[0];
	r = send_go(p, SYNC_PLAN);
	if (r == 0)
		r = p->detail = start_init(p, ends[1]);
	(void)close(ends[1]);
	p->bell = next_bell;
	return r;
}

/* It waits at the bell, docs/plan.md tells why. */
static int ring(struct performance *p, int next_bell)
{
	int r = send_go(p, SYNC_PLAN);

	if (r == 0 && eventfd_write(p->bell, 1) < 0)
		r = -errno;
	(void)close(p->bell);
	p->bell = next_bell;
	return r;
}

/*
 * Where others are to follow, with the bell for the next. A plan that makes no process is carried out by what becomes it.
 * detail: not 0 where it is the init that could not be started.
 */
int perform_send_plan(struct performance *p, const struct operation *op)
{
	int next = -1, copy, r;

	r = performance_lend(p, SLOT_PLAN, shim_sealed_memfd("ocirt-plan", p->init_plan, p->init_size));
	if (r == 0 && op->args[2]) {
		next = eventfd(0, EFD_CLOEXEC);
		copy = next < 0 ? -1 : fcntl(next, F_DUPFD_CLOEXEC, 0);
		r = performance_lend(p, SLOT_BELL, copy < 0 ? -errno : copy);
	}
	p->deadline = op->args[4] ? (int)op->args[4] : -1;
	if (r == 0)
		r = p->to_start ? start_with_plan(p, next) : ring(p, next);
	else
		close_fd(&next);
	p->sent = p->sent || r == 0;
	if (r == 0 && op->args[3]) {
		p->pid = p->first;
		p->first = 0;
	}
	return r;
}

/* Whoever has seized it may say something for ever: that is not waited for. */
pid_t perform_last_words(struct performance *p, int patience_ms)
{
	long long end = shim_now_ms() + patience_ms;
	int r;

	p->interrupted = NULL;
	do {
		long long now = shim_now_ms();

		p->until_ms = 0;
		p->deadline = now < end ? (int)(end - now) : 0;
		r = receive(p);
		if (r == MSG_PID && process_is_child(p->message.value))
			return (pid_t)p->message.value;
	} while (p->deadline > 0 && (r > 0 || r == -EINTR || r == -EPROTO));
	return 0;
}

/* Not reaped, it has a start time: without it the container would be taken for stopped. */
static int note_process(struct performance *p, pid_t pid)
{
	int r = process_start_time(pid, &p->start_time);

	if (r < 0 || p->start_time == 0)
		return r < 0 ? r : -EIO;
	p->pid = pid;
	return 0;
}

/* The first stage has told the pid, and ends. The process has the socket too, and may be in other hands by now. */
static int know(struct performance *p)
{
	pid_t pid = (pid_t)p->message.value;
	int r, status;

	if (p->pid || !p->first || pid == p->first || !process_is_child(p->message.value))
		return -EPROTO;
	r = note_process(p, pid);
	(void)perform_reap(p->first, &status);
	p->first = 0;
	p->pid = pid;
	return r;
}

int perform_wait_process(struct performance *p, const struct operation *op)
{
	int r;

	(void)op;
	if (p->pid)
		return p->start_time ? 0 : note_process(p, p->pid);
	r = answer(p);
	if (r < 0)
		return r;
	return r == MSG_PID ? know(p) : -EPROTO;
}

int perform_wait(struct performance *p, const struct operation *op)
{
	int r = answer(p);

	if (r < 0)
		return r;
	return r == MSG_SYNC && p->message.value == op->args[0] ? 0 : -EPROTO;
}

int perform_go(struct performance *p, const struct operation *op)
{
	return send_go(p, (uint32_t)op->args[0]);
}

/* The process may be made after the last point. */
int perform_executed(struct performance *p, const struct operation *op)
{
	int r = 0;

	(void)op;
	if (!p->pid) {
		r = answer(p);
		if (r >= 0)
			r = r == MSG_PID ? know(p) : -EPROTO;
	}
	if (r == 0)
		r = hear(p);
	if (r != 0)
		return r < 0 ? r : -EPROTO;
	return process_never_executed(p->pid) ? -ECONNRESET : 0;
}
