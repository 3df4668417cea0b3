/*
 * The `ocirt` program. state, start, kill and delete in their plain forms are done here, in a millisecond and without an
 * interpreter; everything else, and everything that needs words, is ocirt.cli.main's, run in this very process.
 *
 * Arguments are read only as far as needed to be sure of the plain form: whatever is unknown here is left to Python.
 */
#define _GNU_SOURCE
#include "launch.h"
#include "launch_exec.h"
#include "launcher.h"
#include "quick.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct command {
	const char *root;  /* NULL: the default */
	const char *log;   /* NULL: none */
	const char *verb;
	char **arguments;  /* after the verb, to argv's NULL */
	bool debug;        /* the steps are to be told, which is Python's */
	const char *kept;  /* NULL: as the settings have it */
	bool plain;        /* none of the options that plans depend on */
};

enum use { ROOT, LOG, DEBUG, KEPT, NOTHING, PLANS };

/* Global options that a quick verb need not know the meaning of. */
static const struct option {
	const char *name;
	bool takes_value;
	const char *choices; /* separated and enclosed by spaces; NULL: any value but the empty one */
	enum use use;        /* what it decides; PLANS: what plans depend on */
} options[] = {
	{ "root", true, NULL, ROOT },
	{ "log", true, NULL, LOG },
	{ "log-format", true, " text json ", NOTHING },
	{ "cgroup-manager", true, " cgroupfs systemd disabled ", PLANS },
	{ "criu", true, NULL, NOTHING },
	{ "rootless", true, " true false auto ", NOTHING },
	{ "systemd-cgroup", false, " true false ", PLANS },
	{ "debug", false, " true false ", DEBUG },
	{ "kept", true, " on off verify ", KEPT },
};

static bool is_choice(const char *choices, const char *value)
{
	size_t length = strlen(value);
	const char *at = choices;

	if (length == 0)
		return false;
	if (!choices)
		return true;
	while ((at = strstr(at, value))) {
		if (at[-1] == ' ' && at[length] == ' ')
			return true;
		at++;
	}
	return false;
}

/* False for what is left to Python. */
static bool take_value(struct command *command, enum use use, const char *value)
{
	switch (use) {
	case ROOT:
		command->root = value;
		return true;
	case LOG: /* a scheme, or a path that looks like one; standard error under another name */
		command->log = value;
		return !strchr(value, ':') && strncmp(value, "/dev/", 5) != 0 && strncmp(value, "/proc/", 6) != 0;
	case DEBUG:
		command->debug = !value || strcmp(value, "true") == 0;
		return true;
	case KEPT:
		command->kept = value;
		return true;
	case PLANS: /* but what holds anyway */
		command->plain &= value && (strcmp(value, "cgroupfs") == 0 || strcmp(value, "false") == 0);
		return true;
	default:
		return true;
	}
}

/* One global option: how many arguments it takes up, 0 where it is not of the table. Go's "-root" is "--root". */
static int take_option(char **argv, struct command *command)
{
	const char *name = argv[0] + (argv[0][1] == '-' ? 2 : 1);
	const char *equals = strchrnul(name, '=');
	const char *value = *equals ? equals + 1 : NULL;
	size_t length = (size_t)(equals - name);
	int taken = 1;

	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++) {
		if (strncmp(name, options[i].name, length) != 0 || options[i].name[length] != 0)
			continue;
		if (!value && options[i].takes_value) {
			value = argv[1];
			taken = 2;
			if (!value)
				return 0;
		}
		if (value && !is_choice(options[i].choices, value))
			return 0;
		return take_value(command, options[i].use, value) ? taken : 0;
	}
	return 0;
}

static bool parse(char **argv, struct command *command)
{
	command->plain = true;
	while (argv[0] && argv[0][0] == '-') {
		int taken = take_option(argv, command);
		if (taken == 0)
			return false;
		argv += taken;
	}
	command->verb = argv[0];
	command->arguments = argv + 1;
	return argv[0] != NULL;
}

/* Takes one of two spellings of a flag off the front of the arguments. */
static bool take_flag(char ***arguments, const char *name, const char *other)
{
	if (!**arguments || (strcmp(**arguments, name) != 0 && strcmp(**arguments, other) != 0))
		return false;
	(*arguments)++;
	return true;
}

static int count(char *const *arguments)
{
	int n = 0;

	for (; arguments[n]; n++)
		if (arguments[n][0] == '-')
			return -1; /* a flag that is not known here */
	return n;
}

static int state(const char *root, char **arguments)
{
	return count(arguments) == 1 ? quick_state(root, arguments[0], STDOUT_FILENO) : QUICK_PYTHON;
}

