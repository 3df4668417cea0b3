/* libFuzzer target: the words of an `exec`, NUL between them, and behind an empty word the process file that they name. */
#include "launcher/key.c"

#include <stdlib.h>

#define WORDS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct key key;
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
		memset(&key, 0, sizeof(key));
		if (key_of_command(words, &key)) {
			struct container c = { .fd = -1, .pid = 1, .start_time = 1 };

			if (!key.id || key.size > sizeof(key.bytes))
				abort();
			if (key_of_container(&c, "/proc/self/exe", &key) && strlen(key.name) != strlen("exec-0123456789abcdef.plan"))
				abort();
		}
	}
	free(text);
	return 0;
}
