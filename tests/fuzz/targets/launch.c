/* libFuzzer target: a kept launch, as a file of the state root. The first two bytes: how long the key is. */
#include "launcher/launch_file.c"

#include "spawn/init/plan.c"

#include <stdio.h>

#define NAME "0123456789abcdef.launch"

static void write_file(const uint8_t *data, size_t size)
{
	int fd;

	(void)mkdir("root", 0700);
	(void)mkdir("root/" LAUNCHES, 0700);
	fd = open("root/" LAUNCHES "/" NAME, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || (size && write(fd, data, size) < 0))
		abort();
	(void)close(fd);
}

/* Each plan as its performer reads it, from memory that ends behind it. */
static void fill_all(const struct kept_launch *launch)
{
	struct hole holes[] = { { "Xx /a", "one" }, { "Xx /b", "" }, { "Xx /c", "three" } };
	const struct shape shape = { .holes = holes, .count = 3 };
	struct filling filling = { .shapes = { &shape, &shape } };

	for (size_t i = 0; i < HOLE_FIRST; i += 2)
		filling.own[i] = slice_of("/a/path");
	for (uint32_t i = 0; i < BLOBS; i++) {
		struct text plan = { .bytes = NULL };
		struct performance p;

		(void)performance_begin(&p);
		if (launch_plan(launch, &filling, i, &plan) && plan.size && i % 2 == 0) {
			void *exact = malloc(plan.size + PLAN_SLACK);

			memcpy(exact, plan.bytes, plan.size + PLAN_SLACK);
			(void)performance_plan(&p, exact, plan.size);
			free(exact);
		}
		text_free(&plan);
		close_performance(&p);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char root[PATH_MAX];
	struct text key = { .bytes = NULL };
	struct kept_launch launch = { .bytes = NULL };
	uint16_t length;

	if (size <= sizeof(length) || data[0] == 0 || !getcwd(root, sizeof(root) - 8))
		return 0;
	memcpy(&length, data, sizeof(length));
	data += sizeof(length);
	size -= sizeof(length);
	text_add(&key, data, length < size ? length : size);
	write_file(data + key.size, size - key.size);
	strcat(root, "/root");
	if (launch_read(root, NAME, &key, &launch) == 0) {
		(void)launch_changed(&launch);
		fill_all(&launch);
	}
	free(launch.bytes);
	text_free(&key);
	return 0;
}
