/*
 * HOME from the container's /etc/passwd. The file is the image's: it may be a fifo, a device, endless, or nonsense.
 * So it must be a regular file, a bounded part of it is read through a small buffer, and every doubt is "/".
 */
#include <linux/openat2.h>
#include "init.h"

#define PASSWD_MAX (1 << 20)
#define FIELD_UID 2
#define FIELD_HOME 5

/* Where the parser stands in a line "name:password:uid:gid:gecos:home:shell". */
struct passwd_line {
	int field;
	uint64_t uid;
	bool uid_valid; /* digits only, one at least */
	char home[HOME_MAX];
	size_t length;
};

static void add_char(struct passwd_line *line, char c)
{
	if (line->field == FIELD_UID) {
		bool digit = c >= '0' && c <= '9' && line->uid <= UINT32_MAX;

		line->uid_valid = digit && (line->uid_valid || line->uid == 0);
		line->uid = line->uid_valid ? line->uid * 10 + (uint64_t)(c - '0') : 1;
	} else if (line->field == FIELD_HOME && line->length < sizeof(line->home)) {
		line->home[line->length++] = c;
	}
}

static void start_line(struct passwd_line *line)
{
	line->field = 0;
	line->uid = 0;
	line->uid_valid = false;
	line->length = 0;
}

/* Whether the line that ends here is the one of `uid`, and its home can be used. */
static bool is_home_of(const struct passwd_line *line, uint64_t uid)
{
	return line->field >= FIELD_HOME && line->uid_valid && line->uid == uid;
}

static int open_passwd(const struct init *init)
{
	int root = slot_fd(init, SLOT_ROOT);
	int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY;
	_cleanup_close_ int look = open_below(root, "etc/passwd", O_PATH, RESOLVE_IN_ROOT);
	_cleanup_close_ int fd = -1;

	/* Opening a device can have effects: so look first, and once more at what was opened. */
	if (look < 0 || same_inode_type(look, S_IFREG, 0) < 0)
		return -ENOENT;
	fd = open_below(root, "etc/passwd", (uint64_t)flags, RESOLVE_IN_ROOT);
	return fd < 0 || same_inode_type(fd, S_IFREG, 0) < 0 ? -ENOENT : take_fd(&fd);
}

/* Take in one byte; true when a line ended that is the one of `uid`. */
static bool parse_char(struct passwd_line *line, char c, uint64_t uid)
{
	if (c == '\n') {
		if (is_home_of(line, uid))
			return true;
		start_line(line);
	} else if (c == ':') {
		line->field++;
	} else {
		add_char(line, c);
	}
	return false;
}

static bool find_line(int fd, uint64_t uid, struct passwd_line *line)
{
	char bytes[2048];
	int n, total = 0;

	start_line(line);
	while (total < PASSWD_MAX && (n = sys(SYS_read, fd, bytes, sizeof(bytes))) > 0) {
		total += n;
		for (int i = 0; i < n; i++)
			if (parse_char(line, bytes[i], uid))
				return true;
	}
	return total < PASSWD_MAX && is_home_of(line, uid);
}

int op_home(struct init *init, const uint64_t *args)
{
	_cleanup_close_ int fd = open_passwd(init);
	struct passwd_line line;

	memcpy(init->home, "HOME=/", 7);
	if (fd < 0 || !find_line(fd, args[0], &line))
		return 0;
	if (line.length == 0 || line.length + 6 > HOME_MAX || line.home[0] != '/')
		return 0;
	for (size_t i = 0; i < line.length; i++)
		if (!line.home[i])
			return 0;
	memcpy(init->home + 5, line.home, line.length);
	init->home[5 + line.length] = 0;
	return 0;
}
