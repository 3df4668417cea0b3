/* The company of a container's process, in the foreground. */
#ifndef OCIRT_ATTEND_H
#define OCIRT_ATTEND_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

/* Block all signals that a process can be sent, but those about ourselves. */
void block_signals(sigset_t *ret_set, sigset_t *ret_before);

/* Hand signals on until the process has ended; its exit code. `reap_all`: orphans come to us, and are reaped too. */
int attend(pid_t pid, const sigset_t *set, bool reap_all);

#endif
