/* See text.h. */
#define _GNU_SOURCE
#include "text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the members are taken from. */
struct said {
	const struct performance *p;
	const char *status;
	int pid;
	const struct strings *made;
	bool own_cgroups; /* only those */
};

static const enum member public[] = {
	MEMBER_OCI_VERSION, MEMBER_ID, MEMBER_PID, MEMBER_STATUS, MEMBER_BUNDLE, MEMBER_ROOTFS, MEMBER_CREATED, MEMBER_ANNOTATIONS,
	MEMBER_OWNER,
};

static const enum member own[] = {
	MEMBER_FORMAT, MEMBER_PHASE, MEMBER_START_TIME, MEMBER_BOOT_ID, MEMBER_MANAGER, MEMBER_UNIT, MEMBER_PID_NAMESPACE,
	MEMBER_PYTHON, MEMBER_FREEZERS, MEMBER_CGROUPS, MEMBER_MADE,
};

/* What `delete` needs should state.json be lost. */
static const enum member marked[] = {
	MEMBER_FORMAT, MEMBER_PID, MEMBER_START_TIME, MEMBER_BOOT_ID, MEMBER_UNIT, MEMBER_CGROUPS, MEMBER_MADE,
};

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

void text_add(struct text *text, const void *bytes, size_t size)
{
	if (text->room - text->size < size && !text->error) {
		size_t room = 2 * text->room + size + 1024;
		char *grown = realloc(text->bytes, room);

		text->error = grown ? 0 : -ENOMEM;
		if (grown) {
			text->bytes = grown;
			text->room = room;
		}
	}
	if (text->error || size == 0)
		return;
	memcpy(text->bytes + text->size, bytes, size);
	text->size += size;
}

void text_free(struct text *text)
{
	free(text->bytes);
	*text = (struct text){ .bytes = NULL };
}

static void add(struct text *text, const char *string)
{
	text_add(text, string, strlen(string));
}

static void add_number(struct text *text, uint64_t number)
{
	char digits[24];

	(void)snprintf(digits, sizeof(digits), "%" PRIu64, number);
	add(text, digits);
}

/* What _json.encode_basestring escapes, and no more. */
static void add_escape(struct text *text, unsigned char byte)
{
	static const char bytes[] = "\"\\\n\r\t\b\f", names[] = "\"\\nrtbf";
	const char *found = strchr(bytes, byte);
	char escape[8];

	if (found)
		(void)snprintf(escape, sizeof(escape), "\\%c", names[found - bytes]);
	else
		(void)snprintf(escape, sizeof(escape), "\\u%s%02x", byte < 0x80 ? "00" : "dc", byte);
	add(text, escape);
}

void text_quote(struct text *text, const char *string)
{
	const unsigned char *at = (const unsigned char *)string;

	text_add(text, "\"", 1);
	while (*at) {
		size_t length = utf8_character(at);

		if (length == 0 || *at < 0x20 || *at == '"' || *at == '\\') {
			add_escape(text, *at++);
		} else {
			text_add(text, at, length);
			at += length;
		}
	}
	text_add(text, "\"", 1);
}

/* NULL: none. */
static void add_vector(struct text *text, char *const *strings)
{
	add(text, "[");
	for (size_t i = 0; strings && strings[i]; i++) {
		add(text, i > 0 ? ", " : "");
		text_quote(text, strings[i]);
	}
	add(text, "]");
}

static void add_strings(struct text *text, const struct strings *strings)
{
	add(text, "[");
	for (uint32_t i = 0; i < strings->count; i++) {
		add(text, i > 0 ? ", " : "");
		text_quote(text, strings->items[i]);
	}
	add(text, "]");
}

/* The cgroups that hold nobody but the container; until it is created, one that was there may be anybody's. */
static void add_own_cgroups(struct text *text, const struct said *said)
{
	const char *separator = "";

	add(text, "[");
	for (char *const *path = said->p->cgroups; path && *path; path++) {
		if (strcmp(said->status, "created") != 0 && !strings_have(said->made, *path))
			continue;
		add(text, separator);
		text_quote(text, *path);
		separator = ", ";
	}
	add(text, "]");
}

