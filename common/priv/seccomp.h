/* SPDX-License-Identifier: MIT */
/* The system call filter: an allow list (the shared set and the role's rows), SCMP_ACT_KILL_PROCESS for
 * everything else and for every foreign ABI. Kernel: seccomp(2),
 * Documentation/userspace-api/seccomp_filter.rst. */
#pragma once

#include "common/priv/role.h"

/* How rows are written. */
#define SECCOMP_ROW(call, why_)                                                                              \
    {                                                                                                        \
        .nr = SCMP_SYS(call), .why = (why_)                                                                  \
    }
#define SECCOMP_ROW1(call, why_, cmp)                                                                        \
    {                                                                                                        \
        .nr = SCMP_SYS(call), .why = (why_), .nargs = 1, .args[0] = cmp                                      \
    }
#define SECCOMP_ROW2(call, why_, cmp, cm)                                                                    \
    {                                                                                                        \
        .nr = SCMP_SYS(call), .why = (why_), .nargs = 2, .args[0] = cmp, .args[1] = cm                       \
    }

/* Argument arg (from 0), of which the kernel looks at the low 32 bits, is v; the bits in mask are v. */
#define SECCOMP_IS(arg, v) SCMP_CMP((arg), SCMP_CMP_MASKED_EQ, 0xffffffffU, (scmp_datum_t)(v))
#define SECCOMP_BITS(arg, mask, v)                                                                           \
    SCMP_CMP((arg), SCMP_CMP_MASKED_EQ, (scmp_datum_t)(mask), (scmp_datum_t)(v))

/* For role tables: what pthread_create() of glibc and musl needs (clone3 is answered ENOSYS, so both use
 * clone). */
#define SECCOMP_ROWS_THREADS                                                                                 \
    SECCOMP_ROW1(clone, "pthread_create(): threads only, never a process",                                   \
                 SECCOMP_BITS(0, SECCOMP_CLONE_NEW | 0x10100, 0x10100)), /* CLONE_THREAD | CLONE_VM */       \
        SECCOMP_ROW(set_robust_list, "a thread's start"), SECCOMP_ROW(rseq, "a thread's start")

/* For role tables: what fork() of glibc and musl needs. The child is reaped with waitid() or by its pidfd. */
#define SECCOMP_ROWS_FORK                                                                                    \
    SECCOMP_ROW1(                                                                                            \
        clone, "fork(): one plain child, no namespaces, nothing shared",                                     \
        SECCOMP_BITS(0, 0xffffffffU & ~0x1200000U, 17)), /* SIGCHLD; CHILD_SETTID, CHILD_CLEARTID free */    \
        SECCOMP_ROW(set_robust_list, "a forked child's start"), SECCOMP_ROW(waitid, "reaping a child")

/* CLONE_NEW* of clone(2): TIME is not among them because clone reads that bit as a signal number. */
#define SECCOMP_CLONE_NEW 0x7e020000U

/* The rows every daemon has. */
const struct role_syscall *seccomp_shared(size_t *ret_n);

/* Checks role's rows with the shared ones: each has a reason and a real number; none repeats another, and
 * none without comparisons stands beside a narrower one for the same call, which it would silently undo; a
 * role that may not fork has no fork, vfork, execve, and clone only narrowed to threads. 0, or -EINVAL with
 * *ret_bad the offending row of role (ret_bad may be NULL). */
int seccomp_check(const struct role *role, const struct role_syscall **ret_bad) MUST_CHECK;

/* True when the role's own rows name this call. */
bool seccomp_lists(const struct role *role, int nr);

/* Builds, loads and proves the filter, for the calling (and only) thread and all it starts. no_new_privs must
 * be set. 0 or -errno; after a failure the process must end. */
int seccomp_confine(const struct role *role) MUST_CHECK;
