/* SPDX-License-Identifier: MIT */
/* The zygote at work: SPAWN in, pidfd and namespaces out, REAPED when a cell is gone. */
#include "supervisor/launch/zygote.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "common/evidence/digest.h"
#include "common/priv/fdkind.h"
#include "proto/line.h"
#include "supervisor/launch/cell_init.h"
#include "supervisor/launch/rootfs.h"
#include "supervisor/launch/zygote_boot.h"

struct zygote_child {
    pid_t pid; /* 0: free */
    char run_id[LIMIT_RUN_ID + 1];
};

struct zygote {
    struct zygote_boot boot;
    struct line line;
    struct line_msg msg;
    int signals;
    int userns; /* U1 */
    struct cell_filter core, baseline, init;
    struct fault fault; /* of the preparation; "" = none */
    struct zygote_child cells[LIMIT_CELLS];
};

/* ---- start ---- */

static int zygote_watch_children(struct zygote *z)
{
    sigset_t mask;

    sigemptyset(&mask);
    sigaddset(&mask, SIGCHLD);
    if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
        return -errno;
    z->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    return z->signals < 0 ? -errno : 0;
}

static int zygote_open(struct zygote *z)
{
    /* The exec cleared neither, but ids changed meaning with the namespace: again, and checked. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        return -errno;
    if (getppid() != z->boot.parent)
        return -ESRCH;
    if (fcntl(ZYGOTE_FD_LINE, F_SETFD, FD_CLOEXEC) < 0)
        return -errno;
    if (z->boot.plan.count > 0 && fcntl(ZYGOTE_FD_SLOT, F_SETFD, FD_CLOEXEC) < 0)
        return -errno;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    z->userns = open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC);
    if (z->userns < 0)
        return -errno;
    if (sodium_init() < 0)
        return -ENOSYS;
    return zygote_watch_children(z);
}

/* What fails here fails every cell, with the same sentence, over the line: by then somebody listens. */
static void zygote_prepare(struct zygote *z)
{
    struct userns_workload ids = userns_workload(&z->boot.plan, 0);
    int r = cell_filter_build(&core_filter, &z->core);

    if (r == 0)
        r = cell_filter_build(&baseline_filter, &z->baseline);
    if (r == 0)
        r = cell_filter_build(&init_filter, &z->init);
    if (r < 0)
        fault_set(&z->fault, r, "compiling the seccomp filters");
    else
        r = rootfs_prepare(&ids, &z->fault);
    if (r == 0) /* here once, or every cell init would do it for the one digest it takes */
        r = digest_init();
    if (r < 0 && z->fault.text[0] == '\0')
        fault_set(&z->fault, r, "preparing the files of the cells");
}

/* ---- spawn ---- */

static struct zygote_child *zygote_free_cell(struct zygote *z)
{
    size_t max =
        z->boot.plan.count > 0 && z->boot.plan.count < LIMIT_CELLS ? z->boot.plan.count : LIMIT_CELLS;

    for (size_t i = 0; i < max; i++)
        if (z->cells[i].pid == 0)
            return &z->cells[i];
    return NULL;
}

static bool zygote_is_cgroup(int fd)
{
    struct statfs s;

    return fdkind_directory(fd) == 0 && fstatfs(fd, &s) == 0 &&
           (unsigned long)s.f_type == CGROUP2_SUPER_MAGIC;
}

/* A directory among the standard fds would be a way out of the cell's root: openat(0, "../..") needs no path
 * of the cell. */
static bool zygote_is_way_out(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    struct stat st;

    return flags < 0 || (flags & O_PATH) || fstat(fd, &st) < 0 || S_ISDIR(st.st_mode);
}

/* 0, or the fault that names what is wrong. */
static uint32_t zygote_check(struct zygote *z, struct fault *f)
{
    const struct frame *fr = &z->msg.frame;

    if (z->fault.text[0]) {
        *f = z->fault;
        return FAIL_UNSUPPORTED;
    }
    if (fdkind_sealed_memfd(fr->fds[0]) < 0 ||
        fdkind_socket(fr->fds[4], AF_UNIX, SOCK_SEQPACKET, 0, false) < 0 ||
        fdkind_socket(fr->fds[5], AF_UNIX, SOCK_SEQPACKET, 0, false) < 0 ||
        (fr->nfds > 6 && !zygote_is_cgroup(fr->fds[6]))) {
        fault_set(f, -EBADMSG, "an fd of the spawn request");
        return FAIL_BAD_FD;
    }
    for (int i = 0; i < 3; i++)
        if (zygote_is_way_out(fr->fds[1 + i])) {
            fault_set(f, -EISDIR, "standard fd %d of the command must be a file, pipe, socket or terminal",
                      i);
            return FAIL_BAD_FD;
        }
    return 0;
}

static void zygote_become_cell(struct zygote *z, const struct zygote_child *cell) __attribute__((noreturn));

static void zygote_become_cell(struct zygote *z, const struct zygote_child *cell)
{
    const struct zygote_spawn_req *req = z->msg.msg.rec;
    const int *fds = z->msg.frame.fds;
    const struct cell_init c = {.line = fds[4],
                                .who = fds[5],
                                .launch = fds[0],
                                .stdio = {fds[1], fds[2], fds[3]},
                                .launch_sha256 = req->launch_sha256,
                                .plan = &z->boot.plan,
                                .index = (uint32_t)(cell - z->cells),
                                .forbidden = z->boot.forbidden,
                                .nforbidden = z->boot.nforbidden,
                                .core = &z->core,
                                .baseline = &z->baseline,
                                .own = &z->init};

    cell_init_run(&c);
}

/* clone3(2): the pid, or 0 in the child. glibc has no wrapper; the child is single-threaded and goes on in
 * this stack. */
static pid_t zygote_clone(struct zygote *z, int *ret_pidfd)
{
    const struct frame *f = &z->msg.frame;
    int pidfd = -EBADF;
    struct clone_args args = {
        .flags = CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_PIDFD,
        .pidfd = (uint64_t)(uintptr_t)&pidfd,
        .exit_signal = SIGCHLD,
    };
    long pid;

    if (f->nfds > 6) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (unsigned)f->fds[6];
    }
    pid = syscall(SYS_clone3, &args, sizeof(args));
    if (pid < 0)
        return -errno;
    *ret_pidfd = pidfd;
    return (pid_t)pid;
}

