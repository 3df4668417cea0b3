/*
 * `exec` of plans that are there: performed as perform.c does, and in the foreground the company of the process. What goes
 * wrong before it is executed is undone, and Python finds the words.
 */
#define _GNU_SOURCE
#include "again.h"
#include "launcher.h"
#include "perform/perform.h"
#include "quick.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

struct kept_head {
	uint64_t magic;
	uint32_t key_size;
	uint32_t host_size; /* of the host plan */
	uint32_t init_size; /* of the init's */
	uint32_t unused;
};

/* A file of plans: the head, the whole key, the host plan, the init's. */
struct kept {
	char *bytes;
	struct kept_head head;
};

static struct key key;
static bool keep;
static int cgroup = -1;

int cgroup_to_join(void)
{
	return cgroup;
}

const struct key *key_to_keep(void)
{
	return keep ? &key : NULL;
}

static bool is_kept(const struct kept *kept, off_t size)
{
	const struct kept_head *head = &kept->head;

	return head->magic == PLAN_MAGIC && head->key_size == key.size &&
	       (off_t)(sizeof(*head) + head->key_size) + head->host_size + head->init_size == size &&
	       memcmp(kept->bytes + sizeof(*head), key.bytes, key.size) == 0;
}

/* The plans that were kept under the key; false where there are none. The caller frees the bytes in any case. */
static bool read_plans(const struct container *c, struct kept *ret_kept)
{
	_cleanup_fd_ int fd = state_file(c->fd, key.name, NULL, 0);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || (st.st_mode & 077))
		return false;
	if (st.st_size < (off_t)sizeof(ret_kept->head) || st.st_size > (off_t)(sizeof(ret_kept->head) + KEY_MAX + 2 * PLAN_MAX))
		return false;
	ret_kept->bytes = malloc((size_t)st.st_size);
	if (!ret_kept->bytes || read(fd, ret_kept->bytes, (size_t)st.st_size) != st.st_size)
		return false;
	memcpy(&ret_kept->head, ret_kept->bytes, sizeof(ret_kept->head));
	return is_kept(ret_kept, st.st_size);
}

/* The container's cgroup of v2, which is the first of the list where it has one; -1 where not. */
static int open_cgroup(const struct container *c)
{
	struct slice rest = c->members[MEMBER_CGROUPS];
	char path[PATH_MAX];
	int fd = slice_next(&rest, path, sizeof(path)) > 0 ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (fd >= 0 && faccessat(fd, "cgroup.controllers", F_OK, 0) < 0) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

static int perform_whole(struct performance *p, char *plan, size_t size)
{
	int r = performance_plan(p, plan, size);

	if (r < 0)
		return r;
	do
		r = perform(p);
	while (r == PERFORM_AGAIN || r == PERFORM_LOCKED);
	return r;
}

/* Carries out the host plan to its end, and lets go of both: the process has been executed. */
static bool carry_out(struct performance *p, struct kept *kept)
{
	const char *host = kept->bytes + sizeof(kept->head) + kept->head.key_size;
	char *plan = calloc(1, kept->head.host_size + PLAN_SLACK);
	bool done = false;

	if (plan) {
		memcpy(plan, host, kept->head.host_size);
		(void)performance_init_plan(p, host + kept->head.host_size, kept->head.init_size);
		done = perform_whole(p, plan, kept->head.host_size) == PERFORM_DONE && p->pid > 0;
	}
	free(plan);
	free(kept->bytes);
	kept->bytes = NULL;
	return done;
}

/* The pid file under a name that nobody looks for; the file is made ahead, so that nothing is executed without one. */
static int make_pid_file(char ret_path[PATH_MAX])
{
	const char *slash = strrchr(key.pid_file, '/');
	int directory = slash ? (int)(slash + 1 - key.pid_file) : 0;

	if (snprintf(ret_path, PATH_MAX, "%.*s.%s.tmp", directory, key.pid_file, key.pid_file + directory) >= PATH_MAX)
		return -1;
	(void)unlink(ret_path);
	return open(ret_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
}

static bool write_pid_file(int fd, const char *path, pid_t pid)
{
	return dprintf(fd, "%d", pid) > 0 && rename(path, key.pid_file) == 0;
}

static void tell_pid_file(int error)
{
	const char *reason = strerror(error);

	(void)dprintf(STDERR_FILENO, "ocirt: write the pid file \"%s\": %c%s\n", key.pid_file, tolower(*reason), reason + 1);
}

/* Every signal that a process can be sent, blocked but for those about ourselves: the process's, as in console.py. */
void block_signals(sigset_t *ret_set, sigset_t *ret_before)
{
	static const int own[] = { SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGPIPE, SIGURG };

	(void)sigfillset(ret_set);
	for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++)
		(void)sigdelset(ret_set, own[i]);
	(void)sigprocmask(SIG_BLOCK, ret_set, ret_before);
}

int attend(pid_t pid, const sigset_t *set, bool reap_all)
{
	int status;

	for (;;) {
		int number = sigwaitinfo(set, NULL);
		pid_t reaped = 0;

		while (number == SIGCHLD && (reaped = waitpid(reap_all ? -1 : pid, &status, WNOHANG)) > 0)
			if (reaped == pid)
				return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		if (number > 0 && number != SIGCHLD)
			(void)kill(pid, number); /* not reaped yet, it is nobody else's id */
	}
}

static int execute(struct performance *p, struct kept *kept)
{
	char path[PATH_MAX];
	sigset_t set, before;
	int pid_file = -1;
	bool done;

	if (key.pid_file && (pid_file = make_pid_file(path)) < 0)
		return -1;
	block_signals(&set, &before);
	done = carry_out(p, kept);
	if (done && pid_file >= 0 && !write_pid_file(pid_file, path, p->pid)) {
		/* It has run for a moment: to do it anew would run it twice. */
		tell_pid_file(errno);
		(void)unlink(path);
		performance_end(p);
		return 255;
	}
	if (!done) {
		performance_end(p);
		if (pid_file >= 0)
			(void)unlink(path);
		(void)sigprocmask(SIG_SETMASK, &before, NULL);
		return -1;
	}
	close_fd(&p->socket);
	p->socket = -1;
	return key.detach ? 0 : attend(p->pid, &set, false);
}

int run_again(const char *root, char **arguments)
{
	_cleanup_container_ struct container c = CONTAINER_NONE;
	_cleanup_performance_ struct performance p;
	struct kept kept = { .bytes = NULL };
	char parent[PATH_MAX], program[PATH_MAX + 32];
	int code = -1;

	(void)performance_begin(&p);
	if (getenv("LISTEN_FDS")) /* who is told of descriptors, prepare.py says */
		return -1;
	if (!key_of_command(arguments, &key) || container_open(root, key.id, false, &c) < 0)
		return -1;
	p.target = container_process(&c);
	if (p.target < 0 || container_frozen(&c) || !member_is(&c, MEMBER_PHASE, "\"created\""))
		return -1;
	find_package(parent);
	(void)snprintf(program, sizeof(program), "%s/ocirt/_bin/ocirt-init", parent);
	p.program = program;
	p.cgroup = cgroup = open_cgroup(&c);
	keep = !key.unkept && key_of_container(&c, program, &key);
	if (keep && read_plans(&c, &kept))
		code = execute(&p, &kept);
	free(kept.bytes);
	return code;
}
