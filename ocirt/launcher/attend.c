/* See attend.h. */
#define _GNU_SOURCE
#include "attend.h"

#include <sys/wait.h>

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
