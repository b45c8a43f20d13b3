/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#include "supervisor/ctl/doctor.h"

static bool parse_release(const char *release, unsigned long *major, unsigned long *minor)
{
    char *dot, *end;
    *major = strtoul(release, &dot, 10);
    if (dot == release || *dot != '.')
        return false;
    *minor = strtoul(dot + 1, &end, 10);
    return end != dot + 1;
}

void doctor_kernel(struct doctor_result *ret)
{
    struct utsname u;
    unsigned long major = 0, minor = 0;
    if (uname(&u) < 0 || !parse_release(u.release, &major, &minor)) {
        ret->status = DOCTOR_MISSING;
        ret->cost = "the kernel does not tell its version";
        return;
    }
    (void)snprintf(ret->detail, sizeof(ret->detail), "Linux %s", u.release);
    if (major > 6 || (major == 6 && minor >= 1))
        return;
    bool old = major < 5 || (major == 5 && minor < 14);
    ret->status = old ? DOCTOR_MISSING : DOCTOR_NOTE;
    ret->cost = old ? "cgroup.kill and other calls that cells rely on came with 5.14"
                    : "tested with 6.1 and later only";
    (void)snprintf(ret->mend, sizeof(ret->mend),
                   "install a kernel from 6.1 on (Debian 12: apt install linux-image-amd64)");
}

/* Called with arguments that no kernel accepts: ENOSYS (or EPERM from a container's filter) shows that it is
 * not there. */
void doctor_syscalls(struct doctor_result *ret)
{
    static const struct {
        const char *name;
        long nr;
    } calls[] = {{"clone3", SYS_clone3},
                 {"openat2", SYS_openat2},
                 {"close_range", SYS_close_range},
                 {"pidfd_open", SYS_pidfd_open},
                 {"pidfd_send_signal", SYS_pidfd_send_signal}};
    size_t used = 0;
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        long r = syscall(calls[i].nr, -1, -1, -1, -1);
        if (r < 0 && (errno == ENOSYS || errno == EPERM)) {
            ret->status = DOCTOR_MISSING;
            used += (size_t)snprintf(ret->detail + used, sizeof(ret->detail) - used, "%s%s",
                                     used ? ", " : "no ", calls[i].name);
        }
    }
    if (ret->status == DOCTOR_PASS) {
        (void)snprintf(ret->detail, sizeof(ret->detail), "clone3, openat2, close_range, pidfd");
        return;
    }
    ret->cost = "cells cannot be made";
    (void)snprintf(ret->mend, sizeof(ret->mend),
                   "leave the container, or run it with a seccomp profile that has these calls");
}

void doctor_landlock(struct doctor_result *ret)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi > 0) {
        (void)snprintf(ret->detail, sizeof(ret->detail), "ABI %ld", abi);
        return;
    }
    ret->status = DOCTOR_MISSING;
    (void)snprintf(ret->detail, sizeof(ret->detail), "%s",
                   errno == EOPNOTSUPP ? "built in, but not enabled at boot" : "not in this kernel");
    ret->cost =
        "one layer less around the daemons and the workload; namespaces, mounts and seccomp still hold";
    (void)snprintf(ret->mend, sizeof(ret->mend), "add landlock to the kernel's lsm= boot parameter");
}

static bool action_available(uint32_t action)
{
    return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

void doctor_seccomp(struct doctor_result *ret)
{
    bool kill = action_available(SECCOMP_RET_KILL_PROCESS);
    bool notify = action_available(SECCOMP_RET_USER_NOTIF);
    if (kill && notify) {
        (void)snprintf(ret->detail, sizeof(ret->detail), "filters and user notification");
        return;
    }
    ret->status = DOCTOR_MISSING;
    (void)snprintf(ret->detail, sizeof(ret->detail), "%s", kill ? "no user notification" : "no filters");
    ret->cost = "the workload and the daemons cannot be confined";
    (void)snprintf(ret->mend, sizeof(ret->mend), "install a kernel with CONFIG_SECCOMP_FILTER=y");
}

void doctor_memfd(struct doctor_result *ret)
{
    const int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    _cleanup_close_ int fd = memfd_create("cellos-doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd >= 0 && fcntl(fd, F_ADD_SEALS, seals) == 0 && fcntl(fd, F_GET_SEALS) == seals) {
        (void)snprintf(ret->detail, sizeof(ret->detail), "all four seals");
        return;
    }
    ret->status = DOCTOR_MISSING;
    (void)snprintf(ret->detail, sizeof(ret->detail), "%s", strerrordesc_np(errno));
    ret->cost = "the daemons cannot hand documents to each other";
    (void)snprintf(ret->mend, sizeof(ret->mend), "install a kernel with CONFIG_MEMFD_CREATE=y");
}
