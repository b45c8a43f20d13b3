/* SPDX-License-Identifier: MIT */
#include "netd/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "common/ipc/frame.h"
#include "netd/worker_child.h"
#include "proto/limits.h"

struct worker {
    struct ev_loop *loop;
    struct worker_task task; /* its fds are not ours any more: only the shape is looked at */
    uint64_t own_cookie;
    int pidfd;
    int sock;
    bool late;
    ev_io gone;
    ev_timer deadline;
    worker_done_fn done;
    void *self;
};

static void result_init(struct worker_result *r)
{
    memset(r, 0, sizeof(*r));
    r->counter_sock = r->flow_sock = -EBADF;
    for (size_t i = 0; i < _SOCKETS_MAX; i++)
        r->sockets[i] = -EBADF;
}

static void result_done(struct worker_result *r)
{
    cleanup_closep(&r->counter_sock);
    cleanup_closep(&r->flow_sock);
    for (size_t i = 0; i < _SOCKETS_MAX; i++)
        cleanup_closep(&r->sockets[i]);
}

static void result_fail(struct worker_result *r, int err, const char *step)
{
    r->err = err;
    snprintf(r->step, sizeof(r->step), "%s", step);
}

/* Every fd is what its place says, and all are in one namespace that is not ours. */
static bool fds_good(const struct worker *w, const struct worker_result *r)
{
    uint64_t cookie = 0;
    if (w->task.job != WORKER_ATTACH)
        return true;
    if (sockets_netns_cookie(r->counter_sock, &cookie) < 0 || cookie == w->own_cookie)
        return false;
    if (!sockets_is_netfilter(r->counter_sock, cookie))
        return false;
    if (w->task.rules->logs && r->flow_err == 0 && !sockets_is_netfilter(r->flow_sock, cookie))
        return false;
    for (enum sockets_index i = 0; i < worker_sockets(&w->task); i++)
        if (!sockets_is(r->sockets[i], i, cookie))
            return false;
    return true;
}

static void take_report(struct worker *w, struct frame *f, struct worker_result *r)
{
    struct worker_report rep;
    if (f->len != sizeof(rep)) {
        result_fail(r, -EBADMSG, "read the child's report");
        return;
    }
    memcpy(&rep, f->data, sizeof(rep));
    rep.step[sizeof(rep.step) - 1] = '\0';
    if (rep.err > 0 || rep.flow_err > 0 || rep.nflows > WORKER_FLOWS_MAX ||
        f->nfds != (rep.err == 0 ? worker_report_fds(&w->task, rep.flow_err) : 0)) {
        result_fail(r, -EBADMSG, "read the child's report");
        return;
    }
    if (rep.err < 0) {
        result_fail(r, rep.err, rep.step);
        return;
    }
    size_t n = 0;
    r->flow_err = rep.flow_err;
    if (w->task.job == WORKER_ATTACH)
        r->counter_sock = TAKE_FD(f->fds[n++]);
    if (w->task.job == WORKER_ATTACH && w->task.rules->logs && rep.flow_err == 0)
        r->flow_sock = TAKE_FD(f->fds[n++]);
    for (size_t i = 0; n < f->nfds; i++)
        r->sockets[i] = TAKE_FD(f->fds[n++]);
    memcpy(r->counts, rep.counts, sizeof(r->counts));
    memcpy(r->flows, rep.flows, sizeof(r->flows));
    r->nflows = rep.nflows;
    r->flows_open = rep.flows_open;
    if (!fds_good(w, r))
        result_fail(r, -EBADMSG, "check the child's sockets");
}

static void read_report(struct worker *w, struct worker_result *r)
{
    _cleanup_free_ struct frame *f = malloc(sizeof(*f));
    if (f == NULL) {
        result_fail(r, -ENOMEM, "read the child's report");
        return;
    }
    f->nfds = 0;
    int got = frame_recv(w->sock, f);
    if (got < 0)
        result_fail(r, got, "read the child's report");
    else if (got == FRAME_EOF)
        result_fail(r, -ECHILD, "wait for the child, which ended without a report");
    else
        take_report(w, f, r);
    frame_close_fds(f);
}

static void stop(struct worker *w)
{
    ev_io_stop(w->loop, &w->gone);
    ev_timer_stop(w->loop, &w->deadline);
}

/* The zombie is collected; its status says no more than its report. */
static void reap(struct worker *w)
{
    siginfo_t info = {0};
    while (waitid(P_PIDFD, (id_t)w->pidfd, &info, WEXITED) < 0 && errno == EINTR)
        ;
    cleanup_closep(&w->pidfd);
    w->pidfd = -EBADF;
}

static void on_gone(struct ev_loop *loop, ev_io *io, int events)
{
    (void)loop;
    (void)events;
    struct worker *w = io->data;
    struct worker_result r;
    result_init(&r);
    stop(w);
    reap(w);
    if (w->late)
        result_fail(&r, -ETIMEDOUT, "wait for the child");
    else
        read_report(w, &r);
    w->done(w->self, &r); /* may have freed w */
    result_done(&r);
}

static void on_deadline(struct ev_loop *loop, ev_timer *t, int events)
{
    (void)loop;
    (void)events;
    struct worker *w = t->data;
    w->late = true;
    (void)!pidfd_send_signal(w->pidfd, SIGKILL, NULL, 0); /* the pidfd turns readable in any case */
}

static void watch(struct worker *w)
{
    ev_io_init(&w->gone, on_gone, w->pidfd, EV_READ);
    w->gone.data = w;
    ev_io_start(w->loop, &w->gone);
    ev_timer_init(&w->deadline, on_deadline, LIMIT_ATTACH_MS / 1000.0, 0.);
    w->deadline.data = w;
    ev_now_update(w->loop);
    ev_timer_start(w->loop, &w->deadline);
}

/* fork(), not clone3(): glibc's bookkeeping must be right in the child, which allocates. Nobody else waits
 * for our children, so the pid cannot be reused before the pidfd is there. */
static int spawn(const struct worker_task *task, int *ret_pidfd, int *ret_sock)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    _cleanup_close_ int ours = pair[0], theirs = pair[1];
    pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0)
        worker_child_run(task, theirs, parent);
    int pidfd = pidfd_open(pid, 0);
    if (pidfd < 0) { /* no fd is left: the child finds nobody to report to, and ends within a millisecond */
        int r = -errno;
        siginfo_t info;
        cleanup_closep(&ours);
        ours = -EBADF;
        (void)waitid(P_PID, (id_t)pid, &info, WEXITED);
        return r;
    }
    *ret_pidfd = pidfd;
    *ret_sock = TAKE_FD(ours);
    return 0;
}

int worker_start(struct ev_loop *loop, const struct worker_task *task, uint64_t own_cookie,
                 worker_done_fn done, void *self, struct worker **ret)
{
    struct worker *w = calloc(1, sizeof(*w));
    if (w == NULL)
        return -ENOMEM;
    *w = (struct worker){.loop = loop,
                         .task = *task,
                         .own_cookie = own_cookie,
                         .pidfd = -EBADF,
                         .sock = -EBADF,
                         .done = done,
                         .self = self};
    int r = spawn(task, &w->pidfd, &w->sock);
    if (r < 0) {
        free(w);
        return r;
    }
    watch(w);
    *ret = w;
    return 0;
}

struct worker *worker_free(struct worker *w)
{
    if (w == NULL)
        return NULL;
    stop(w);
    if (w->pidfd >= 0) {
        (void)!pidfd_send_signal(w->pidfd, SIGKILL, NULL, 0);
        reap(w);
    }
    cleanup_closep(&w->sock);
    free(w);
    return NULL;
}
