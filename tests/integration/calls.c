/* Makes the system calls "ABI:NUMBER …" (abi 64, 32, x32; all arguments -1) and prints the errno of each. x86-64. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define X32_BIT 0x40000000

static long call(const char *abi, long number)
{
	long r;

	if (strcmp(abi, "32") == 0) {
		int result;

		__asm__ volatile("int $0x80" : "=a"(result) : "a"((int)number), "b"(-1), "c"(-1), "d"(-1), "S"(-1), "D"(-1) : "memory", "r8", "r9", "r10", "r11");
		return result;
	}
	if (strcmp(abi, "x32") == 0)
		number |= X32_BIT;
	register long fourth __asm__("r10") = -1;
	register long fifth __asm__("r8") = -1;
	register long sixth __asm__("r9") = -1;
	__asm__ volatile("syscall" : "=a"(r) : "a"(number), "D"(-1L), "S"(-1L), "d"(-1L), "r"(fourth), "r"(fifth), "r"(sixth) : "memory", "rcx", "r11");
	return r;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		char *colon = strchr(argv[i], ':');
		long r;

		*colon = 0;
		r = call(argv[i], atol(colon + 1));
		printf("%s:%s %ld\n", argv[i], colon + 1, r < 0 && r > -4096 ? -r : 0);
	}
	return 0;
}
