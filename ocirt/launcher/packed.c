/* The packed modules and the half-started interpreter that executes them: what boot.py is given, and how it begins. */
#define _GNU_SOURCE 1
#include "launch.h"
#include "launcher.h"
#include "libpython.h"
#include "signals.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static void block_ending(sigset_t *ret_before)
{
	sigset_t blocked;

	ending_set(&blocked);
	(void)pthread_sigmask(SIG_BLOCK, &blocked, ret_before);
}

static PyObject *bytes_of(const char *bytes, size_t size)
{
	return py.PyBytes_FromStringAndSize(bytes, (Py_ssize_t)size);
}

static PyObject *text_bytes(const struct text *text)
{
	return bytes_of(text ? text->bytes : "", text ? text->size : 0);
}

static PyObject *complete(PyObject *self, PyObject *unused)
{
	static bool done; /* another time it is no more to do */
	sigset_t before;
	PyStatus status;

	(void)self;
	(void)unused;
	if (done)
		return py.PyLong_FromLong(0);
	done = true;
	/* An exception in the middle would leave the interpreter without what it needs to report it. */
	block_ending(&before);
	status = py.InitializeMain();
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (py.PyStatus_Exception(status)) {
		py.PyErr_SetString(*py.PyExc_RuntimeError, status.err_msg);
		return NULL;
	}
	return py.PyLong_FromLong(0);
}

/* The launch that was just kept. */
static PyObject *launch(PyObject *self, PyObject *unused)
{
	(void)self;
	(void)unused;
	launch_kept();
	return py.PyLong_FromLong(0);
}

/* What the launch has left that has stopped half way, once: struct performance, the half, what stopped it, config.json; or 0. */
static PyObject *take(PyObject *self, PyObject *unused)
{
	struct launch_stopped stopped = launch_take();

	(void)self;
	(void)unused;
	if (!stopped.performance)
		return py.PyLong_FromLong(0);
	return py.Py_BuildValue("(NiiN)", bytes_of((const char *)stopped.performance, sizeof(*stopped.performance)),
				stopped.half, stopped.result, text_bytes(stopped.config));
}

/* The signals that were held until somebody could undo what there is come now. */
static PyObject *release(PyObject *self, PyObject *unused)
{
	(void)self;
	(void)unused;
	launch_release_signals();
	return py.PyLong_FromLong(0);
}

/* From now on nobody interrupts: what was made is the caller's, and to be told of. What has come before still does. */
static PyObject *hold(PyObject *self, PyObject *unused)
{
	(void)self;
	(void)unused;
	block_ending(NULL);
	return py.PyLong_FromLong(0);
}

static int raise_interrupt(void *unused)
{
	(void)unused;
	py.PyErr_SetNone(*py.PyExc_KeyboardInterrupt);
	return -1;
}

/* Once: what the first has stopped is being undone, and a second would leave half of it. */
static void interrupt(int number)
{
	static volatile sig_atomic_t interrupted;

	(void)number;
	if (!interrupted && !launch_interrupted())
		(void)py.Py_AddPendingCall(raise_interrupt, NULL);
	interrupted = 1;
}

void handle_signals(void)
{
	struct sigaction action = { .sa_handler = interrupt }, former[ENDING];

	(void)sigfillset(&action.sa_mask); /* Py_AddPendingCall holds a lock: it must not come upon itself */
	(void)signal(SIGPIPE, SIG_IGN);
	handle_ending(&action, former);
}

const char *map_pack(const char *parent, size_t *ret_size)
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

/*
 * boot.Kept: the file that the plans of this command are to be kept in, its key; the plans that are, and why there are none;
 * of `exec`, what was asked for.
 */
static PyObject *kept(void)
{
	const struct launch_outcome *l = launch_outcome();
	const struct text *plans = l->plans;

	return py.Py_BuildValue("(yN(NNNN)yN)", l->name ? l->name : "", text_bytes(l->key), text_bytes(plans),
				text_bytes(plans ? plans + 1 : NULL), text_bytes(plans ? plans + 2 : NULL),
				text_bytes(plans ? plans + 3 : NULL), l->words ? l->words : "", text_bytes(l->document));
}

PyObject *boot(const char *pack, size_t size)
{
	static PyMethodDef completion = { "complete", complete, METH_NOARGS, NULL };
	static PyMethodDef holding = { "hold", hold, METH_NOARGS, NULL };
	static PyMethodDef launching = { "launch", launch, METH_NOARGS, NULL };
	static PyMethodDef releasing = { "release", release, METH_NOARGS, NULL };
	static PyMethodDef taking = { "take", take, METH_NOARGS, NULL };
	PyObject *parts = py.PyMarshal_ReadObjectFromString(pack, (Py_ssize_t)size);
	PyObject *names = py.PyDict_New();
	const struct {
		const char *name;
		PyObject *value;
	} given[] = {
		{ "__builtins__", py.PyEval_GetBuiltins() },
		{ "parts", parts },
		{ "pack", py.PyMemoryView_FromMemory((char *)pack, (Py_ssize_t)size, PyBUF_READ) },
		{ "complete", py.PyCMethod_New(&completion, NULL, NULL, NULL) },
		{ "hold", py.PyCMethod_New(&holding, NULL, NULL, NULL) },
		{ "launch", py.PyCMethod_New(&launching, NULL, NULL, NULL) },
		{ "release", py.PyCMethod_New(&releasing, NULL, NULL, NULL) },
		{ "take", py.PyCMethod_New(&taking, NULL, NULL, NULL) },
	};

	for (size_t i = 0; i < sizeof(given) / sizeof(*given); i++)
		if (!given[i].value || py.PyDict_SetItemString(names, given[i].name, given[i].value) < 0)
			fail_with_exception("the packed modules do not load");
	if (!py.PyEval_EvalCode(py.PyTuple_GetItem(parts, 0), names, names))
		fail_with_exception("the packed modules do not load");
	return names;
}

bool start_modules(PyObject *boot, const char *verb, const char *parent, const char *const directories[])
{
	PyObject *start = py.PyDict_GetItemString(boot, "start");
	PyObject *done = py.PyObject_CallFunction(start, "NNNN", text(verb ? verb : ""), text(parent), search_list(directories),
						  kept());

	if (!done)
		fail_with_exception("the packed modules do not load");
	return py.PyObject_IsTrue(done) == 1;
}
