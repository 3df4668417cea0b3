/* The directories that are made for cgroups, and what is recorded of them before and after: as cgroup/__init__.py has it. */
#define _GNU_SOURCE
#include "perform.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_PARENT "/ocirt" /* of cgroup/__init__.py: every container's and nobody's, whoever leaves it empty removes it */

static bool vector_has(char *const *strings, const char *string)
{
	for (; *strings; strings++)
		if (strcmp(*strings, string) == 0)
			return true;
	return false;
}

/* Cut down to the directory that holds it; "" at the top. */
static void cut(char *path)
{
	char *slash = strrchr(path, '/');

	*(slash ? slash : path) = 0;
}

static int claim_default_parent(const char *path, struct strings *found)
{
	const size_t length = sizeof(DEFAULT_PARENT) - 1;
	char above[PATH_MAX];

	if (snprintf(above, sizeof(above), "%s", path) >= (int)sizeof(above))
		return -ENAMETOOLONG;
	cut(above);
	if (strlen(above) < length || strcmp(above + strlen(above) - length, DEFAULT_PARENT) != 0 || strings_have(found, above))
		return 0;
	return strings_add(found, above);
}

/* Those that make_cgroup would make for one, children before parents. */
static int add_missing(const char *path, struct strings *found)
{
	char at[PATH_MAX];
	int r = 0;

	if (snprintf(at, sizeof(at), "%s", path) >= (int)sizeof(at))
		return -ENAMETOOLONG;
	for (; r == 0 && *at && access(at, F_OK) < 0; cut(at))
		r = strings_add(found, at);
	return r < 0 ? r : claim_default_parent(path, found);
}

/* Slices are for systemd to remove. */
static void keep_only(struct strings *list, char *const *wanted)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < list->count; i++) {
		if (vector_has(wanted, list->items[i]))
			list->items[kept++] = list->items[i];
		else
			free(list->items[i]);
	}
	list->count = kept;
}

/* As cgroup.missing, and with systemd what is known ahead of the unit. */
int perform_expect_cgroups(struct performance *p, const struct operation *op)
{
	uint32_t count = 0;
	int r = 0;

	p->cgroups = vector_of(op, 0);
	p->unit = string_of(op, 1);
	strings_free(&p->expected);
	for (; r == 0 && p->cgroups[count]; count++)
		r = add_missing(p->cgroups[count], &p->expected);
	if (r < 0 || !*p->unit)
		return r;
	keep_only(&p->expected, p->cgroups);
	p->ours = p->expected.count == count;
	return 0;
}

static int add_brought(const struct performance *p, struct strings *found)
{
	int r = 0;

	for (char *const *path = p->cgroups; r == 0 && p->ours && path && *path; path++)
		if (strings_have(&p->expected, *path))
			r = strings_add(found, *path);
	return r;
}

/* Deepest first; the default parents were there before, and may be left by the last. */
static int add_made(const struct performance *p, struct strings *found)
{
	int r = 0;

	for (uint32_t i = p->new.count; r == 0 && i > 0; i--)
		r = strings_add(found, p->new.items[i - 1]);
	for (uint32_t i = 0; r == 0 && i < p->usable.count; i++)
		r = claim_default_parent(p->usable.items[i], found);
	return r;
}

int performance_list_made(const struct performance *p, struct strings *found)
{
	int r = p->brought ? add_brought(p, found) : 0;

	if (p->made)
		return r < 0 ? r : add_made(p, found);
	for (uint32_t i = 0; r == 0 && !p->brought && i < p->expected.count; i++)
		r = strings_add(found, p->expected.items[i]);
	return r;
}

int performance_made(const void *performance, char *ret_text, size_t size)
{
	_cleanup_strings_ struct strings made = { .items = NULL };
	int r = performance_list_made(performance, &made);
	size_t used = 0;

	for (uint32_t i = 0; r == 0 && i < made.count; i++) {
		size_t length = strlen(made.items[i]) + 1;

		if (length > size - used)
			return -ENOSPC;
		memcpy(ret_text + used, made.items[i], length);
		used += length;
	}
	return r < 0 ? r : (int)used;
}
