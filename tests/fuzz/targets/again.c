/* libFuzzer target: a kept plan, as a file of the container's directory. The first two bytes: how long the key is. */
#include "launcher/again.c"

void find_package(char *ret_parent)
{
	strcpy(ret_parent, "/");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct container c = { .fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) };
	uint16_t length;
	int fd, plan;

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
	plan = open_plan(&c);
	if (plan >= 0) {
		struct stat st;

		if (fstat(plan, &st) < 0 || st.st_size != (off_t)(size - 2 * key.size - sizeof(struct kept_head)))
			abort();
		(void)close(plan);
	}
	(void)close(c.fd);
	return 0;
}
