/*
 * Memory for an interpreter that is to be frozen: inside the program, so that it is at the same place each time.
 *
 * Linked with --wrap for these four functions, which leaves the C library's own calls to themselves. While the interpreter
 * is made nothing is used twice but by blocks of the same size; later all comes from the C library, and what was made
 * before is never given back.
 */
#ifdef OCIRT_LINKED
#define _GNU_SOURCE
#include "freeze.h"

#include <stdint.h>
#include <string.h>

#define HEAP_SIZE (3UL << 20)
#define GRAIN 16UL
#define SIZES 1024UL /* free lists, by grains */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void __real_free(void *block);

struct block {
	size_t size;
	struct block *next; /* while it is free: where the data begin else is after this */
};

static struct block *freed[SIZES];
static size_t used;
static bool making;
static _Alignas(GRAIN) char heap[HEAP_SIZE];
static char arenas[(ARENAS + 1) * ARENA];

void begin_own_heap(void)
{
	making = true;
}

void end_own_heap(void)
{
	making = false;
}

char *own_arenas(void)
{
	return (char *)(((uintptr_t)arenas + ARENA - 1) & ~(ARENA - 1));
}

static bool is_own(const void *data)
{
	return (const char *)data >= heap && (const char *)data < heap + HEAP_SIZE;
}

static struct block *block_of(void *data)
{
	return (struct block *)((char *)data - sizeof(struct block));
}

static size_t rounded(size_t size)
{
	return size ? (size + GRAIN - 1) & ~(GRAIN - 1) : GRAIN;
}

static void *allocate(size_t size)
{
	size_t grains = rounded(size) / GRAIN;
	struct block *block = grains < SIZES ? freed[grains] : NULL;

	if (block) {
		freed[grains] = block->next;
		return block + 1;
	}
	if (size > HEAP_SIZE || used + sizeof(*block) + grains * GRAIN > HEAP_SIZE)
		return NULL;
	block = (struct block *)(heap + used);
	block->size = grains * GRAIN;
	used += sizeof(*block) + block->size;
	return block + 1;
}

void *__wrap_malloc(size_t size)
{
	return making ? allocate(size) : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	void *data;

	if (!making)
		return __real_calloc(count, size);
	if (size && count > HEAP_SIZE / size)
		return NULL;
	data = allocate(count * size);
	return data ? memset(data, 0, count * size) : NULL;
}

void __wrap_free(void *data)
{
	struct block *block;

	if (!data || !is_own(data)) {
		__real_free(data);
		return;
	}
	block = block_of(data);
	if (!making || block->size / GRAIN >= SIZES)
		return;
	memset(data, 0, block->size); /* what is gone need not be in the program */
	block->next = freed[block->size / GRAIN];
	freed[block->size / GRAIN] = block;
}

void *__wrap_realloc(void *data, size_t size)
{
	void *larger;

	if (!data)
		return __wrap_malloc(size);
	if (!is_own(data))
		return __real_realloc(data, size);
	if (size <= block_of(data)->size)
		return data;
	larger = __wrap_malloc(size);
	if (larger) {
		memcpy(larger, data, block_of(data)->size);
		__wrap_free(data);
	}
	return larger;
}
#endif
