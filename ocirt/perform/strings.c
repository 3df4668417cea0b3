/* Lists of strings, which grow. */
#define _GNU_SOURCE
#include "perform.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int strings_add(struct strings *strings, const char *text)
{
	char *copy = strdup(text);

	if (copy && strings->count == strings->room) {
		uint32_t room = strings->room ? 2 * strings->room : 16;
		char **items = realloc(strings->items, room * sizeof(*items));

		if (!items) {
			free(copy);
			return -ENOMEM;
		}
		strings->items = items;
		strings->room = room;
	}
	if (!copy)
		return -ENOMEM;
	strings->items[strings->count++] = copy;
	return 0;
}

bool strings_have(const struct strings *strings, const char *text)
{
	for (uint32_t i = 0; i < strings->count; i++)
		if (strcmp(strings->items[i], text) == 0)
			return true;
	return false;
}

void strings_free(struct strings *strings)
{
	while (strings->count > 0)
		free(strings->items[--strings->count]);
	free(strings->items);
	*strings = (struct strings){ .items = NULL };
}
