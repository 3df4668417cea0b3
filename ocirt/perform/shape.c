/* See shape.h. */
#define _GNU_SOURCE
#include "shape.h"
#include "json.h"
#include "text.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOLE_MARK "\1"
#define HOSTNAME_MAX 64 /* HOST_NAME_MAX, and __NEW_UTS_LEN of the kernel */

#define LABEL_MAX 200 /* FSCONFIG_VALUE_MAX of plan/mounts.py is more */

/* An object or array around the place, and which of its members it is, or is in. */
struct step {
	uint32_t holder; /* tokens */
	uint32_t name;
	long index;
};

struct place {
	const struct json *json;
	struct step steps[JSON_DEPTH];
	uint32_t depth;
};

struct builder {
	struct json json;
	struct place place;
	struct text bytes;
	struct text words; /* of each hole its head and its value, each with its NUL */
	char *value;       /* of the string at the place */
	size_t count;      /* of holes */
};

/* ---- classes: 0 where the value is no hole ---- */

bool path_is_normal(const char *path)
{
	do {
		size_t size = strcspn(path, "/");

		if (size == 0 || (size <= 2 && strncmp(path, "..", size) == 0))
			return false;
		path += size;
	} while (*path++ == '/');
	return true;
}

static char path_class(const struct place *place, const char *value)
{
	bool absolute = *value == '/';

	(void)place;
	return !path_is_normal(value + absolute) ? 0 : absolute ? 'a' : 'r';
}

static char absolute_class(const struct place *place, const char *value)
{
	return *value == '/' ? path_class(place, value) : 0;
}

/* The first component may be the name of a cgroup of the host's. */
static char cgroup_class(const struct place *place, const char *value)
{
	return *value == '/' && strchr(value + 1, '/') ? path_class(place, value) : 0;
}

static char name_class(const struct place *place, const char *value)
{
	size_t size = strlen(value);

	(void)place;
	return size > 0 && size <= HOSTNAME_MAX ? 'n' : 0;
}

/* Short enough to be the value of a filesystem's option. */
static char label_class(const struct place *place, const char *value)
{
	size_t size = strlen(value);

	(void)place;
	return size > 0 && size <= LABEL_MAX ? 'n' : 0;
}

static char program_class(const struct place *place, const char *value)
{
	(void)place;
	return !*value ? 0 : strchr(value, '/') ? 's' : 'w';
}

static char any_class(const struct place *place, const char *value)
{
	(void)place;
	(void)value;
	return 'x';
}

static bool begins(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Those that are looked into: the program is searched in PATH, HOME is set where it is missing, LISTEN_FDS is checked. */
static char variable_class(const struct place *place, const char *value)
{
	(void)place;
	if (begins(value, "PATH=") || begins(value, "HOME=") || begins(value, "LISTEN_"))
		return 0;
	return *value != '=' && strchr(value, '=') ? 'e' : 0;
}

/* A source of other mounts may be the name of a file system, or looked into; "cgroup" is in any. */
static char source_class(const struct place *place, const char *value)
{
	const struct json *json = place->json;
	uint32_t options = json_member(json, place->steps[place->depth - 1].holder, "options");

	if (!options || json->tokens[options].type != JSON_ARRAY || strcmp(value, "cgroup") == 0)
		return 0;
	for (uint32_t i = options + 1; i < json->tokens[options].next; i = json->tokens[i].next)
		if (json->tokens[i].type == JSON_STRING && (json_is(json, i, "bind") || json_is(json, i, "rbind")))
			return path_class(place, value);
	return 0;
}

/* Those of these names are looked for. */
static char annotation_class(const struct place *place, const char *value)
{
	static const char *const read[] = { "run.oci.", "org.systemd.", "org.criu.", "org.opencontainers." };

	(void)value;
	for (size_t i = 0; i < sizeof(read) / sizeof(*read); i++)
		if (json_begins(place->json, place->steps[place->depth - 1].name, read[i]))
			return 0;
	return 't';
}

/* ---- the table ---- */

static const struct rule {
	char kind;
	char (*class)(const struct place *place, const char *value);
	uint32_t depth;
	const char *path[5];
} rules[] = {
#define HOLE(kind, class, ...) { kind, class, sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(char *), { __VA_ARGS__ } },
#include "holes.def"
#undef HOLE
};

static bool step_fits(const struct json *json, const struct step *step, const char *wanted)
{
	if (json->tokens[step->holder].type == JSON_ARRAY)
		return strcmp(wanted, "[]") == 0 || (strcmp(wanted, "[0]") == 0 && step->index == 0);
	return *wanted != '[' && (strcmp(wanted, "*") == 0 || json_is(json, step->name, wanted));
}

static const struct rule *rule_of(const struct place *place)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++) {
		uint32_t at = 0;

		if (rules[i].depth != place->depth) /* of most, those of seccomp's names */
			continue;
		while (at < place->depth && step_fits(place->json, &place->steps[at], rules[i].path[at]))
			at++;
		if (at == place->depth)
			return &rules[i];
	}
	return NULL;
}

/* ---- the place ---- */

/* Go on to the next token. */
static void move(struct place *place, uint32_t token)
{
	const struct json_token *tokens = place->json->tokens;
	struct step *step;

	while (place->depth > 0 && token >= tokens[place->steps[place->depth - 1].holder].next)
		place->depth--;
	if (place->depth == 0)
		return;
	step = &place->steps[place->depth - 1];
	if (tokens[token].type == JSON_NAME)
		step->name = token;
	else
		step->index++; /* of no meaning in an object */
}

