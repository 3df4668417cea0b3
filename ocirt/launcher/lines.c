/*
 * state.json's lines. What is not exactly as perform/text.c writes it was damaged, or is of another format: to take it for
 * what it may have been could have another process killed, or a living one forgotten.
 */
#include "record.h"
#include "quick.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* The lines of state.json in their order, each up to its value. */
#define MEMBER(name, indent, json, kind) indent "\"" json "\": ",
const char *const state_heads[MEMBER_COUNT] = {
#include "state.def"
};
#undef MEMBER

/* `part` is the head of what is ocirt's own. */
enum kind { kind_string, kind_number, kind_boolean, kind_object, kind_list, kind_part };

#define MEMBER(name, indent, json, kind) kind_##kind,
static const enum kind kinds[MEMBER_COUNT] = {
#include "state.def"
};
#undef MEMBER

bool slice_is(const struct slice *slice, const char *text)
{
	return slice->size == strlen(text) && memcmp(slice->start, text, slice->size) == 0;
}

size_t utf8_character(const unsigned char *at)
{
	static const unsigned int least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t length = at[0] < 0x80 ? 1 : at[0] < 0xc0 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : at[0] < 0xf8 ? 4 : 0;
	unsigned int code = length > 1 ? at[0] & (0x7fU >> length) : at[0];

	for (size_t i = 1; i < length; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (at[i] & 0x3f);
	}
	return length < 2 || (code >= least[length] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff)) ? length : 0;
}

/* Two halves of a surrogate pair are one character to a parser of JSON. `at`: behind the escape of the first. */
static bool is_pair(unsigned long first, const char *at)
{
	return first >= 0xd800 && first < 0xdc00 && strncmp(at, "\\ud", 3) == 0 && at[3] >= 'c' && at[3] <= 'f';
}

/* The length of what stands behind a backslash: what must be escaped, and bytes of a path that are not UTF-8 (PEP 383). */
static size_t escape(const char *at)
{
	char digits[5] = "";
	unsigned long code;

	if (*at && strchr("\"\\bfnrt", *at))
		return 1;
	if (*at != 'u' || strspn(at + 1, "0123456789abcdef") < 4)
		return 0;
	memcpy(digits, at + 1, 4);
	code = strtoul(digits, NULL, 16);
	if (is_pair(code, at + 5))
		return 0;
	return (code < 0x20 && !strchr("\b\f\n\r\t", (int)code)) || code == 0 || (code >= 0xd800 && code <= 0xdfff) ? 5 : 0;
}

/* Past the string; NULL where it is none. The text ends with a zero, which no string has. */
static const char *past_string(const char *at)
{
	if (*at++ != '"')
		return NULL;
	while (*at != '"') {
		size_t length = *at == '\\' ? escape(at + 1) : utf8_character((const unsigned char *)at);

		if (length == 0 || (unsigned char)*at < 0x20)
			return NULL;
		at += length + (*at == '\\');
	}
	return at + 1;
}

/* Strings between the two of `ends`, one after the other; in an object, names and values. */
static bool is_sequence(const struct slice *value, const char *ends)
{
	const char *at = value->start + 1, *last = value->start + value->size - 1;

	if (value->size < 2 || value->start[0] != ends[0] || *last != ends[1])
		return false;
	while (at < last) {
		at = past_string(at);
		if (at && ends[0] == '{')
			at = strncmp(at, ": ", 2) == 0 ? past_string(at + 2) : NULL;
		if (!at)
			return false;
		if (at == last)
			return true;
		if (strncmp(at, ", ", 2) != 0)
			return false;
		at += 2;
	}
	return value->size == 2;
}

static bool is_number(const struct slice *value)
{
	bool short_enough = value->size > 0 && value->size < 20;

	return short_enough && strspn(value->start, "0123456789") == value->size && (*value->start != '0' || value->size == 1);
}

static bool is_of_kind(const struct slice *value, enum kind kind)
{
	switch (kind) {
	case kind_string:  return past_string(value->start) == value->start + value->size;
	case kind_object:  return is_sequence(value, "{}");
	case kind_list:    return is_sequence(value, "[]");
	case kind_boolean: return slice_is(value, "true") || slice_is(value, "false");
	case kind_number:  return is_number(value);
	default:           return slice_is(value, "{");
	}
}

/* The comma that is behind all but the last of an object, and behind no opening brace. */
static bool has_comma(int member)
{
	return member != MEMBER_OCIRT && member != MEMBER_MADE;
}

/* What is written twice is the same, and one of two. */
static bool agree(const struct slice members[MEMBER_COUNT])
{
	const struct slice *phase = &members[MEMBER_PHASE], *status = &members[MEMBER_STATUS];

	return (slice_is(phase, "\"created\"") || slice_is(phase, "\"creating\"")) && phase->size == status->size &&
	       memcmp(phase->start, status->start, phase->size) == 0 && slice_is(&members[MEMBER_FORMAT], STATE_FORMAT);
}

int split_lines(const char *text, struct slice ret_members[MEMBER_COUNT])
{
	static const struct slice first = { .start = STATE_FORMAT, .size = sizeof(STATE_FORMAT) - 1 };
	const char *at = text;

	if (strncmp(at, "{\n", 2) != 0)
		return -EBADMSG;
	at += 2;
	for (int i = 0; i < MEMBER_COUNT; i++) {
		size_t head = strlen(state_heads[i]);
		const char *end = strchr(at, '\n');
		struct slice *member = &ret_members[i];
		bool found = end && strncmp(at, state_heads[i], head) == 0;

		if (!found && i == MEMBER_FORMAT) { /* the first format, which is the same but for the number */
			*member = first;
			continue;
		}
		if (!found || (end[-1] == ',') != has_comma(i))
			return -EBADMSG;
		member->start = at + head;
		member->size = (size_t)(end - member->start) - has_comma(i);
		if (!is_of_kind(member, kinds[i]))
			return -EBADMSG;
		at = end + 1;
	}
	return agree(ret_members) && strcmp(at, "  }\n}\n") == 0 ? 0 : -EBADMSG;
}

int state_is_laid_out(const char *text)
{
	struct slice members[MEMBER_COUNT];

	return split_lines(text, members);
}

int state_document(const char *text, const char *status, int pid, void *ret_text, size_t size)
{
	struct slice members[MEMBER_COUNT];
	const struct slice *old_pid = &members[MEMBER_PID], *old_status = &members[MEMBER_STATUS], *last = &members[MEMBER_OWNER];
	const char *between, *after;
	int r = split_lines(text, members);

	if (r < 0)
		return r;
	between = old_pid->start + old_pid->size;
	after = old_status->start + old_status->size;
	return snprintf(ret_text, size, "%.*s%d%.*s\"%s\"%.*s\n}\n", (int)(old_pid->start - text), text, pid,
			(int)(old_status->start - between), between, status, (int)(last->start + last->size - after), after);
}
