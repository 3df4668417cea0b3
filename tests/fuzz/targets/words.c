/* libFuzzer target: the words of an `exec`, NUL between them, and behind an empty word the process file that they name. */
#include "launcher/exec_words.c"

#include "perform/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define WORDS_MAX 64

/* What is given by words is JSON, unless they are no text; a file may be anything. */
static void check(struct errand *errand, bool file)
{
	struct json json;
	int r = json_read(errand->document.bytes, errand->document.size, &json);

	if (!errand->id || (r < 0 && r != -EBADMSG))
		abort();
	if (r == 0)
		json_free(&json);
	else if (!file && !errand->unkept && !memchr(errand->document.bytes, '\\', errand->document.size))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct errand errand = { .id = NULL };
	char *text = malloc(size + 1), *words[WORDS_MAX + 1];
	size_t count = 0, at = 0;

	memcpy(text, data, size);
	text[size] = 0;
	for (; at < size && text[at] && count < WORDS_MAX; at += strlen(text + at) + 1)
		words[count++] = text + at;
	words[count] = NULL;
	if (!memchr(text, '/', at < size ? at : size)) { /* no file but those in this target's own directory */
		int fd = open("process.json", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

		if (at < size && write(fd, text + at, size - at) < 0)
			abort();
		(void)close(fd);
		if (errand_of(words, &errand))
			check(&errand, memmem(text, at, "-p", 2) != NULL);
		text_free(&errand.flags);
		text_free(&errand.variables);
		text_free(&errand.document);
	}
	free(text);
	return 0;
}
