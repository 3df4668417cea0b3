/* libFuzzer target: kept plans, as a file of the container's directory. The first two bytes: how long the key is. */
#include "launcher/again.c"
#include "spawn/init/plan.c"

void find_package(char *ret_parent)
{
	strcpy(ret_parent, "/");
}

static void decode_host_plan(const struct kept *kept)
{
	uint8_t *copy = calloc(1, kept->head.host_size + PLAN_SLACK);
	struct performance p;

	memcpy(copy, kept->bytes + sizeof(kept->head) + kept->head.key_size, kept->head.host_size);
	(void)performance_begin(&p);
	(void)performance_plan(&p, copy, kept->head.host_size);
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct container c = { .fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) };
	uint16_t length;
	struct kept kept = { .bytes = NULL };
	int fd;

	if (size < sizeof(length))
		return 0;
	memcpy(&length, data, sizeof(length));
	data += sizeof(length);
	size -= sizeof(length);
	key.size = length < size ? length : size;
	if (key.size > sizeof(key.bytes))
		key.size = sizeof(key.bytes);
	memcpy(key.bytes, data, key.size);
	strcpy(key.name, "exec-kept.plan");
	fd = open(key.name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (write(fd, data + key.size, size - key.size) < 0)
		abort();
	(void)close(fd);
	if (read_plans(&c, &kept)) {
		if ((size_t)kept.head.host_size + kept.head.init_size != size - 2 * key.size - sizeof(struct kept_head))
			abort();
		decode_host_plan(&kept);
	}
	free(kept.bytes);
	(void)close(c.fd);
	return 0;
}
