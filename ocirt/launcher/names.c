/* Names that the launcher and Python must read alike: the default state root, signals. */
#define _GNU_SOURCE
#include "quick.h"
#include "record.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

/* The identity mapping of every id: the initial user namespace. */
int in_user_namespace(void)
{
	_cleanup_fd_ int fd = open("/proc/self/uid_map", O_RDONLY | O_CLOEXEC);
	unsigned int inside, outside, count;
	char text[256];
	ssize_t n;

	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return 0;
	text[n] = 0;
	return sscanf(text, "%u %u %u", &inside, &outside, &count) != 3 || inside != 0 || outside != 0 || count != 4294967295U;
}

/*
 * Rootless engines call as root of a user namespace, with XDG_RUNTIME_DIR and little else in the environment; who works
 * there as in a machine of its own, as in a system container, has USER=root.
 */
static bool is_rootless(void)
{
	const char *user = getenv("USER");

	if (geteuid() != 0)
		return true;
	return !(user && strcmp(user, "root") == 0) && in_user_namespace();
}

int default_root(char *ret_path, size_t size)
{
	const char *runtime_dir = getenv("XDG_RUNTIME_DIR");
	int n;

	/* empty is unset, and what is not absolute is to be ignored (XDG Base Directory Specification) */
	if (runtime_dir && runtime_dir[0] == '/' && is_rootless())
		n = snprintf(ret_path, size, "%s/ocirt", runtime_dir);
	else
		n = snprintf(ret_path, size, "/run/ocirt");
	return n >= 0 && (size_t)n < size ? 0 : -ENAMETOOLONG;
}

/* Digits only: no sign, no space. */
static int whole_number(const char *text)
{
	if (!isdigit((unsigned char)text[0]) || strspn(text, "0123456789") != strlen(text) || strlen(text) > 3)
		return -EINVAL;
	return atoi(text);
}

/* "RTMIN+3", "RTMAX-1", as the C library counts: its own threads use the first two of the kernel's. */
static int real_time(const char *name)
{
	bool from_start = strncasecmp(name, "RTMIN", 5) == 0;
	int offset, base = from_start ? SIGRTMIN : SIGRTMAX;

	if (!from_start && strncasecmp(name, "RTMAX", 5) != 0)
		return -EINVAL;
	name += 5;
	if (*name == 0)
		return base;
	if (*name != (from_start ? '+' : '-'))
		return -EINVAL;
	offset = whole_number(name + 1);
	if (offset < 0 || offset > SIGRTMAX - SIGRTMIN)
		return -EINVAL;
	return from_start ? base + offset : base - offset;
}

int signal_number(const char *text)
{
	static const struct {
		const char *name;
		int number;
	} others[] = { { "IOT", SIGABRT }, { "CLD", SIGCHLD }, { "IO", SIGIO }, { "POLL", SIGIO }, { "UNUSED", SIGSYS } };
	int number = whole_number(text);

	if (number >= 0)
		return number <= 64 ? number : -EINVAL;
	if (strncasecmp(text, "SIG", 3) == 0)
		text += 3;
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
		if (strcasecmp(text, others[i].name) == 0)
			return others[i].number;
	for (number = 1; number < 32; number++) {
		const char *name = sigabbrev_np(number);
		if (name && strcasecmp(text, name) == 0)
			return number;
	}
	return real_time(text);
}
