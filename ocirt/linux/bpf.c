/* See shim.h: device programs of cgroup v2 (bpf(2), BPF_PROG_TYPE_CGROUP_DEVICE). */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * All zero, and more than any kernel knows: those from 6.17 on write beyond the members that BPF_PROG_QUERY had before,
 * whatever size they are told.
 */
union attributes {
	union bpf_attr bpf;
	char room[512];
};

#define LOAD_TRIES 5 /* as libbpf */

static int bpf(int command, union attributes *attributes)
{
	int r = (int)syscall(SYS_bpf, command, attributes, sizeof(attributes->bpf));

	return r < 0 ? -errno : r;
}

int shim_bpf_load_device(const void *code, size_t size)
{
	union attributes a;

	memset(&a, 0, sizeof(a));
	a.bpf.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	a.bpf.insns = (uint64_t)(uintptr_t)code;
	a.bpf.insn_cnt = (uint32_t)(size / sizeof(struct bpf_insn));
	a.bpf.license = (uint64_t)(uintptr_t)"Apache-2.0";
	memcpy(a.bpf.prog_name, "ocirt_devices", sizeof("ocirt_devices"));
	for (int tries = 1;; tries++) {
		int r = bpf(BPF_PROG_LOAD, &a);

		if (r != -EAGAIN || tries == LOAD_TRIES) /* a signal was pending while the program was verified */
			return r;
	}
}

/* The ids of the device programs of this very cgroup, at most `count`; how many there are. */
int shim_bpf_query_device(int cgroup, uint32_t *ret_ids, size_t count)
{
	union attributes a;
	int r;

	memset(&a, 0, sizeof(a));
	a.bpf.query.target_fd = (uint32_t)cgroup;
	a.bpf.query.attach_type = BPF_CGROUP_DEVICE;
	a.bpf.query.prog_ids = (uint64_t)(uintptr_t)ret_ids;
	a.bpf.query.prog_cnt = (uint32_t)count;
	r = bpf(BPF_PROG_QUERY, &a);
	return r < 0 ? r : (int)a.bpf.query.prog_cnt;
}

int shim_bpf_open(uint32_t id)
{
	union attributes a;

	memset(&a, 0, sizeof(a));
	a.bpf.prog_id = id;
	return bpf(BPF_PROG_GET_FD_BY_ID, &a);
}

/* Beside the programs that are there (BPF_F_ALLOW_MULTI), or in place of the one `replaced`, -1 for none. */
int shim_bpf_attach_device(int cgroup, int program, int replaced)
{
	union attributes a;

	memset(&a, 0, sizeof(a));
	a.bpf.target_fd = (uint32_t)cgroup;
	a.bpf.attach_bpf_fd = (uint32_t)program;
	a.bpf.attach_type = BPF_CGROUP_DEVICE;
	a.bpf.attach_flags = BPF_F_ALLOW_MULTI;
	if (replaced >= 0) {
		a.bpf.attach_flags |= BPF_F_REPLACE;
		a.bpf.replace_bpf_fd = (uint32_t)replaced;
	}
	return bpf(BPF_PROG_ATTACH, &a);
}

int shim_bpf_detach_device(int cgroup, int program)
{
	union attributes a;

	memset(&a, 0, sizeof(a));
	a.bpf.target_fd = (uint32_t)cgroup;
	a.bpf.attach_bpf_fd = (uint32_t)program;
	a.bpf.attach_type = BPF_CGROUP_DEVICE;
	return bpf(BPF_PROG_DETACH, &a);
}
