/* See shim.h. Safe from threads: no global state, every fd is close-on-exec from birth. */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif
#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x0020
#endif
#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static int close_keeping_errno(int fd)
{
	int error = errno;

	(void)close(fd);
	return -error;
}

static int copy_file(int from, int to)
{
	struct stat st;
	off_t offset = 0;

	if (fstat(from, &st) < 0)
		return -errno;
	while (offset < st.st_size) {
		ssize_t n = sendfile(to, from, &offset, (size_t)(st.st_size - offset));
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return -EIO;
	}
	return 0;
}

/* vm.memfd_noexec=2 forbids executable memfds: an unlinked file that nobody can open for writing stands in. */
static int program_tmpfile(int source, const char *dir)
{
	char self[32];
	int fd, reader, r;

	fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0500);
	if (fd < 0)
		return -errno;
	r = copy_file(source, fd);
	if (r < 0) {
		(void)close(fd);
		return r;
	}
	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	reader = open(self, O_PATH | O_CLOEXEC);
	if (reader < 0)
		return close_keeping_errno(fd);
	(void)close(fd);
	return reader;
}

/* A fresh copy for every call, never the file on disk: a container that holds its /proc/PID/exe holds nothing (CVE-2019-5736). */
int shim_program_memfd(const char *path, const char *fallback_dir)
{
	int source, fd, r;

	source = open(path, O_RDONLY | O_CLOEXEC);
	if (source < 0)
		return -errno;
	fd = memfd_create("ocirt-init", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
	if (fd < 0 && errno == EINVAL) /* Linux < 6.3 has no MFD_EXEC */
		fd = memfd_create("ocirt-init", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0) {
		r = errno == EACCES && fallback_dir ? program_tmpfile(source, fallback_dir) : -errno;
		(void)close(source);
		return r;
	}
	r = copy_file(source, fd);
	(void)close(source);
	if (r == 0 && fchmod(fd, 0500) < 0)
		r = -errno;
	if (r == 0 && fcntl(fd, F_ADD_SEALS, SEALS | F_SEAL_EXEC) < 0 && fcntl(fd, F_ADD_SEALS, SEALS) < 0)
		r = -errno;
	if (r < 0) {
		(void)close(fd);
		return r;
	}
	return fd;
}

int shim_sealed_memfd(const char *name, const void *data, size_t size)
{
	const char *at = data;
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	while (size > 0) {
		ssize_t n = write(fd, at, size);
		if (n < 0 && errno != EINTR)
			return close_keeping_errno(fd);
		if (n > 0) {
			at += n;
			size -= (size_t)n;
		}
	}
	if (fcntl(fd, F_ADD_SEALS, SEALS) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return close_keeping_errno(fd);
	return fd;
}

int shim_socketpair(int ret_fds[2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret_fds) < 0 ? -errno : 0;
}

int shim_send(int socket, const void *data, size_t size, const int *fds, size_t count)
{
	char control[CMSG_SPACE(sizeof(int) * 253)] = { 0 };
	struct iovec io = { .iov_base = (void *)data, .iov_len = size };
	struct msghdr message = { .msg_iov = &io, .msg_iovlen = 1 };
	ssize_t n;

	if (count > 253)
		return -E2BIG;
	if (count > 0) {
		message.msg_control = control;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int) * count);
		memcpy(CMSG_DATA(header), fds, sizeof(int) * count);
	}
	do
		n = sendmsg(socket, &message, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

long long shim_now_ms(void)
{
	struct timespec now = { 0 };

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* 1 when `fd` can be read, 0 after `timeout_ms`. EINTR is returned: the caller's signal handlers have to run. */
int shim_poll(int fd, int timeout_ms)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	int ready = poll(&poll_fd, 1, timeout_ms);

	return ready < 0 ? -errno : ready;
}

/* Bytes of one message, 0 at end of file; at most one fd is taken, others are closed by the kernel's truncation. */
int shim_receive(int socket, void *data, size_t size, int *ret_fd)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec io = { .iov_base = data, .iov_len = size };
	struct msghdr message = {
		.msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	bool reset = false;
	ssize_t n;

	*ret_fd = -1;
	/*
	 * A peer that ends with messages unread leaves ECONNRESET, which the kernel tells once, and ahead of what the
	 * peer has said before: that comes with the next call.
	 */
	for (;;) {
		n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
		if (n >= 0 || (errno != EINTR && (errno != ECONNRESET || reset)))
			break;
		reset = reset || errno == ECONNRESET;
	}
	if (n < 0)
		return errno == ECONNRESET ? 0 : -errno;
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
		memcpy(ret_fd, CMSG_DATA(header), sizeof(int));
	return (int)n;
}

int shim_open_tree(const char *path, int recursive)
{
	unsigned int flags = OPEN_TREE_CLONE | O_CLOEXEC | (recursive ? AT_RECURSIVE : 0);
	int fd = (int)syscall(SYS_open_tree, AT_FDCWD, path, flags);

	return fd < 0 ? -errno : fd;
}

static int connect_to(const char *path)
{
	const struct timeval patience = { .tv_sec = 5 };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	memcpy(address.sun_path, path, strlen(path));
	/* for connect too: a listener may accept nobody, and its queue be full (EAGAIN then) */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0)
		return close_keeping_errno(fd);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return close_keeping_errno(fd);
	return fd;
}

/* sun_path holds 108 bytes. What is longer is opened first: by the descriptor's name it is the same socket. */
int shim_connect(const char *path)
{
	char name[sizeof("/proc/self/fd/") + 11];
	int socket, r;

	if (strlen(path) < sizeof(((struct sockaddr_un *)NULL)->sun_path))
		return connect_to(path);
	socket = open(path, O_PATH | O_CLOEXEC);
	if (socket < 0)
		return -errno;
	(void)snprintf(name, sizeof(name), "/proc/self/fd/%d", socket);
	r = connect_to(name);
	(void)close(socket);
	return r;
}

/* sun_path holds 108 bytes and state directories are longer: the name is bound below the directory's fd. */
int shim_listen(int dirfd, const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", dirfd, name);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 16) < 0)
		return close_keeping_errno(fd);
	return fd;
}

int shim_signalfd(uint64_t mask)
{
	sigset_t set;
	int fd;

	(void)sigemptyset(&set);
	for (int n = 1; n <= 64; n++)
		if (mask & (1ULL << (n - 1)))
			(void)sigaddset(&set, n);
	if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0)
		return -EINVAL;
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

/* The next signal's number; 0 where none waits. */
int shim_read_signal(int fd)
{
	struct signalfd_siginfo info;
	ssize_t n = read(fd, &info, sizeof(info));

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	return (int)info.ssi_signo;
}

int shim_pidfd_send_signal(int pidfd, int number)
{
	return syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0) < 0 ? -errno : 0;
}

int shim_subreaper(void)
{
	return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0 ? -errno : 0;
}

/* Allocated at once: of a file that is only long, a page that is missing on a full disk ends who writes to it by SIGBUS. */
int shim_zeros(int directory, const char *name, size_t size)
{
	int fd = directory < 0 ? memfd_create(name, MFD_CLOEXEC)
	                       : openat(directory, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	do
		errno = posix_fallocate(fd, 0, (off_t)size);
	while (errno == EINTR);
	return errno ? close_keeping_errno(fd) : fd;
}
