/*
 * --no-pivot: for roots that pivot_root(2) refuses (a ramfs). The old tree stays in the namespace, out of reach; so
 * every full procfs and sysfs of it is taken away first, else a container could mount its own copy through them.
 */
#include <linux/mount.h>
#include "init.h"

#define UMOUNT_DETACH 2  /* MNT_DETACH */
#define LINE_MAX_ 16384  /* a mount point of PATH_MAX bytes, each as \ooo */
#define COVER_MAX 256    /* more mounts of procfs and sysfs than any host has */

struct lines {
	int fd;
	size_t start, end;
	char bytes[LINE_MAX_];
};

/* The next line, NUL-terminated; NULL at the end. *ret_error: -EOVERFLOW for a line that does not fit. */
static char *next_line(struct lines *lines, int *ret_error)
{
	*ret_error = 0;
	for (;;) {
		int n;

		for (size_t i = lines->start; i < lines->end; i++)
			if (lines->bytes[i] == '\n') {
				char *line = lines->bytes + lines->start;

				lines->bytes[i] = 0;
				lines->start = i + 1;
				return line;
			}
		lines->end -= lines->start;
		memmove(lines->bytes, lines->bytes + lines->start, lines->end);
		lines->start = 0;
		n = lines->end == sizeof(lines->bytes) ? -EOVERFLOW
						       : sys(SYS_read, lines->fd, lines->bytes + lines->end, sizeof(lines->bytes) - lines->end);
		if (n <= 0) {
			*ret_error = n;
			return NULL;
		}
		lines->end += (size_t)n;
	}
}

/* The n-th field (from 0) of a line, separated by one space; cut off after it by the caller. */
static char *field(char *line, int n)
{
	for (; line && n > 0; n--) {
		line = strchr(line, ' ');
		if (line)
			line++;
	}
	return line;
}

static bool starts_with(const char *text, const char *prefix, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (text[i] != prefix[i])
			return false;
	return true;
}

/* mountinfo writes space, tab, newline and backslash as \ooo. */
static void unescape(char *text)
{
	char *to = text;

	for (; *text; text++) {
		if (text[0] == '\\' && text[1] >= '0' && text[1] <= '3' && text[2] && text[3]) {
			*to++ = (char)((text[1] - '0') << 6 | (text[2] - '0') << 3 | (text[3] - '0'));
			text += 3;
		} else {
			*to++ = *text;
		}
	}
	*to = 0;
}

/* The first word after the optional fields of a line of mountinfo(5), "-" itself; NULL where there is none. */
static char *separator(char *line)
{
	char *rest = field(line, 6);

	while (rest && !starts_with(rest, "- ", 2))
		rest = field(rest, 1);
	return rest;
}

/* The mount point in a line of mountinfo(5), cut off the line, if it is outside `rootfs`; else NULL. */
static char *outside(char *line, const char *rootfs)
{
	char *point = field(line, 4), *end = point ? strchr(point, ' ') : NULL;
	size_t length = strlen(rootfs);

	if (!end)
		return NULL;
	*end = 0;
	unescape(point);
	return starts_with(point, rootfs, length) && (point[length] == '/' || !point[length]) ? NULL : point;
}

/* The same if it is a full procfs or sysfs. */
static char *revealing_mount(char *line, const char *rootfs)
{
	char *root = field(line, 3), *type = separator(line);

	if (!type || !starts_with(root, "/ ", 2) || (!starts_with(type, "- proc ", 7) && !starts_with(type, "- sysfs ", 8)))
		return NULL;
	return outside(line, rootfs);
}

static int first_line(struct lines *lines, int mountinfo)
{
	lines->fd = mountinfo;
	lines->start = lines->end = 0;
	return sys(SYS_lseek, mountinfo, 0, SEEK_SET);
}

/*
 * What is unmounted from a mount is unmounted from all its peers: so none of the old tree may have one, but those that
 * are covered and no path leads to. Not the container's own: what it shares, by "rshared", is asked for.
 */
static int leave_peers(int mountinfo, const char *rootfs)
{
	struct lines lines;
	char *line;
	int r = first_line(&lines, mountinfo);

	if (r < 0)
		return r;
	while ((line = next_line(&lines, &r))) {
		const char *point = outside(line, rootfs);

		if (point)
			(void)sys(SYS_mount, NULL, point, NULL, MS_SLAVE, NULL);
	}
	return r;
}

