/* SPDX-License-Identifier: MIT */
/* The rows every daemon has: memory, its own fds, the event loop, clocks and its own end. Nothing here names
 * a file, makes a socket, starts a process or reaches another one. */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "common/priv/seccomp.h"

#define FCNTL(cmd, why) SECCOMP_ROW1(fcntl, why, SECCOMP_IS(1, cmd))

static const struct role_syscall seccomp_shared_rows[] = {
    SECCOMP_ROW(brk, "malloc"),
    SECCOMP_ROW1(mmap, "malloc, thread stacks; never executable", SECCOMP_BITS(2, PROT_EXEC, 0)),
    SECCOMP_ROW1(mprotect, "malloc, guard pages, sodium_mprotect_*; never executable",
                 SECCOMP_BITS(2, PROT_EXEC, 0)),
    SECCOMP_ROW(munmap, "malloc"),
    SECCOMP_ROW(mremap, "realloc"),
    SECCOMP_ROW(madvise, "malloc gives memory back; sodium_malloc keeps it out of dumps"),
    SECCOMP_ROW(mlock, "sodium_malloc"),
    SECCOMP_ROW(munlock, "sodium_free"),

    SECCOMP_ROW(read, "timers, events, signals, files"),
    SECCOMP_ROW(write, "log lines, events"),
    SECCOMP_ROW(readv, "stdio"),
    SECCOMP_ROW(writev, "log lines"),
    SECCOMP_ROW(pread64, "io_memfd_read"),
    SECCOMP_ROW(lseek, "stdio"),
    SECCOMP_ROW(close, "every fd"),
    SECCOMP_ROW(recvmsg, "frame_recv"),
    SECCOMP_ROW(sendmsg, "frame_send"),
    SECCOMP_ROW(recvfrom, "recv on sockets it holds"),
    SECCOMP_ROW(sendto, "send on sockets it holds; READY=1"),
    SECCOMP_ROW(shutdown, "half-close"),
    SECCOMP_ROW(getsockname, "fdkind, addresses of sockets it holds"),
    SECCOMP_ROW(getpeername, "addresses of sockets it holds"),
    SECCOMP_ROW1(getsockopt, "SO_PEERCRED, SO_PEERPIDFD, SO_TYPE, SO_ERROR", SECCOMP_IS(1, SOL_SOCKET)),
    SECCOMP_ROW(fstat, "size and kind of an fd"),
    SECCOMP_ROW1(newfstatat, "fstat() of glibc 2.33 and later: an fd, not a path",
                 SECCOMP_IS(3, AT_EMPTY_PATH)),
    SECCOMP_ROW(fstatfs, "fdkind: is it a namespace"),
    SECCOMP_ROW(memfd_create, "io_memfd_sealed"),
    FCNTL(F_GETFD, "libev checks its fds"),
    FCNTL(F_SETFD, "CLOEXEC, libev"),
    FCNTL(F_GETFL, "O_NONBLOCK"),
    FCNTL(F_SETFL, "O_NONBLOCK, libev"),
    FCNTL(F_DUPFD_CLOEXEC, "fds of queued frames"),
    FCNTL(F_GET_SEALS, "io_memfd_read"),
    FCNTL(F_ADD_SEALS, "io_memfd_sealed"),

    SECCOMP_ROW(uname, "libev: ev_loop_new asks for the kernel's version"),
    SECCOMP_ROW(epoll_create1, "libev"),
    SECCOMP_ROW(epoll_ctl, "libev"),
#ifdef __NR_epoll_wait
    SECCOMP_ROW(epoll_wait, "libev"),
    SECCOMP_ROW(poll, "frame_recv"),
#endif
    SECCOMP_ROW(epoll_pwait, "libev where epoll_wait does not exist"),
    SECCOMP_ROW(ppoll, "poll() where it does not exist as a call"),
    SECCOMP_ROW(timerfd_create, "libev: clock jumps; CLOCK_BOOTTIME deadlines"),
    SECCOMP_ROW(timerfd_settime, "timerfd"),
    SECCOMP_ROW(eventfd2, "libev: ev_async, signals"),
    SECCOMP_ROW(signalfd4, "signals through the loop"),

    SECCOMP_ROW(clock_gettime, "where the vDSO does not answer"),
    SECCOMP_ROW(gettimeofday, "libev, on a clock source the vDSO cannot read (hpet, acpi_pm, some guests)"),
    SECCOMP_ROW(clock_nanosleep, "libev: collect intervals"),
    SECCOMP_ROW(restart_syscall, "a stopped and continued sleep"),
    SECCOMP_ROW(getrandom, "ids, keys, DNS query ids"),

    SECCOMP_ROW(futex, "pthread mutexes, once, join"),
    SECCOMP_ROW(sched_yield, "pthread"),
    SECCOMP_ROW(sched_getaffinity, "malloc counts processors before it makes an arena"),
    SECCOMP_ROW(sysinfo, "qsort() of glibc asks for the size of the memory"),
    SECCOMP_ROW2(prlimit64, "sysconf(): read its own limits only", SECCOMP_IS(0, 0),
                 SCMP_CMP(2, SCMP_CMP_EQ, 0, 0)),

    SECCOMP_ROW(rt_sigreturn, "return from a handler of libev"),
    SECCOMP_ROW(rt_sigaction, "libev, abort()"),
    SECCOMP_ROW(rt_sigprocmask, "signalfd, abort(), pthread"),
    SECCOMP_ROW1(tgkill, "abort(): only this one signal", SECCOMP_IS(2, SIGABRT)),
    SECCOMP_ROW(getppid, "a forked child: is its parent still there"),
    SECCOMP_ROW(getpid, "abort(), libev's fork check"),
    SECCOMP_ROW(gettid, "abort()"),
    SECCOMP_ROW(getuid, "compare with a peer's"),
    SECCOMP_ROW(geteuid, "compare with a peer's"),
    SECCOMP_ROW(exit, "end of a thread"),
    SECCOMP_ROW(exit_group, "end"),

#ifdef CELLOS_SANITIZE /* the run-times of ASan and UBSan; such a build is for tests only */
    SECCOMP_ROW(sigaltstack, "sanitizer: threads"),
    SECCOMP_ROW(pipe2, "sanitizer: is this memory readable"),
#ifdef __NR_pipe
    SECCOMP_ROW(pipe, "sanitizer: is this memory readable"),
    SECCOMP_ROW(readlink, "sanitizer: name of the executable in a report"),
#endif
    SECCOMP_ROW(readlinkat, "sanitizer: name of the executable in a report"),
    SECCOMP_ROW(getcwd, "sanitizer: reports"),
    SECCOMP_ROW(dup, "sanitizer: reports"),
    SECCOMP_ROW(mincore, "sanitizer: unwinding"),
#endif
};

const struct role_syscall *seccomp_shared(size_t *ret_n)
{
    *ret_n = ARRAY_LEN(seccomp_shared_rows);
    return seccomp_shared_rows;
}
