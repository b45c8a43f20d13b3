/* SPDX-License-Identifier: MIT */
/* netd's row in the table of who may do what; tests/priv compares the running process with it. */
#pragma once

#include "common/priv/role.h"

/* The places of the activation fds in struct daemon. */
enum role_netd_fd { ROLE_NETD_SUPERVISOR, ROLE_NETD_SIGNERD, ROLE_NETD_PROXYD, _ROLE_NETD_FDS };

extern const struct role role_netd;
extern const struct role role_netd_routed; /* the same, with CAP_NET_ADMIN: only when started with --routed */
