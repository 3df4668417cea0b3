/*
 * Entry point, system calls and the few functions that a compiler expects to exist. All that depends on the
 * architecture is here: x86-64 and arm64.
 */
#include <elf.h>
#include "init.h"

#if defined(__x86_64__)
__asm__(".text\n"
	".global _start\n"
	".type _start, @function\n"
	"_start:\n"
	"	xor %ebp, %ebp\n"
	"	mov %rsp, %rdi\n"
	"	and $-16, %rsp\n"
	"	call init_start\n");

long system_call(long number, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long r = 0;

	do
		__asm__ volatile("syscall"
				 : "=a"(r)
				 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
				 : "rcx", "r11", "memory");
	while (r == -EINTR && number != SYS_close);
	return r;
}
#elif defined(__aarch64__)
__asm__(".text\n"
	".global _start\n"
	".type _start, %function\n"
	"_start:\n"
	"	mov x29, xzr\n"
	"	mov x30, xzr\n"
	"	mov x0, sp\n"
	"	b init_start\n");

long system_call(long number, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = number;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;
	long r = 0;

	do {
		register long x0 __asm__("x0") = a;

		__asm__ volatile("svc #0"
				 : "+r"(x0)
				 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
				 : "memory", "cc");
		r = x0;
	} while (r == -EINTR && number != SYS_close);
	return r;
}
#else
#error "the system calls of this architecture are not written yet"
#endif

/* Where compilers look for the value that guards the stack, and what they call when it was overwritten. */
uintptr_t __stack_chk_guard;
_Noreturn __attribute__((used)) void __stack_chk_fail(void);
_Noreturn void __stack_chk_fail(void)
{
	__builtin_trap();
}

/* The kernel's stack at start: argc, the arguments, NULL, the environment, NULL, the auxiliary vector. */
_Noreturn __attribute__((used)) void init_start(const long *stack);
_Noreturn void init_start(const long *stack)
{
	const long *auxiliary = stack + 1 + stack[0] + 1;

	relocate();
	while (*auxiliary++)
		;
	for (; auxiliary[0]; auxiliary += 2)
		if (auxiliary[0] == AT_RANDOM)
			memcpy(&__stack_chk_guard, (const void *)auxiliary[1], sizeof(__stack_chk_guard)); /* it is not aligned */
	__stack_chk_guard &= ~0xffUL; /* no string runs over a zero byte */
	init_main((int)stack[0], (char **)(stack + 1));
}

/* A filter of the container's can refuse every call, but not an invalid instruction: that ends the first process of a
 * pid namespace too, which no signal of its own would. */
_Noreturn void leave(int status)
{
	(void)sys(SYS_exit_group, status);
	(void)sys(SYS_exit, status);
	__builtin_trap();
}

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
	char *t = to;
	const char *f = from;

	while (n--)
		*t++ = *f++;
	return to;
}

void *memmove(void *to, const void *from, size_t n)
{
	char *t = to;
	const char *f = from;

	if (t <= f)
		return memcpy(to, from, n);
	while (n--)
		t[n] = f[n];
	return to;
}

void *memset(void *to, int byte, size_t n)
{
	char *t = to;

	while (n--)
		*t++ = (char)byte;
	return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const unsigned char *x = a, *y = b;

	for (; n; n--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

char *strchr(const char *s, int c)
{
	for (; *s != (char)c; s++)
		if (!*s)
			return NULL;
	return (char *)s;
}

int strcmp(const char *a, const char *b)
{
	return memcmp(a, b, strlen(a) + 1);
}