static int zygote_answer(struct zygote *z, pid_t pid, int pidfd)
{
    struct zygote_spawn_rep rep = {.pid = (uint64_t)pid};
    uint32_t id = z->msg.msg.row->id;
    _cleanup_close_ int netns = -EBADF;
    struct rlimit limit;
    char path[48];

    snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
    netns = open(path, O_RDONLY | O_CLOEXEC);
    if (netns < 0) {
        int r = -errno;
        (void)!syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
        return r;
    }
    frame_limit_raise(&limit);
    int r = line_send(&z->line, id + 1, z->msg.msg.seq, &rep, (const int[]){pidfd, netns, z->userns}, 3);
    frame_limit_restore(&limit);
    return r;
}

static int zygote_refuse(struct zygote *z, uint32_t fail, const struct fault *f)
{
    return line_fail(&z->line, z->msg.msg.seq, fail, f->text);
}

static int zygote_on_spawn(struct zygote *z)
{
    const struct zygote_spawn_req *req = z->msg.msg.rec;
    struct zygote_child *cell = zygote_free_cell(z);
    _cleanup_close_ int pidfd = -EBADF;
    struct fault f = {};
    uint32_t fail = zygote_check(z, &f);
    pid_t pid;
    int r;

    if (fail)
        return zygote_refuse(z, fail, &f);
    if (!cell) {
        fault_set(&f, -EUSERS, "no more cells in this suite");
        return zygote_refuse(z, FAIL_QUOTA, &f);
    }
    snprintf(cell->run_id, sizeof(cell->run_id), "%.*s", (int)req->run_id.len, req->run_id.p);
    pid = zygote_clone(z, &pidfd);
    if (pid == 0)
        zygote_become_cell(z, cell);
    if (pid < 0) {
        fault_set(&f, pid, "making the namespaces of a cell");
        return zygote_refuse(z, FAIL_INTERNAL, &f);
    }
    cell->pid = pid;
    r = zygote_answer(z, pid, pidfd);
    if (r < 0) {
        fault_set(&f, r, "opening the network namespace of a cell");
        return zygote_refuse(z, FAIL_INTERNAL, &f);
    }
    return 0;
}

