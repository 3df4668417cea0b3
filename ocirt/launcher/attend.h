/* The company of a container's process, in the foreground. */
#ifndef OCIRT_ATTEND_H
#define OCIRT_ATTEND_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

/* Hand signals on until the process has ended; its exit code. `reap_all`: orphans come to us, and are reaped too. */
int attend(pid_t pid, const sigset_t *set, bool reap_all);

#endif
