/* Namespaces: made, joined, and set up (names, loopback, clock offsets, sysctls) through a procfs of our own. */
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <linux/nsfs.h>
#include <linux/openat2.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include "init.h"

#define PROC_ROOT_INO 1

void set_dumpable(bool visible)
{
	if (sys(SYS_prctl, PR_SET_DUMPABLE, visible, 0, 0, 0) < 0 && !visible)
		leave(1);
}

/*
 * Write a file of a procfs. /proc/self belongs to root while the process is not dumpable, so that an unprivileged
 * caller needs to be dumpable for the moment of opening.
 */
int write_file(int directory, const char *path, uint64_t resolve, const char *value)
{
	_cleanup_close_ int fd = open_below(directory, path, O_WRONLY | O_NOCTTY, resolve);
	size_t length = strlen(value);
	int r;

	if (fd < 0)
		return fd;
	if (!is_filesystem(fd, PROC_SUPER_MAGIC))
		return -EXDEV;
	r = sys(SYS_write, fd, value, length);
	if (r < 0)
		return r;
	return (size_t)r == length ? 0 : -EIO;
}

static int write_own_file(const struct init *init, int directory, const char *path, uint64_t resolve, const char *value)
{
	int r = write_file(directory, path, resolve, value);

	if (r != -EACCES || !init->unprivileged)
		return r;
	set_dumpable(true);
	r = write_file(directory, path, resolve, value);
	set_dumpable(false);
	return r;
}

int op_oom_score_adj(struct init *init, const uint64_t *args)
{
	return write_own_file(init, AT_FDCWD, "/proc/self/oom_score_adj", 0, arg_string(args, 0));
}

/* path below SLOT_PROC, value */
int op_write_proc(struct init *init, const uint64_t *args)
{
	int proc = slot_fd(init, SLOT_PROC);

	/* RESOLVE_NO_XDEV: nothing mounted inside the procfs can stand in for the file (CVE-2025-52881). */
	return proc < 0 ? proc : write_own_file(init, proc, arg_string(args, 0), RESOLVE_BENEATH | RESOLVE_NO_XDEV, arg_string(args, 1));
}

