/*
 * The interpreter inside the launcher: libpython is opened only when it is needed, so that the quick verbs never pay for
 * it; the functions used are looked up by name, with the types of the headers of the very version that is opened.
 *
 * Isolated: no environment, no site, no user directories, no current directory, UTF-8 whatever the locale says. Every
 * path is given, so that none is searched for.
 */
#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <marshal.h>

#include "launcher.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIBRARY_DIR OCIRT_STDLIB "/.."

#if PY_VERSION_HEX >= 0x030c0000
#define RAISED(X) X(PyErr_GetRaisedException)
#else
#define RAISED(X) X(PyErr_Fetch)
#endif
#define FUNCTIONS(X)                                                                                                   \
	RAISED(X)                                                                                                      \
	X(PyConfig_InitIsolatedConfig)                                                                                 \
	X(PyCMethod_New)                                                                                               \
	X(PyConfig_SetBytesString)                                                                                     \
	X(PyDict_New)                                                                                                  \
	X(PyDict_SetItemString)                                                                                        \
	X(PyErr_SetNone)                                                                                               \
	X(PyErr_SetString)                                                                                             \
	X(PyEval_EvalCode)                                                                                             \
	X(PyEval_GetBuiltins)                                                                                          \
	X(PyGC_Disable)                                                                                                \
	X(PyImport_ImportModule)                                                                                       \
	X(PyList_New)                                                                                                  \
	X(PyList_SetItem)                                                                                              \
	X(PyLong_AsLong)                                                                                               \
	X(PyLong_FromLong)                                                                                             \
	X(PyMarshal_ReadObjectFromString)                                                                              \
	X(PyObject_CallMethod)                                                                                         \
	X(PyObject_Str)                                                                                                \
	X(PyPreConfig_InitIsolatedConfig)                                                                              \
	X(PyStatus_Exception)                                                                                          \
	X(PySys_GetObject)                                                                                             \
	X(PyTuple_GetItem)                                                                                             \
	X(PyUnicode_AsUTF8)                                                                                            \
	X(PyUnicode_DecodeFSDefault)                                                                                   \
	X(PyWideStringList_Append)                                                                                     \
	X(Py_BuildValue)                                                                                               \
	X(Py_AddPendingCall)                                                                                           \
	X(Py_DecodeLocale)                                                                                             \
	X(Py_InitializeFromConfig)                                                                                     \
	X(Py_PreInitialize)

static struct {
#define MEMBER(name) __typeof__(&(name)) name;
	FUNCTIONS(MEMBER)
	PyObject **PyExc_KeyboardInterrupt, **PyExc_RuntimeError;
	PyStatus (*InitializeMain)(void); /* NULL where it does not exist (any more) */
} py;

static _Noreturn void fail(const char *what, const char *why)
{
	(void)dprintf(STDERR_FILENO, "ocirt: %s: %s\n", what, why ? why : "unknown error");
	_exit(EXIT_FAILURE);
}

/* The library of the interpreter built for: beside its standard library, else where the linker looks. */
static bool open_library(void)
{
	static const char *const names[] = { LIBRARY_DIR "/" OCIRT_LIBPYTHON, OCIRT_LIBPYTHON };
	void *library = NULL;

	if (OCIRT_LIBPYTHON[0] == 0)
		return false;
	/* global: extension modules take its symbols for granted */
	for (size_t i = 0; !library && i < sizeof(names) / sizeof(*names); i++)
		library = dlopen(names[i], RTLD_NOW | RTLD_GLOBAL);
	if (!library)
		return false;
#define LOOK_UP(name)                                                                                                  \
	py.name = (__typeof__(py.name))dlsym(library, #name);                                                          \
	if (!py.name)                                                                                                  \
		return false;
	FUNCTIONS(LOOK_UP)
	py.PyExc_KeyboardInterrupt = dlsym(library, "PyExc_KeyboardInterrupt");
	py.PyExc_RuntimeError = dlsym(library, "PyExc_RuntimeError");
	py.InitializeMain = (PyStatus(*)(void))dlsym(library, "_Py_InitializeMain");
	return py.PyExc_KeyboardInterrupt && py.PyExc_RuntimeError;
}

/* Where the package is, seen from this program: installed, Debian's ways of installing, a source tree. */
static void find_package(char ret_parent[PATH_MAX])
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
static void preinitialize(void)
{
	PyPreConfig config;

	py.PyPreConfig_InitIsolatedConfig(&config);
	config.utf8_mode = 1;
	config.configure_locale = 0;
	check(py.Py_PreInitialize(&config), "start Python");
}

/* Half: builtin and frozen modules alone, which is enough for packed code and takes a third of the time. */
static void initialize(const char *const paths[], bool half)
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

/* The package reports its own errors; what is left is one that cannot be loaded at all. */
static _Noreturn void fail_with_exception(const char *what)
{
	PyObject *text, *value;

#if PY_VERSION_HEX >= 0x030c0000
	value = py.PyErr_GetRaisedException();
#else
	PyObject *type, *traceback;
	py.PyErr_Fetch(&type, &value, &traceback);
#endif
	text = value ? py.PyObject_Str(value) : NULL;
	fail(what, text ? py.PyUnicode_AsUTF8(text) : NULL);
}

static PyObject *complete(PyObject *self, PyObject *unused)
{
	PyStatus status = py.InitializeMain();

	(void)self;
	(void)unused;
	if (py.PyStatus_Exception(status)) {
		py.PyErr_SetString(*py.PyExc_RuntimeError, status.err_msg);
		return NULL;
	}
	return py.PyLong_FromLong(0);
}

/* (socket, doorbell, pid) of the init that waits already, or 0. */
static PyObject *offer(PyObject *self, PyObject *unused)
{
	int socket, doorbell, pid;

	(void)self;
	(void)unused;
	if (!take_init(&socket, &doorbell, &pid))
		return py.PyLong_FromLong(0);
	return py.Py_BuildValue("iii", socket, doorbell, pid);
}

static int raise_interrupt(void *unused)
{
	(void)unused;
	py.PyErr_SetNone(*py.PyExc_KeyboardInterrupt);
	return -1;
}

static void interrupt(int number)
{
	(void)number;
	(void)py.Py_AddPendingCall(raise_interrupt, NULL);
}

/* What Python does when it is started whole; a container that is being made is undone before the end, by SIGTERM too. */
static void handle_signals(void)
{
	static const int numbers[] = { SIGINT, SIGTERM };
	struct sigaction action = { .sa_handler = interrupt }, before;

	(void)signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler == SIG_DFL)
			(void)sigaction(numbers[i], &action, NULL);
}

