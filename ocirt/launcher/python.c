/*
 * The interpreter inside the launcher: libpython is opened only when it is needed, so that the quick verbs never pay for
 * it.
 *
 * Isolated: no environment, no site, no user directories, no current directory, UTF-8 whatever the locale says. Every
 * path is given, so that none is searched for.
 */
#define _GNU_SOURCE 1
#include "launch_exec.h"
#include "launcher.h"
#include "libpython.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Where the package is, seen from this program: installed, Debian's ways of installing, a source tree. */
static void look_for_package(char *ret_parent)
{
	static const char *const places[] = {
		"lib/python" OCIRT_PYTHON_VERSION "/site-packages",
		"lib/python" OCIRT_PYTHON_VERSION "/dist-packages",
		"lib/python3/dist-packages",
		"..",
	};
	char program[PATH_MAX], path[2 * PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);

	if (n < 0)
		fail("readlink /proc/self/exe", strerror(errno));
	program[n > 0 ? n : 0] = 0; /* never negative here, which analysers don't see */
	*strrchr(program, '/') = 0;
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		(void)snprintf(path, sizeof(path), "%s/../%s/ocirt/errors.py", program, places[i]);
		if (access(path, R_OK) < 0)
			continue;
		path[strlen(path) - strlen("/ocirt/errors.py")] = 0;
		if (realpath(path, ret_parent))
			return;
	}
	fail("no Python package ocirt near the program", program);
}

void find_package(char *ret_parent)
{
	static char parent[PATH_MAX];

	if (*parent == 0)
		look_for_package(parent);
	strcpy(ret_parent, parent);
}

#ifdef OCIRT_SITE_PACKAGES
#define SITE_PACKAGES OCIRT_SITE_PACKAGES
#else
#define SITE_PACKAGES NULL
#endif
/* Debian's packages, which are for every Python 3 of the system: the dependencies may be there. */
#define DIST_PACKAGES LIBRARY_DIR "/python3/dist-packages"

/* sys.path after the standard library, which nothing may shadow. */
static void extra_paths(char parent[PATH_MAX], const char *ret_paths[4])
{
	int n = 0;

	find_package(parent);
	ret_paths[n++] = parent;
	if (SITE_PACKAGES)
		ret_paths[n++] = SITE_PACKAGES;
	ret_paths[n++] = DIST_PACKAGES;
	ret_paths[n] = NULL;
}

static void check(PyStatus status, const char *what)
{
	if (py.PyStatus_Exception(status))
		fail(what, status.err_msg);
}

static void append_path(PyConfig *config, const char *path)
{
	wchar_t *wide = py.Py_DecodeLocale(path, NULL);

	if (!wide)
		fail("sys.path", strerror(ENOMEM));
	check(py.PyWideStringList_Append(&config->module_search_paths, wide), "sys.path");
}

/* UTF-8 mode makes "locale" mean UTF-8 in all that follows. */
void preinitialize(void)
{
	PyPreConfig config;

	py.PyPreConfig_InitIsolatedConfig(&config);
	config.utf8_mode = 1;
	config.configure_locale = 0;
	check(py.Py_PreInitialize(&config), "start Python");
}

void initialize(const char *const paths[], bool half)
{
	static const char *const stdlib[] = { OCIRT_STDLIB, OCIRT_DYNLOAD };
	PyConfig config;
	/* Given here, none of them is searched for. */
	const struct {
		wchar_t **member;
		const char *value;
	} strings[] = {
		{ &config.program_name, OCIRT_PYTHON_EXE }, { &config.executable, OCIRT_PYTHON_EXE },
		{ &config.base_executable, OCIRT_PYTHON_EXE }, { &config.prefix, LIBRARY_DIR "/.." },
		{ &config.base_prefix, LIBRARY_DIR "/.." }, { &config.exec_prefix, LIBRARY_DIR "/.." },
		{ &config.base_exec_prefix, LIBRARY_DIR "/.." },
#if PY_VERSION_HEX >= 0x030b0000
		{ &config.stdlib_dir, OCIRT_STDLIB },
#endif
	};

	py.PyConfig_InitIsolatedConfig(&config);
	config.site_import = 0;
	config.write_bytecode = 0;
	config.parse_argv = 0;
	config.pathconfig_warnings = 0;
	config._init_main = !half;
	/* Ctrl-C must raise KeyboardInterrupt: half a container is to be undone. */
	config.install_signal_handlers = 1;
	for (size_t i = 0; i < sizeof(strings) / sizeof(*strings); i++)
		check(py.PyConfig_SetBytesString(&config, strings[i].member, strings[i].value), "start Python");
	config.module_search_paths_set = 1;
	for (size_t i = 0; i < sizeof(stdlib) / sizeof(*stdlib); i++)
		append_path(&config, stdlib[i]);
	for (; *paths; paths++)
		append_path(&config, *paths);
	check(py.Py_InitializeFromConfig(&config), "start Python");
}

