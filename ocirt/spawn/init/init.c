/*
 * ocirt-init: carries a plan out, operation by operation, and becomes the container's process.
 *
 * Who runs this: the runtime, as the caller (root, or a user) in the caller's namespaces. From `clone` on it is the
 * container's first process, or one that joined a container, with the caller's privileges until `ids` and `caps`.
 * It decides nothing: docs/plan.md says what each operation does, the plan says which. It has no libc (sys.h), takes
 * no memory but its stack and one mapping for the plan, and reads no environment.
 *
 *     ocirt-init FD [FD]       the report channel, a SOCK_SEQPACKET socket; the doorbell, an eventfd
 */
#include <limits.h>
#include <linux/prctl.h>
#include "init.h"

#define SIGNALS 64

typedef int operation_function(struct init *init, const uint64_t *args);

#define OP(name, kinds) kinds,
static const char *const op_kinds[] = {
#include "ops.def"
};
#undef OP
const struct vocabulary operations = { op_kinds, sizeof(op_kinds) / sizeof(*op_kinds), PLAN_MAX };

#define OP(name, kinds) op_##name,
static operation_function *const operation_functions[] = {
#include "ops.def"
};
#undef OP

/* Dispositions that are ignored survive execve (CPython ignores SIGPIPE and SIGXFSZ), as does the mask. */
static void reset_signals(void)
{
	const uint64_t none = 0;
	const unsigned long action[4] = { 0 }; /* struct sigaction of the kernel: handler SIG_DFL, no flags, no mask */

	for (int signal = 1; signal <= SIGNALS; signal++)
		(void)sys(SYS_rt_sigaction, signal, action, NULL, sizeof(none));
	(void)sys(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, &none, NULL, sizeof(none));
}

/*
 * The null device takes every number below the channel's that is not open: stdio, which the process needs, and holes
 * among the fds that the caller hands on, where something of ours could land and be handed on too.
 */
static void fill_holes(int channel)
{
	for (int fd = 0; fd < channel; fd++)
		if (sys(SYS_fcntl, fd, F_GETFD) == -EBADF)
			(void)sys(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR | (fd > 2 ? O_CLOEXEC : 0), 0);
}

static int number(const char *text)
{
	int n = 0;

	for (; *text; text++) {
		if (*text < '0' || *text > '9' || n > (INT_MAX - 9) / 10)
			return -1;
		n = n * 10 + (*text - '0');
	}
	return n;
}

/* 0 at the plan's end; else an operation failed with an errno that it does not ignore, and *ret_index says which. */
static int run(struct init *init, uint32_t *ret_index)
{
	uint32_t skip = 0;

	for (uint32_t i = 0; i < init->plan.count; i++) {
		struct operation op = plan_next(&init->plan);
		int r;

		if (skip > 0) {
			skip--;
			continue;
		}
		init->index = init->before + i;
		r = operation_functions[op.head.code](init, op.args);
		if (r >= 0) {
			skip = op.head.skip;
			continue;
		}
		*ret_index = init->index;
		if (-r != op.head.ignore[0] && -r != op.head.ignore[1])
			return r;
		forget_failure(init);
	}
	return 0;
}

_Noreturn void init_main(int argc, char **argv)
{
	/* Before all else: an exec made the process dumpable again, and a container that is entered must not see it. */
	int r = sys(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
	struct kept kept[KEPT_MAX]; /* not in struct init, which is cleared: it would take memory that few use */
	struct init init;
	uint32_t index = NO_OP;

	memset(&init, 0, sizeof(init));
	memset(init.slots, 0xff, sizeof(init.slots));
	init.kept = kept;
	init.channel = argc >= 2 ? number(argv[1]) : -1;
	init.doorbell = argc >= 3 ? number(argv[2]) : -1;
	if (r < 0 || protect_relocated() < 0 || init.channel < 3 || sys(SYS_fcntl, init.channel, F_SETFD, FD_CLOEXEC) < 0)
		leave(2);
	(void)sys(SYS_prctl, PR_SET_PDEATHSIG, 0, 0, 0, 0);
	reset_signals();
	fill_holes(init.channel);
	init.umask = (unsigned int)sys(SYS_umask, 0);
	init.unprivileged = sys(SYS_geteuid) != 0;
	do {
		init.more = false;
		r = load_plan(&init, &index);
		if (r == 0)
			r = run(&init, &index);
	} while (r == 0 && init.more);
	if (r < 0)
		report_failure(&init, index, r);
	leave(r < 0);
}
