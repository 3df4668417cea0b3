/*
 * A frozen interpreter: at build time the program starts half an interpreter, has it load the packed modules, and writes
 * its own data down; freeze.py puts that in the place of the data that it began with. What a command starts is then a
 * program in whose memory all that is done already.
 *
 * It is as with fork(2): objects are where they were, the thread is another one. That asks for fixed addresses (a program
 * that is not position-independent, with libpython linked in) and for no pointer to what is elsewhere each time.
 */
#ifndef OCIRT_FREEZE_H
#define OCIRT_FREEZE_H

#include <stdbool.h>
#include <stddef.h>

/* CPython's arenas since 3.10; one that is aligned to itself takes one entry of the tree that finds it. */
#define ARENA (1UL << 20)
#define ARENAS 3UL

#ifndef OCIRT_LINKED
static inline bool is_frozen(void)
{
	return false;
}

static inline struct _object *thaw(void)
{
	return NULL;
}

static inline void need_frozen(int argc, char *const argv[])
{
	(void)argc;
	(void)argv;
}
#else

/* ---- freeze.c ---- */

/* True in a program with a frozen interpreter. */
bool is_frozen(void);

/* The names in boot.py, in the interpreter that was frozen, which is this thread's from now on; NULL where it can't be. */
struct _object *thaw(void);

/*
 * In a program that is to be frozen, or has lost what was: ends it. With --freeze DIRECTORY, of the package that has the
 * pack, an interpreter is frozen and the program's data are written to stdout.
 */
void need_frozen(int argc, char *const argv[]);

/* ---- heap.c ---- */

/* From now on malloc(3) of what is linked in gives memory inside the program; and not any more. */
void begin_own_heap(void);
void end_own_heap(void);

/* Where CPython's arenas are in a program that can be frozen, aligned. */
char *own_arenas(void);
#endif

#endif
