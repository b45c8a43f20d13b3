/* SPDX-License-Identifier: MIT */
/* The default filter of a workload: what ordinary programs need, in groups with a reason. */
#include <linux/personality.h>

#include "supervisor/launch/cell_filter.h"

#define S(x) SCMP_SYS(x)
#define ALLOW(why, ...)                                                                                      \
    {                                                                                                        \
        why, SCMP_ACT_ALLOW, FILTER_CALLS(__VA_ARGS__)                                                       \
    }
#define REFUSE(why, ...)                                                                                     \
    {                                                                                                        \
        why, SCMP_ACT_ERRNO(EPERM), FILTER_CALLS(__VA_ARGS__)                                                \
    }
#define PERSONALITY(value)                                                                                   \
    {                                                                                                        \
        "a personality without risk", SCMP_ACT_ALLOW, S(personality), 1,                                     \
        {                                                                                                    \
            SCMP_CMP(0, SCMP_CMP_MASKED_EQ, 0xffffffffU, value)                                              \
        }                                                                                                    \
    }

static const struct filter_group baseline_groups[] = {
    ALLOW("open, close, duplicate", S(open), S(openat), S(openat2), S(creat), S(close), S(close_range),
          S(dup), S(dup2), S(dup3), S(fcntl), S(pipe), S(pipe2), S(memfd_create), S(memfd_secret)),
    ALLOW("read and write", S(read), S(write), S(readv), S(writev), S(pread64), S(pwrite64), S(preadv),
          S(pwritev), S(preadv2), S(pwritev2), S(lseek), S(sendfile), S(splice), S(tee), S(vmsplice),
          S(copy_file_range), S(ioctl), S(readahead), S(fadvise64), S(io_setup), S(io_destroy), S(io_submit),
          S(io_cancel), S(io_getevents), S(io_pgetevents)),
    ALLOW("look at files", S(stat), S(lstat), S(fstat), S(newfstatat), S(statx), S(statfs), S(fstatfs),
          S(access), S(faccessat), S(faccessat2), S(readlink), S(readlinkat), S(getdents), S(getdents64),
          S(getxattr), S(lgetxattr), S(fgetxattr), S(listxattr), S(llistxattr), S(flistxattr),
          S(name_to_handle_at)),
    ALLOW("change files", S(truncate), S(ftruncate), S(fallocate), S(mkdir), S(mkdirat), S(rmdir), S(link),
          S(linkat), S(symlink), S(symlinkat), S(unlink), S(unlinkat), S(rename), S(renameat), S(renameat2),
          S(mknod), S(mknodat), S(chmod), S(fchmod), S(fchmodat), S(chown), S(fchown), S(lchown), S(fchownat),
          S(utime), S(utimes), S(futimesat), S(utimensat), S(umask), S(setxattr), S(lsetxattr), S(fsetxattr),
          S(removexattr), S(lremovexattr), S(fremovexattr), S(flock)),
    ALLOW("write through to the disk", S(sync), S(syncfs), S(fsync), S(fdatasync), S(sync_file_range)),
    ALLOW("the working directory", S(getcwd), S(chdir), S(fchdir)),
    ALLOW("watch files", S(inotify_init), S(inotify_init1), S(inotify_add_watch), S(inotify_rm_watch)),
    ALLOW("wait for fds", S(poll), S(ppoll), S(select), S(pselect6), S(epoll_create), S(epoll_create1),
          S(epoll_ctl), S(epoll_ctl_old), S(epoll_wait), S(epoll_wait_old), S(epoll_pwait), S(epoll_pwait2),
          S(eventfd), S(eventfd2), S(signalfd), S(signalfd4)),
    ALLOW("its own memory", S(brk), S(mmap), S(munmap), S(mremap), S(mprotect), S(madvise), S(msync),
          S(mincore), S(mlock), S(mlock2), S(munlock), S(mlockall), S(munlockall), S(pkey_alloc),
          S(pkey_free), S(pkey_mprotect), S(remap_file_pages), S(membarrier), S(get_mempolicy)),
    ALLOW("processes and threads", S(clone), S(fork), S(vfork), S(execve), S(execveat), S(exit),
          S(exit_group), S(wait4), S(waitid), S(set_tid_address), S(set_robust_list), S(get_robust_list),
          S(rseq), S(futex), S(futex_waitv), S(gettid), S(getpid), S(getppid), S(getpgid), S(getpgrp),
          S(setpgid), S(getsid), S(setsid), S(unshare), S(kcmp), S(pidfd_open), S(pidfd_send_signal),
          S(process_mrelease), S(restart_syscall)),
    ALLOW("debug its own children: PID 1 and the host are out of reach by user namespace and dumpable",
          S(ptrace), S(process_vm_readv), S(process_vm_writev)),
    ALLOW("signals within the cell", S(kill), S(tkill), S(tgkill), S(rt_sigaction), S(rt_sigprocmask),
          S(rt_sigpending), S(rt_sigtimedwait), S(rt_sigqueueinfo), S(rt_tgsigqueueinfo), S(rt_sigreturn),
          S(rt_sigsuspend), S(sigaltstack), S(pause), S(alarm)),
    ALLOW("read clocks, set timers", S(time), S(gettimeofday), S(clock_gettime), S(clock_getres),
          S(clock_nanosleep), S(nanosleep), S(times), S(getitimer), S(setitimer), S(timer_create),
          S(timer_delete), S(timer_getoverrun), S(timer_gettime), S(timer_settime), S(timerfd_create),
          S(timerfd_settime), S(timerfd_gettime)),
    ALLOW("who am I; without capabilities no id can change", S(getuid), S(geteuid), S(getgid), S(getegid),
          S(getresuid), S(getresgid), S(getgroups), S(setuid), S(setgid), S(setreuid), S(setregid),
          S(setresuid), S(setresgid), S(setgroups), S(setfsuid), S(setfsgid), S(capget), S(capset)),
    ALLOW("limits and scheduling; of PID 1 core decides", S(getrlimit), S(setrlimit), S(prlimit64),
          S(getrusage), S(getpriority), S(setpriority), S(ioprio_get), S(ioprio_set), S(sched_yield),
          S(sched_getparam), S(sched_setparam), S(sched_getscheduler), S(sched_setscheduler),
          S(sched_getaffinity), S(sched_setaffinity), S(sched_getattr), S(sched_setattr),
          S(sched_get_priority_max), S(sched_get_priority_min), S(sched_rr_get_interval), S(getcpu)),
    ALLOW("the system at large", S(uname), S(sysinfo), S(getrandom), S(prctl), S(arch_prctl), S(modify_ldt),
          S(set_thread_area), S(get_thread_area)),
    ALLOW("sockets; of families core decides", S(socket), S(socketpair), S(bind), S(connect), S(listen),
          S(accept), S(accept4), S(getsockname), S(getpeername), S(getsockopt), S(setsockopt), S(sendto),
          S(recvfrom), S(sendmsg), S(recvmsg), S(sendmmsg), S(recvmmsg), S(shutdown)),
    ALLOW("System V and POSIX IPC: the cell has its own namespace", S(shmget), S(shmat), S(shmdt), S(shmctl),
          S(semget), S(semop), S(semtimedop), S(semctl), S(msgget), S(msgsnd), S(msgrcv), S(msgctl),
          S(mq_open), S(mq_unlink), S(mq_timedsend), S(mq_timedreceive), S(mq_notify), S(mq_getsetattr)),
    ALLOW("a program may confine itself further", S(seccomp), S(landlock_create_ruleset),
          S(landlock_add_rule), S(landlock_restrict_self)),
    ALLOW("core denies these and reports it, which an answer from here would prevent", S(io_uring_setup),
          S(io_uring_enter), S(io_uring_register), S(bpf), S(userfaultfd), S(keyctl), S(add_key),
          S(request_key), S(perf_event_open), S(setns)),

    REFUSE("the mount tree is the cell's wall", S(mount), S(umount), S(umount2), S(pivot_root), S(chroot),
           S(open_tree), S(move_mount), S(fsopen), S(fsconfig), S(fsmount), S(fspick), S(mount_setattr)),
    REFUSE("the kernel itself", S(kexec_load), S(kexec_file_load), S(init_module), S(finit_module),
           S(delete_module), S(create_module), S(query_module), S(get_kernel_syms), S(reboot), S(iopl),
           S(ioperm), S(syslog)),
    REFUSE("the host's clock", S(settimeofday), S(clock_settime), S(clock_adjtime), S(adjtimex), S(stime)),
    REFUSE("the host's accounting, quotas, swap, terminals", S(acct), S(quotactl), S(quotactl_fd), S(swapon),
           S(swapoff), S(vhangup)),
    REFUSE("names of the host", S(sethostname), S(setdomainname)),
    REFUSE("files past the mount tree", S(open_by_handle_at), S(fanotify_init), S(fanotify_mark),
           S(lookup_dcookie)),
    REFUSE("memory and fds of others", S(pidfd_getfd), S(process_madvise), S(move_pages), S(migrate_pages),
           S(mbind), S(set_mempolicy), S(set_mempolicy_home_node)),
    REFUSE("obsolete", S(uselib), S(ustat), S(sysfs), S(_sysctl), S(nfsservctl)),
};

static const struct filter_row baseline_rows[] = {
    PERSONALITY(PER_LINUX),         PERSONALITY(PER_LINUX32),
    PERSONALITY(UNAME26),           PERSONALITY(UNAME26 | PER_LINUX32),
    PERSONALITY(ADDR_NO_RANDOMIZE), PERSONALITY(0xffffffffU), /* the last only asks */
};

const struct filter_table baseline_filter = {SCMP_ACT_ERRNO(ENOSYS), baseline_groups,
                                             ARRAY_LEN(baseline_groups), baseline_rows,
                                             ARRAY_LEN(baseline_rows)};
