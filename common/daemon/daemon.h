/* SPDX-License-Identifier: MIT */
/* The start-up every daemon shares, in this order: log, arguments, fds by name, (the daemon opens what it needs), drop,
 * audit, Landlock, seccomp, hello. A failure anywhere ends the process. */
#pragma once

#include "common/priv/role.h"

struct daemon {
    const struct role *role;
    enum role_mode mode;
    bool verbose;
    int fds[8]; /* in the order of role->fds; owned by the daemon's main from here on */
};

/* Handles --version, --help, --mode embedded|system, -v; options a daemon has of its own stay in argv behind these
 * (*argc and argv are compacted). Takes the activation fds: exactly the role's, by name, kind-checked; unsets the
 * variables. 0 or a negative errno (already logged). */
int daemon_begin(const struct role *role, int *argc, char **argv, struct daemon *ret) MUST_CHECK;

/* Drops, audits (with the open fds: the standard three, d->fds, and the n keep fds), confines and proves it. After this
 * no file can be opened except below paths. 0 or a negative errno (already logged). */
int daemon_confine(const struct daemon *d, const int *keep, size_t nkeep, const struct role_path *paths, size_t npaths)
    MUST_CHECK;
