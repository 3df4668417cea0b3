/*
 * The plan's decoder: whatever the bytes are, what comes out stays inside them.
 *
 * Two passes. The first walks the operations and finds where they end; the second checks each argument. All that an
 * argument points at lies behind the operations, so that turning a vector's words into pointers cannot change an
 * operation. It may change a string that overlaps (a malformed plan): such a string still ends in memory, for zeros
 * follow the plan.
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include "plan.h"

struct decoder {
	const struct vocabulary *words;
	uint8_t *bytes;
	uint32_t size;
	uint32_t data; /* offset where the operations end */
};

static uint64_t word_at(const uint8_t *bytes, uint64_t offset)
{
	uint64_t word;

	memcpy(&word, bytes + offset, sizeof(word));
	return word;
}

static void set_word(uint8_t *bytes, uint64_t offset, uint64_t word)
{
	memcpy(bytes + offset, &word, sizeof(word));
}

static struct plan_op head_at(const uint8_t *bytes, uint64_t offset)
{
	struct plan_op head;

	memcpy(&head, bytes + offset, sizeof(head));
	return head;
}

/* Whether `length` bytes at the word's offset, and `extra` after them, are data of the plan. */
static bool in_data(const struct decoder *d, uint64_t word, uint64_t length, uint64_t extra)
{
	uint64_t offset = (uint32_t)word;

	return offset >= d->data && offset + length + extra <= d->size;
}

static bool decode_string(const struct decoder *d, uint64_t *word)
{
	const uint8_t *start = d->bytes + (uint32_t)*word;
	uint32_t length = plan_length(*word);

	if (!in_data(d, *word, length, 1) || start[length])
		return false;
	for (uint32_t i = 0; i < length; i++)
		if (!start[i])
			return false;
	*word = (uint64_t)(uintptr_t)start;
	return true;
}

/* Two words of zero follow a vector: one ends it, the other leaves room for one string more (HOME). */
static bool decode_vector(const struct decoder *d, uint64_t *word)
{
	uint64_t offset = (uint32_t)*word, end = offset + (uint64_t)plan_length(*word) * 8;

	if (offset % 8 || !in_data(d, *word, end - offset, 16) || word_at(d->bytes, end) || word_at(d->bytes, end + 8))
		return false;
	for (uint64_t at = offset; at < end; at += 8) {
		uint64_t string = word_at(d->bytes, at);

		if (!decode_string(d, &string))
			return false;
		set_word(d->bytes, at, string);
	}
	*word = (uint64_t)(uintptr_t)(d->bytes + offset);
	return true;
}

static bool decode_arg(const struct decoder *d, char kind, uint64_t *word)
{
	switch (kind) {
	case 's':
		return decode_string(d, word);
	case 'v':
		return decode_vector(d, word);
	case 'b':
		return plan_length(*word) == 0 || in_data(d, *word, plan_length(*word), 0);
	case 'f':
		return *word < SLOT_COUNT || *word == SLOT_NONE;
	default:
		return true;
	}
}

/* The first pass: every head and argument word lies inside, every code is known, every skip stays in the plan. */
static bool find_data(struct decoder *d, uint32_t count, uint32_t *ret_bad)
{
	uint64_t cursor = sizeof(struct plan_header);

	for (uint32_t i = 0; i < count; i++) {
		struct plan_op head;

		*ret_bad = i;
		if (cursor + sizeof(head) > d->size)
			return false;
		head = head_at(d->bytes, cursor);
		if (head.code >= d->words->count || head.skip >= count - i)
			return false;
		cursor += sizeof(head) + strlen(d->words->kinds[head.code]) * 8;
		if (cursor > d->size)
			return false;
	}
	d->data = (uint32_t)cursor;
	return true;
}

static bool decode_op(const struct decoder *d, uint64_t *cursor)
{
	struct plan_op head = head_at(d->bytes, *cursor);

	*cursor += sizeof(head);
	for (const char *kind = d->words->kinds[head.code]; *kind; kind++, *cursor += 8) {
		uint64_t word = word_at(d->bytes, *cursor);

		if (!decode_arg(d, *kind, &word))
			return false;
		set_word(d->bytes, *cursor, word);
	}
	return true;
}

int plan_decode(uint8_t *bytes, uint32_t size, const struct vocabulary *words, struct plan *ret_plan, uint32_t *ret_bad)
{
	struct decoder d = { .words = words, .bytes = bytes, .size = size };
	struct plan_header header;
	uint64_t cursor = sizeof(header);

	*ret_bad = NO_OP;
	if (size < sizeof(header) || size > words->size_max)
		return -EBADMSG;
	memcpy(&header, bytes, sizeof(header));
	if (header.magic != PLAN_MAGIC || header.size != size)
		return -EBADMSG;
	if (!find_data(&d, header.count, ret_bad))
		return -EBADMSG;
	for (uint32_t i = 0; i < header.count; i++) {
		*ret_bad = i;
		if (!decode_op(&d, &cursor))
			return -EBADMSG;
	}
	*ret_plan = (struct plan){ .words = words, .bytes = bytes, .count = header.count, .cursor = sizeof(header) };
	return 0;
}

struct operation plan_next(struct plan *plan)
{
	struct operation op = { .head = head_at(plan->bytes, plan->cursor) };

	op.args = (const uint64_t *)(plan->bytes + plan->cursor + sizeof(op.head));
	plan->cursor += (uint32_t)(sizeof(op.head) + strlen(plan->words->kinds[op.head.code]) * 8);
	return op;
}

const uint8_t *plan_bytes(const struct plan *plan, uint64_t arg)
{
	return plan->bytes + (uint32_t)arg;
}

uint32_t plan_length(uint64_t arg)
{
	return (uint32_t)(arg >> 32);
}
