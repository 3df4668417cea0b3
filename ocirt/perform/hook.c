/* The hooks that run in the runtime's namespaces; what they read, and what those read that the init runs. */
#define _GNU_SOURCE
#include "perform.h"
#include "text.h"
#include "linux/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int begin(struct performance *p, const struct operation *op)
{
	const bool given = op->args[3] != 0;
	_cleanup_text_ struct text state = { .bytes = NULL };
	int r = document_text(p, string_of(op, 5), p->pid, &state);

	if (r < 0)
		return r;
	return hook_begin(&p->hook, string_of(op, 0), p->bundle, vector_of(op, 1), given ? vector_of(op, 2) : NULL, state.bytes,
			  state.size, (unsigned int)op->args[4]);
}

/* detail: how it has ended, a wait status, where it is to blame (-EREMOTEIO) */
int perform_hook(struct performance *p, const struct operation *op)
{
	int r = 0;

	p->hooks_ran = true;
	if (p->hook.pid == 0)
		r = begin(p, op);
	if (r == 0)
		r = hook_wait(&p->hook);
	p->output = p->hook.output;
	if (r == 0)
		(void)hook_end(&p->hook);
	if (r <= 0)
		return r;
	p->detail = r;
	return -EREMOTEIO;
}

/* In its own pid namespace: the last of NSpid (proc_pid_status(5)). */
static int pid_inside(int pid)
{
	char path[64], text[8192], *line, *end;
	_cleanup_fd_ int fd = -1;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = 0;
	line = strstr(text, "\nNSpid:");
	if (!line)
		return pid;
	line++;
	end = strchrnul(line, '\n');
	*end = 0;
	return atoi(strrchr(line, '\t') + 1);
}

/* With hooks of any kind, poststop's follow a failure. */
int perform_hook_state(struct performance *p, const struct operation *op)
{
	_cleanup_text_ struct text state = { .bytes = NULL };
	int r = document_text(p, string_of(op, 1), pid_inside(p->pid), &state);

	p->hooks_ran = true;
	return r < 0 ? r : performance_lend(p, (int)op->args[0], shim_sealed_memfd("hook-state", state.bytes, state.size));
}
