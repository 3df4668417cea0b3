/* See attend.h. */
#define _GNU_SOURCE
#include "attend.h"

#include <stddef.h>
#include <sys/wait.h>

/* Every signal that a process can be sent, blocked but for those about ourselves: the process's, as in console.py. */
void block_signals(sigset_t *ret_set, sigset_t *ret_before)
{
	static const int own[] = { SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGPIPE, SIGURG };

	(void)sigfillset(ret_set);
	for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++)
		(void)sigdelset(ret_set, own[i]);
	(void)sigprocmask(SIG_BLOCK, ret_set, ret_before);
}

int attend(pid_t pid, const sigset_t *set, bool reap_all)
{
	int status;

	for (;;) {
		int number = sigwaitinfo(set, NULL);
		pid_t reaped = 0;

		while (number == SIGCHLD && (reaped = waitpid(reap_all ? -1 : pid, &status, WNOHANG)) > 0)
			if (reaped == pid)
				return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		if (number > 0 && number != SIGCHLD)
			(void)kill(pid, number); /* not reaped yet, it is nobody else's id */
	}
}
