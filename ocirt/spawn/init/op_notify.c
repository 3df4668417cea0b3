/*
 * A seccomp filter with a listener (SECCOMP_RET_USER_NOTIF), and the listener's way to whoever listens.
 *
 *     init                        helper: a child with our descriptors and one page of our memory
 *      │ clone(CLONE_FILES) ────────►│ waits for `fd`
 *      │ seccomp() → fd              │ (no system call of ours can tell it: the filter may stop any)
 *      │ looks at `result`           │ sendmsg(agent, state, fd), closes fd and agent for both of us, result
 *      ▼ goes on                     ▼ exits; SA_NOCLDWAIT: nobody has to wait for it
 *
 * From the filter on, a system call that it stops waits until the agent, which has the listener by then, answers.
 */
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include "init.h"

#define NO_CHILD_WAIT 2      /* SA_NOCLDWAIT */
#define CHILD_SIGNAL 17      /* SIGCHLD */
#define KILL_SIGNAL 9        /* SIGKILL */
#define CLONE_FILE_TABLE 0x400 /* CLONE_FILES */
#define PAUSE_NS 20000
#define PAUSES_MAX 250000    /* 5 s at least: between clone and seccomp nothing waits */
#define MESSAGE_MAX 16383    /* agents read this much at once */

enum { WAITING = -1000000, FAILED = -1000001 };

/* One page that both see. Each of the two numbers is written once, by one side. */
struct shared {
	int fd;     /* the listener, or FAILED */
	int result; /* 0, or a negative errno of the hand-over */
};

static int get(const int *number)
{
	return __atomic_load_n(number, __ATOMIC_ACQUIRE);
}

static void put(int *number, int value)
{
	__atomic_store_n(number, value, __ATOMIC_RELEASE);
}

/* The state, the listener with its first bytes (config-linux.md, "The Container Process State"). */
static int send_state(int agent, int state, int listener)
{
	char bytes[MESSAGE_MAX];
	bool first = true;

	for (;;) {
		int length = sys(SYS_read, state, bytes, sizeof(bytes)), sent = 0;

		if (length <= 0)
			return length;
		while (sent < length) {
			size_t left = (size_t)(length - sent);
			int r = first ? send_with_fd(agent, listener, bytes, left)
				      : sys(SYS_sendto, agent, bytes + sent, left, MSG_NOSIGNAL, NULL, 0);

			if (r <= 0)
				return r < 0 ? r : -EPIPE;
			first = false;
			sent += r;
		}
	}
}

static _Noreturn void help(struct shared *shared, int agent, int state)
{
	const long pause[2] = { 0, PAUSE_NS };
	int r = -ETIMEDOUT, fd;

	(void)sys(SYS_prctl, PR_SET_PDEATHSIG, KILL_SIGNAL, 0, 0, 0);
	for (int i = 0; get(&shared->fd) == WAITING && i < PAUSES_MAX; i++)
		(void)sys(SYS_nanosleep, pause, NULL);
	fd = get(&shared->fd);
	if (fd >= 0) {
		r = send_state(agent, state, fd);
		(void)sys(SYS_close, fd);
	}
	(void)sys(SYS_close, agent);
	(void)sys(SYS_close, state);
	put(&shared->result, r);
	leave(0);
}

/* struct sock_filter array, SECCOMP_FILTER_FLAG_…, slot of the agent's socket, slot of the state */
int op_seccomp_notify(struct init *init, const uint64_t *args)
{
	const unsigned long action[4] = { 0, NO_CHILD_WAIT, 0, 0 };
	int agent = slot_fd(init, args[2]), state = slot_fd(init, args[3]), r;
	struct shared *shared;
	long page;

	if (agent < 0 || state < 0)
		return fail(init, -EBADF, DETAIL_PLAN);
	page = system_call(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (page < 0 && page > -4096)
		return (int)page;
	shared = (struct shared *)page; /* cppcheck-suppress intToPointerCast */
	put(&shared->fd, WAITING);
	put(&shared->result, WAITING);
	r = sys(SYS_rt_sigaction, CHILD_SIGNAL, action, NULL, sizeof(uint64_t));
	init->children_unseen = true;
	if (r >= 0)
		r = sys(SYS_clone, CLONE_FILE_TABLE | CHILD_SIGNAL, NULL, NULL, NULL, NULL);
	if (r == 0)
		help(shared, agent, state);
	if (r < 0)
		return r;
	/* The helper closes them, for both of us: nothing that the filter could stop is left to do. */
	init->slots[args[2]] = init->slots[args[3]] = -1;
	r = load_filter(init, args[0], args[1] | SECCOMP_FILTER_FLAG_NEW_LISTENER);
	put(&shared->fd, r < 0 ? FAILED : r);
	while (get(&shared->result) == WAITING)
		__asm__ volatile("" ::: "memory");
	return r < 0 ? r : get(&shared->result);
}