/* slot, host, type */
int op_open_namespace(struct init *init, const uint64_t *args)
{
	/* O_NONBLOCK: the path may be a fifo. */
	_cleanup_close_ int fd = sys(SYS_openat, AT_FDCWD, arg_string(args, 1), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
	int type;

	if (fd < 0)
		return fail(init, fd, DETAIL_SOURCE);
	if (!is_filesystem(fd, NSFS_MAGIC))
		return fail(init, -EINVAL, DETAIL_WRONG_INODE);
	type = sys(SYS_ioctl, fd, NS_GET_NSTYPE, 0);
	if (type < 0 || (uint64_t)type != args[2])
		return fail(init, -EINVAL, DETAIL_WRONG_INODE);
	slot_set(init, args[0], take_fd(&fd));
	return 0;
}

/* slot, type */
int op_join(struct init *init, const uint64_t *args)
{
	int fd = slot_fd(init, args[0]);
	int r = fd < 0 ? fd : sys(SYS_setns, fd, args[1]);

	set_dumpable(false);
	return r;
}

/*
 * A thread that moves itself ("0") by the file tasks of cgroup v1 takes none of the kernel's locks on thread groups, for
 * which one that moves a process waits 7 to 13 ms after a quiet moment (Linux 5.4). We are the only thread there is.
 */
int op_enter_cgroup(struct init *init, const uint64_t *args)
{
	int fd = slot_fd(init, args[0]);
	int r = fd < 0 ? fd : sys(SYS_write, fd, "0", 1);

	slot_set(init, args[0], -1);
	return r < 0 ? r : 0;
}

int op_unshare(struct init *init, const uint64_t *args)
{
	int r = sys(SYS_unshare, args[0]);

	(void)init;
	set_dumpable(false);
	return r;
}

/* path below SLOT_PROC, type */
int op_setns_proc(struct init *init, const uint64_t *args)
{
	int proc = slot_fd(init, SLOT_PROC);
	/* A namespace's file is a magic link, which openat2 is not asked to refuse here; the procfs is our own. */
	_cleanup_close_ int fd = proc < 0 ? proc : sys(SYS_openat, proc, arg_string(args, 0), O_RDONLY | O_CLOEXEC, 0);

	if (fd < 0)
		return fd;
	return is_filesystem(fd, NSFS_MAGIC) ? sys(SYS_setns, fd, args[1]) : fail(init, -EINVAL, DETAIL_WRONG_INODE);
}

/*
 * In the new process: wait until the first stage has told the runtime our pid. Without its byte the first stage died
 * before it could, the runtime does not know of us, and we must not live on.
 */
static void wait_until_known(int pipe)
{
	char byte;

	if (sys(SYS_read, pipe, &byte, 1) != 1)
		leave(1);
}

/*
 * A child of the runtime's. clone3(2) wants no exit signal next to CLONE_PARENT: the new process has the caller's, which
 * is SIGCHLD for a child made by vfork. Where clone(2) can do it, that is called: a filter may be in force already, and
 * many do not let clone3 pass.
 */
static int make_sibling(const struct init *init, uint64_t flags)
{
	struct clone_args how = { .flags = flags | CLONE_PARENT };
	int cgroup = slot_fd(init, SLOT_CGROUP);

	if (cgroup < 0 && flags == 0)
		return sys(SYS_clone, CLONE_PARENT, NULL, NULL, NULL, NULL);
	if (cgroup >= 0) {
		how.flags |= CLONE_INTO_CGROUP;
		how.cgroup = (uint64_t)cgroup;
	}
	return sys(SYS_clone3, &how, sizeof(how));
}

/* The container's process. The first stage tells its pid and is gone. */
int op_clone(struct init *init, const uint64_t *args)
{
	int pipe[2];
	int pid, r = sys(SYS_pipe2, pipe, O_CLOEXEC);

	if (r < 0)
		return r;
	pid = make_sibling(init, args[0]);
	if (pid == 0) {
		set_dumpable(false);
		(void)sys(SYS_close, pipe[1]);
		wait_until_known(pipe[0]);
		(void)sys(SYS_close, pipe[0]);
		slot_set(init, SLOT_CGROUP, -1);
		return 0;
	}
	if (pid > 0) {
		if (send_message(init, MSG_PID, (uint32_t)pid) == 0)
			(void)sys(SYS_write, pipe[1], "", 1);
		leave(0);
	}
	(void)sys(SYS_close, pipe[0]);
	(void)sys(SYS_close, pipe[1]);
	return pid;
}

int op_sync(struct init *init, const uint64_t *args)
{
	/* The maps of a user namespace are written by the runtime, which needs root or a dumpable process for it. */
	bool dumpable = args[0] == SYNC_MAPPED && init->unprivileged;
	int r;

	if (dumpable)
		set_dumpable(true);
	r = send_message(init, MSG_SYNC, (uint32_t)args[0]);
	if (r == 0)
		r = receive_go(init, (uint32_t)args[0]);
	if (dumpable)
		set_dumpable(false);
	if (args[0] == SYNC_RUNTIME_HOOKS)
		init->doubtful = true;
	/* EPIPE: the runtime died; see receive_go. */
	if (r == -EPIPE)
		leave(1);
	return r;
}

/*
 * A host whose /proc has mounts inside (a container, a hardened system) forbids new procfs mounts to user namespaces.
 * Then the one that is there serves: cloned, or where that is forbidden too (locked mounts), by its directory.
 */
static int existing_proc(void)
{
	int fd = clone_tree(AT_FDCWD, "/proc", 0);
	struct statx s;

	if (fd < 0)
		fd = sys(SYS_openat, AT_FDCWD, "/proc", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	if (is_filesystem(fd, PROC_SUPER_MAGIC) && file_status(fd, &s) == 0 && s.stx_ino == PROC_ROOT_INO)
		return fd;
	(void)sys(SYS_close, fd);
	return -EXDEV;
}

static int new_proc(struct init *init, bool processes)
{
	static char subset[] = "subset=pid";
	char *options[] = { processes ? subset : NULL, NULL };
	int proc = make_filesystem(init, "proc", "proc", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);

	return proc == -EPERM ? existing_proc() : proc;
}

/* slot, PROC_… */
int op_open_proc(struct init *init, const uint64_t *args)
{
	int proc = args[1] == PROC_HOST ? existing_proc() : new_proc(init, args[1] == PROC_PROCESSES);

	if (proc < 0)
		return proc;
	forget_failure(init);
	slot_set(init, args[0], proc);
	return 0;
}

int op_session(struct init *init, const uint64_t *args)
{
	int r = sys(SYS_setsid);

	(void)init;
	(void)args;
	return r < 0 ? r : 0;
}

int op_hostname(struct init *init, const uint64_t *args)
{
	(void)init;
	return sys(SYS_sethostname, arg_string(args, 0), strlen(arg_string(args, 0)));
}

int op_domainname(struct init *init, const uint64_t *args)
{
	(void)init;
	return sys(SYS_setdomainname, arg_string(args, 0), strlen(arg_string(args, 0)));
}

int op_link_up(struct init *init, const uint64_t *args)
{
	_cleanup_close_ int fd = sys(SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request;
	size_t length = strlen(arg_string(args, 0));
	int r;

	(void)init;
	if (fd < 0)
		return fd;
	if (length >= sizeof(request.ifr_name))
		return -ENAMETOOLONG;
	memset(&request, 0, sizeof(request));
	memcpy(request.ifr_name, arg_string(args, 0), length);
	r = sys(SYS_ioctl, fd, SIOCGIFFLAGS, &request);
	if (r < 0)
		return r;
	request.ifr_flags |= IFF_UP;
	return sys(SYS_ioctl, fd, SIOCSIFFLAGS, &request);
}
