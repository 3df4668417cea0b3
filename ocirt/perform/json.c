/* See json.h. Nothing here calls itself: what is open is in a table. */
#define _GNU_SOURCE
#include "json.h"
#include "launcher/record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct reader {
	struct json json;
	uint32_t room; /* of tokens */
	const char *at, *end;
	uint32_t open[JSON_DEPTH]; /* the objects and arrays around `at` */
	uint32_t depth;
};

/* ---- strings ---- */

/* Four hexadecimal digits; -1 for what are none. */
static long hex(const char *at, const char *end)
{
	static const char digits[] = "0123456789abcdefABCDEF";
	long code = 0;

	if (end - at < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		const char *found = memchr(digits, at[i], sizeof(digits) - 1);

		if (!found)
			return -1;
		code = code << 4 | (found - digits < 16 ? found - digits : found - digits - 6);
	}
	return code;
}

static size_t encode(long code, char ret_bytes[4])
{
	static const unsigned char heads[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
	size_t size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;

	for (size_t i = size; i-- > 1; code >>= 6)
		ret_bytes[i] = (char)(0x80 | (code & 0x3f));
	ret_bytes[0] = (char)(heads[size] | code);
	return size;
}

/* `at`: behind "\u". The bytes that it takes with these: 6, or 12 for a pair. */
static size_t numbered(const char *at, const char *end, char ret_bytes[4], size_t *ret_size)
{
	long code = hex(at, end), low;

	if (code <= 0 || (code >= 0xdc00 && code <= 0xdfff))
		return 0;
	if (code < 0xd800 || code > 0xdfff) {
		*ret_size = encode(code, ret_bytes);
		return 6;
	}
	low = end - at >= 10 && at[4] == '\\' && at[5] == 'u' ? hex(at + 6, end) : -1;
	if (low < 0xdc00 || low > 0xdfff)
		return 0;
	*ret_size = encode(0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00), ret_bytes);
	return 12;
}

