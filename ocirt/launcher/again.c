/*
 * `exec` of a plan that is there: the exchange of docs/plan.md with the init, the way into the cgroups, and in the
 * foreground the company of the process. What goes wrong before it is executed is undone, and Python finds the words.
 */
#define _GNU_SOURCE
#include "again.h"
#include "launcher.h"
#include "quick.h"
#include "linux/shim.h"
#include "../spawn/init/wire.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define DEADLINE 120000 /* ms: spawn/parent.py's */

struct kept_head {
	uint64_t magic;
	uint32_t key_size;
	uint32_t plan_size;
	uint64_t clones; /* whether the plan makes a process, or the init becomes it */
};

struct process {
	int socket;
	pid_t first; /* the init's first stage; 0 once it is reaped */
	pid_t pid;   /* the process that was asked for; 0 until it is known */
	bool in_cgroup; /* born in the container's cgroup of v2 */
};

static struct key key;
static bool keep, clones;
static int cgroup = -1;

int cgroup_to_join(void)
{
	return cgroup;
}

const struct key *key_to_keep(void)
{
	return keep ? &key : NULL;
}

/* A sealed memfd with the plan that was kept under the key, or -1. */
static int open_plan(const struct container *c)
{
	_cleanup_fd_ int fd = state_file(c->fd, key.name, NULL, 0);
	struct kept_head head;
	struct stat st;
	char *bytes;
	int plan = -1;

	if (fd < 0 || fstat(fd, &st) < 0 || (st.st_mode & 077))
		return -1;
	if (st.st_size < (off_t)sizeof(head) || st.st_size > (off_t)(sizeof(head) + KEY_MAX + PLAN_MAX))
		return -1;
	bytes = malloc((size_t)st.st_size);
	if (bytes && read(fd, bytes, (size_t)st.st_size) == st.st_size) {
		memcpy(&head, bytes, sizeof(head));
		if (head.magic == PLAN_MAGIC && head.key_size == key.size &&
		    (off_t)(sizeof(head) + head.key_size) + head.plan_size == st.st_size &&
		    memcmp(bytes + sizeof(head), key.bytes, key.size) == 0) {
			plan = shim_sealed_memfd("ocirt-plan", bytes + sizeof(head) + key.size, head.plan_size);
			clones = head.clones;
		}
	}
	free(bytes);
	return plan;
}

static int go(int socket, uint32_t point, const uint32_t *slots, const int *fds, uint32_t count)
{
	struct message message = { .type = MSG_GO, .value = point, .detail = count };

	for (uint32_t i = 0; i < count; i++)
		memcpy(message.text + i * sizeof(*slots), &slots[i], sizeof(*slots));
	return shim_send(socket, &message, MESSAGE_HEAD + count * sizeof(*slots), fds, count);
}

/* What the init is sent with the plan. */
struct parcel {
	uint32_t slots[MSG_FDS_MAX];
	int fds[MSG_FDS_MAX];
	uint32_t count;
};

static void put(struct parcel *parcel, uint32_t slot, int fd)
{
	parcel->slots[parcel->count] = slot;
	parcel->fds[parcel->count++] = fd;
}

/* The files of cgroup v1 by which the process enters its cgroups; see op_enter_cgroup. */
static void put_tasks(struct parcel *parcel, const struct container *c)
{
	struct slice rest = c->members[MEMBER_CGROUPS];
	char path[PATH_SIZE + sizeof("/tasks")];
	uint32_t slot = SLOT_FIRST_FREE;
	int n, fd;

	while ((n = slice_next(&rest, path, PATH_SIZE)) > 0 && parcel->count < MSG_FDS_MAX) {
		strcpy(path + n, "/tasks");
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd >= 0)
			put(parcel, slot++, fd);
	}
}

/* The container's cgroup of v2, which is the first of the list where it has one; -1 where not. */
static int open_cgroup(const struct container *c)
{
	struct slice rest = c->members[MEMBER_CGROUPS];
	char path[PATH_SIZE];
	int fd = slice_next(&rest, path, sizeof(path)) > 0 ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (fd >= 0 && faccessat(fd, "cgroup.controllers", F_OK, 0) < 0) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

/* Starts the init on the plan. */
static bool start(const char *program_path, struct parcel *parcel, struct process *process)
{
	_cleanup_fd_ int program = shim_program_memfd(program_path, NULL);
	_cleanup_fd_ int bell = eventfd(1, EFD_CLOEXEC); /* the plan is there before the init looks */
	int ends[2], r;

	if (program < 0 || bell < 0 || shim_socketpair(ends) < 0)
		return false;
	process->socket = ends[0];
	r = go(ends[0], SYNC_PLAN, parcel->slots, parcel->fds, parcel->count);
	process->in_cgroup = r == 0 && cgroup >= 0 && shim_spawn_in_cgroup(program, ends[1], bell, cgroup, &process->first) == 0;
	if (r == 0 && !process->in_cgroup)
		r = shim_spawn(program, ends[1], bell, 0, NULL, 0, &process->first);
	(void)close(ends[1]);
	return r == 0;
}

/* Into the cgroups that it does not enter by itself. */
static bool attach(const struct container *c, const struct process *process)
{
	struct slice rest = c->members[MEMBER_CGROUPS];
	char path[PATH_SIZE + sizeof("/cgroup.procs")], text[16];
	int length = snprintf(text, sizeof(text), "%d", process->first), n;

	for (bool first = true; (n = slice_next(&rest, path, PATH_SIZE)) > 0; first = false) {
		_cleanup_fd_ int fd = -1;

		if (first && process->in_cgroup)
			continue;

		strcpy(path + n, "/tasks");
		if (access(path, W_OK) == 0)
			continue;
		strcpy(path + n, "/cgroup.procs");
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd < 0 || write(fd, text, (size_t)length) != length)
			return false;
	}
	return n == -ENODATA;
}

