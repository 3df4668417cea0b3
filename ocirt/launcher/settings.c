/* /etc/ocirt.conf: what the administrator of the host has set. Lines of NAME = VALUE, blank ones, and comments behind "#". */
#define _GNU_SOURCE
#include "launcher.h"
#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_NAME "/etc/ocirt.conf"
#define BLANKS " \t\r"

bool kept_of(const char *value, enum keeping *ret)
{
	static const char *const values[] = { [KEPT_OFF] = "off", [KEPT_ON] = "on", [KEPT_VERIFY] = "verify" };

	for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++)
		if (strcmp(value, values[i]) == 0) {
			*ret = (enum keeping)i;
			return true;
		}
	return false;
}

/* Without the blanks around it, in place. */
static char *trim(char *text)
{
	size_t size;

	text += strspn(text, BLANKS);
	for (size = strlen(text); size > 0 && strchr(BLANKS, text[size - 1]); size--)
		text[size - 1] = 0;
	return text;
}

/* Whether the line says something, or is empty. */
static bool take_line(char *line, enum keeping *kept)
{
	char *value;

	line[strcspn(line, "#")] = 0;
	value = strchr(line, '=');
	if (!value)
		return *trim(line) == 0;
	*value++ = 0;
	return strcmp(trim(line), "kept") == 0 && kept_of(trim(value), kept);
}

enum keeping kept_setting(void)
{
	_cleanup_fd_ int fd = open(FILE_NAME, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	enum keeping kept = KEPT_DEFAULT;
	char text[4096], *rest = text;
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

	if ((fd < 0 && errno != ENOENT && errno != ENOTDIR) || n < 0 || n == sizeof(text) - 1) {
		(void)dprintf(STDERR_FILENO, "ocirt: " FILE_NAME ": %s\n", n > 0 ? "it is too long" : strerror(errno));
		exit(EXIT_FAILURE);
	}
	text[n] = 0;
	for (int number = 1; rest; number++) {
		char *line = strsep(&rest, "\n");

		if (take_line(line, &kept))
			continue;
		(void)dprintf(STDERR_FILENO, "ocirt: " FILE_NAME ": line %d: not understood; there is: kept = on, off or verify\n", number);
		exit(EXIT_FAILURE);
	}
	return kept;
}