static int start(const char *root, char **arguments)
{
	return count(arguments) == 1 ? quick_start(root, arguments[0]) : QUICK_PYTHON;
}

static int kill_(const char *root, char **arguments)
{
	const char *name = NULL;
	int n, number;

	if (take_flag(&arguments, "--signal", "-s") && arguments[0])
		name = *arguments++;
	n = count(arguments);
	if (n < 1 || n > 2 || (n == 2 && name))
		return QUICK_PYTHON;
	if (n == 2)
		name = arguments[1];
	number = signal_number(name ? name : "TERM");
	return number < 0 ? QUICK_PYTHON : quick_kill(root, arguments[0], number);
}

static int delete(const char *root, char **arguments)
{
	bool force = take_flag(&arguments, "--force", "-f");

	return count(arguments) == 1 ? quick_delete(root, arguments[0], force) : QUICK_PYTHON;
}

/* Makes the log, as Python does in cli/main.py: where that fails nothing is done, and Python says why. */
static bool open_log(const char *path)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0644);

	return fd >= 0 && close(fd) == 0;
}

/*
 * create, run and exec: only where launches are kept, and of the first two, where nothing is said that plans depend on. Exits
 * where one was carried out.
 */
static int try_launch(const struct command *command, const char *root, bool again)
{
	enum keeping kept = KEPT_DEFAULT;
	bool told, exec = strcmp(command->verb, "exec") == 0;
	int code = -1;

	if (command->kept)
		(void)kept_of(command->kept, &kept);
	else
		kept = kept_setting();
	told = kept == KEPT_VERIFY || command->debug;
	if (again && told)
		return QUICK_PYTHON;
	if (exec)
		code = run_exec(root, command->arguments, kept != KEPT_OFF, told);
	else if (kept != KEPT_OFF && command->plain)
		code = run_launch(root, command->verb, command->arguments, told);
	if (code >= 0)
		exit(code);
	return QUICK_PYTHON;
}

/* Whether the verb makes a process: it attaches to cgroups, and its modules are packed. */
static bool makes(const char *verb)
{
	return strcmp(verb, "create") == 0 || strcmp(verb, "run") == 0 || strcmp(verb, "exec") == 0;
}

static const char *root_of(const struct command *command)
{
	static char standard[4096];

	if (command->root)
		return command->root;
	return default_root(standard, sizeof(standard)) < 0 ? NULL : standard;
}

static int run_quick(const struct command *command)
{
	static const struct {
		const char *name;
		int (*run)(const char *root, char **arguments);
	} verbs[] = {
		{ "state", state }, { "start", start }, { "kill", kill_ }, { "delete", delete },
	};
	const char *root = root_of(command);

	if (!root)
		return QUICK_PYTHON;
	if (command->log && !open_log(command->log))
		return QUICK_PYTHON;
	if (makes(command->verb))
		return try_launch(command, root, false);
	for (size_t i = 0; !command->debug && i < sizeof(verbs) / sizeof(*verbs); i++)
		if (strcmp(command->verb, verbs[i].name) == 0)
			return verbs[i].run(root, command->arguments);
	return QUICK_PYTHON;
}

/*
 * Nothing that a caller has left open reaches a hook or a container (--preserve-fds lifts this for its own), and no file
 * that is opened here ends up as anybody's stdout.
 */
static void set_up_descriptors(void)
{
	(void)syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC);
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			_exit(EXIT_FAILURE);
}

bool keeps_fds(char *const *arguments)
{
	if (getenv("LISTEN_FDS")) /* sd_listen_fds(3) */
		return true;
	for (; *arguments; arguments++)
		if (strstr(*arguments, "preserve-fds"))
			return true;
	return false;
}

static struct command command;

void launch_kept(void)
{
	(void)try_launch(&command, root_of(&command), true);
}

int main(int argc, char *argv[])
{
	const char *lean = NULL;

	set_up_descriptors();
	(void)signal(SIGCHLD, SIG_DFL); /* a caller that ignores it would have the kernel reap what we wait for */
	(void)signal(SIGXFSZ, SIG_IGN); /* as CPython has it: EFBIG can be undone */
	if (argc > 1 && parse(argv + 1, &command)) {
		if (run_quick(&command) == QUICK_DONE)
			return EXIT_SUCCESS;
		if (makes(command.verb)) {
			lean = command.verb;
			if (!keeps_fds(command.arguments)) /* a file that the thread has open could fill a hole in the fds to keep */
				warm_cgroup_attach();
		}
	}
	run_python(argc, argv, lean);
}
