/* SPDX-License-Identifier: MIT */
/* The audit of the drop: reads everything back from the kernel and compares it with the role's table. Nothing
 * is taken from what the drop believes to have done, except which steps it had the right to do. */
#pragma once

#include "common/priv/drop.h"
#include "common/priv/role.h"

/* An fd that may be open. */
struct audit_fd {
    int fd;
    bool checked; /* kind holds; else any kind is fine (opened by this process itself) */
    enum role_fd_kind kind;
};

/* ids agree (and are not 0 in system mode), groups, all five capability sets, no_new_privs, dumpable,
 * core limit, one thread, and the open fds: exactly 0, 1, 2 and the n listed, each of
 * its kind. Needs /proc. Logs every difference, and one line with what is. 0; -EPERM on a difference; -errno
 * when something could not be read. */
int audit_drop(const struct role *role, enum role_mode mode, const struct drop_report *report,
               const struct audit_fd *fds, size_t n) MUST_CHECK;
