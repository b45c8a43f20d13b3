/* SPDX-License-Identifier: MIT */
#pragma once

#include "common/priv/role.h"

enum signerd_fd {
    SIGNERD_FD_SUPERVISOR,
    SIGNERD_FD_NETD,
    SIGNERD_FD_PROXYD,
    SIGNERD_FD_KEYS,
    SIGNERD_FD_LOG,
    _SIGNERD_FD_MAX
};

/* What signerd is and may do. */
extern const struct role signerd_role;
