#define _GNU_SOURCE
/* libFuzzer target: the decoder of both plans. What it accepts is walked, to the last byte that it points at. */
#include "spawn/init/plan.c"
#include "../../kernel/touch.h"

#include <stdlib.h>

#define OP(name, kinds) kinds,
static const char *const op_kinds[] = {
#include "ops.def"
};
static const char *const host_kinds[] = {
#include "host_ops.def"
};
#undef OP

static void decode(const uint8_t *data, size_t size, const struct vocabulary *words)
{
	uint8_t *bytes = calloc(1, size + PLAN_SLACK);
	struct plan_header header;
	struct plan plan;
	uint32_t bad;

	memcpy(bytes, data, size);
	if (size >= sizeof(header)) { /* the sizes are put right: else nearly every input would end there */
		memcpy(&header, bytes, sizeof(header));
		header.magic = PLAN_MAGIC;
		header.size = (uint32_t)size;
		memcpy(bytes, &header, sizeof(header));
	}
	if (plan_decode(bytes, (uint32_t)size, words, &plan, &bad) == 0)
		touch_all(&plan, words->kinds);
	free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct vocabulary both[] = {
		{ op_kinds, sizeof(op_kinds) / sizeof(*op_kinds), PLAN_MAX },
		{ host_kinds, sizeof(host_kinds) / sizeof(*host_kinds), HOST_PLAN_MAX },
	};

	decode(data, size, &both[0]);
	decode(data, size, &both[1]);
	return 0;
}
