/* What is written to files of cgroups. */
#define _GNU_SOURCE
#include "perform.h"
#include "launcher/record.h"
#include "linux/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define PROGRAMS_MAX 64 /* that a cgroup can have */
#define TRIES 20        /* against others who change the device programs of the same cgroup */

static int open_file(const char *path, const char *name)
{
	char file[PATH_MAX];
	int fd;

	if (snprintf(file, sizeof(file), "%s/%s", path, name) >= (int)sizeof(file))
		return -ENAMETOOLONG;
	fd = open(file, O_WRONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* In one call, as control files demand. */
static int write_text(int fd, const char *text)
{
	return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

int perform_write_limit(struct performance *p, const struct operation *op)
{
	_cleanup_fd_ int fd = open_file(string_of(op, 0), string_of(op, 1));

	(void)p;
	return fd < 0 ? fd : write_text(fd, string_of(op, 2));
}

/* detail: the line that was refused, -1 where it is the file. Whether the container can do without, Python decides. */
int perform_device_rules(struct performance *p, const struct operation *op)
{
	_cleanup_fd_ int fd = open_file(string_of(op, 0), string_of(op, 1));
	char *const *lines = vector_of(op, 2);
	int r = 0;

	p->detail = -1;
	if (fd < 0)
		return fd;
	while (r == 0 && lines[p->detail + 1])
		r = write_text(fd, lines[++p->detail]);
	return r;
}

/* One that another has taken off meanwhile is gone as well. */
static int detach(int cgroup, uint32_t id)
{
	_cleanup_fd_ int old = shim_bpf_open(id);
	int r = old < 0 ? old : shim_bpf_detach_device(cgroup, old);

	return r == -ENOENT ? 0 : r;
}

/*
 * A single program is replaced in one step, -ENOENT where it is there no more; several are taken off when the new one is
 * there, for all must agree.
 */
static int swap(int cgroup, int program, const uint32_t *before, int count)
{
	_cleanup_fd_ int old = count == 1 ? shim_bpf_open(before[0]) : -1;
	int r;

	if (count == 1 && old < 0)
		return old;
	r = shim_bpf_attach_device(cgroup, program, old);
	for (int i = 0; r == 0 && count > 1 && i < count; i++)
		r = detach(cgroup, before[i]);
	return r;
}

/* There is no moment without any. Whether the container can do without, Python decides. */
int perform_device_program(struct performance *p, const struct operation *op)
{
	_cleanup_fd_ int cgroup = open(string_of(op, 0), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_fd_ int program = -1;
	uint32_t before[PROGRAMS_MAX];

	if (cgroup < 0)
		return -errno;
	program = shim_bpf_load_device(plan_bytes(&p->plan, op->args[1]), plan_length(op->args[1]));
	if (program < 0)
		return program;
	for (int i = 0; i < TRIES; i++) {
		int count = shim_bpf_query_device(cgroup, before, PROGRAMS_MAX);
		int r = count < 0 ? count : swap(cgroup, program, before, count);

		if (count < 0 || r != -ENOENT)
			return r;
	}
	return -EBUSY;
}