static PyObject *list_of(int argc, char *const argv[])
{
	PyObject *list = py.PyList_New(argc > 1 ? argc - 1 : 0);

	for (int i = 1; list && i < argc; i++)
		if (py.PyList_SetItem(list, i - 1, py.PyUnicode_DecodeFSDefault(argv[i])) < 0)
			return NULL;
	return list;
}

static int call_main(int argc, char *const argv[], bool half)
{
	PyObject *module = py.PyImport_ImportModule("ocirt.cli.main");
	PyObject *arguments = module ? list_of(argc, argv) : NULL;
	PyObject *result, *out;

	if (!arguments)
		fail_with_exception("the Python package ocirt does not load");
	if (half) /* until here there is nothing to undo, and nobody to say so: a signal just ends the process */
		handle_signals();
	result = py.PyObject_CallMethod(module, "main", "O", arguments);
	if (!result)
		fail_with_exception("internal error");
	out = py.PySys_GetObject("stdout");
	if (out)
		(void)py.PyObject_CallMethod(out, "flush", NULL);
	return (int)py.PyLong_AsLong(result);
}

#define KEPT_MAX 1024 /* more than anybody keeps */

/* Where there is no shared libpython, or not any more; or where the modules that are ready are older than a source. */
static _Noreturn void exec_python(int argc, char *const argv[], const char *const paths[])
{
	static const char code[] =
		"import sys\n"
		"sys.path += sys.argv[1].split(':')\n"
		"from ocirt import notes\n"
		"notes.started = 'Python executed, for libpython cannot be opened'\n"
		"from ocirt.cli.main import main\n"
		"sys.exit(main(sys.argv[2:]))\n";
	static const char *const head[] = { OCIRT_PYTHON_EXE, "-I", "-S", "-B", "-X", "utf8", "-c", code };
	char joined[3 * PATH_MAX] = "";
	const char *arguments[sizeof(head) / sizeof(*head) + (size_t)argc + 1];
	size_t n = 0;

	for (; *paths && strlen(joined) + strlen(*paths) + 2 < sizeof(joined); paths++)
		(void)sprintf(joined + strlen(joined), "%s%s", *joined ? ":" : "", *paths);
	for (; n < sizeof(head) / sizeof(*head); n++)
		arguments[n] = head[n];
	arguments[n++] = joined;
	for (int i = 1; i < argc; i++)
		arguments[n++] = argv[i];
	arguments[n] = NULL;
	for (int fd = 3; keeps_fds(argv) && fd < KEPT_MAX; fd++)
		(void)fcntl(fd, F_SETFD, 0);
	(void)execv(OCIRT_PYTHON_EXE, (char *const *)arguments);
	fail(OCIRT_PYTHON_EXE, strerror(errno));
}

/* An interpreter, half or whole; where it is half, the function that gives it the modules. */
static PyObject *begin(const char *lean, const char *parent, const char *const paths[])
{
	static const char *const none[] = { NULL };
	size_t size = 0;
	const char *pack = NULL;

	preinitialize();
	if (lean && py.InitializeMain)
		pack = map_pack(parent, &size);
	initialize(pack ? none : paths, pack != NULL);
	py.PyGC_Disable(); /* the process ends before it would pay */
	return pack ? boot(pack, size) : NULL;
}

void run_python(int argc, char *const argv[], const char *lean)
{
	char parent[PATH_MAX];
	const char *directories[5] = { OCIRT_DYNLOAD }, *const *paths = directories + 1;
	PyObject *start;
	int code;

	extra_paths(parent, directories + 1);
	if (!open_library() && !(launch_abandon() && open_library()))
		exec_python(argc, argv, paths);
	start = begin(lean, parent, paths);
	if (start && !start_modules(start, lean, parent, directories)) {
		(void)launch_abandon();
		exec_python(argc, argv, paths);
	}
	code = call_main(argc, argv, start != NULL);
	(void)launch_abandon();
	_exit(code); /* no finalization: the kernel frees faster */
}
