/* See shim.h. Terminals: termios(3), ioctl_tty(2). */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>

int shim_terminal_raw(int fd, void *saved, size_t size)
{
	struct termios mode;

	if (size < sizeof(mode))
		return -EINVAL;
	if (tcgetattr(fd, &mode) < 0)
		return -errno;
	memcpy(saved, &mode, sizeof(mode));
	cfmakeraw(&mode);
	return tcsetattr(fd, TCSANOW, &mode) < 0 ? -errno : 0;
}

int shim_terminal_restore(int fd, const void *saved, size_t size)
{
	struct termios mode;

	if (size < sizeof(mode))
		return -EINVAL;
	memcpy(&mode, saved, sizeof(mode));
	return tcsetattr(fd, TCSANOW, &mode) < 0 ? -errno : 0;
}

int shim_terminal_copy_size(int from, int to)
{
	struct winsize size;

	if (ioctl(from, TIOCGWINSZ, &size) < 0 || ioctl(to, TIOCSWINSZ, &size) < 0)
		return -errno;
	return 0;
}

/* What is written to the terminal arrives as it is: "\n" without a "\r" ahead of it. */
int shim_terminal_keep_newlines(int fd)
{
	struct termios mode;

	if (tcgetattr(fd, &mode) < 0)
		return -errno;
	mode.c_oflag &= ~(tcflag_t)ONLCR;
	return tcsetattr(fd, TCSANOW, &mode) < 0 ? -errno : 0;
}