static void add_name(struct text *text, const struct json *json, uint32_t name)
{
	const char *at = json->text + json->tokens[name].start + 1, *end = json->text + json->tokens[name].end - 1;
	char bytes[4];
	size_t size;

	while (at < end) {
		at += json_character(at, end, bytes, &size);
		if (*bytes == '~' || *bytes == '/')
			text_add(text, *bytes == '~' ? "~0" : "~1", 2);
		else
			text_add(text, bytes, size);
	}
}

static void add_pointer(struct text *text, const struct place *place)
{
	char digits[24];

	for (uint32_t i = 0; i < place->depth; i++) {
		const struct step *step = &place->steps[i];

		text_add(text, "/", 1);
		if (place->json->tokens[step->holder].type == JSON_OBJECT)
			add_name(text, place->json, step->name);
		else
			text_add(text, digits, (size_t)snprintf(digits, sizeof(digits), "%ld", step->index));
	}
}

/* ---- the shape ---- */

/* False where the string at the place is none. */
static bool add_hole(struct builder *b, uint32_t token)
{
	const struct rule *rule = rule_of(&b->place);
	char head[3] = { 0, 0, ' ' };

	if (!rule)
		return false;
	json_decode(b->place.json, token, b->value);
	head[0] = rule->kind;
	head[1] = rule->class(&b->place, b->value);
	if (!head[1])
		return false;
	text_add(&b->bytes, HOLE_MARK, 1);
	text_add(&b->bytes, head, 2);
	if (head[1] == 'e') {
		text_add(&b->bytes, b->value, strcspn(b->value, "=") + 1);
		text_add(&b->bytes, HOLE_MARK, 1);
	}
	text_add(&b->words, head, sizeof(head));
	add_pointer(&b->words, &b->place);
	text_add(&b->words, "", 1);
	text_add(&b->words, b->value, strlen(b->value) + 1);
	b->count++;
	return true;
}

/* What is between names and values: one byte each, and white space. */
static void add_between(struct text *text, const char *at, const char *end)
{
	for (; at < end; at++)
		if (!json_is_blank(*at))
			text_add(text, at, 1);
}

static void add_all(struct builder *b)
{
	const struct json *json = b->place.json;
	const char *at = json->text;

	for (uint32_t i = 0; i < json->count; i++) {
		const struct json_token *token = &json->tokens[i];
		const char *start = json->text + token->start;

		move(&b->place, i);
		if (token->type == JSON_OBJECT || token->type == JSON_ARRAY) {
			b->place.steps[b->place.depth++] = (struct step){ .holder = i, .index = -1 };
			continue;
		}
		add_between(&b->bytes, at, start);
		if (token->type != JSON_STRING || !add_hole(b, i))
			text_add(&b->bytes, start, token->end - token->start);
		at = json->text + token->end;
	}
	add_between(&b->bytes, at, json->text + json->tokens[0].end);
}

/* The holes of `words`, which goes over to the shape. */
static int list_holes(const struct builder *b, struct shape *shape)
{
	const char *at = b->words.bytes;

	shape->holes = calloc(b->count + 1, sizeof(*shape->holes));
	if (!shape->holes)
		return -ENOMEM;
	for (size_t i = 0; i < b->count; i++) {
		shape->holes[i].head = at;
		shape->holes[i].value = at + strlen(at) + 1;
		at = shape->holes[i].value + strlen(shape->holes[i].value) + 1;
	}
	shape->count = b->count;
	return 0;
}

static void builder_free(struct builder *b)
{
	json_free(&b->json);
	text_free(&b->bytes);
	text_free(&b->words);
	free(b->value);
}

int shape_of(const char *config, size_t size, struct shape *ret)
{
	__attribute__((cleanup(builder_free))) struct builder b = { .place.json = &b.json };
	struct shape shape = { .bytes = NULL };
	int r = json_read(config, size, &b.json);

	if (r < 0)
		return r;
	b.value = malloc(size); /* a string has two quotes there */
	if (!b.value)
		return -ENOMEM;
	add_all(&b);
	if (b.bytes.error || b.words.error || list_holes(&b, &shape) < 0)
		return -ENOMEM;
	shape.bytes = b.bytes.bytes;
	shape.size = b.bytes.size;
	shape.words = b.words.bytes;
	b.bytes.bytes = b.words.bytes = NULL;
	*ret = shape;
	return 0;
}

void shape_free(struct shape *shape)
{
	free(shape->bytes);
	free(shape->holes);
	free(shape->words);
	*shape = (struct shape){ .bytes = NULL };
}

int config_shape(const void *config, size_t size, void *ret_shape, size_t shape_room, void *ret_holes, size_t holes_room)
{
	_cleanup_shape_ struct shape shape = { .bytes = NULL };
	char *at = ret_holes, *end = at + holes_room;
	int r = shape_of(config, size, &shape);

	if (r < 0)
		return r;
	if (shape.size > shape_room)
		return -ENOSPC;
	memcpy(ret_shape, shape.bytes, shape.size);
	for (size_t i = 0; i < shape.count; i++) {
		size_t length = strlen(shape.holes[i].head) + 1;

		if (length > (size_t)(end - at))
			return -ENOSPC;
		memcpy(at, shape.holes[i].head, length);
		at += length;
	}
	if (at == end)
		return -ENOSPC;
	*at = 0; /* the empty one */
	return (int)shape.size;
}