/* The next message of the init; its type, 0 at end of file. */
static int hear(const struct process *process, struct message *ret)
{
	int fd, n;

	do
		n = shim_poll(process->socket, DEADLINE);
	while (n == -EINTR);
	if (n <= 0)
		return -1;
	memset(ret, 0, MESSAGE_HEAD);
	n = shim_receive(process->socket, ret, sizeof(*ret), &fd);
	close_fd(&fd);
	if (n > 0 && ret->type == 0)
		return -EBADMSG;
	return n > 0 ? (int)ret->type : n;
}

/* The file for the init's failure report, which a container with a filter needs (docs/plan.md, `report_file`); or -1. */
static int open_report(const struct container *c)
{
	return faccessat(c->fd, "seccomp.bpf", F_OK, 0) == 0 ? shim_zeros(-1, "start.failure", REPORT_SIZE) : -1;
}

static bool has_failed(int report)
{
	uint32_t type = 0;

	return report >= 0 && pread(report, &type, sizeof(type), 0) == sizeof(type) && type == MSG_ERROR;
}

/* Follows the init until its process has been executed: born in the container's cgroups, as what it is to be. */
static bool follow(const struct container *c, struct process *process, int report)
{
	const uint32_t none = SLOT_NONE;
	struct message message;

	if (!attach(c, process) || hear(process, &message) != MSG_SYNC || message.value != SYNC_CGROUP ||
	    go(process->socket, SYNC_CGROUP, &none, NULL, 0) < 0)
		return false;
	if (clones) {
		if (hear(process, &message) != MSG_PID || !process_is_child(message.value))
			return false;
		process->pid = (pid_t)message.value;
		(void)waitpid(process->first, NULL, 0);
	} else {
		process->pid = process->first;
	}
	process->first = 0;
	return hear(process, &message) == 0 && !process_never_executed(process->pid) && !has_failed(report);
}

static void end(const struct process *process)
{
	const pid_t pids[] = { process->first, process->pid };

	for (int i = 0; i < 2; i++)
		if (pids[i] > 0) {
			(void)kill(pids[i], SIGKILL);
			(void)waitpid(pids[i], NULL, 0);
		}
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
static void block_signals(sigset_t *ret_set, sigset_t *ret_before)
{
	static const int own[] = { SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGPIPE, SIGURG };

	(void)sigfillset(ret_set);
	for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++)
		(void)sigdelset(ret_set, own[i]);
	(void)sigprocmask(SIG_BLOCK, ret_set, ret_before);
}

/* Hands signals on until the process has ended; its exit code. */
static int attend(pid_t pid, const sigset_t *set)
{
	int status;

	for (;;) {
		int number = sigwaitinfo(set, NULL);

		if (number == SIGCHLD && waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		if (number > 0 && number != SIGCHLD)
			(void)kill(pid, number); /* not reaped yet, it is nobody else's id */
	}
}

static int execute(const struct container *c, const char *program, int plan, int pidfd)
{
	struct process process = { .socket = -1 };
	struct parcel parcel = { .count = 0 };
	_cleanup_fd_ int report = open_report(c);
	char path[PATH_MAX];
	sigset_t set, before;
	int pid_file = -1;
	uint32_t own;
	bool done;

	if (key.pid_file && (pid_file = make_pid_file(path)) < 0)
		return -1;
	block_signals(&set, &before);
	put(&parcel, SLOT_PLAN, plan);
	put(&parcel, SLOT_TARGET, pidfd);
	if (report >= 0)
		put(&parcel, SLOT_REPORT, report);
	own = parcel.count;
	put_tasks(&parcel, c);
	done = start(program, &parcel, &process);
	for (uint32_t i = own; i < parcel.count; i++)
		(void)close(parcel.fds[i]);
	done = done && follow(c, &process, report);
	close_fd(&process.socket);
	if (done && pid_file >= 0 && !write_pid_file(pid_file, path, process.pid)) {
		/* It has run for a moment: to do it anew would run it twice. */
		tell_pid_file(errno);
		(void)unlink(path);
		end(&process);
		return 255;
	}
	if (!done) {
		end(&process);
		if (pid_file >= 0)
			(void)unlink(path);
		(void)sigprocmask(SIG_SETMASK, &before, NULL);
		return -1;
	}
	return key.detach ? 0 : attend(process.pid, &set);
}

int run_again(const char *root, char **arguments)
{
	_cleanup_container_ struct container c = CONTAINER_NONE;
	_cleanup_fd_ int pidfd = -1;
	_cleanup_fd_ int plan = -1;
	char parent[PATH_MAX], program[PATH_MAX + 32];

	if (getenv("LISTEN_FDS")) /* who is told of descriptors, prepare.py says */
		return -1;
	if (!key_of_command(arguments, &key) || container_open(root, key.id, false, &c) < 0)
		return -1;
	pidfd = container_process(&c);
	if (pidfd < 0 || container_frozen(&c) || !member_is(&c, MEMBER_PHASE, "\"created\""))
		return -1;
	find_package(parent);
	(void)snprintf(program, sizeof(program), "%s/ocirt/_bin/ocirt-init", parent);
	cgroup = open_cgroup(&c);
	keep = !key.unkept && key_of_container(&c, program, &key);
	plan = keep ? open_plan(&c) : -1;
	return plan < 0 ? -1 : execute(&c, program, plan, pidfd);
}
