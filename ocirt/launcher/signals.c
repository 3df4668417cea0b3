/* See signals.h. */
#define _GNU_SOURCE
#include "signals.h"

#include <stddef.h>

/* Every signal that a process can be sent, blocked but for those about ourselves: the process's, as in console.py. */
void block_signals(sigset_t *ret_set, sigset_t *ret_before)
{
	static const int own[] = { SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGPIPE, SIGURG };

	(void)sigfillset(ret_set);
	for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++)
		(void)sigdelset(ret_set, own[i]);
	(void)sigprocmask(SIG_BLOCK, ret_set, ret_before);
}

const int ending_signals[ENDING] = { SIGHUP, SIGINT, SIGTERM };

void ending_set(sigset_t *ret)
{
	(void)sigemptyset(ret);
	for (size_t i = 0; i < ENDING; i++)
		(void)sigaddset(ret, ending_signals[i]);
}

void handle_ending(const struct sigaction *action, struct sigaction ret_former[ENDING])
{
	for (size_t i = 0; i < ENDING; i++)
		if (sigaction(ending_signals[i], NULL, &ret_former[i]) == 0 && ret_former[i].sa_handler != SIG_IGN)
			(void)sigaction(ending_signals[i], action, NULL);
}
