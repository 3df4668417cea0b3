/* Opens libpython. Its directory and name are those of the interpreter that the launcher was built for. */
#define _GNU_SOURCE 1
#include "libpython.h"

#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>

struct libpython py;

_Noreturn void fail(const char *what, const char *why)
{
	(void)dprintf(STDERR_FILENO, "ocirt: %s: %s\n", what, why ? why : "unknown error");
	_exit(EXIT_FAILURE);
}

/* The package reports its own errors; what is left is one that cannot be loaded at all. */
_Noreturn void fail_with_exception(const char *what)
{
	PyObject *text, *value, *type;

#if PY_VERSION_HEX >= 0x030c0000
	value = py.PyErr_GetRaisedException();
	type = value ? (PyObject *)Py_TYPE(value) : NULL;
#else
	PyObject *traceback;
	py.PyErr_Fetch(&type, &value, &traceback); /* no value: one that was set from C and that no Python has seen */
#endif
	if (type == *py.PyExc_KeyboardInterrupt) {
		(void)dprintf(STDERR_FILENO, "ocirt: interrupted\n");
		_exit(EXIT_FAILURE);
	}
	text = value ? py.PyObject_Str(value) : NULL;
	fail(what, text ? py.PyUnicode_AsUTF8(text) : NULL);
}

/* The library of the interpreter built for: beside its standard library, else where the linker looks. */
bool open_library(void)
{
	static const char *const names[] = { LIBRARY_DIR "/" OCIRT_LIBPYTHON, OCIRT_LIBPYTHON };
	void *library = NULL;

	if (OCIRT_LIBPYTHON[0] == 0)
		return false;
	/* Global: extension modules take its symbols for granted. Lazy: most of what it calls of others is never called. */
	for (size_t i = 0; !library && i < sizeof(names) / sizeof(*names); i++)
		library = dlopen(names[i], RTLD_LAZY | RTLD_GLOBAL);
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
