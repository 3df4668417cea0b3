/* What a kept launch depends on, as bytes: equal bytes, equal plans but for the holes. See launch.h. */
#define _GNU_SOURCE
#include "launch.h"
#include "quick.h"
#include "record.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum use { BUNDLE, PID_FILE, CONSOLE, NO_PIVOT, NO_NEW_KEYRING, DETACH, KEEP, NO_SUBREAPER };

static const struct flag flags[] = {
	{ "bundle", "b", true, BUNDLE },
	{ "pid-file", "", true, PID_FILE },
	{ "console-socket", "", true, CONSOLE },
	{ "no-pivot", "", false, NO_PIVOT },
	{ "no-new-keyring", "", false, NO_NEW_KEYRING },
	{ "detach", "d", false, DETACH }, /* from here on, of `run` */
	{ "keep", "", false, KEEP },
	{ "no-subreaper", "", false, NO_SUBREAPER },
};

/* Python makes others so. */
static bool is_plain(const char *path)
{
	return path[0] == '/' && path_is_normal(path + 1);
}

static const struct flag *find(const struct flag *flags, size_t count, const char *word, const char **ret_value)
{
	const char *equals = strchrnul(word, '=');

	for (size_t i = 0; i < count; i++) {
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

bool take_flags(const struct flag *table, size_t size, char ***arguments,
		bool (*take)(void *wanted, const struct flag *flag, const char *value), void *wanted)
{
	while (**arguments && (**arguments)[0] == '-') {
		const char *value;
		const struct flag *flag = find(table, size, *(*arguments)++, &value);

		if (!flag || (flag->takes_value && !value && !(value = *(*arguments)++)) || !take(wanted, flag, value))
			return false;
	}
	return true;
}

static bool take(void *wanted, const struct flag *flag, const char *value)
{
	struct wish *wish = wanted;

	if (flag->use >= DETACH && strcmp(wish->verb, "run") != 0)
		return false;
	switch (flag->use) {
	case BUNDLE:         return snprintf(wish->bundle, sizeof(wish->bundle), "%s", value) < (int)sizeof(wish->bundle);
	case PID_FILE:       wish->pid_file = value; return is_plain(value);
	case CONSOLE:        wish->console_socket = value; return *value != 0;
	case DETACH:         wish->detach = true; return true;
	case KEEP:           wish->keep = true; return true;
	case NO_PIVOT:       wish->no_pivot = true; return true;
	case NO_NEW_KEYRING: wish->no_new_keyring = true; return true;
	default:             wish->no_subreaper = true; return true;
	}
}

bool wish_of(const char *root, const char *verb, char **arguments, struct wish *ret)
{
	*ret = (struct wish){ .root = root, .verb = verb };
	if (!take_flags(flags, sizeof(flags) / sizeof(*flags), &arguments, take, ret))
		return false;
	ret->id = *arguments;
	if (!ret->id || arguments[1] || !container_id_is_valid(ret->id) || !is_plain(root))
		return false;
	return (*ret->bundle || getcwd(ret->bundle, sizeof(ret->bundle))) && is_plain(ret->bundle);
}

void key_add(struct text *key, const void *data, size_t size)
{
	uint32_t length = (uint32_t)size;

	text_add(key, &length, sizeof(length));
	text_add(key, data, size);
}

static bool add_file(struct text *key, const char *path)
{
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	char content[4096];
	ssize_t n = fd < 0 ? 0 : read(fd, content, sizeof(content));

	key_add(key, content, n > 0 ? (size_t)n : 0);
	return n >= 0 && n < (ssize_t)sizeof(content);
}

/* Who the caller is, and what it may hold: the lines of proc_pid_status(5) that say so. */
static bool add_credentials(struct text *key)
{
	static const char *const names[] = { "Uid:", "Gid:", "Groups:", "CapPrm:", "CapEff:", "CapBnd:", "NoNewPrivs:", "Seccomp:" };
	_cleanup_fd_ int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	char status[4096], *save = NULL;
	ssize_t n = fd < 0 ? -1 : read(fd, status, sizeof(status) - 1);
	size_t found = 0;

	if (n < 0 || n == sizeof(status) - 1)
		return false;
	status[n] = 0;
	for (const char *line = strtok_r(status, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
			if (strncmp(line, names[i], strlen(names[i])) == 0) {
				key_add(key, line, strlen(line));
				found++;
			}
	return found == sizeof(names) / sizeof(*names);
}

static bool add_inode(struct text *key, const char *path, bool whole)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return false;
	const uint64_t about[] = {
		st.st_dev, st.st_ino, whole ? (uint64_t)st.st_size : 0, whole ? (uint64_t)st.st_mtim.tv_sec : 0,
		whole ? (uint64_t)st.st_mtim.tv_nsec : 0,
	};
	key_add(key, about, sizeof(about));
	return true;
}

static bool add_host(struct text *key)
{
	static const char *const namespaces[] = { "/proc/self/ns/user", "/proc/self/ns/mnt", "/proc/self/ns/cgroup", "/proc/self/ns/pid" };
	char boot[BOOT_ID_SIZE] = "";

	if (boot_id(boot, sizeof(boot)) < 0)
		return false;
	key_add(key, boot, strlen(boot));
	for (size_t i = 0; i < sizeof(namespaces) / sizeof(*namespaces); i++)
		if (!add_inode(key, namespaces[i], false))
			return false;
	key_add(key, "selinux", access("/sys/fs/selinux/enforce", F_OK) == 0 ? 7 : 0);
	return add_file(key, "/proc/self/setgroups");
}

bool key_begin(struct text *key, const char *verb, const char *program)
{
	char pack[PATH_MAX + 32];

	key_add(key, OCIRT_VERSION, strlen(OCIRT_VERSION));
	(void)snprintf(pack, sizeof(pack), "%.*s/hot.bin", (int)(strrchr(program, '/') - program), program);
	if (!add_inode(key, "/proc/self/exe", true) || !add_inode(key, program, true) || !add_inode(key, pack, true))
		return false;
	if (!add_credentials(key) || !add_host(key))
		return false;
	key_add(key, verb, strlen(verb));
	return key->error == 0;
}

bool add_wish(struct text *key, const struct wish *wish, const struct shape *shape)
{
	const uint8_t said[] = {
		wish->pid_file != NULL, wish->console_socket != NULL, wish->detach, wish->no_pivot, wish->no_new_keyring,
	};

	if (!add_file(key, "/proc/self/cgroup"))
		return false;
	key_add(key, wish->root, strlen(wish->root));
	key_add(key, said, sizeof(said));
	key_add(key, shape->bytes, shape->size);
	return key->error == 0;
}

void key_name(const struct text *key, char ret_name[32])
{
	uint64_t hash = 0xcbf29ce484222325U; /* FNV-1a: names the file, whose own bytes decide */

	for (size_t i = 0; i < key->size; i++)
		hash = (hash ^ (unsigned char)key->bytes[i]) * 0x100000001b3U;
	(void)snprintf(ret_name, 32, "%016llx.launch", (unsigned long long)hash);
}
