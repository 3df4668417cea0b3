/*
 * JSON as tokens: RFC 8259, and nothing that two parsers could take for two things. What is refused is not wrong for that:
 * Python reads it, and finds the words where it is.
 *
 * Refused besides what is no JSON: a text of more than JSON_SIZE bytes, values nested deeper than JSON_DEPTH, what is not
 * UTF-8, a BOM, \u0000 and a surrogate without its other half in a string, an object with more than JSON_MEMBERS members or
 * one name twice, a number of more than JSON_NUMBER bytes or an exponent of three digits: a double may not hold it.
 */
#ifndef OCIRT_JSON_H
#define OCIRT_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_SIZE (256 << 10)
#define JSON_DEPTH 64
#define JSON_MEMBERS 256 /* each name is compared with those before it */
#define JSON_NUMBER 64

enum json_type { JSON_OBJECT, JSON_ARRAY, JSON_NAME, JSON_STRING, JSON_OTHER };

/* In an object a name, then its value. */
struct json_token {
	uint32_t start, end; /* in the text; with quotes and brackets */
	uint32_t next;       /* the token behind this one and all that is in it */
	uint8_t type;        /* enum json_type */
	bool escaped;        /* a name or string in which there is a backslash */
};

struct json {
	const char *text; /* the caller's */
	uint32_t count;
	struct json_token *tokens; /* the first is the whole */
};

/* The text need not end with a NUL, and is to stay. 0, -EBADMSG for what is refused, -ENOMEM. */
int json_read(const char *text, size_t size, struct json *ret);
void json_free(struct json *json);

#define _cleanup_json_ __attribute__((cleanup(json_free)))

static inline bool json_is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/*
 * The character of a string that begins at `at`, as UTF-8: the bytes that it takes there, 0 for one that is refused.
 * No more than four bytes of UTF-8, and never more than it takes there.
 */
size_t json_character(const char *at, const char *end, char ret_bytes[4], size_t *ret_size);

/* What a name or string stands for, with a NUL behind it; there is room for that where there was for the token. */
void json_decode(const struct json *json, uint32_t string, char *ret_text);

/* Whether a name or string stands for this; whether it begins so. */
bool json_is(const struct json *json, uint32_t string, const char *text);
bool json_begins(const struct json *json, uint32_t string, const char *text);

/* The value of an object's member; 0 where it has none of that name. */
uint32_t json_member(const struct json *json, uint32_t object, const char *name);

#endif
