/* The exchange with the init, from the runtime's end: docs/plan.md draws it. */
#define _GNU_SOURCE
#include "perform.h"
#include "quick.h"
#include "record.h"
#include "linux/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

int perform_lend(struct performance *p, uint32_t slot, int fd)
{
	if (fd < 0)
		return fd;
	if (p->count == MSG_FDS_MAX) {
		(void)close(fd);
		return -E2BIG;
	}
	p->slots[p->count] = slot;
	p->fds[p->count++] = fd;
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

/* The next message; its type, 0 at end of file, or a negative errno. */
static int hear(struct performance *p)
{
	int fd, n;

	do
		n = shim_poll(p->socket, p->deadline);
	while (n == -EINTR);
	if (n <= 0)
		return n < 0 ? n : -ETIMEDOUT;
	memset(&p->message, 0, sizeof(p->message));
	n = shim_receive(p->socket, &p->message, sizeof(p->message), &fd);
	close_fd(&fd);
	if (n < 0)
		return n;
	return n > 0 && p->message.type == 0 ? -EBADMSG : (int)p->message.type;
}

/* The init itself is started with its first plan, which is there before it looks. */
int perform_spawn_init(struct performance *p, const uint64_t *args)
{
	if (!p->program || args[0])
		return -ENOSYS; /* descriptors that are passed on are Python's */
	p->to_start = true;
	return 0;
}

static int start_init(struct performance *p, int theirs)
{
	_cleanup_fd_ int program = shim_program_memfd(p->program, NULL);
	_cleanup_fd_ int bell = eventfd(1, EFD_CLOEXEC);

	if (program < 0)
		return program;
	if (bell < 0)
		return -errno;
	p->to_start = false;
	p->in_cgroup = p->cgroup >= 0 && shim_spawn_in_cgroup(program, theirs, bell, p->cgroup, &p->first) == 0;
	return p->in_cgroup ? 0 : shim_spawn(program, theirs, bell, 0, NULL, 0, &p->first);
}

int perform_report_file(struct performance *p, const uint64_t *args)
{
	int fd;

	p->report = shim_zeros(-1, "start.failure", REPORT_SIZE); /* of exec: in no directory */
	if (p->report < 0)
		return p->report;
	fd = fcntl(p->report, F_DUPFD_CLOEXEC, 0);
	return perform_lend(p, (uint32_t)args[0], fd < 0 ? -errno : fd);
}

/* A plan that makes no process is carried out by what becomes it. */
int perform_send_plan(struct performance *p, const uint64_t *args)
{
	int ends[2], r;

	if (args[0] || args[2] || !p->to_start)
		return -ENOSYS; /* a plan in parts is Python's */
	r = perform_lend(p, SLOT_PLAN, shim_sealed_memfd("ocirt-plan", p->init_plan, p->init_size));
	if (r < 0)
		return r;
	p->deadline = args[4] ? (int)args[4] : -1;
	r = shim_socketpair(ends);
	if (r < 0)
		return r;
	p->socket = ends[0];
	r = send_go(p, SYNC_PLAN);
	if (r == 0)
		r = start_init(p, ends[1]);
	(void)close(ends[1]);
	if (r == 0 && args[3]) {
		p->pid = p->first;
		p->first = 0;
	}
	return r;
}

pid_t perform_last_words(struct performance *p, int patience_ms)
{
	int r;

	p->deadline = patience_ms;
	do
		r = hear(p);
	while (r > 0 && (r != MSG_PID || !process_is_child(p->message.value)));
	return r == MSG_PID ? (pid_t)p->message.value : 0;
}

/* The first stage has told the pid, and ends. The process has the socket too, and may be in other hands by now. */
static int know(struct performance *p)
{
	if (p->pid || !p->first || (pid_t)p->message.value == p->first || !process_is_child(p->message.value))
		return -EPROTO;
	p->pid = (pid_t)p->message.value;
	(void)waitpid(p->first, NULL, 0);
	p->first = 0;
	return 0;
}

int perform_wait_process(struct performance *p, const uint64_t *args)
{
	int r;

	(void)args;
	if (p->pid)
		return 0;
	r = hear(p);
	if (r < 0)
		return r;
	return r == MSG_PID ? know(p) : -EPROTO;
}

int perform_wait(struct performance *p, const uint64_t *args)
{
	int r = hear(p);

	if (r < 0)
		return r;
	return r == MSG_SYNC && p->message.value == args[0] ? 0 : -EPROTO;
}

int perform_go(struct performance *p, const uint64_t *args)
{
	return send_go(p, (uint32_t)args[0]);
}

static bool has_failed(const struct performance *p)
{
	uint32_t type = 0;

	return p->report >= 0 && pread(p->report, &type, sizeof(type), 0) == sizeof(type) && type == MSG_ERROR;
}

int perform_executed(struct performance *p, const uint64_t *args)
{
	int r = perform_wait_process(p, args);

	if (r == 0)
		r = hear(p);
	if (r < 0)
		return r;
	return r == 0 && !process_never_executed(p->pid) && !has_failed(p) ? 0 : -EPROTO;
}
