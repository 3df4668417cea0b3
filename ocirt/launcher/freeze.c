/* The program's own part in freezing an interpreter (freeze.h). */
#ifdef OCIRT_LINKED
#define _GNU_SOURCE 1
#include "binding.h"
#include "freeze.h"
#include "libpython.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

extern char __data_start[], _end[]; /* the linker's */

static struct {
	bool ready;
	pthread_key_t key, end; /* CPython's: the first is for the state of a thread, and the first that is not theirs */
	PyThreadState *thread;
	PyObject *names; /* in boot.py */
} frozen;

bool is_frozen(void)
{
	return frozen.ready;
}

/* The lowest that is free. */
static pthread_key_t next_key(void)
{
	pthread_key_t key;

	if (pthread_key_create(&key, NULL) != 0)
		fail("pthread_key_create", strerror(errno));
	return key;
}

/* posix.environ, which os.environ is made of, is that of the process that was frozen. */
static void take_environment(void)
{
	PyObject *module = PyImport_GetModule(PyUnicode_FromString("posix"));
	PyObject *variables = module ? PyObject_GetAttrString(module, "environ") : NULL;

	if (!variables)
		fail_with_exception("start Python");
	PyDict_Clear(variables);
	for (char *const *variable = environ; *variable; variable++) {
		const char *equals = strchr(*variable, '=');
		if (equals) /* the first of two is what getenv(3) finds */
			(void)PyDict_SetDefault(variables, PyBytes_FromStringAndSize(*variable, equals - *variable),
						PyBytes_FromString(equals + 1));
	}
}

PyObject *thaw(void)
{
	pthread_key_t key, taken = 0;

	/* Those before them a constructor may have taken, in the process that was frozen and not in this one. */
	do {
		key = next_key();
		taken += key >= frozen.key;
	} while (key + 1 < frozen.end);
	if (key >= frozen.end || taken != frozen.end - frozen.key || pthread_setspecific(frozen.key, frozen.thread) != 0)
		return NULL; /* a preloaded library has one of them */
	frozen.thread->thread_id = PyThread_get_thread_ident();
	PyEval_RestoreThread(frozen.thread);
	PyOS_BeforeFork();
	PyOS_AfterFork_Child(); /* the main thread is this one */
	take_environment();
	return frozen.names;
}

static void write_all(const void *data, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = write(STDOUT_FILENO, (const char *)data + done, size - done);
		if (n < 0)
			fail("write", strerror(errno));
		done += (size_t)n;
	}
}

/* /proc/self/maps, with its size before it: freeze.py looks for pointers to what will be elsewhere. */
static void write_maps(void)
{
	static char text[1 << 16];
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	uint64_t size = 0;
	ssize_t n;

	while ((n = fd < 0 ? -1 : read(fd, text + size, sizeof(text) - size)) > 0)
		size += (size_t)n;
	if (n < 0)
		fail("/proc/self/maps", strerror(errno));
	write_all(&size, sizeof(size));
	write_all(text, size);
	memset(text, 0, size);
}

/* Where this program's data begin and end, what is set anew in each process, the maps, the data (freeze.py). */
static void write_data(void)
{
	const uint64_t head[] = {
		(uintptr_t)__data_start, (uintptr_t)_end, PyThread_get_thread_ident(),
		(uintptr_t)&stdin, (uintptr_t)&stdout, (uintptr_t)&stderr, (uintptr_t)&environ,
	};

	write_all(head, sizeof(head));
	write_maps();
	write_all(__data_start, (size_t)(_end - __data_start));
}

/* A builtin module that cannot be linked (setup.py): who imports it has another one to fall back to. */
static void drop_module(const char *name)
{
	struct _inittab *entry = PyImport_Inittab;

	while (entry->name && strcmp(entry->name, name) != 0)
		entry++;
	for (; entry->name; entry++)
		*entry = entry[1];
}

/* What is left of frames that have returned points to what was the stack. */
static void clear_returned_frames(PyThreadState *thread)
{
#if PY_VERSION_HEX >= 0x030b0000
	memset(thread->datastack_top, 0, (size_t)((char *)thread->datastack_limit - (char *)thread->datastack_top));
#else
	(void)thread;
#endif
}

/* The pack, in memory of the program. */
static char *own_pack(const char *parent, size_t *ret_size)
{
	const char *mapped = map_pack(parent, ret_size);
	char *pack = mapped ? malloc(*ret_size) : NULL;

	if (!pack)
		fail("the packed modules", mapped ? strerror(ENOMEM) : "there are none");
	return memcpy(pack, mapped, *ret_size);
}

/* Half an interpreter, which knows the shim's functions as a module of its own. */
static void make_interpreter(void)
{
	static const char *const none[] = { NULL };

	lend_memory(own_arenas());
	drop_module("_sha2");
	if (PyImport_AppendInittab("ocirt.linux._kernel", PyInit_kernel) < 0)
		fail("start Python", strerror(ENOMEM));
	frozen.key = next_key();
	(void)pthread_key_delete(frozen.key);
	preinitialize();
	initialize(none, true);
	PyGC_Disable();
	frozen.end = next_key();
	(void)pthread_key_delete(frozen.end);
}

/* What is of this process alone, and set in each. */
static void leave_interpreter(void)
{
	frozen.thread = PyEval_SaveThread();
	clear_returned_frames(frozen.thread);
	frozen.thread->thread_id = 0;
#if PY_VERSION_HEX >= 0x030b0000
	frozen.thread->native_thread_id = 0;
#endif
}

static _Noreturn void freeze(const char *parent)
{
	char *pack;
	size_t size;

	(void)open_library();
	begin_own_heap();
	pack = own_pack(parent, &size);
	make_interpreter();
	frozen.names = boot(pack, size);
	if (!PyObject_CallFunction(PyDict_GetItemString(frozen.names, "freeze"), NULL))
		fail_with_exception("the packed modules do not load");
	leave_interpreter();
	end_own_heap();
	frozen.ready = true;
	write_data();
	_exit(EXIT_SUCCESS);
}

void need_frozen(int argc, char *const argv[])
{
	if (frozen.ready)
		return;
	if (argc == 3 && strcmp(argv[1], "--freeze") == 0)
		freeze(argv[2]);
	fail("corrupt executable", "the embedded snapshot is missing: reinstall ocirt");
}
#endif
