/*
 * Who the process is and what it may do. The raw calls are used: they act on this one thread, which is all there is.
 */
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include "init.h"

#define NO_ID 0xffffffffU /* setresuid(2) and the like leave an id alone that is -1: the process would stay root */

/* The permissions in "type;uid;gid;perm;name", hexadecimal; -EINVAL if the text is not so. */
static int64_t key_permissions(const char *text)
{
	int64_t permissions = 0;

	for (int field = 0; field < 3; field++) {
		text = strchr(text, ';');
		if (!text)
			return -EINVAL;
		text++;
	}
	for (; *text && *text != ';'; text++) {
		int digit = *text >= 'a' ? *text - 'a' + 10 : *text - '0';

		if (digit < 0 || digit > 15 || permissions > 0x0fffffff)
			return -EINVAL;
		permissions = permissions << 4 | digit;
	}
	return permissions;
}

/* name, permission bits to add */
int op_keyring(struct init *init, const uint64_t *args)
{
	char text[1024];
	int64_t permissions;
	int key = sys(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, arg_string(args, 0), 0, 0, 0);
	int r = key;

	(void)init;
	if (r < 0 || !args[1])
		return r < 0 ? r : 0;
	r = sys(SYS_keyctl, KEYCTL_DESCRIBE, key, text, sizeof(text), 0);
	if (r < 0)
		return r;
	if ((size_t)r > sizeof(text))
		return -EOVERFLOW;
	permissions = key_permissions(text);
	if (permissions < 0)
		return (int)permissions;
	return sys(SYS_keyctl, KEYCTL_SETPERM, key, (uint64_t)permissions | args[1], 0, 0);
}

int op_bounding(struct init *init, const uint64_t *args)
{
	(void)init;
	for (int cap = 0; cap < 64; cap++) {
		int r = sys(SYS_prctl, PR_CAPBSET_READ, cap, 0, 0, 0);

		if (r == -EINVAL && cap > CAP_CHECKPOINT_RESTORE) /* past the last one that this kernel (5.9 at least) has */
			return 0;
		if (r == 1 && !(args[0] >> cap & 1))
			r = sys(SYS_prctl, PR_CAPBSET_DROP, cap, 0, 0, 0);
		if (r < 0)
			return r;
	}
	return 0;
}

int op_groups(struct init *init, const uint64_t *args)
{
	uint32_t length = plan_length(args[0]);

	if (length % sizeof(uint32_t))
		return fail(init, -EINVAL, DETAIL_PLAN);
	return sys(SYS_setgroups, length / sizeof(uint32_t), plan_bytes(&init->plan, args[0])); /* EINVAL for -1 */
}

static bool all_equal(const uint32_t ids[3], uint64_t wanted)
{
	return ids[0] == wanted && ids[1] == wanted && ids[2] == wanted;
}

int op_ids(struct init *init, const uint64_t *args)
{
	uint32_t ids[3];
	int r;

	(void)init;
	if (args[0] >= NO_ID || args[1] >= NO_ID)
		return -EINVAL;
	/* The permitted set must outlive the change of uid, for `caps` to choose from; execve clears the flag. */
	r = sys(SYS_prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0);
	if (r >= 0)
		r = sys(SYS_setresgid, args[1], args[1], args[1]);
	if (r >= 0)
		r = sys(SYS_setresuid, args[0], args[0], args[0]);
	set_dumpable(false);
	if (r >= 0)
		r = sys(SYS_getresgid, &ids[0], &ids[1], &ids[2]);
	if (r >= 0 && !all_equal(ids, args[1]))
		r = -EPERM;
	if (r >= 0)
		r = sys(SYS_getresuid, &ids[0], &ids[1], &ids[2]);
	if (r >= 0 && !all_equal(ids, args[0]))
		r = -EPERM;
	return r;
}

/* effective, permitted, inheritable, ambient */
int op_caps(struct init *init, const uint64_t *args)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {
		{ (uint32_t)args[0], (uint32_t)args[1], (uint32_t)args[2] },
		{ (uint32_t)(args[0] >> 32), (uint32_t)(args[1] >> 32), (uint32_t)(args[2] >> 32) },
	};
	int r = sys(SYS_capset, &header, data);

	(void)init;
	if (r >= 0)
		r = sys(SYS_prctl, PR_SET_KEEPCAPS, 0, 0, 0, 0);
	if (r >= 0)
		r = sys(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	for (int cap = 0; r >= 0 && cap < 64; cap++)
		if (args[3] >> cap & 1)
			r = sys(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
	return r;
}

int op_no_new_privs(struct init *init, const uint64_t *args)
{
	(void)init;
	(void)args;
	return sys(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

/* struct sock_filter array of the plan, SECCOMP_FILTER_FLAG_… */
int load_filter(struct init *init, uint64_t array, uint64_t flags)
{
	uint32_t length = plan_length(array);
	struct sock_fprog program = {
		.len = (unsigned short)(length / sizeof(struct sock_filter)),
		.filter = (struct sock_filter *)(uintptr_t)plan_bytes(&init->plan, array),
	};

	if (length == 0 || length % sizeof(struct sock_filter) || length / sizeof(struct sock_filter) > BPF_MAXINSNS)
		return fail(init, -EINVAL, DETAIL_PLAN);
	return sys(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

int op_seccomp(struct init *init, const uint64_t *args)
{
	return load_filter(init, args[0], args[1]);
}
