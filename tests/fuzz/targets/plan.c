#define _GNU_SOURCE
/* libFuzzer target: the init's decoder of plans. What it accepts is walked, to the last byte that it points at. */
#include "spawn/init/plan.c"

#include <stdlib.h>

static volatile size_t touched;

static void touch(const struct plan *plan, char kind, uint64_t arg)
{
	if (kind == 's')
		touched += strlen((const char *)(uintptr_t)arg);
	if (kind == 'v')
		for (char **word = (char **)(uintptr_t)arg; *word || word[1]; word++)
			touched += *word ? strlen(*word) : 0;
	if (kind == 'b')
		for (uint32_t i = 0; i < plan_length(arg); i++)
			touched += plan_bytes(plan, arg)[i];
}

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
		for (uint32_t i = 0; i < plan.count; i++) {
			struct operation op = plan_next(&plan);

			for (size_t a = 0; op_kinds[op.head.code][a]; a++)
				touch(&plan, op_kinds[op.head.code][a], op.args[a]);
		}
	free(bytes);
	return 0;
}
