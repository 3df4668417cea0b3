/*
 * Host program for test_plan_decoder.py: decodes plans under sanitizers and touches all that they point at.
 * Reads [u32 length][bytes]… from stdin; writes "." for a plan that was accepted, "x" for one that was refused.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "plan.h"
#include "touch.h"

#define OP(name, kinds) kinds,
static const char *const op_kinds[] = {
#include "ops.def"
};
#undef OP
static const struct vocabulary operations = { op_kinds, sizeof(op_kinds) / sizeof(*op_kinds), PLAN_MAX };

static int decode(const uint8_t *bytes, uint32_t size)
{
	/* Exactly as much memory as the contract says, so that a byte further is an error of the sanitizer. */
	uint8_t *copy = calloc(1, (size_t)size + PLAN_SLACK);
	struct plan plan;
	uint32_t bad;
	int r;

	if (!copy)
		abort();
	memcpy(copy, bytes, size);
	r = plan_decode(copy, size, &operations, &plan, &bad);
	if (r == 0)
		touch_all(&plan, op_kinds);
	free(copy);
	return r;
}

int main(void)
{
	uint32_t size;

	while (fread(&size, sizeof(size), 1, stdin) == 1) {
		uint8_t *bytes = malloc(size ? size : 1);

		if (!bytes || fread(bytes, 1, size, stdin) != size)
			return 2;
		putchar(decode(bytes, size) == 0 ? '.' : 'x');
		free(bytes);
	}
	return ferror(stdin) != 0;
}
