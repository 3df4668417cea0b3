/* The shim's functions as a module of an interpreter that can be frozen; bind.py writes a function for each of them. */
#ifndef OCIRT_BINDING_H
#define OCIRT_BINDING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>

struct argument {
	uint64_t number;
	void *data;
	Py_buffer view; /* `obj` is NULL where there is nothing to release */
	int *list;      /* ours; NULL where there is none */
};

struct constant {
	const char *name;
	uint64_t value;
};

/* ---- what bind.py writes ---- */

extern PyMethodDef bound_functions[];
extern const struct constant bound_constants[];
extern const char bound_operations[];
extern const char bound_host_operations[];
extern const char bound_state_members[];

/* ---- binding.c ---- */

/* One argument for each letter of `kinds` (bind.py); false with an exception set. */
bool take_arguments(struct argument *ret_arguments, const char *kinds, PyObject *const *given, Py_ssize_t count);

void release_arguments(struct argument *arguments, size_t count);

/* The module. */
PyObject *PyInit_kernel(void);

#endif
