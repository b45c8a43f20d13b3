/* SPDX-License-Identifier: MIT */
/* The privilege drop: one function, one order. It only ever takes away; audit.h looks at the result. */
#pragma once

#include <sys/types.h>

#include "common/priv/role.h"

/* What the drop found and could do; the audit expects accordingly. */
struct drop_report {
    bool bounding_cleared; /* there was CAP_SETPCAP: the bounding set equals the role's set now */
    bool groups_cleared;   /* there was CAP_SETGID: no supplementary group is left */
};

/* In this order (each step's failure is an error): real, effective and saved ids must agree (a set-user-ID
 * start is refused) and, in system mode, must not be 0; umask 077; "/"; environment cleared (what is needed
 * must have been read before); RLIMIT_CORE 0, RLIMIT_NOFILE raised to role->nofile within the hard limit,
 * RLIMIT_NPROC 0 unless the role forks or has threads; supplementary groups (with CAP_SETGID); bounding set
 * (with CAP_SETPCAP) and ambient set; capset to exactly role->caps[mode], inheritable empty; not dumpable;
 * no_new_privs; and every way back is tried
 * and must be refused. The uid and gid stay: systemd, or the caller in embedded mode, chose them. A root
 * caller keeps uid 0 with no capability. In embedded mode an ordinary user's supplementary groups stay
 * (capabilities(7): CAP_SETGID). 0 or -errno, -EPERM when a right is missing or could be regained; after a
 * failure the process must end. */
int drop_privileges(const struct role *role, enum role_mode mode, struct drop_report *ret) MUST_CHECK;
