/* state, start and kill; see quick.h. Delete is in delete.c. */
#define _GNU_SOURCE
#include "quick.h"
#include "record.h"
#include "../spawn/init/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>

static const char *const statuses[] = { "creating", "created", "running", "paused", "stopped" };

int quick_state(const char *root, const char *id, int out_fd)
{
	_cleanup_container_ struct container c = CONTAINER_NONE;
	_cleanup_fd_ int pidfd = -1;
	char *text;
	int r, size, status;

	if (container_open(root, id, false, &c) < 0)
		return QUICK_PYTHON;
	pidfd = container_process(&c);
	status = container_status(&c, pidfd);
	if (status < 0)
		return QUICK_PYTHON;
	/* The record's own lines, but for what is found out anew each time. */
	size = (int)strlen(c.text) + 64;
	text = malloc((size_t)size);
	if (!text)
		return QUICK_PYTHON;
	r = state_document(c.text, statuses[status], status == STATUS_STOPPED ? 0 : c.pid, text, (size_t)size);
	r = r < size ? dprintf(out_fd, "%s", text) : -1;
	free(text);
	return r < 0 ? QUICK_PYTHON : QUICK_DONE;
}

/* What the init says before it closes the connection: nothing (0), or why it refused (1); or a negative errno. */
static int hear(int connection, struct message *ret)
{
	char *at = (char *)ret;
	size_t got = 0;

	memset(ret, 0, sizeof(*ret));
	while (got < sizeof(*ret)) {
		ssize_t n = recv(connection, at + got, sizeof(*ret) - got, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno == EAGAIN && got > 0))
			break;
		if (n < 0 && errno == EAGAIN) /* the init is dead, and somebody else holds the connection open */
			return -ESRCH;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			got += (size_t)n;
	}
	if (got == 0)
		return 0;
	return got >= MESSAGE_HEAD && ret->type == MSG_ERROR ? 1 : -EBADMSG;
}

/*
 * The exchange of docs/plan.md, "Start". It takes as long as the hooks in the container do. An init that dies ahead of
 * accept() resets the connection, so end of file means executed.
 */
static int exchange(int connection, int pidfd, struct message *ret)
{
	struct pollfd fds[] = { { .fd = connection, .events = POLLRDHUP }, { .fd = pidfd, .events = POLLIN } };

	if (send(connection, "s", 1, MSG_NOSIGNAL) != 1)
		return -errno;
	while (poll(fds, 2, -1) < 0)
		if (errno != EINTR)
			return -errno;
	return hear(connection, ret);
}

/*
 * End of file alone proves nothing: a filter may have refused the call that tells of a failure, which is then in the file
 * whose memory the init has (docs/plan.md, `report_file`), or have killed it.
 */
static int verify(const struct container *c, struct message *ret)
{
	_cleanup_fd_ int fd = state_file(c->fd, "start.failure", NULL, 0);

	if (fd >= 0 && read(fd, ret, sizeof(*ret)) >= MESSAGE_HEAD && ret->type == MSG_ERROR)
		return 1;
	if (!process_never_executed(c->pid))
		return 0;
	*ret = (struct message){ .type = MSG_ERROR, .value = NO_OP, .error = ESRCH, .detail = DETAIL_KILLED };
	return 1;
}

static int start(const struct container *c, struct message *ret)
{
	_cleanup_fd_ int pidfd = container_process(c);
	_cleanup_fd_ int connection = -1;
	int r;

	if (pidfd < 0)
		return pidfd == -ESRCH ? -EINVAL : pidfd;
	if (!member_is(c, MEMBER_PHASE, "\"created\"") || member_has_word(c, MEMBER_PYTHON, "noprocess"))
		return -EINVAL;
	if (container_frozen(c))
		return -EINVAL;
	connection = container_connect(c);
	if (connection < 0)
		return connection == -ECONNREFUSED || connection == -ENOENT ? -EINVAL : connection;
	r = exchange(connection, pidfd, ret);
	if (r == 0)
		r = verify(c, ret);
	if (r == 0)
		(void)unlinkat(c->fd, "start.sock", 0); /* left behind, it refuses connections: the same answer, later */
	return r;
}

int quick_start_report(const char *root, const char *id, struct message *ret_message)
{
	_cleanup_container_ struct container c = CONTAINER_NONE;
	int r = container_open(root, id, true, &c);

	return r < 0 ? r : start(&c, ret_message);
}

/* The init is dead after it has said why: Python, which finds the words, must find the message. */
static void keep_failure(const struct container *c, const struct message *message)
{
	_cleanup_fd_ int fd = openat(c->fd, "start.failure", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd >= 0)
		(void)!write(fd, message, MESSAGE_HEAD + strnlen(message->text, MSG_TEXT_MAX));
}

int quick_start(const char *root, const char *id)
{
	_cleanup_container_ struct container c = CONTAINER_NONE;
	struct message message;
	int r;

	if (container_open(root, id, true, &c) < 0 || member_has_word(&c, MEMBER_PYTHON, "poststart"))
		return QUICK_PYTHON;
	r = start(&c, &message);
	if (r == 1)
		keep_failure(&c, &message);
	return r == 0 ? QUICK_DONE : QUICK_PYTHON;
}

int quick_kill(const char *root, const char *id, int number)
{
	_cleanup_container_ struct container c = CONTAINER_NONE;
	_cleanup_fd_ int pidfd = -1;

	if (container_open(root, id, false, &c) < 0 || !member_is(&c, MEMBER_PHASE, "\"created\""))
		return QUICK_PYTHON;
	/* Without a pid namespace of its own, the death of the first process leaves the others: all are killed instead. */
	if (number == SIGKILL && !member_is(&c, MEMBER_PID_NAMESPACE, "true"))
		return QUICK_PYTHON;
	pidfd = container_process(&c);
	if (pidfd < 0 || container_frozen(&c)) /* a frozen process of v1 dies only once it is thawed */
		return QUICK_PYTHON;
	return syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0) < 0 ? QUICK_PYTHON : QUICK_DONE;
}
