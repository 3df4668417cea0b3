/*
 * See launch.h: the file, and the plans that come of it. What it says is believed as far as it is ours alone and was kept for
 * the same key; what comes of it is checked again by the decoder of plans.
 */
#define _GNU_SOURCE
#include "launch.h"
#include "quick.h"
#include "record.h"
#include "trust.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- the files ---- */

int read_config(int fd, struct text *ret)
{
	_cleanup_fd_ int file = fd;
	struct stat st;
	char *bytes;

	if (file < 0)
		return file;
	if (fstat(file, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size > CONFIG_MAX)
		return -EFBIG;
	bytes = malloc((size_t)st.st_size + 1);
	if (!bytes)
		return -ENOMEM;
	*ret = (struct text){ .bytes = bytes, .size = (size_t)st.st_size, .room = (size_t)st.st_size + 1 };
	bytes[st.st_size] = 0;
	return read(file, bytes, (size_t)st.st_size) == st.st_size ? 0 : -EIO;
}

int read_path(const char *path, struct text *ret)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	return read_config(fd < 0 ? -errno : fd, ret);
}

static bool lay_out(struct kept_launch *l, size_t size, const struct text *wanted)
{
	const struct launch_head *head = &l->head;
	uint64_t sum = sizeof(*head) + (uint64_t)head->key;
	const char *at = l->bytes + sizeof(*head) + head->key;

	for (int i = 0; i < BLOBS; i++)
		sum += head->blobs[i];
	sum += (uint64_t)head->patches + head->pool + head->witnesses;
	if (head->magic != PLAN_MAGIC || sum != size || head->key != wanted->size)
		return false;
	for (int i = 0; i < BLOBS; at += head->blobs[i++])
		l->blobs[i] = at;
	l->patches = at;
	l->pool = l->patches + head->patches;
	l->witnesses = l->pool + head->pool;
	return memcmp(l->bytes + sizeof(*head), wanted->bytes, wanted->size) == 0;
}

