/*
 * The writer of state.json, of the mark and of the state that hooks read; launcher/lines.c believes nothing else.
 */
#ifndef OCIRT_TEXT_H
#define OCIRT_TEXT_H

#include "launcher/record.h"
#include "perform.h"

/* Grows. Not NUL-terminated; `error` is 0 or -ENOMEM, and then there is no more to come. */
struct text {
	char *bytes;
	size_t size, room;
	int error;
};

void text_add(struct text *text, const void *bytes, size_t size);
void text_free(struct text *text);

#define _cleanup_text_ __attribute__((cleanup(text_free)))

/* A JSON string. A byte that is not UTF-8 is the lone surrogate that Python has for it (PEP 383), as an escape. */
void text_quote(struct text *text, const char *string);

/* Each appends to an empty text. 0; -EINVAL before `claim` and `record`; -ENOMEM. `made`: as performance_made. */
int state_text(const struct performance *p, const char *phase, const struct strings *made, struct text *text);
int mark_text(const struct performance *p, const char *phase, const struct strings *made, struct text *text);
int document_text(const struct performance *p, const char *status, int pid, struct text *text);

/* The mark of a directory that was just claimed: the format's number. */
#define FIRST_MARK "{\n  \"format\": " STATE_FORMAT "\n}\n"

#endif
