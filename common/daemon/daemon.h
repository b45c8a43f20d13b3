/* SPDX-License-Identifier: MIT */
/* The start-up every daemon shares, in this order: log, arguments, fds by name, (the daemon opens what it
 * needs), drop, audit, Landlock, seccomp, hello. A failure anywhere ends the process. */
#pragma once

#include <sys/types.h>

#include "common/priv/role.h"

#define DAEMON_FDS_MAX  8  /* activation fds */
#define DAEMON_KEEP_MAX 64 /* other fds that may be open at the audit */

struct daemon {
    const struct role *role;
    enum role_mode mode;
    bool verbose;
    int fds[DAEMON_FDS_MAX]; /* in the order of role->fds; owned by the daemon's main from here on */
    int notify;              /* system: connected to NOTIFY_SOCKET, until daemon_ready(); else -EBADF */
};

/* Opens /dev/null for each of fd 0, 1, 2 that is closed and closes everything behind the activation fds.
 * Handles
 * --version and --help (these end the process), --mode embedded|system (required), -v; options a daemon has
 * of its own stay in argv behind these (*argc and argv are compacted; after "--" nothing is looked at). Takes
 * the activation fds: exactly the role's, by name, in any order, kind-checked, CLOEXEC; unsets the variables
 * (sd_listen_fds(3)). Sets up the log: with -v everything, else from LOG_INFO up in system mode and from
 * LOG_WARNING up in embedded mode. 0 or a negative errno (already logged). */
int daemon_begin(const struct role *role, int *argc, char **argv, struct daemon *ret) MUST_CHECK;

/* Drops, audits (with the open fds: the standard three, d->fds, and the n keep fds), confines (Landlock, then
 * seccomp) and proves it. TCP bind and connect, and signals to processes started before, stay possible in
 * Landlock for a role whose rows name these calls. After this no file can be opened except below paths, and
 * the environment is empty. 0 or a negative errno (already logged): the process must end. */
int daemon_confine(const struct daemon *d, const int *keep, size_t nkeep, const struct role_path *paths,
                   size_t npaths) MUST_CHECK;

/* READY=1 to systemd in system mode (sd_notify(3)); does nothing in embedded mode. 0 or a negative errno
 * (logged). */
int daemon_ready(struct daemon *d) MUST_CHECK;
