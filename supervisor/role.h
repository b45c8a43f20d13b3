/* SPDX-License-Identifier: MIT */
/* What the supervisor is and may do: no capability, no network, no new process once the zygote is forked. */
#pragma once

#include "common/priv/role.h"

/* Order of supervisor_role.fds. */
enum {
    SUPERVISOR_FD_CONTROL,
    SUPERVISOR_FD_NETD,
    SUPERVISOR_FD_PROXYD,
    SUPERVISOR_FD_SIGNERD,
    SUPERVISOR_FD_IDS,       /* one locked file a running cell id */
    SUPERVISOR_FD_LOCKS,     /* id ranges of root-run suites; the zygote's */
    SUPERVISOR_FD_OPERATORS, /* where other operators come in (cellctl policy) */
    _SUPERVISOR_FD_MAX,
};

extern const struct role supervisor_role;
