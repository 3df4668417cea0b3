/*
 * Whose state is trusted: what root finds there has it kill processes and run hooks, so nobody but root and the
 * caller may have put it there. The rule stands here alone; Python asks by the functions of quick.h whose names begin
 * with state_.
 *
 * The root and every directory on the way to it belong to root or the caller, and nobody else can write them, but for
 * sticky ones as /tmp, where nobody else can rename or remove what is ours. Symlinks on the way belong to root or the
 * caller too; the root is none. POSIX ACLs need no look of their own: their mask is the mode's group bits (acl(5)).
 * What is below the root is the caller's own.
 */
#ifndef OCIRT_TRUST_H
#define OCIRT_TRUST_H

#include <stddef.h>
#include <sys/stat.h>

#define STATE_FILE "state.json"
#define MARK_FILE "ocirt.json" /* MARK of container/place.py */

/* 0 where the caller owns it and nobody else can write it; else -EKEYREJECTED, ret_text tells why, and of what `name`. */
int trusted(const struct stat *st, const char *name, char *ret_text, size_t size);

#endif
