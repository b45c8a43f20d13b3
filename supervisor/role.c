/* SPDX-License-Identifier: MIT */
#include "supervisor/role.h"

#include "common/priv/seccomp.h"

static const struct role_fd fds[_SUPERVISOR_FD_MAX] = {
    [SUPERVISOR_FD_CONTROL] = {"control", ROLE_FD_CHANNEL},
    [SUPERVISOR_FD_NETD] = {"netd", ROLE_FD_CHANNEL},
    [SUPERVISOR_FD_PROXYD] = {"proxyd", ROLE_FD_CHANNEL},
    [SUPERVISOR_FD_SIGNERD] = {"signerd", ROLE_FD_CHANNEL},
    [SUPERVISOR_FD_IDS] = {"ids", ROLE_FD_DIR},
    [SUPERVISOR_FD_LOCKS] = {"locks", ROLE_FD_DIR},
    [SUPERVISOR_FD_OPERATORS] = {"operators", ROLE_FD_LISTEN},
};

/* Who owns U1 is root over the cells' networks: setns, unshare, ptrace, pidfd_getfd and process_vm_* are
 * therefore not here (decisions 12); only the zygote, forked before this filter, has what it needs. */
static const struct role_syscall syscalls[] = {
    SECCOMP_ROW(accept4, "operators that change a running cell's policy"),
    SECCOMP_ROW(socketpair, "the init line and the who line of a new cell"),
    SECCOMP_ROW(openat, "id locks and cgroup files, below directories Landlock leaves open"),
    SECCOMP_ROW(openat2, "cgroup files"),
    SECCOMP_ROW(unlinkat, "id locks, cgroup directories"),
    SECCOMP_ROW(mkdirat, "cgroup directories"),
    SECCOMP_ROW(flock, "id locks"),
    SECCOMP_ROW(pidfd_send_signal, "the end of a cell"),
};

const struct role supervisor_role = {
    .name = "supervisor",
    .help = "  --evidence strict|async  when effects wait for the log (default strict)\n"
            "  --operator-config JSON   what the operator decides for every cell (docs/network.md)\n"
            "  --private-path PATH      a directory of the suite that no cell may see; may be repeated\n",
    .fds = fds,
    .nfds = ARRAY_LEN(fds),
    .syscalls = syscalls,
    .nsyscalls = ARRAY_LEN(syscalls),
    .nofile = 65536,
};
