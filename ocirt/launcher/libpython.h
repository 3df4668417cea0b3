/*
 * The functions of libpython that the launcher calls, looked up by name when it is opened; their types are those of the
 * headers of the very version that is opened.
 */
#ifndef OCIRT_LIBPYTHON_H
#define OCIRT_LIBPYTHON_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <marshal.h>
#include <stdbool.h>
#include <stddef.h>

#define LIBRARY_DIR OCIRT_STDLIB "/.."

#if PY_VERSION_HEX >= 0x030c0000
#define RAISED(X) X(PyErr_GetRaisedException)
#else
#define RAISED(X) X(PyErr_Fetch)
#endif
#define FUNCTIONS(X)                                                                                                   \
	RAISED(X)                                                                                                      \
	X(PyBytes_FromStringAndSize)                                                                                   \
	X(PyConfig_InitIsolatedConfig)                                                                                 \
	X(PyCMethod_New)                                                                                               \
	X(PyConfig_SetBytesString)                                                                                     \
	X(PyDict_GetItemString)                                                                                        \
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
	X(PyLong_AsLongLong)                                                                                               \
	X(PyLong_FromLong)                                                                                             \
	X(PyMarshal_ReadObjectFromString)                                                                              \
	X(PyMemoryView_FromMemory)                                                                                     \
	X(PyObject_CallFunction)                                                                                       \
	X(PyObject_CallMethod)                                                                                         \
	X(PyObject_IsTrue)                                                                                             \
	X(PyObject_Str)                                                                                                \
	X(PyPreConfig_InitIsolatedConfig)                                                                              \
	X(PyStatus_Exception)                                                                                          \
	X(PySys_GetObject)                                                                                             \
	X(PyTuple_GetItem)                                                                                             \
	X(PyTuple_Size)                                                                                             \
	X(PyUnicode_AsUTF8)                                                                                            \
	X(PyUnicode_DecodeFSDefault)                                                                                   \
	X(PyWideStringList_Append)                                                                                     \
	X(Py_BuildValue)                                                                                               \
	X(Py_AddPendingCall)                                                                                           \
	X(Py_DecodeLocale)                                                                                             \
	X(Py_InitializeFromConfig)                                                                                     \
	X(Py_PreInitialize)

struct libpython {
#define MEMBER(name) __typeof__(&(name)) name;
	FUNCTIONS(MEMBER)
	PyObject **PyExc_KeyboardInterrupt, **PyExc_RuntimeError;
	PyStatus (*InitializeMain)(void); /* NULL where it does not exist (any more) */
};

extern struct libpython py;

/* Fills `py`; false where there is no shared libpython, or not any more. */
bool open_library(void);

/* One line on stderr, and the end. */
_Noreturn void fail(const char *what, const char *why);

/* The same, with the words of the exception that was raised. */
_Noreturn void fail_with_exception(const char *what);

/* ---- python.c ---- */

/* Before all else. */
void preinitialize(void);

/* Half: builtin and frozen modules alone, which is enough for packed code and takes less than half of the time. */
void initialize(const char *const paths[], bool half);

/* ---- packed.c ---- */

/* The packed modules beside the package (pack.py), in memory; NULL where there are none. */
const char *map_pack(const char *parent, size_t *ret_size);

/* Hands the pack to its first entry, boot.py; the names in it. */
PyObject *boot(const char *pack, size_t size);

/*
 * Gives a verb its modules. False where the pack was made before a source was changed. `directories`: of extension
 * modules, to NULL.
 */
bool start_modules(PyObject *boot, const char *verb, const char *parent, const char *const directories[]);

/* What Python does when it is started whole; a container that is being made is undone before the end, by SIGTERM too. */
void handle_signals(void);

#endif