static uint64_t number(const char *text)
{
	uint64_t value = 0;

	for (; text && *text >= '0' && *text <= '9'; text++)
		value = value * 10 + (uint64_t)(*text - '0');
	return value;
}

/* The line of a mount, by its id; NULL where there is none. */
static char *line_of(struct lines *lines, int mountinfo, uint64_t id)
{
	char *line;
	int r = first_line(lines, mountinfo);

	while (r >= 0 && (line = next_line(lines, &r)))
		if (number(line) == id)
			return line;
	return NULL;
}

/* Whether the mount on which the topmost one at `point` lies has peers, or may have some. */
static bool has_peers_above(int mountinfo, const char *point)
{
	struct lines lines;
	struct statx status;
	char *line, *word, *end;

	if (sys(SYS_statx, AT_FDCWD, point, AT_NO_AUTOMOUNT, STATX_MNT_ID, &status) < 0)
		return true;
	line = line_of(&lines, mountinfo, status.stx_mnt_id);
	if (line)
		line = line_of(&lines, mountinfo, number(field(line, 1)));
	if (!line)
		return true;
	end = separator(line);
	for (word = field(line, 6); word && word != end; word = field(word, 1))
		if (starts_with(word, "shared:", 7))
			return true;
	return false;
}

static int hide(int mountinfo, const char *point)
{
	int r = sys(SYS_mount, NULL, point, NULL, MS_SLAVE | MS_REC, NULL);

	if (r >= 0)
		r = has_peers_above(mountinfo, point) ? -EPERM : sys(SYS_umount2, point, UMOUNT_DETACH);
	/* One that is locked (made in another user namespace), or would go on the host too, is covered. */
	if (r == -EINVAL || r == -EPERM)
		r = sys(SYS_mount, "tmpfs", point, "tmpfs", MS_RDONLY, NULL);
	return r == -ENOENT ? 0 : r; /* it went with one above it */
}

/* Hide the first such mount after the `seen` ones: 1 when there was one. */
static int hide_next(int mountinfo, const char *rootfs, int seen)
{
	struct lines lines;
	char *line, *point;
	int r;

	r = first_line(&lines, mountinfo);
	if (r < 0)
		return r;
	while ((line = next_line(&lines, &r))) {
		point = revealing_mount(line, rootfs);
		if (!point || seen-- > 0)
			continue;
		r = hide(mountinfo, point);
		return r < 0 ? r : 1;
	}
	return r;
}

static int count_revealing(int mountinfo, const char *rootfs)
{
	struct lines lines;
	char *line;
	int r, count = 0;

	r = first_line(&lines, mountinfo);
	if (r < 0)
		return r;
	while ((line = next_line(&lines, &r)))
		if (revealing_mount(line, rootfs))
			count++;
	return r < 0 ? r : count;
}

static int hide_all(const struct init *init)
{
	int proc = slot_fd(init, SLOT_PROC), before = -1, seen = 0, r;
	_cleanup_close_ int mountinfo = -1;

	mountinfo = sys(SYS_openat, proc < 0 ? AT_FDCWD : proc, proc < 0 ? "/proc/self/mountinfo" : "self/mountinfo", O_RDONLY | O_CLOEXEC, 0);
	if (mountinfo < 0)
		return mountinfo;
	r = leave_peers(mountinfo, init->rootfs);
	if (r < 0)
		return r;
	r = 1;
	for (int i = 0; i < COVER_MAX && r > 0; i++) {
		int now = count_revealing(mountinfo, init->rootfs);

		/* One that is still listed was covered, and is passed over from now on. */
		if (now < 0)
			return now;
		if (now == before)
			seen++;
		before = now;
		r = hide_next(mountinfo, init->rootfs, seen);
	}
	return r > 0 ? -EOVERFLOW : r;
}

int op_move_root(struct init *init, const uint64_t *args)
{
	int r = init->rootfs ? hide_all(init) : -EINVAL;

	if (r >= 0)
		r = sys(SYS_fchdir, slot_fd(init, SLOT_ROOT));
	if (r >= 0)
		r = sys(SYS_mount, ".", "/", NULL, MS_MOVE, NULL);
	return r < 0 ? r : op_chroot(init, args);
}
