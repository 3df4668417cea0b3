/* Which signals are for the process in the foreground, and which end a command in the middle. */
#ifndef OCIRT_SIGNALS_H
#define OCIRT_SIGNALS_H

#include <signal.h>

/* Block all signals that a process can be sent, but those about ourselves. */
void block_signals(sigset_t *ret_set, sigset_t *ret_before);

/* What ends a command, and has what it made undone: by hand, by an engine, by a terminal that closes. */
#define ENDING 3

extern const int ending_signals[ENDING];

void ending_set(sigset_t *ret);

/* Has each do this from now on, but one that is ignored, as by nohup(1). What each did before goes to `ret_former`. */
void handle_ending(const struct sigaction *action, struct sigaction ret_former[ENDING]);

#endif
