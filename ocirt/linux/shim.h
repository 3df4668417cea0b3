/*
 * The runtime's own system calls that Python lacks. No policy: each function does one thing and returns
 * a value >= 0 or a negative errno. Read by the compiler and, between the cdef marks, by cffi.
 */
#ifndef OCIRT_SHIM_H
#define OCIRT_SHIM_H

#include <stdint.h>
#include <sys/types.h>

/* cdef begins */
int shim_program_memfd(const char *path, const char *fallback_dir);
int shim_sealed_memfd(const char *name, const void *data, size_t size);
int shim_zeros(int directory, const char *name, size_t size);
int shim_spawn(int program, int socket, int doorbell, int preserve, const int *keep, size_t count, int *ret_pid);
int shim_spawn_in_cgroup(int program, int socket, int doorbell, int cgroup, int *ret_pid);
int shim_socketpair(int ret_fds[2]);
int shim_send(int socket, const void *data, size_t size, const int *fds, size_t count);
int shim_poll(int fd, int timeout_ms);
int shim_receive(int socket, void *data, size_t size, int *ret_fd);
int shim_sched_setattr(int pid, const void *attributes);
int shim_ioprio_set(int pid, int value);
int shim_user_namespace(void);
int shim_netlink_socket(int network_namespace);
int shim_seccomp_flags(uint64_t flags);
int shim_idmap(int tree, int user_namespace, int recursive);
int shim_open_tree(const char *path, int recursive);
int shim_connect(const char *path);
int shim_listen(int dirfd, const char *name);
int shim_signalfd(uint64_t mask);
int shim_read_signal(int fd);
int shim_pidfd_send_signal(int pidfd, int number);
int shim_subreaper(void);
int shim_terminal_raw(int fd, void *saved, size_t size);
int shim_terminal_restore(int fd, const void *saved, size_t size);
int shim_terminal_copy_size(int from, int to);
int shim_terminal_keep_newlines(int fd);
int shim_bpf_load_device(const void *code, size_t size);
int shim_bpf_query_device(int cgroup, uint32_t *ret_ids, size_t count);
int shim_bpf_open(uint32_t id);
int shim_bpf_attach_device(int cgroup, int program, int replaced);
int shim_bpf_detach_device(int cgroup, int program);

/* A hook on its way. 0, or a negative errno: then there is none. `env`: NULL for the caller's; `timeout_s`: 0 for none. */
int hook_size(void);
int hook_begin(void *hook, const char *path, const char *directory, char *const *argv, char *const *env, const void *state, size_t size, unsigned int timeout_s);
/* Its wait status, once it has ended. -EINTR for a signal of the caller's; -ETIMEDOUT: its time is over, and it is killed. */
int hook_wait(void *hook);
/* Kill it, if it has not ended, and let go of its output. 0. */
int hook_end(void *hook);
/* cdef ends */

/* CLOCK_MONOTONIC, in milliseconds. */
long long shim_now_ms(void);

struct hook {
	int output;         /* what it has said; -1 for none */
	int pid;            /* 0: there is none, or it has ended */
	int pidfd;
	long long until_ms; /* by CLOCK_MONOTONIC; 0: as long as it likes */
};

#endif
