/*
 * A config.json without the strings that plans only carry: where two have the same shape, their plans are equal but for
 * those, the holes. No plan is made here, and none is looked for.
 *
 * The shape is the text without white space, names and values as they are spelled (one in another spelling is of another
 * shape), and for a hole's value the byte 1, which no JSON has, its kind and its class. A variable of the environment is
 * followed by its name, "=" and another byte 1. Kinds are in holes.def; classes:
 *
 *     a  an absolute path     r  a relative path; both without "", "." and ".." as a component
 *     s  has a slash          w  has none
 *     e  NAME=value           n  1 to 64 bytes           x, t  any string
 *
 * Thread-safe: no global state.
 */
#ifndef OCIRT_SHAPE_H
#define OCIRT_SHAPE_H

#include <stdbool.h>
#include <stddef.h>

/* cdef begins */
/*
 * The shape of a config.json, and its holes in their order: for each "KC POINTER" with a NUL behind it (kind, class, RFC 6901),
 * then an empty one. The shape's size; -EBADMSG: the text is one that json.h refuses; -ENOSPC: there is no room; -ENOMEM.
 */
int config_shape(const void *config, size_t size, void *ret_shape, size_t shape_room, void *ret_holes, size_t holes_room);
/* cdef ends */

struct hole {
	const char *head;  /* "KC POINTER" */
	const char *value; /* what the string stands for; like head it has no NUL but that at its end */
};

struct shape {
	char *bytes;
	size_t size;
	struct hole *holes; /* as they come in the text */
	size_t count;
	char *words; /* where they are */
};

/* 0, or a negative errno as config_shape. */
int shape_of(const char *config, size_t size, struct shape *ret);
void shape_free(struct shape *shape);

/* Whether a relative path, or what is behind an absolute one's first slash, has no empty, "." and ".." component, and any. */
bool path_is_normal(const char *path);

#define _cleanup_shape_ __attribute__((cleanup(shape_free)))

#endif
