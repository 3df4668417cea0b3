/*
 * What the plan of an `exec` depends on, as bytes: equal bytes, equal plan. The words of the command, what the caller
 * may hold, which process of which container is joined, which build made the plan. A command with a flag that is not of
 * the table has no key: it is compiled each time, as is one with a flag of a plan that is not kept.
 */
#define _GNU_SOURCE
#include "again.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum use { WORD, FILE_CONTENT, DETACH, PID_FILE, NOT_KEPT };

static const struct flag {
	const char *name;
	const char *letter;
	bool takes_value;
	enum use use;
} flags[] = {
	{ "process", "p", true, FILE_CONTENT },
	{ "detach", "d", false, DETACH },
	{ "pid-file", "", true, PID_FILE },
	{ "user", "u", true, WORD },
	{ "additional-gids", "g", true, WORD },
	{ "cwd", "", true, WORD },
	{ "env", "e", true, WORD },
	{ "cap", "c", true, WORD },
	{ "no-new-privs", "", false, WORD },
	{ "apparmor", "", true, WORD },
	{ "process-label", "", true, WORD },
	{ "tty", "t", false, NOT_KEPT },
	{ "console-socket", "", true, NOT_KEPT },
};

static bool add(struct key *key, const void *data, size_t size)
{
	uint32_t length = (uint32_t)size;

	if (size > sizeof(key->bytes) || key->size + sizeof(length) + size > sizeof(key->bytes))
		return false;
	memcpy(key->bytes + key->size, &length, sizeof(length));
	memcpy(key->bytes + key->size + sizeof(length), data, size);
	key->size += sizeof(length) + size;
	return true;
}

static bool add_text(struct key *key, const char *text)
{
	return add(key, text, strlen(text));
}

/* A process file has another name each time. What is no file, as "-", can be read but once. */
static bool add_file(struct key *key, const char *path)
{
	static char content[KEY_MAX];
	_cleanup_fd_ int fd = -1;
	struct stat st;
	ssize_t n;

	/* To open a fifo and leave it would end its writer by SIGPIPE. */
	if (strcmp(path, "-") == 0 || stat(path, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size >= (off_t)sizeof(content))
		return false;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return false;
	n = read(fd, content, sizeof(content));
	return n >= 0 && add(key, content, (size_t)n);
}

/* "--name", "--name=value" or "-n" → its flag; NULL for any other word. */
static const struct flag *find(const char *word, const char **ret_value)
{
	const char *equals = strchrnul(word, '=');

	for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++) {
		const struct flag *flag = &flags[i];
		size_t length = strlen(flag->name);

		*ret_value = *equals ? equals + 1 : NULL;
		if (word[1] == '-' && (size_t)(equals - word) == length + 2 && memcmp(word + 2, flag->name, length) == 0)
			return flag->takes_value || !*equals ? flag : NULL;
		if (flag->letter[0] && word[1] == flag->letter[0] && word[2] == 0)
			return flag;
	}
	return NULL;
}

static bool take(struct key *key, const struct flag *flag, const char *value)
{
	switch (flag->use) {
	case DETACH:
		key->detach = true;
		return true;
	case PID_FILE:
		key->pid_file = value;
		return *value != 0;
	case NOT_KEPT:
		key->unkept = true;
		return true;
	case FILE_CONTENT:
		return add_text(key, flag->name) && add_file(key, value);
	default:
		return add_text(key, flag->name) && (!flag->takes_value || add_text(key, value));
	}
}

bool key_of_command(char **arguments, struct key *key)
{
	uint32_t words = 0;

	while (*arguments && (*arguments)[0] == '-') {
		const char *value;
		const struct flag *flag = find(*arguments++, &value);

		if (!flag || (flag->takes_value && !value && !(value = *arguments++)) || !take(key, flag, value))
			return false;
	}
	if (!*arguments)
		return false;
	key->id = *arguments++;
	for (; *arguments; arguments++, words++)
		if (!add_text(key, *arguments))
			return false;
	return add(key, &words, sizeof(words)); /* or "user 1000 sh" would be the same as "--user 1000" and "sh" */
}

static uint64_t bounding_set(void)
{
	uint64_t set = 0;

	for (unsigned long capability = 0; capability < 64; capability++)
		if (prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1)
			set |= 1ULL << capability;
	return set;
}

bool key_of_container(const struct container *c, const char *program, struct key *key)
{
	uint64_t hash = 0xcbf29ce484222325U; /* FNV-1a: names the file, whose own bytes decide */
	struct stat st;

	if (stat(program, &st) < 0)
		return false;
	const uint64_t facts[] = {
		bounding_set(), c->start_time, (uint64_t)c->pid, geteuid(),
		(uint64_t)st.st_size, (uint64_t)st.st_mtim.tv_sec, (uint64_t)st.st_mtim.tv_nsec,
	};
	if (!add_text(key, OCIRT_VERSION) || !add(key, facts, sizeof(facts)))
		return false;
	for (size_t i = 0; i < key->size; i++)
		hash = (hash ^ (unsigned char)key->bytes[i]) * 0x100000001b3U;
	(void)snprintf(key->name, sizeof(key->name), "exec-%016llx.plan", (unsigned long long)hash);
	return true;
}