static void add_annotations(struct text *text, char *const *pairs)
{
	add(text, "{");
	for (size_t i = 0; pairs && pairs[i]; i += 2) {
		add(text, i > 0 ? ", " : "");
		text_quote(text, pairs[i]);
		add(text, ": ");
		text_quote(text, pairs[i + 1]);
	}
	add(text, "}");
}

static void add_value(struct text *text, const struct said *said, enum member member)
{
	const struct performance *p = said->p;

	switch (member) {
	case MEMBER_OCI_VERSION:   text_quote(text, p->oci_version); break;
	case MEMBER_ID:            text_quote(text, p->id); break;
	case MEMBER_PID:           add_number(text, (uint64_t)said->pid); break;
	case MEMBER_STATUS:
	case MEMBER_PHASE:         text_quote(text, said->status); break;
	case MEMBER_BUNDLE:        text_quote(text, p->bundle); break;
	case MEMBER_ROOTFS:        text_quote(text, p->rootfs); break;
	case MEMBER_CREATED:       text_quote(text, p->created); break;
	case MEMBER_ANNOTATIONS:   add_annotations(text, p->annotations); break;
	case MEMBER_OWNER:         text_quote(text, p->owner); break;
	case MEMBER_FORMAT:        add(text, STATE_FORMAT); break;
	case MEMBER_START_TIME:    add_number(text, p->start_time); break;
	case MEMBER_BOOT_ID:       text_quote(text, p->boot_id); break;
	case MEMBER_MANAGER:       text_quote(text, p->manager); break;
	case MEMBER_UNIT:          text_quote(text, p->ours ? p->unit : ""); break; /* one that is not ours is not ended */
	case MEMBER_PID_NAMESPACE: add(text, p->pid_namespace ? "true" : "false"); break;
	case MEMBER_PYTHON:        text_quote(text, p->words); break;
	case MEMBER_FREEZERS:      add_strings(text, &p->freezers); break;
	case MEMBER_CGROUPS:       said->own_cgroups ? add_own_cgroups(text, said) : add_vector(text, p->cgroups); break;
	case MEMBER_MADE:          add_strings(text, said->made); break;
	default:                   break;
	}
}

/* Lines, with commas between them. */
static void add_members(struct text *text, const char *indent, const struct said *said, const enum member *members, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const char *head = state_heads[members[i]];

		add(text, i > 0 ? ",\n" : "");
		add(text, indent);
		add(text, head + strspn(head, " "));
		add_value(text, said, members[i]);
	}
}

/* The strings are there: those of one operation come together. */
static int check(const struct performance *p)
{
	return p->id && p->oci_version ? 0 : -EINVAL;
}

int state_text(const struct performance *p, const char *phase, const struct strings *made, struct text *text)
{
	struct said said = { .p = p, .status = phase, .pid = p->pid, .made = made };

	if (check(p) < 0)
		return -EINVAL;
	add(text, "{\n");
	add_members(text, "  ", &said, public, COUNT(public));
	add(text, ",\n  \"ocirt\": {\n");
	add_members(text, "    ", &said, own, COUNT(own));
	add(text, "\n  }\n}\n");
	return text->error;
}

int mark_text(const struct performance *p, const char *phase, const struct strings *made, struct text *text)
{
	struct said said = { .p = p, .status = phase, .pid = p->pid, .made = made, .own_cgroups = true };

	if (check(p) < 0)
		return -EINVAL;
	add(text, "{\n");
	add_members(text, "  ", &said, marked, COUNT(marked));
	add(text, "\n}\n");
	return text->error;
}

int document_text(const struct performance *p, const char *status, int pid, struct text *text)
{
	struct said said = { .p = p, .status = status, .pid = pid };

	if (check(p) < 0)
		return -EINVAL;
	add(text, "{\n");
	add_members(text, "  ", &said, public, COUNT(public));
	add(text, "\n}\n");
	return text->error;
}

int performance_document(const void *performance, const char *status, int pid, void *ret_text, size_t size)
{
	_cleanup_text_ struct text text = { .bytes = NULL };
	int r = document_text(performance, status, pid, &text);

	if (r < 0 || text.size > INT_MAX)
		return r < 0 ? r : -EFBIG;
	if (text.size <= size)
		memcpy(ret_text, text.bytes, text.size);
	return (int)text.size;
}