/* ---- loop ---- */

/* 0; 1 when the supervisor closed the line. */
static int zygote_reap(struct zygote *z)
{
    struct signalfd_siginfo si;
    int status;
    pid_t pid;

    while (read(z->signals, &si, sizeof(si)) == (ssize_t)sizeof(si))
        ;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (size_t i = 0; i < ARRAY_LEN(z->cells); i++) {
            struct zygote_reaped m = {str_of(z->cells[i].run_id), (uint64_t)(unsigned)status};
            int r;
            if (z->cells[i].pid != pid)
                continue;
            z->cells[i].pid = 0;
            r = line_send(&z->line, MSG_ZYGOTE_REAPED, 0, &m, NULL, 0);
            if (r < 0)
                return r == -EPIPE ? 1 : r; /* the supervisor has just closed the line */
            break;
        }
    return 0;
}

/* 0; 1 when the supervisor closed the line. */
static int zygote_on_line(struct zygote *z)
{
    int r = line_recv(&z->line, &z->msg, 0);

    if (r == -EAGAIN)
        return 0;
    if (r != 0)
        return r;
    switch (z->msg.msg.row->id) {
    case MSG_ZYGOTE_SPAWN_REQ:
    case MSG_ZYGOTE_SPAWN_IN_CGROUP_REQ:
        r = zygote_on_spawn(z);
        frame_close_fds(&z->msg.frame);
        return r;
    default:
        return -EPROTO;
    }
}

static int zygote_loop(struct zygote *z)
{
    int r = line_hello(&z->line, &z->msg);

    while (r == 0) {
        struct pollfd p[] = {{.fd = z->line.sock, .events = POLLIN}, {.fd = z->signals, .events = POLLIN}};
        if (poll(p, ARRAY_LEN(p), -1) < 0 && errno != EINTR)
            return -errno;
        if (p[1].revents)
            r = zygote_reap(z);
        if (r == 0 && p[0].revents)
            r = zygote_on_line(z);
    }
    return r;
}

/* The supervisor has ended, as it does at once when it refuses a spec: nobody is to be told of that. */
static bool zygote_is_orphan(int r)
{
    return r == -EPIPE || r == -ECONNRESET || r == -ESRCH;
}

int zygote_main(int argc, char **argv)
{
    static struct zygote z;
    int r = zygote_boot_read(argc, argv, &z.boot);

    z.line = (struct line){.sock = ZYGOTE_FD_LINE,
                           .iface = &iface_zygote,
                           .side = FROM_SERVER,
                           .role = ROLE_ZYGOTE,
                           .peer_role = ROLE_SUPERVISOR};
    line_msg_init(&z.msg);
    if (r == 0)
        r = zygote_open(&z);
    if (r == 0) {
        zygote_prepare(&z);
        r = zygote_loop(&z);
    }
    if (r < 0 && !zygote_is_orphan(r)) {
        fault_set(&z.fault, r, "cellos zygote: ended");
        dprintf(2, "%s\n", z.fault.text);
    }
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS; /* with it, by PDEATHSIG, every cell */
}
