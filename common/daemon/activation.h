/* SPDX-License-Identifier: MIT */
/* The two things a service manager hands over in the environment: sockets (sd_listen_fds(3)) and the address
 * for READY=1 (sd_notify(3)). cellctl speaks the first one too, so a daemon is started the same way
 * everywhere. */
#pragma once

#include "common/priv/role.h"

#define ACTIVATION_FIRST_FD 3 /* SD_LISTEN_FDS_START */

/* How many fds LISTEN_FDS announces to this process; 0 when none, or when the variables are not for it. */
int activation_count(void);

/* Fills ret_fds[role->nfds] in the order of role->fds and sets CLOEXEC; LISTEN_FDNAMES must name exactly the
 * role's, each once, in any order, and each fd must be of its kind. Unsets the variables in any case. 0 or a
 * negative errno (logged). */
int activation_take(const struct role *role, int *ret_fds) MUST_CHECK;

/* A datagram socket connected to NOTIFY_SOCKET (absolute path or "@" for abstract), *ret = -EBADF when the
 * variable is not set. 0 or -errno. */
int activation_notify_open(int *ret) MUST_CHECK;
