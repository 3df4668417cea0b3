#define _GNU_SOURCE
/* libFuzzer target: the init's decoder of plans. What it accepts is walked, to the last byte that it points at. */
#include "spawn/init/plan.c"
#include "../../kernel/touch.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
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
	if (plan_decode(bytes, (uint32_t)size, &plan, &bad) == 0)
		touch_all(&plan, op_kinds);
	free(bytes);
	return 0;
}
