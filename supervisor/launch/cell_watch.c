/* SPDX-License-Identifier: MIT */
#include "supervisor/launch/cell_watch.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

#include "common/base/clock.h"
#include "supervisor/launch/cell_init.h"

static uint64_t watch_now_ms(void)
{
    return clock_boottime_us() / 1000;
}

static void watch_arm(struct cell_watch *w, uint64_t ms)
{
    /* Zero would disarm it: nothing left is one nanosecond. */
    struct itimerspec t = {.it_value = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000 + (ms == 0)}};

    if (timerfd_settime(w->timer, 0, &t, NULL) < 0)
        _exit(1); /* a cell whose deadline nobody keeps must not run */
}

/* Before GO there is no exit to report: the cell could not be made. */
static void watch_unprepared(struct cell_watch *w)
{
    struct init_failed m = {STR_LIT("prepare"), ECHILD,
                            STR_LIT("the workload's process ended before its exec")};

    (void)!line_send(w->line, MSG_INIT_FAILED, 0, &m, NULL, 0);
    _exit(1);
}

static void watch_finish(struct cell_watch *w, int status)
{
    struct init_exited m = {.timed_out = w->timed_out};

    if (w->state == WATCH_BARRIER)
        watch_unprepared(w);

    if (WIFSIGNALED(status))
        m.signal = OPT_UINT((uint64_t)WTERMSIG(status));
    else
        m.exit_code = OPT_UINT((uint64_t)WEXITSTATUS(status));
    denials_report(&w->denials, w->line, watch_now_ms(), true);
    (void)!line_send(w->line, MSG_INIT_EXITED, 0, &m, NULL, 0);
    _exit(0);
}

static void watch_kill_all(struct cell_watch *w)
{
    w->state = WATCH_KILLED;
    kill(-1, SIGKILL); /* everything in the pid namespace but us */
    watch_arm(w, CELL_INIT_KILL_MS);
}

/* Asks every process to end and starts the grace period. */
static void watch_terminate(struct cell_watch *w)
{
    if (w->state == WATCH_BARRIER) /* there is nothing yet that could end in order */
        _exit(0);
    if (w->state != WATCH_RUNNING)
        return;
    if (w->launch->grace_ms == 0) {
        watch_kill_all(w);
        return;
    }
    w->state = WATCH_GRACE;
    kill(-1, SIGTERM);
    kill(-1, SIGCONT); /* a stopped process could not act on it */
    watch_arm(w, w->launch->grace_ms);
}

/* ---- the workload's report over its pair ---- */

static void watch_failed(struct cell_watch *w, const struct frame *f)
{
    struct workload_failure out;
    struct init_failed m;

    if (f->len != sizeof(out))
        _exit(1);
    memcpy(&out, f->data, sizeof(out)); /* our own fork, before its exec: it is still ours */
    out.stage[sizeof(out.stage) - 1] = '\0';
    out.text[sizeof(out.text) - 1] = '\0';
    m = (struct init_failed){str_of(out.stage), (uint64_t)out.error, str_of(out.text)};
    (void)!line_send(w->line, MSG_INIT_FAILED, 0, &m, NULL, 0);
    _exit(1);
}

/* False when there was nothing to read. */
static bool watch_on_pair(struct cell_watch *w)
{
    struct frame *f = &w->msg->frame;
    struct empty none = {};
    int r;

    frame_close_fds(f);
    r = frame_recv(w->pair, f);
    if (r == -EAGAIN)
        return false;
    if (r == FRAME_GOT && f->nfds == 1 && f->len == 1) {
        if (denials_init(&w->denials, TAKE_FD(f->fds[0])) < 0)
            _exit(1);
        w->confined = true;
        return true;
    }
    if (r == FRAME_GOT)
        watch_failed(w, f);
    /* End of file: closed by the exec, or by a death before it, which waitpid() will tell. */
    close(w->pair);
    w->pair = -EBADF;
    if (w->confined && w->state != WATCH_BARRIER)
        (void)!line_send(w->line, MSG_INIT_STARTED, 0, &none, NULL, 0);
    return true;
}

/* ---- children, clock, line ---- */

