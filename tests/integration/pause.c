/* Does nothing and makes one system call: what is injected cannot disturb it. */
void _start(void)
{
	for (;;) {
#if defined(__x86_64__)
		__asm__ volatile("syscall" : : "a"(34) : "rcx", "r11", "memory"); /* pause */
#elif defined(__aarch64__)
		register long number __asm__("x8") = 133; /* rt_sigsuspend, of no mask: fails, and is called again */
		__asm__ volatile("svc #0" : : "r"(number) : "x0", "memory");
#endif
	}
}
