/* SPDX-License-Identifier: MIT */
/* proxyd's row in the table of who may do what; tests/priv compares the running process with it. */
#pragma once

#include "common/priv/role.h"

/* The places of the activation fds in struct daemon. */
enum role_proxyd_fd { ROLE_PROXYD_SUPERVISOR, ROLE_PROXYD_SIGNERD, ROLE_PROXYD_NETD, _ROLE_PROXYD_FDS };

extern const struct role role_proxyd;