static void watch_reap(struct cell_watch *w)
{
    int status, last = 0;
    bool ended = false;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        if (pid == w->pid && !WIFSTOPPED(status)) { /* it can make us its tracer: PTRACE_TRACEME */
            ended = true;
            last = status;
        }
    if (!ended)
        return;
    while (w->pair >= 0 && watch_on_pair(w)) /* what it said before it died comes first */
        ;
    watch_finish(w, last);
}

static void watch_on_signal(struct cell_watch *w)
{
    struct signalfd_siginfo si;

    while (read(w->signals, &si, sizeof(si)) == (ssize_t)sizeof(si))
        /* From outside the pid namespace a sender has no pid here. A sender inside could write 0 with
         * rt_sigqueueinfo(2), but then not this code. CHLD is a hint only. */
        if (si.ssi_signo == SIGTERM && si.ssi_pid == 0 && si.ssi_code == SI_USER)
            watch_terminate(w);
    watch_reap(w);
}

static void watch_on_timer(struct cell_watch *w)
{
    uint64_t times;

    if (read(w->timer, &times, sizeof(times)) != (ssize_t)sizeof(times))
        return;
    switch (w->state) {
    case WATCH_BARRIER: /* not armed yet */
        break;
    case WATCH_RUNNING:
        w->timed_out = true;
        watch_terminate(w);
        break;
    case WATCH_GRACE:
        watch_kill_all(w);
        break;
    case WATCH_KILLED: /* it hangs in the kernel: PID 1's end is all that is left */
        watch_finish(w, SIGKILL);
        break;
    }
}

/* Opens the barrier: the clock starts, the workload executes. */
static void watch_go(struct cell_watch *w)
{
    w->line->state = LINE_RUNNING;
    w->state = WATCH_RUNNING;
    watch_arm(w, w->launch->ttl_ms);
    (void)!workload_go(w->pair); /* if it has ended, its pair and its status say so */
}

static void watch_on_line(struct cell_watch *w)
{
    const struct init_signal *s;
    int r = line_recv(w->line, w->msg, 0);

    if (r == -EAGAIN)
        return;
    if (r != 0) /* the supervisor is gone, or not itself: the cell ends at once */
        _exit(r > 0 ? 0 : 1);
    switch (w->msg->msg.row->id) {
    case MSG_INIT_SIGNAL:
        s = w->msg->msg.rec;
        if (s->signal == SIGKILL)
            watch_kill_all(w);
        else if (s->signal >= 1 && s->signal < NSIG)
            kill(-w->pid, (int)s->signal); /* its process group, as a terminal would */
        break;
    case MSG_INIT_TERMINATE:
        watch_terminate(w);
        break;
    case MSG_INIT_GO:
        watch_go(w);
        break;
    default: /* a secret that comes too late */
        _exit(1);
    }
}

static int watch_open(struct cell_watch *w)
{
    sigset_t mask;

    sigemptyset(&mask);
    sigaddset(&mask, SIGCHLD);
    sigaddset(&mask, SIGTERM);
    w->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    w->timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (w->signals < 0 || w->timer < 0)
        return -errno;
    return 0;
}

void cell_watch_run(struct cell_watch *w, bool go)
{
    w->denials = (struct denials){.listener = -EBADF};
    w->state = WATCH_BARRIER;
    if (watch_open(w) < 0)
        _exit(1);
    if (go)
        watch_go(w);
    watch_reap(w); /* it may have ended before there was a signalfd */
    for (;;) {
        struct pollfd p[] = {{.fd = w->line->sock, .events = POLLIN},
                             {.fd = w->signals, .events = POLLIN},
                             {.fd = w->timer, .events = POLLIN},
                             {.fd = w->pair, .events = POLLIN},
                             {.fd = w->denials.listener, .events = POLLIN},
                             {.fd = w->who.line.sock, .events = POLLIN}};
        if (poll(p, ARRAY_LEN(p), denials_due(&w->denials, watch_now_ms())) < 0 && errno != EINTR)
            _exit(1);
        if (p[4].revents)
            denials_serve(&w->denials, p[4].revents);
        if (p[3].revents && w->pair >= 0)
            (void)watch_on_pair(w);
        if (p[2].revents)
            watch_on_timer(w);
        if (p[0].revents)
            watch_on_line(w);
        if (p[1].revents)
            watch_on_signal(w);
        if (p[5].revents)
            who_serve(&w->who, w->msg);
        denials_report(&w->denials, w->line, watch_now_ms(), false);
    }
}
