/* libFuzzer target: state.json as the quick verbs read it. Each string of each member is taken apart too. */
#include "launcher/record.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const words[] = { "poststop", "noprocess", "" };
	struct container c = CONTAINER_NONE;
	char text[PATH_SIZE];

	c.text = malloc(size + 1);
	memcpy(c.text, data, size);
	c.text[size] = 0;
	if (split_lines(c.text, c.members) == 0) {
		for (int i = 0; i < MEMBER_COUNT; i++) {
			static const size_t sizes[] = { 1, 2, 16, sizeof(text) };

			for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++) {
				struct slice rest = c.members[i];
				int n;

				while ((n = slice_next(&rest, text, sizes[s])) >= 0)
					if (strlen(text) > (size_t)n) /* shorter: it has an escaped NUL, which is refused */
						abort();
			}
			for (size_t w = 0; w < sizeof(words) / sizeof(*words); w++)
				(void)(member_is(&c, (enum member)i, words[w]) + member_has_word(&c, (enum member)i, words[w]));
		}
		(void)container_same_boot(&c);
	}
	free(c.text);
	return 0;
}