static int open_launches(const char *root)
{
	_cleanup_fd_ int top = state_root(root, 0, NULL, 0);
	_cleanup_fd_ int fd = -1;

	if (top < 0)
		return top;
	fd = openat(top, LAUNCHES, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return state_owned(fd) < 0 ? -EKEYREJECTED : take_fd(&fd);
}

/* Also what the longest unused is found by. Two at a time may count as one. */
static void count_use(int directory, const char *file, const struct launch_head *head)
{
	_cleanup_fd_ int fd = openat(directory, file, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	const uint64_t uses = head->uses + 1;

	(void)!pwrite(fd, &uses, sizeof(uses), offsetof(struct launch_head, uses));
}

int launch_read(const char *root, const char *file, const struct text *wanted, struct kept_launch *ret)
{
	_cleanup_fd_ int directory = open_launches(root);
	_cleanup_fd_ int fd = directory < 0 ? directory : state_file(directory, file, NULL, 0);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if ((st.st_mode & 077) || st.st_size < (off_t)sizeof(ret->head) || st.st_size > LAUNCH_MAX)
		return -EKEYREJECTED;
	ret->bytes = malloc((size_t)st.st_size);
	if (!ret->bytes)
		return -ENOMEM;
	if (read(fd, ret->bytes, (size_t)st.st_size) != st.st_size)
		return -EIO;
	memcpy(&ret->head, ret->bytes, sizeof(ret->head));
	if (!lay_out(ret, (size_t)st.st_size, wanted))
		return -ENOENT;
	count_use(directory, file, &ret->head);
	return 0;
}

const char *launch_changed(const struct kept_launch *l)
{
	const char *at = l->witnesses, *end = at + l->head.witnesses;

	while (at < end) {
		const char *path = at + 3 * sizeof(uint64_t);
		const char *nul = path < end ? memchr(path, 0, (size_t)(end - path)) : NULL;
		uint64_t about[3];
		struct stat st = { .st_ino = 0 }; /* of what is not there */

		if (!nul)
			return "";
		memcpy(about, at, sizeof(about));
		(void)stat(path, &st);
		if (st.st_dev != about[0] || st.st_ino != about[1])
			return path;
		if (about[2] && about[2] != (uint64_t)st.st_mtim.tv_sec * 1000000000U + (uint64_t)st.st_mtim.tv_nsec)
			return path;
		at = nul + 1;
	}
	return NULL;
}

/* ---- filling in ---- */

/* Of a hole; nowhere for one that there is none of. */
static struct slice value_of(const struct filling *f, uint32_t index)
{
	if (index < HOLE_FIRST)
		return f->own[index];
	index -= HOLE_FIRST;
	for (size_t i = 0; i < sizeof(f->shapes) / sizeof(*f->shapes) && f->shapes[i]; i++) {
		if (index < f->shapes[i]->count)
			return slice_of(f->shapes[i]->holes[index].value);
		index -= (uint32_t)f->shapes[i]->count;
	}
	return (struct slice){ NULL, 0 };
}

static uint32_t take_number(const char **at, const char *end)
{
	uint32_t number = UINT32_MAX;

	if (end - *at >= (ptrdiff_t)sizeof(number)) {
		memcpy(&number, *at, sizeof(number));
		*at += sizeof(number);
	}
	return number;
}

/* One piece of a string, at the end of the plan. */
static bool add_piece(const struct kept_launch *l, const struct filling *f, const char **at, const char *end, struct text *plan)
{
	uint32_t literal = take_number(at, end), index = take_number(at, end), length = take_number(at, end);
	struct slice value = { NULL, 0 };

	if (literal == 1) {
		if ((uint64_t)index + length > l->head.pool || length > HOST_PLAN_MAX - plan->size)
			return false;
		text_add(plan, l->pool + index, length);
		return true;
	}
	if (literal == 0)
		value = value_of(f, index);
	if (!value.start || value.size > HOST_PLAN_MAX - plan->size)
		return false;
	text_add(plan, value.start, value.size);
	return true;
}

/* All patches of one plan: each a string behind what there is, and the word that says where. */
static bool fill_in(const struct kept_launch *l, const struct filling *f, uint32_t blob, struct text *plan)
{
	static const char zeros[8];
	const char *at = l->patches, *end = at + l->head.patches;

	while (at < end) {
		struct text skipped = { .bytes = NULL };
		uint32_t of = take_number(&at, end), offset = take_number(&at, end), count = take_number(&at, end);
		struct text *to = of == blob ? plan : &skipped;
		uint64_t begin = plan->size, word;
		bool good = (uint64_t)offset + sizeof(word) <= l->head.blobs[of % BLOBS] && of < BLOBS;

		for (; good && count > 0; count--)
			good = add_piece(l, f, &at, end, to);
		text_free(&skipped);
		if (!good || plan->error)
			return false;
		if (of != blob)
			continue;
		word = begin | (plan->size - begin) << 32;
		memcpy(plan->bytes + offset, &word, sizeof(word));
		text_add(plan, zeros, 8 - plan->size % 8);
	}
	return true;
}

bool launch_plan(const struct kept_launch *l, const struct filling *f, uint32_t blob, struct text *ret_plan)
{
	static const char slack[PLAN_SLACK];
	uint32_t size;

	if (l->head.blobs[blob] == 0)
		return true;
	if (l->head.blobs[blob] < sizeof(struct plan_header))
		return false;
	text_add(ret_plan, l->blobs[blob], l->head.blobs[blob]);
	if (ret_plan->error || !fill_in(l, f, blob, ret_plan) || ret_plan->size > HOST_PLAN_MAX)
		return false;
	size = (uint32_t)ret_plan->size;
	memcpy(ret_plan->bytes + offsetof(struct plan_header, size), &size, sizeof(size));
	text_add(ret_plan, slack, sizeof(slack));
	ret_plan->size -= sizeof(slack);
	return ret_plan->error == 0;
}
