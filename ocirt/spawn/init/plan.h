/* A plan in memory: bytes that were checked and whose offsets became pointers. Makes no system call; for both sides. */
#ifndef OCIRT_PLAN_H
#define OCIRT_PLAN_H

#include <stdint.h>
#include "wire.h"

/* Zero bytes that must follow the plan's bytes in memory, so that no string or vector can run out of it. */
#define PLAN_SLACK 16

/* The operations of one side: the kinds of the arguments of each, as in ops.def, by its code. */
struct vocabulary {
	const char *const *kinds;
	uint32_t count;
	uint32_t size_max; /* bytes of a plan */
};

/* One operation of a decoded plan. An argument of kind s is a char *, of kind v a char **, as numbers. */
struct operation {
	struct plan_op head;
	const uint64_t *args;
};

struct plan {
	const struct vocabulary *words;
	uint8_t *bytes;
	uint32_t count;  /* of operations */
	uint32_t cursor; /* byte offset of the next operation */
};

/*
 * Check a plan of `size` bytes at `bytes` (8-aligned, writable, PLAN_SLACK zeros after it) and turn its offsets into
 * pointers. 0, or -EBADMSG: *ret_bad is then the index of the operation at fault, or NO_OP for the header.
 */
int plan_decode(uint8_t *bytes, uint32_t size, const struct vocabulary *words, struct plan *ret_plan, uint32_t *ret_bad);

/* The operation at the cursor, which moves on. To be called `count` times at most. */
struct operation plan_next(struct plan *plan);

/* An argument of kind b: its first byte; its length. */
const uint8_t *plan_bytes(const struct plan *plan, uint64_t arg);
uint32_t plan_length(uint64_t arg);

#endif
