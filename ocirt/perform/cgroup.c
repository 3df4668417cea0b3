/* Making cgroups, and who enters them. A directory is given as a path and its `end`, where a parent of the path ends. */
#define _GNU_SOURCE
#include "perform.h"
#include "launcher/record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Each lost race against another runtime's removal of an empty parent costs one; a path has at most 2048 components. */
#define TRIES 4096

#define DIRECTORY (O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
#define CPUS_MAX 65536 /* a list of all the CPUs that Linux can have, each second one */
#define WORDS_MAX 1024 /* the names of all controllers */

static size_t end_above(const char *path, size_t end)
{
	const char *slash = memrchr(path, '/', end);

	return slash ? (size_t)(slash - path) : 0;
}

/* `end` is before that of the whole path. */
static size_t end_below(const char *path, size_t end)
{
	return (size_t)(strchrnul(path + end + 1, '/') - path);
}

/* What a hierarchy answers that is not the runtime's to change: rootless, a read-only /sys/fs/cgroup. */
static bool is_denied(int error)
{
	return error == -EACCES || error == -EPERM || error == -EROFS;
}

/*
 * Whether `path`, or what of it is there, may not be written: then the container goes on without that hierarchy. An errno
 * alone does not tell: who may write, but is refused, gets no container without its limits.
 */
static bool not_ours(const char *path)
{
	char at[PATH_MAX] = "";

	(void)snprintf(at, sizeof(at), "%s", path);
	while (*at && access(at, F_OK) < 0)
		at[end_above(at, strlen(at))] = 0;
	return access(*at ? at : "/", W_OK) < 0;
}

static bool is_passed_over(int error, const char *path)
{
	return (error == -ENOENT || is_denied(error)) && not_ours(path);
}

