/* The init's side of the protocol: messages, the runtime's go, and the slots that its descriptors land in. */
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include "init.h"

int fail(struct init *init, int error, uint32_t detail)
{
	if (error < 0)
		init->report.detail = detail;
	return error;
}

void say(struct init *init, const char *text, size_t length)
{
	size_t room = MSG_TEXT_MAX - 1 - init->text_length;

	if (length > room)
		length = room;
	memcpy(init->report.text + init->text_length, text, length);
	init->text_length += (uint32_t)length;
}

void say_string(struct init *init, const char *text)
{
	say(init, text, strlen(text));
}

void forget_failure(struct init *init)
{
	init->report.error = 0;
	init->report.detail = DETAIL_NONE;
	init->text_length = 0;
}

static int send_bytes(const struct init *init, const struct message *message, size_t length)
{
	/* MSG_NOSIGNAL: SIGPIPE has its default action here, and a runtime that died is seen by the error. */
	int r = sys(SYS_sendto, init->channel, message, length, MSG_NOSIGNAL, NULL, 0);

	return r < 0 ? r : 0;
}

static int send_head(const struct init *init, uint32_t type, uint32_t value, uint32_t error)
{
	struct message message;

	message.type = type;
	message.value = value;
	message.error = error;
	message.detail = 0;
	return send_bytes(init, &message, MESSAGE_HEAD);
}

int send_message(const struct init *init, uint32_t type, uint32_t value)
{
	return send_head(init, type, value, 0);
}

int send_locked(const struct init *init, uint64_t attributes)
{
	return send_head(init, MSG_LOCKED, init->index, (uint32_t)attributes);
}

void report_failure(struct init *init, uint32_t index, int error)
{
	init->report.type = MSG_ERROR;
	init->report.value = index;
	if (init->report.detail != DETAIL_EXIT)
		init->report.error = (uint32_t)-error;
	if (init->shared_report)
		memcpy(init->shared_report, &init->report, MESSAGE_HEAD + init->text_length);
	(void)send_bytes(init, &init->report, MESSAGE_HEAD + init->text_length);
}

/* slot. No system call is needed to write there, and execve(2) takes the mapping away. */
int op_report_file(struct init *init, const uint64_t *args)
{
	int fd = slot_fd(init, args[0]);
	long page;

	if (fd < 0)
		return fail(init, fd, DETAIL_PLAN);
	page = system_call(SYS_mmap, 0, REPORT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page < 0 && page > -4096)
		return (int)page;
	slot_set(init, args[0], -1);
	init->shared_report = (struct message *)page; /* cppcheck-suppress intToPointerCast */
	return 0;
}

int slot_fd(const struct init *init, uint64_t slot)
{
	if (slot >= SLOT_COUNT || init->slots[slot] < 0)
		return -EBADF;
	return init->slots[slot];
}

void slot_set(struct init *init, uint64_t slot, int fd)
{
	if (slot >= SLOT_COUNT)
		return;
	if (init->slots[slot] >= 0)
		(void)sys(SYS_close, init->slots[slot]);
	init->slots[slot] = fd;
}

/* Put the fds of a GO message into the slots that its text lists. What does not fit stays unnamed, close-on-exec. */
static int take_fds(struct init *init, struct msghdr *header, const struct message *message, size_t length)
{
	const struct cmsghdr *control = CMSG_FIRSTHDR(header);
	uint32_t count = 0, slot;

	if (control && control->cmsg_level == SOL_SOCKET && control->cmsg_type == SCM_RIGHTS)
		count = (uint32_t)((control->cmsg_len - CMSG_LEN(0)) / sizeof(int));
	if (header->msg_flags & MSG_CTRUNC) /* RLIMIT_NOFILE left no number for one of them */
		return -EMFILE;
	if (count != message->detail || length < MESSAGE_HEAD + count * sizeof(slot))
		return -EBADMSG;
	for (uint32_t i = 0; i < count; i++) {
		int fd;

		memcpy(&slot, message->text + i * sizeof(slot), sizeof(slot));
		memcpy(&fd, CMSG_DATA(control) + i * sizeof(fd), sizeof(fd));
		if (slot >= SLOT_COUNT)
			return -EBADMSG;
		slot_set(init, slot, fd);
	}
	return 0;
}

/*
 * Wait for the runtime's GO at `point`. An end of file means that the runtime died: nothing may live on that its
 * state does not know, so this process ends.
 */
int receive_go(struct init *init, uint32_t point)
{
	struct message message = { 0 };
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(MSG_FDS_MAX * sizeof(int))];
	struct iovec part = { .iov_base = &message, .iov_len = sizeof(message) };
	struct msghdr header = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	int length = sys(SYS_recvmsg, init->channel, &header, MSG_CMSG_CLOEXEC);
	int r;

	if (length == 0 || length == -ECONNRESET)
		leave(1);
	if (length < 0)
		return length;
	r = length < MESSAGE_HEAD ? -EBADMSG : take_fds(init, &header, &message, (size_t)length);
	if (r == 0 && (message.type != MSG_GO || message.value != point))
		r = -EBADMSG;
	return r == -EMFILE ? r : fail(init, r, DETAIL_PLAN);
}

/* One message with a descriptor, to whoever listens outside: how many of the bytes were sent, or a negative errno. */
int send_with_fd(int socket, int fd, const char *bytes, size_t length)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec part = { .iov_base = (void *)(uintptr_t)bytes, .iov_len = length };
	struct msghdr header = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *rights = CMSG_FIRSTHDR(&header);

	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(rights), &fd, sizeof(fd));
	return sys(SYS_sendmsg, socket, &header, MSG_NOSIGNAL);
}
