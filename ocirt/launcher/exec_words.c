/* The command line of `exec`, as far as launches are kept of it. See launch_exec.h. */
#define _GNU_SOURCE
#include "launch_exec.h"

#include <string.h>
#include <sys/stat.h>

enum use { VARIABLE, WORD, FILE_CONTENT, DETACH, PID_FILE, CONSOLE };

static const struct flag flags[] = {
	{ "process", "p", true, FILE_CONTENT },
	{ "detach", "d", false, DETACH },
	{ "pid-file", "", true, PID_FILE },
	{ "user", "u", true, WORD },
	{ "additional-gids", "g", true, WORD },
	{ "cwd", "", true, WORD },
	{ "env", "e", true, VARIABLE },
	{ "cap", "c", true, WORD },
	{ "no-new-privs", "", false, WORD },
	{ "apparmor", "", true, WORD },
	{ "process-label", "", true, WORD },
	{ "tty", "t", false, WORD },
	{ "console-socket", "", true, CONSOLE },
};

static void add_string(struct text *text, const char *string)
{
	text_add(text, string, strlen(string));
}

static void add_entry(struct text *list, const char *string)
{
	add_string(list, list->size ? "," : "[");
	text_quote(list, string);
}

/* A process file has another name each time. What is no file, as "-", can be read but once. */
static bool add_file(struct text *document, const char *path)
{
	_cleanup_text_ struct text content = { .bytes = NULL };
	struct stat st;

	/* To open a fifo and leave it would end its writer by SIGPIPE. */
	if (strcmp(path, "-") == 0 || stat(path, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	if (document->size || read_path(path, &content) < 0)
		return false;
	text_add(document, content.bytes, content.size);
	return document->error == 0;
}

static bool take(void *wanted, const struct flag *flag, const char *value)
{
	struct errand *errand = wanted;

	switch (flag->use) {
	case DETACH:
		errand->detach = true;
		return true;
	case PID_FILE:
		errand->pid_file = value;
		errand->unkept |= *value != '/'; /* Python makes it absolute */
		return *value != 0;
	case CONSOLE:
		errand->console_socket = value;
		return *value != 0;
	case FILE_CONTENT:
		return add_file(&errand->document, value);
	case VARIABLE:
		add_entry(&errand->variables, value);
		return true;
	default:
		key_add(&errand->flags, flag->name, strlen(flag->name));
		key_add(&errand->flags, value, flag->takes_value ? strlen(value) : 0);
		return true;
	}
}

/* The members of the process that are given by words. */
static void add_process(struct text *document, char **words, const struct text *variables)
{
	struct text list = { .bytes = NULL };

	add_string(document, "{\"args\":");
	for (; *words; words++)
		add_entry(&list, *words);
	text_add(document, list.bytes, list.size);
	if (variables->size) {
		add_string(document, "],\"env\":");
		text_add(document, variables->bytes, variables->size);
	}
	add_string(document, "]}");
	text_free(&list);
}

static bool complete(struct errand *errand, char **words)
{
	struct text process = errand->document, *variables = &errand->variables;

	errand->document = (struct text){ .bytes = NULL };
	if (!process.size && *words)
		add_process(&process, words, variables);
	else if (!process.size || *words || variables->size || errand->flags.size)
		errand->unkept = true; /* nothing to execute; or some of it does not count, and Python knows what */
	add_string(&errand->document, "{\"process\":");
	text_add(&errand->document, process.bytes, process.size);
	add_string(&errand->document, "}");
	text_free(&process);
	return errand->document.error == 0 && errand->flags.error == 0 && variables->error == 0;
}

bool errand_of(char **arguments, struct errand *ret)
{
	text_free(&ret->flags);
	text_free(&ret->variables);
	text_free(&ret->document);
	*ret = (struct errand){ .id = NULL };
	if (!take_flags(flags, sizeof(flags) / sizeof(*flags), &arguments, take, ret) || !*arguments)
		return false;
	ret->id = *arguments++;
	return complete(ret, arguments);
}
