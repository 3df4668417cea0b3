/*
 * Memory for the interpreter, touched before it is needed. A page's first touch is two microseconds and more of the
 * kernel's time (find it, clear it, charge it), and an interpreter that makes a container touches some five hundred: a
 * thread does that while this one relocates libpython.
 *
 * What relocation itself writes is not touched ahead: that was tried, and waited for the same locks.
 */
#define _GNU_SOURCE 1
#include "launcher.h"
#include "libpython.h"

#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* CPython's arenas since 3.10; one that is aligned to itself takes one entry of the tree that finds it. */
#define ARENA (1UL << 20)
#define ARENAS 3UL
#define STEP (32 * 4096UL)
/* What a `create` is known to use: less would leave faults, more would be cleared for nothing. */
#define ARENAS_USED (320 * 4096UL)
#define HEAP_USED (224 * 4096UL)

static struct {
	char *arenas; /* NULL where there are none */
	size_t taken;
	char *heap;
	size_t heap_size;
} memory;

/* Others use these pages already: what is there stays as it is. In steps, for mmap(2) of others waits for each. */
static void touch(char *start, size_t size, size_t page)
{
	char *at = (char *)((uintptr_t)start & ~(page - 1));

	for (; at < start + size; at += STEP)
		(void)madvise(at, STEP, MADV_POPULATE_WRITE);
}

static void *touch_all(void *unused)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	touch(memory.arenas, ARENAS_USED, page);
	touch(memory.heap, memory.heap_size, page);
	return unused;
}

/* mmap and malloc, once each, with room for all. */
static void reserve(void)
{
	char *arenas = mmap(NULL, (ARENAS + 1) * ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *end;

	if (arenas != MAP_FAILED)
		memory.arenas = (char *)(((uintptr_t)arenas + ARENA - 1) & ~(ARENA - 1));
	(void)mallopt(M_ARENA_MAX, 1); /* the threads here allocate next to nothing: no heaps of their own */
	(void)mallopt(M_TRIM_THRESHOLD, 64 << 20);
	(void)mallopt(M_TOP_PAD, 2 * HEAP_USED);
	memory.heap = malloc(1); /* never freed: where the heap goes on */
	end = sbrk(0);
	if (memory.heap && memory.heap < end) /* else malloc is not the C library's, or had to do without brk(2) */
		memory.heap_size = (size_t)(end - memory.heap) < HEAP_USED ? (size_t)(end - memory.heap) : HEAP_USED;
}

void prepare_memory(void)
{
	pthread_t thread;

	reserve();
	if (memory.arenas && start_thread(&thread, touch_all, NULL))
		(void)pthread_detach(thread);
}

static void *allocate(void *unused, size_t size)
{
	void *arena;

	(void)unused;
	if (size != ARENA) /* of the stack of frames */
		return calloc(1, size);
	if (memory.arenas && memory.taken + size <= ARENAS * ARENA) {
		memory.taken += size;
		return memory.arenas + memory.taken - size;
	}
	arena = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return arena == MAP_FAILED ? NULL : arena;
}

static void release(void *unused, void *arena, size_t size)
{
	bool ours = memory.arenas && (char *)arena >= memory.arenas && (char *)arena < memory.arenas + ARENAS * ARENA;

	(void)unused;
	if (size != ARENA)
		free(arena);
	else if (!ours) /* the thread may not be done with ours */
		(void)munmap(arena, size);
}

void lend_memory(void)
{
	PyObjectArenaAllocator allocator = { NULL, allocate, release };

	py.PyObject_SetArenaAllocator(&allocator);
}
