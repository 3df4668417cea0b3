/* Reads all that a decoded plan points at, so that a sanitizer sees what is out of bounds. */
#include <string.h>

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

/* `kinds`: of each operation, as ops.def has them */
static void touch_all(struct plan *plan, const char *const *kinds)
{
	for (uint32_t i = 0; i < plan->count; i++) {
		struct operation op = plan_next(plan);
		const char *kind = kinds[op.head.code];

		for (size_t a = 0; kind[a]; a++)
			touch(plan, kind[a], op.args[a]);
	}
}