/* The packed modules beside the package (pack.py), as the launcher's address space; NULL where there are none. */
static const char *map_pack(const char *parent, size_t *ret_size)
{
	char path[PATH_MAX + 32];
	struct stat st;
	void *data;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/ocirt/_bin/hot.bin", parent);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	data = fstat(fd, &st) < 0 ? MAP_FAILED : mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	(void)close(fd);
	*ret_size = (size_t)st.st_size;
	return data == MAP_FAILED ? NULL : data;
}

static PyObject *text(const char *value)
{
	return py.PyUnicode_DecodeFSDefault(value);
}

static PyObject *search_list(const char *const paths[])
{
	PyObject *list = py.PyList_New(0);

	for (; *paths; paths++)
		(void)py.PyObject_CallMethod(list, "append", "s", *paths);
	return list;
}

/* Hands the pack to its first entry, boot.py. */
static void boot(const char *pack, size_t size, const char *verb, const char *parent, const char *const directories[])
{
	static PyMethodDef completion = { "complete", complete, METH_NOARGS, NULL };
	static PyMethodDef offering = { "offer", offer, METH_NOARGS, NULL };
	PyObject *parts = py.PyMarshal_ReadObjectFromString(pack, (Py_ssize_t)size);
	PyObject *names = py.PyDict_New();
	const struct {
		const char *name;
		PyObject *value;
	} given[] = {
		{ "__builtins__", py.PyEval_GetBuiltins() },
		{ "common", parts ? py.PyTuple_GetItem(parts, 1) : NULL },
		{ "own", parts ? py.PyTuple_GetItem(parts, 2) : NULL },
		{ "verb", text(verb) },
		{ "parent", text(parent) },
		{ "search", search_list(directories) },
		{ "complete", py.PyCMethod_New(&completion, NULL, NULL, NULL) },
		{ "offer", py.PyCMethod_New(&offering, NULL, NULL, NULL) },
	};

	for (size_t i = 0; i < sizeof(given) / sizeof(*given); i++)
		if (!given[i].value || py.PyDict_SetItemString(names, given[i].name, given[i].value) < 0)
			fail_with_exception("the packed modules do not load");
	if (!py.PyEval_EvalCode(py.PyTuple_GetItem(parts, 0), names, names))
		fail_with_exception("the packed modules do not load");
}

static PyObject *list_of(int argc, char *const argv[])
{
	PyObject *list = py.PyList_New(argc > 1 ? argc - 1 : 0);

	for (int i = 1; list && i < argc; i++)
		if (py.PyList_SetItem(list, i - 1, py.PyUnicode_DecodeFSDefault(argv[i])) < 0)
			return NULL;
	return list;
}

static int call_main(int argc, char *const argv[])
{
	PyObject *module = py.PyImport_ImportModule("ocirt.cli.main");
	PyObject *arguments = module ? list_of(argc, argv) : NULL;
	PyObject *result, *out;

	if (!arguments)
		fail_with_exception("the Python package ocirt does not load");
	result = py.PyObject_CallMethod(module, "main", "O", arguments);
	if (!result)
		fail_with_exception("internal error");
	out = py.PySys_GetObject("stdout");
	if (out)
		(void)py.PyObject_CallMethod(out, "flush", NULL);
	return (int)py.PyLong_AsLong(result);
}

/* Where there is no shared libpython, or not any more. */
static _Noreturn void exec_python(int argc, char *const argv[], const char *const paths[])
{
	static const char code[] =
		"import sys\n"
		"sys.path += sys.argv[1].split(':')\n"
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
	(void)execv(OCIRT_PYTHON_EXE, (char *const *)arguments);
	fail(OCIRT_PYTHON_EXE, strerror(errno));
}

void run_python(int argc, char *const argv[], const char *lean, bool early)
{
	char parent[PATH_MAX];
	const char *directories[5] = { OCIRT_DYNLOAD }, *const *paths = directories + 1, *pack;
	size_t size = 0;
	int code;

	extra_paths(parent, directories + 1);
	if (early)
		start_init(parent);
	if (!open_library()) {
		discard_init();
		exec_python(argc, argv, paths);
	}
	if (lean)
		open_extensions(directories);
	preinitialize();
	pack = lean && py.InitializeMain ? map_pack(parent, &size) : NULL;
	initialize(paths, pack != NULL);
	py.PyGC_Disable(); /* the process ends before it would pay */
	if (pack) {
		handle_signals();
		boot(pack, size, lean, parent, directories);
	}
	code = call_main(argc, argv);
	discard_init();
	_exit(code); /* no finalization: the kernel frees faster */
}
