/* The module ocirt.linux._kernel of an interpreter that is frozen into the program (binding.h). */
#ifdef OCIRT_LINKED
#include "binding.h"

#include <string.h>

/* One of `const int *`. */
static bool take_int(int *ret_number, PyObject *given)
{
	long number = PyLong_AsLong(given);

	if (number != (int)number)
		PyErr_SetString(PyExc_OverflowError, "the number is too large");
	*ret_number = (int)number;
	return !PyErr_Occurred();
}

/* A list or tuple of numbers, as `const int *`. */
static bool take_list(struct argument *argument, PyObject *given)
{
	PyObject *items = PySequence_Fast(given, "a list of numbers is wanted");
	Py_ssize_t count = items ? PySequence_Fast_GET_SIZE(items) : 0;
	bool good = items != NULL;

	argument->list = PyMem_Calloc((size_t)count + 1, sizeof(int));
	if (!argument->list) {
		(void)PyErr_NoMemory();
		good = false;
	}
	for (Py_ssize_t i = 0; good && i < count; i++)
		good = take_int(argument->list + i, PySequence_Fast_GET_ITEM(items, i));
	Py_XDECREF(items);
	argument->data = argument->list;
	return good;
}

/* A number, negative ones as their two's complement. */
static bool take_number(struct argument *argument, PyObject *given)
{
	argument->number = PyLong_AsUnsignedLongLongMask(given);
	return !PyErr_Occurred();
}

static bool take_memory(struct argument *argument, PyObject *given, int flags)
{
	if (PyObject_GetBuffer(given, &argument->view, flags) < 0)
		return false;
	argument->data = argument->view.buf;
	return true;
}

static bool take(struct argument *argument, char kind, PyObject *given)
{
	argument->view.obj = NULL;
	argument->list = NULL;
	switch (kind) {
	case 'i': return take_number(argument, given);
	case 'v': return take_list(argument, given);
	case 'w': return take_memory(argument, given, PyBUF_WRITABLE);
	default: return take_memory(argument, given, PyBUF_SIMPLE);
	}
}

bool take_arguments(struct argument *ret_arguments, const char *kinds, PyObject *const *given, Py_ssize_t count)
{
	size_t wanted = strlen(kinds);

	if (count != (Py_ssize_t)wanted) {
		PyErr_Format(PyExc_TypeError, "%zu arguments are wanted, %zd given", wanted, count);
		return false;
	}
	for (size_t i = 0; i < wanted; i++)
		if (!take(ret_arguments + i, kinds[i], given[i])) {
			release_arguments(ret_arguments, i + 1);
			return false;
		}
	return true;
}

void release_arguments(struct argument *arguments, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		PyBuffer_Release(&arguments[i].view); /* nothing where there is no object */
		PyMem_Free(arguments[i].list);
	}
}

/* ffi.from_buffer([type, ]buffer), ffi.string(text): here a buffer is what a function takes. */
static PyObject *last(PyObject *module, PyObject *const *given, Py_ssize_t count)
{
	(void)module;
	if (count < 1) {
		PyErr_SetString(PyExc_TypeError, "an argument is wanted");
		return NULL;
	}
	return Py_NewRef(given[count - 1]);
}

static PyMethodDef ffi_functions[] = {
	{ "from_buffer", (PyCFunction)(void (*)(void))last, METH_FASTCALL, NULL },
	{ "string", (PyCFunction)(void (*)(void))last, METH_FASTCALL, NULL },
	{ NULL, NULL, 0, NULL },
};

/* `lib` and `ffi` are the module itself. */
PyObject *PyInit_kernel(void)
{
	static struct PyModuleDef definition = { PyModuleDef_HEAD_INIT, "_kernel", NULL, -1, bound_functions, NULL, NULL, NULL, NULL };
	PyObject *module = PyModule_Create(&definition);

	if (!module || PyModule_AddFunctions(module, ffi_functions) < 0)
		return NULL;
	for (const struct constant *constant = bound_constants; constant->name; constant++)
		(void)PyModule_AddObject(module, constant->name, PyLong_FromUnsignedLongLong(constant->value));
	(void)PyModule_AddObject(module, "ocirt_operations", PyBytes_FromString(bound_operations));
	(void)PyModule_AddObject(module, "ocirt_host_operations", PyBytes_FromString(bound_host_operations));
	(void)PyModule_AddObject(module, "ocirt_state_members", PyBytes_FromString(bound_state_members));
	(void)PyModule_AddObjectRef(module, "lib", module);
	(void)PyModule_AddObjectRef(module, "ffi", module);
	return PyErr_Occurred() ? NULL : module;
}
#endif
