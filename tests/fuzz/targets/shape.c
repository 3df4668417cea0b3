/* libFuzzer target: a config's shape. The holes are taken to the last byte, and a shape has those that are counted. */
#include "perform/shape.c"

/* Holes are marked once in the shape, those of variables twice; no byte 1 is there otherwise but in a variable's name. */
static void check(const struct shape *shape)
{
	const char *at = shape->bytes, *end = at + shape->size;

	for (size_t i = 0; i < shape->count; i++) {
		const struct hole *hole = &shape->holes[i];
		size_t name = strcspn(hole->value, "=") + 1;

		at = memchr(at, *HOLE_MARK, (size_t)(end - at));
		if (!at || memcmp(at + 1, hole->head, 2) != 0 || hole->head[2] != ' ' || hole->head[3] != '/')
			abort();
		at += 3;
		if (hole->head[1] == 'e' && (memcmp(at, hole->value, name) != 0 || at[name] != *HOLE_MARK))
			abort();
		at += hole->head[1] == 'e' ? name + 1 : 0;
	}
	if (memchr(at, *HOLE_MARK, (size_t)(end - at)))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *exact = malloc(size + (size == 0)), *room;
	struct shape shape;
	int r;

	memcpy(exact, data, size); /* no NUL behind it */
	r = shape_of(exact, size, &shape);
	if (r < 0 && r != -EBADMSG)
		abort();
	if (r == 0) {
		check(&shape);
		room = malloc(shape.size);
		if (config_shape(exact, size, room, shape.size, exact, 0) != -ENOSPC || memcmp(room, shape.bytes, shape.size) != 0)
			abort();
		free(room);
		shape_free(&shape);
	}
	free(exact);
	return 0;
}