static size_t escape(const char *at, const char *end, char ret_bytes[4], size_t *ret_size)
{
	static const char names[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
	const char *name;

	if (at == end)
		return 0;
	if (*at == 'u')
		return numbered(at + 1, end, ret_bytes, ret_size);
	name = memchr(names, *at, sizeof(names) - 1);
	if (!name)
		return 0;
	ret_bytes[0] = bytes[name - names];
	*ret_size = 1;
	return 2;
}

size_t json_character(const char *at, const char *end, char ret_bytes[4], size_t *ret_size)
{
	unsigned char padded[5] = ""; /* utf8_character stops at a NUL, and there may be none behind the text */

	if (at == end || (unsigned char)*at < 0x20)
		return 0;
	if (*at == '\\')
		return escape(at + 1, end, ret_bytes, ret_size);
	*ret_size = 1;
	ret_bytes[0] = *at;
	if ((unsigned char)*at < 0x80)
		return 1;
	memcpy(padded, at, end - at < 4 ? (size_t)(end - at) : 4);
	*ret_size = utf8_character(padded);
	memcpy(ret_bytes, padded, 4);
	return *ret_size;
}

/* ---- tokens ---- */

static int new_token(struct reader *r, enum json_type type)
{
	if (r->json.count == r->room) /* two values have a byte between or around them: this is no JSON */
		return -EBADMSG;
	r->json.tokens[r->json.count] = (struct json_token){ .start = (uint32_t)(r->at - r->json.text), .type = (uint8_t)type };
	r->json.count++;
	return 0;
}

static void end_token(struct reader *r, uint32_t index)
{
	struct json_token *token = &r->json.tokens[index];

	token->end = (uint32_t)(r->at - r->json.text);
	token->next = r->json.count;
}

/* The next byte that is no white space; 0 at the end. */
static char next(struct reader *r)
{
	while (r->at < r->end && json_is_blank(*r->at))
		r->at++;
	return r->at < r->end ? *r->at : 0;
}

static int read_string(struct reader *r, enum json_type type)
{
	char bytes[4];
	size_t size, taken;

	if (new_token(r, type) < 0)
		return -EBADMSG;
	for (r->at++; r->at < r->end && *r->at != '"'; r->at += taken) {
		unsigned char byte = (unsigned char)*r->at;

		taken = byte >= 0x20 && byte < 0x80 && byte != '\\' ? 1 : json_character(r->at, r->end, bytes, &size);
		if (taken == 0)
			return -EBADMSG;
		r->json.tokens[r->json.count - 1].escaped |= byte == '\\';
	}
	if (r->at == r->end)
		return -EBADMSG;
	r->at++;
	end_token(r, r->json.count - 1);
	return 0;
}

static long skip_digits(struct reader *r)
{
	const char *first = r->at;

	while (r->at < r->end && *r->at >= '0' && *r->at <= '9')
		r->at++;
	return r->at - first;
}

/* Whether the next byte is one of these, which is taken then. */
static bool take(struct reader *r, char one, char other)
{
	bool found = r->at < r->end && (*r->at == one || *r->at == other);

	r->at += found;
	return found;
}

static bool skip_number(struct reader *r)
{
	const char *first = r->at;
	long digits;

	(void)take(r, '-', '-');
	if (!take(r, '0', '0') && skip_digits(r) == 0)
		return false;
	if (take(r, '.', '.') && skip_digits(r) == 0)
		return false;
	if (take(r, 'e', 'E')) {
		(void)take(r, '+', '-');
		digits = skip_digits(r);
		if (digits == 0 || digits > 2)
			return false;
	}
	return r->at - first <= JSON_NUMBER;
}

static bool skip_word(struct reader *r, const char *word)
{
	size_t size = strlen(word);
	bool found = (size_t)(r->end - r->at) >= size && memcmp(r->at, word, size) == 0;

	r->at += found ? size : 0;
	return found;
}

static int read_other(struct reader *r)
{
	if (new_token(r, JSON_OTHER) < 0)
		return -EBADMSG;
	if (!skip_word(r, "true") && !skip_word(r, "false") && !skip_word(r, "null") && !skip_number(r))
		return -EBADMSG;
	end_token(r, r->json.count - 1);
	return 0;
}

/* ---- objects and arrays ---- */

static bool same_name(const struct json *json, const struct json_token *a, const struct json_token *b)
{
	const char *x = json->text + a->start + 1, *x_end = json->text + a->end - 1;
	const char *y = json->text + b->start + 1, *y_end = json->text + b->end - 1;
	char x_bytes[4], y_bytes[4];
	size_t x_size = 0, y_size = 0;

	if (!a->escaped && !b->escaped)
		return x_end - x == y_end - y && memcmp(x, y, (size_t)(x_end - x)) == 0;
	while (x < x_end && y < y_end) {
		x += json_character(x, x_end, x_bytes, &x_size);
		y += json_character(y, y_end, y_bytes, &y_size);
		if (x_size != y_size || memcmp(x_bytes, y_bytes, x_size) != 0)
			return false;
	}
	return x == x_end && y == y_end;
}

/* Whether each member has a name of its own, and there are not too many. */
static bool is_sound(const struct json *json, uint32_t object)
{
	uint32_t names[JSON_MEMBERS], count = 0;

	for (uint32_t name = object + 1; name < json->count; name = json->tokens[name + 1].next) {
		if (count == JSON_MEMBERS)
			return false;
		for (uint32_t i = 0; i < count; i++)
			if (same_name(json, &json->tokens[names[i]], &json->tokens[name]))
				return false;
		names[count++] = name;
	}
	return true;
}

static bool in_object(const struct reader *r)
{
	return r->json.tokens[r->open[r->depth - 1]].type == JSON_OBJECT;
}

static char closing(const struct reader *r)
{
	return in_object(r) ? '}' : ']';
}

/* 1: something is in it; 0: nothing, and its end is next. */
static int open_one(struct reader *r, enum json_type type)
{
	if (r->depth == JSON_DEPTH || new_token(r, type) < 0)
		return -EBADMSG;
	r->open[r->depth++] = r->json.count - 1;
	r->at++;
	return next(r) != closing(r);
}

static int close_one(struct reader *r)
{
	uint32_t closed = r->open[r->depth - 1];

	r->at++;
	r->depth--;
	end_token(r, closed);
	return r->json.tokens[closed].type != JSON_OBJECT || is_sound(&r->json, closed) ? 0 : -EBADMSG;
}

/* ---- the whole ---- */

/* 1: it is open, and what is in it comes next; 0: what ends it is read, or is next. */
static int begin_value(struct reader *r)
{
	switch (next(r)) {
	case '{': return open_one(r, JSON_OBJECT);
	case '[': return open_one(r, JSON_ARRAY);
	case '"': return read_string(r, JSON_STRING);
	default:  return read_other(r);
	}
}

/* What ends with this value; 1: another follows, 0: that was all. */
static int end_value(struct reader *r)
{
	while (r->depth > 0) {
		char c = next(r);

		if (c == ',') {
			r->at++;
			return 1;
		}
		if (c != closing(r) || close_one(r) < 0)
			return -EBADMSG;
	}
	(void)next(r);
	return r->at == r->end ? 0 : -EBADMSG;
}

static int read_name(struct reader *r)
{
	if (next(r) != '"' || read_string(r, JSON_NAME) < 0 || next(r) != ':')
		return -EBADMSG;
	r->at++;
	return 1;
}

static int read_all(struct reader *r)
{
	int e;

	do {
		e = begin_value(r);
		if (e == 0)
			e = end_value(r);
		if (e > 0 && in_object(r))
			e = read_name(r);
	} while (e > 0);
	return e;
}

int json_read(const char *text, size_t size, struct json *ret)
{
	struct reader r = { .json.text = text, .at = text, .end = text + size };
	int e;

	if (size > JSON_SIZE)
		return -EBADMSG;
	r.room = (uint32_t)(size / 2 + 1);
	r.json.tokens = malloc(r.room * sizeof(*r.json.tokens));
	if (!r.json.tokens)
		return -ENOMEM;
	e = read_all(&r);
	if (e < 0)
		json_free(&r.json);
	else
		*ret = r.json;
	return e;
}

void json_free(struct json *json)
{
	free(json->tokens);
	*json = (struct json){ .tokens = NULL };
}

/* ---- what is asked of them ---- */

void json_decode(const struct json *json, uint32_t string, char *ret_text)
{
	const char *at = json->text + json->tokens[string].start + 1, *end = json->text + json->tokens[string].end - 1;
	char bytes[4];
	size_t size;

	while (at < end) {
		at += json_character(at, end, bytes, &size);
		memcpy(ret_text, bytes, size);
		ret_text += size;
	}
	*ret_text = 0;
}

/* What is left of it behind this beginning; NULL where it begins otherwise. */
static const char *behind(const struct json *json, uint32_t string, const char *text)
{
	const char *at = json->text + json->tokens[string].start + 1;
	char bytes[4];
	size_t size;

	while (*at != '"' && *text) {
		at += json_character(at, json->text + json->tokens[string].end, bytes, &size);
		if (strncmp(text, bytes, size) != 0)
			return NULL;
		text += size;
	}
	return *text ? NULL : at;
}

bool json_begins(const struct json *json, uint32_t string, const char *text)
{
	return behind(json, string, text) != NULL;
}

bool json_is(const struct json *json, uint32_t string, const char *text)
{
	const char *rest = behind(json, string, text);

	return rest && *rest == '"';
}

uint32_t json_member(const struct json *json, uint32_t object, const char *name)
{
	for (uint32_t i = object + 1; i < json->tokens[object].next; i = json->tokens[i + 1].next)
		if (json_is(json, i, name))
			return i + 1;
	return 0;
}
