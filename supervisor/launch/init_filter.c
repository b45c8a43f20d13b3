/* SPDX-License-Identifier: MIT */
/* Cell init's own filter, once the workload's process is made: it only waits, answers, signals and reports.
 */
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "supervisor/launch/cell_filter.h"

#define S(x) SCMP_SYS(x)
#define ALLOW(why, ...)                                                                                      \
    {                                                                                                        \
        why, SCMP_ACT_ALLOW, FILTER_CALLS(__VA_ARGS__)                                                       \
    }
#define LOW32(arg, v) SCMP_CMP((arg), SCMP_CMP_MASKED_EQ, 0xffffffffU, (scmp_datum_t)(v))

static const struct filter_group init_groups[] = {
    ALLOW("the loop", S(poll), S(ppoll), S(restart_syscall), S(clock_gettime), S(timerfd_create),
          S(timerfd_settime), S(signalfd4)),
    ALLOW("the line, the workload's report, signals and the timer", S(read), S(write), S(sendto), S(sendmsg),
          S(recvmsg), S(close)),
    ALLOW("children", S(wait4), S(waitid), S(kill), S(getpid)),
    ALLOW("malloc and free, wiping secrets", S(brk), S(munmap), S(mremap), S(madvise), S(munlock), S(futex)),
    ALLOW("who: whose a socket is", S(readlinkat), S(getdents64)),
    ALLOW("the end", S(exit_group), S(exit), S(rt_sigprocmask), S(rt_sigreturn)),
#ifdef CELLOS_SANITIZE
    ALLOW("the sanitizers", S(mmap), S(mprotect), S(gettid), S(sigaltstack), S(sched_yield), S(readlink),
          S(openat), S(rt_sigaction), S(getrlimit), S(prlimit64), S(tgkill)),
#endif
};

#define ROW(call, why, cmp)                                                                                  \
    {                                                                                                        \
        why, SCMP_ACT_ALLOW, S(call), 1,                                                                     \
        {                                                                                                    \
            cmp                                                                                              \
        }                                                                                                    \
    }

static const struct filter_row init_rows[] = {
    ROW(ioctl, "a denied call of the workload comes", LOW32(1, SECCOMP_IOCTL_NOTIF_RECV)),
    ROW(ioctl, "and is answered", LOW32(1, SECCOMP_IOCTL_NOTIF_SEND)),
#ifndef CELLOS_SANITIZE /* the sanitizers' row has it */
    ROW(openat, "who: directories of /proc, for reading",
        SCMP_CMP(2, SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT, O_RDONLY)),
#endif
    ROW(seccomp, "how long a notification is", LOW32(0, SECCOMP_GET_NOTIF_SIZES)),
#ifndef CELLOS_SANITIZE
    ROW(mmap, "malloc, never code", SCMP_CMP(2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)),
    ROW(mprotect, "malloc and sodium_free(), never code", SCMP_CMP(2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)),
#endif
};

const struct filter_table init_filter = {SCMP_ACT_KILL_PROCESS, init_groups, ARRAY_LEN(init_groups),
                                         init_rows, ARRAY_LEN(init_rows)};
