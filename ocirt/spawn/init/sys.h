/*
 * System calls without a libc: sys(NUMBER, arguments…) returns what the kernel returns, a negative errno on failure.
 *
 * Why no libc: a static glibc costs 0.3 ms and 600 KB at start-up, keeps errno in thread storage, and has wrappers
 * that do more than the call (set*id on all threads, getcwd, signals). Here a call is the call. EINTR is retried
 * always, close excepted (its fd is gone). Only calls of the generic table are used: no open, fork, dup2, poll.
 */
#ifndef OCIRT_SYS_H
#define OCIRT_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>

#ifndef AT_RECURSIVE /* glibc before 2.37 */
#define AT_RECURSIVE 0x8000
#endif

long system_call(long number, long a, long b, long c, long d, long e, long f);

#define SYS_0(n) system_call(n, 0, 0, 0, 0, 0, 0)
#define SYS_1(n, a) system_call(n, (long)(a), 0, 0, 0, 0, 0)
#define SYS_2(n, a, b) system_call(n, (long)(a), (long)(b), 0, 0, 0, 0)
#define SYS_3(n, a, b, c) system_call(n, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define SYS_4(n, a, b, c, d) system_call(n, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define SYS_5(n, a, b, c, d, e) system_call(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define SYS_6(n, a, b, c, d, e, f) \
	system_call(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define SYS_PICK(a, b, c, d, e, f, g, name, ...) name
#define sys(...) (int)SYS_PICK(__VA_ARGS__, SYS_6, SYS_5, SYS_4, SYS_3, SYS_2, SYS_1, SYS_0)(__VA_ARGS__)

_Noreturn void leave(int status);

/* The parts of string.h that are needed; start.c has them, for the compiler emits calls to them too. */
void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
char *strchr(const char *s, int c);
int strcmp(const char *a, const char *b);

/* Ownership by scope: an fd in a _cleanup_close_ variable is closed when the scope ends, unless taken. */
static inline void close_fd(const int *fd)
{
	if (*fd >= 0)
		(void)sys(SYS_close, *fd);
}
#define _cleanup_close_ __attribute__((cleanup(close_fd)))

static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#endif