static int file_of(const char *path, size_t end, const char *name, char ret_file[PATH_MAX])
{
	return snprintf(ret_file, PATH_MAX, "%.*s%s", (int)end, path, name) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int open_file(const char *path, size_t end, const char *name, int flags)
{
	char file[PATH_MAX];
	int fd, r = file_of(path, end, name, file);

	if (r < 0)
		return r;
	fd = open(file, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Its size without the newline at the end. The kernel gives such a file whole at the first read(2). */
static ssize_t read_file(const char *path, size_t end, const char *name, char *ret_text, size_t size)
{
	_cleanup_fd_ int fd = open_file(path, end, name, O_RDONLY);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = read(fd, ret_text, size - 1);
	if (n < 0)
		return -errno;
	if (n > 0 && ret_text[n - 1] == '\n')
		n--;
	ret_text[n] = 0;
	return n;
}

static int write_file(const char *path, size_t end, const char *name, const char *text)
{
	_cleanup_fd_ int fd = open_file(path, end, name, O_WRONLY);

	if (fd < 0)
		return fd;
	return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

static bool is_there(const char *path, size_t end, const char *name)
{
	char file[PATH_MAX];

	return file_of(path, end, name, file) == 0 && access(file, F_OK) == 0;
}

/* 1, 0 or a negative errno; processes of another pid namespace are there as 0. */
static int holds_process(const char *path, size_t end)
{
	char pid[16];
	ssize_t n = read_file(path, end, "/cgroup.procs", pid, sizeof(pid));

	return n < 0 ? (int)n : n > 0;
}

/*
 * Make `path` and the parents that it lacks; -EEXIST if it was there. No check comes before mkdir, so that nothing can
 * change between the two; a parent that another runtime removes meanwhile, because it became empty, is made again.
 */
static int make(struct performance *p, const char *path)
{
	const size_t length = strlen(path);
	size_t end = length;
	char at[PATH_MAX];

	if (length >= sizeof(at))
		return -ENAMETOOLONG;
	for (int i = 0; i < TRIES; i++) {
		int r = 0;

		memcpy(at, path, end);
		at[end] = 0;
		if (mkdir(at, 0755) < 0)
			r = -errno;
		else if (strings_add(&p->new, at) < 0)
			return -ENOMEM;
		else if (chmod(at, 0755) < 0) /* whatever the caller's umask is: parents are shared with other containers */
			r = -errno;
		if (r == -ENOENT && end_above(path, end) > 0)
			end = end_above(path, end);
		else if ((r < 0 && r != -EEXIST) || end == length)
			return r;
		else
			end = end_below(path, end);
	}
	return -ENOENT;
}

/*
 * One that was there has to be without processes, also in cgroups below: Python looks into those. One that is removed
 * meanwhile answers ENOENT or ENODEV, a threaded one EOPNOTSUPP (cgroups(7)).
 */
static int refuse_used(const char *path)
{
	struct stat st;
	int r = holds_process(path, strlen(path));

	if (r < 0 && r != -ENOENT && r != -ENODEV && r != -EOPNOTSUPP)
		return r;
	if (r > 0)
		return -ENOTEMPTY;
	if (stat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	return st.st_nlink > 2 ? -ENOTEMPTY : 0;
}

/* -ENOTEMPTY: Python finds out whether it can be used nevertheless, and counts on its being in `usable` then. */
int perform_make_cgroup(struct performance *p, const struct operation *op)
{
	const char *path = string_of(op, 0);
	int r;

	p->made = true;
	r = make(p, path);
	if (is_denied(r) && not_ours(path))
		return 0;
	if (r < 0 && r != -EEXIST)
		return r;
	if (strings_add(&p->usable, path) < 0)
		return -ENOMEM;
	return r == -EEXIST && refuse_used(path) < 0 ? -ENOTEMPTY : 0;
}

/* A value that is set is kept; each empty one gets that of the nearest above which has any. */
static int inherit(const char *path, const char *name)
{
	const size_t length = strlen(path);
	size_t end = length;
	char value[CPUS_MAX];
	ssize_t n;
	int r = 0;

	while ((n = read_file(path, end, name, value, sizeof(value))) == 0)
		end = end_above(path, end);
	if (n < 0)
		return (int)n;
	while (r == 0 && end < length) {
		end = end_below(path, end);
		r = write_file(path, end, name, value);
	}
	return r;
}

/*
 * Without cpus and mems no process can enter a cpuset: ENOSPC. v2 has those files too, and there empty means inherited;
 * cpuset.cpu_exclusive exists in v1 alone.
 */
int perform_fill_cpuset(struct performance *p, const struct operation *op)
{
	static const char *const names[] = { "/cpuset.cpus", "/cpuset.mems" };
	const char *path = string_of(op, 0);

	(void)p;
	if (!is_there(path, strlen(path), "/cpuset.cpu_exclusive"))
		return 0;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		int r = inherit(path, names[i]);

		if (r < 0 && !is_denied(r))
			return r;
	}
	return 0;
}

/* A part of a threaded cgroup takes no process of its own; "domain invalid" belongs to it too (cgroup-v2.rst, "Threads"). */
static bool is_threaded(const char *path)
{
	char kind[64];

	if (read_file(path, strlen(path), "/cgroup.type", kind, sizeof(kind)) < 0)
		return false;
	return strncmp(kind, "domain", 6) != 0 || strcmp(kind, "domain invalid") == 0;
}

/* v1: neither frozen nor about to be, by itself or from above. */
static int refuse_frozen_v1(const char *path)
{
	char state[64];
	ssize_t n = read_file(path, strlen(path), "/freezer.state", state, sizeof(state));

	if (n < 0)
		return is_there(path, strlen(path), "/freezer.state") ? (int)n : 0;
	return strcmp(state, "THAWED") == 0 ? 0 : -EBUSY;
}

/* cgroup.events tells of the freezers above too; cgroup.freeze, of one that is about to. */
static int refuse_frozen_v2(const char *path)
{
	char events[256], asked[16];
	ssize_t n = read_file(path, strlen(path), "/cgroup.events", events, sizeof(events));

	if (n < 0)
		return is_there(path, strlen(path), "/cgroup.events") ? (int)n : 0;
	if (strstr(events, "frozen 1"))
		return -EBUSY;
	n = read_file(path, strlen(path), "/cgroup.freeze", asked, sizeof(asked));
	if (n < 0)
		return (int)n;
	return strcmp(asked, "0") == 0 ? 0 : -EBUSY;
}

int perform_refuse_frozen(struct performance *p, const struct operation *op)
{
	const char *path = string_of(op, 0);

	(void)p;
	if (op->args[1] != 2)
		return refuse_frozen_v1(path);
	return is_threaded(path) ? -EBUSY : refuse_frozen_v2(path);
}

/*
 * One that is empty may be another container's, whose deletion would kill ours. What the unit has brought is ours as well;
 * that the parent of all containers counts as made does not matter here, for none has it for its own.
 */
int perform_refuse_shared(struct performance *p, const struct operation *op)
{
	const bool brought = p->brought && p->ours;

	for (char *const *path = vector_of(op, 0); *path; path++) {
		if (strings_have(&p->new, *path) || (brought && strings_have(&p->expected, *path)))
			continue;
		if (access(*path, F_OK) == 0)
			return -EEXIST;
	}
	return 0;
}

static bool has_word(const char *words, const char *word)
{
	const size_t size = strlen(word);

	for (const char *at = words; (at = strstr(at, word)); at += size)
		if ((at == words || at[-1] == ' ') && (at[size] == ' ' || at[size] == 0))
			return true;
	return false;
}

/* Of `words` those that `others` has not, as cgroup.subtree_control takes them; `words` is cut to pieces. */
static size_t to_enable(char *words, const char *others, char ret_text[2 * WORDS_MAX])
{
	size_t size = 0;
	char *save = NULL;

	ret_text[0] = 0;
	for (const char *word = strtok_r(words, " ", &save); word; word = strtok_r(NULL, " ", &save))
		if (!has_word(others, word))
			size += (size_t)snprintf(ret_text + size, 2 * WORDS_MAX - size, "%s+%s", size ? " " : "", word);
	return size;
}

/*
 * Whether it holds processes, and is not the root of all. Some controllers can't be handed down then ("no internal
 * processes"); one that works with threads can, but makes it the domain of threaded cgroups, and those below it invalid.
 */
static int keeps(const char *path, size_t end)
{
	return is_there(path, end, "/cgroup.type") ? holds_process(path, end) : 0;
}

/* Hand down what it has; each by itself where all at once are refused. */
static int enable(const char *path, size_t end)
{
	static const char file[] = "/cgroup.subtree_control";
	char words[WORDS_MAX], enabled[WORDS_MAX], text[2 * WORDS_MAX], *save = NULL;
	ssize_t n = read_file(path, end, file, enabled, sizeof(enabled));
	int r;

	if (n >= 0)
		n = read_file(path, end, "/cgroup.controllers", words, sizeof(words));
	if (n < 0)
		return (int)n;
	if (to_enable(words, enabled, text) == 0)
		return 0;
	r = keeps(path, end);
	if (r != 0 || write_file(path, end, file, text) == 0)
		return r < 0 ? r : 0;
	for (const char *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save))
		(void)write_file(path, end, file, word);
	return 0;
}

/*
 * All controllers, not those alone that a limit asks for: engines read what a container uses from each. What cannot be
 * enabled is missed by the limit that needs it, if there is one; a hierarchy that is not the runtime's to read has none.
 */
int perform_hand_down(struct performance *p, const struct operation *op)
{
	const char *mount = string_of(op, 0), *path = string_of(op, 1);
	const size_t length = strlen(path);
	char wanted[WORDS_MAX], words[WORDS_MAX], text[2 * WORDS_MAX];

	(void)p;
	if (read_file(mount, strlen(mount), "/cgroup.controllers", wanted, sizeof(wanted)) < 0 ||
	    read_file(path, length, "/cgroup.controllers", words, sizeof(words)) < 0 || to_enable(wanted, words, text) == 0)
		return 0;
	for (size_t end = strlen(mount); end < length; end = end_below(path, end))
		if (enable(path, end) < 0)
			break;
	return 0;
}

static int lend(struct performance *p, const struct operation *op, const char *name, int flags)
{
	const char *path = string_of(op, 1);
	char file[PATH_MAX];
	int fd, r = file_of(path, strlen(path), name, file);

	if (r < 0)
		return r;
	fd = open_file(file, strlen(file), "", flags);
	return is_passed_over(fd, file) ? 0 : performance_lend(p, (int)op->args[0], fd);
}

int perform_open_cgroup(struct performance *p, const struct operation *op)
{
	return lend(p, op, "", DIRECTORY);
}

int perform_open_tasks(struct performance *p, const struct operation *op)
{
	return lend(p, op, "/tasks", O_WRONLY);
}

/* The first stage, where that has not made the process yet; unless it was started there. -EBUSY with `below`: Python's. */
int perform_attach(struct performance *p, const struct operation *op)
{
	const char *path = string_of(op, 0);
	char pid[16], file[PATH_MAX];
	int r = file_of(path, strlen(path), "/cgroup.procs", file);

	if (r < 0 || (op->args[1] && p->in_cgroup && strcmp(path, p->home) == 0))
		return r;
	(void)snprintf(pid, sizeof(pid), "%d", p->pid ? p->pid : p->first);
	r = write_file(file, strlen(file), "", pid);
	return is_passed_over(r, file) ? 0 : r;
}
