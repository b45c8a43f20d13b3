/* SPDX-License-Identifier: MIT */
/* Setting up and the barrier; what follows the making of the workload's process is in cell_watch.c. */
#include "supervisor/launch/cell_init.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "common/base/io.h"
#include "common/priv/caps.h"
#include "common/priv/landlock.h"
#include "supervisor/launch/cell_plan.h"
#include "supervisor/launch/cell_watch.h"
#include "supervisor/launch/rootfs.h"

#include <linux/capability.h>

struct cell_setup {
    const struct cell_init *c;
    struct line line;
    struct line_msg msg;
    struct cell_plan plan;
    struct cell_env env;
    struct userns_workload ids;
    int proc; /* the cell's own /proc */
    struct fault fault;
};

static void cell_init_failed(struct cell_setup *s, const char *stage, int err)
{
    struct init_failed m = {str_of(stage), (uint64_t)-err, str_of(s->fault.text)};

    if (s->fault.text[0] == '\0')
        fault_set(&s->fault, err, "%s", stage);
    m.text = str_of(s->fault.text);
    (void)!line_send(&s->line, MSG_INIT_FAILED, 0, &m, NULL, 0);
    _exit(1);
}

/* The zygote's process is copied with all it has; what a cell needs of it was passed by number. */
static int cell_init_alone(const struct cell_init *c)
{
    const int keep[] = {c->line, c->who, c->launch, c->stdio[0], c->stdio[1], c->stdio[2]};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigset_t all;

    /* Nothing from inside can end or stop PID 1 of a pid namespace but a handler of its own: there is none.
     * Ignored signals are not even queued; CHLD and TERM are read from a signalfd. */
    for (int sig = 1; sig < NSIG; sig++)
        if (sig != SIGCHLD && sig != SIGTERM)
            (void)!sigaction(sig, &ignore, NULL);
    sigfillset(&all);
    if (sigprocmask(SIG_SETMASK, &all, NULL) < 0)
        return -errno;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || prctl(PR_SET_NAME, "cellos-init") < 0)
        return -errno;
    if (setsid() < 0) /* out of the terminal's and the zygote's process group */
        return -errno;
    return io_close_from(3, keep, ARRAY_LEN(keep));
}

static int cell_init_root(struct cell_setup *s)
{
    const struct rootfs r = {.launch = &s->plan.launch,
                             .hostname = s->plan.hostname,
                             .ids = s->ids,
                             .forbidden = s->c->forbidden,
                             .nforbidden = s->c->nforbidden};

    if (unshare(CLONE_NEWCGROUP) < 0) /* only here: it shows the cgroup the clone was made into as the root */
        return fault_set(&s->fault, -errno, "making a cgroup namespace");
    if (sethostname(s->plan.hostname, strlen(s->plan.hostname)) < 0)
        return fault_set(&s->fault, -errno, "naming the cell");
    return rootfs_build(&r, &s->fault);
}

/* The standard fds of the zygote are the host's. */
static int cell_init_detach(struct cell_setup *s)
{
    _cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null < 0)
        return fault_set(&s->fault, -errno, "opening /dev/null");
    for (int fd = 0; fd < 3; fd++)
        if (dup2(null, fd) < 0)
            return fault_set(&s->fault, -errno, "replacing the standard fds");
    s->proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return s->proc < 0 ? fault_set(&s->fault, -errno, "opening /proc") : 0;
}

static int cell_init_ready(struct cell_setup *s)
{
    static const struct str namespaces[] = {{"user", 4}, {"mount", 5}, {"pid", 3},   {"net", 3},
                                            {"ipc", 3},  {"uts", 3},   {"cgroup", 6}};
    const struct userns_plan *p = s->c->plan;
    struct init_ready m = {.landlock_abi = (uint64_t)landlock_abi(),
                           .namespaces = {namespaces, ARRAY_LEN(namespaces)}};
    char map[64];
    int r;

    snprintf(map, sizeof(map), "%u -> host %u", s->ids.inner_uid,
             p->count > 0 ? p->uid_base + s->c->index : (uint32_t)p->uid);
    m.uid_map = str_of(map);
    r = line_send(&s->line, MSG_INIT_READY, 0, &m, NULL, 0);
    s->line.state = LINE_BARRIER;
    return r;
}

/* With all secrets taken: the supervisor's PREPARE, or its GO at once, which *ret_go tells. Its silence may
 * last; its end of file is the cell's. */
static int cell_init_barrier(struct cell_setup *s, bool *ret_go)
{
    for (;;) {
        const struct init_secret *secret = NULL;
        int r = line_recv(&s->line, &s->msg, -1);
        if (r != 0)
            _exit(r > 0 ? 0 : 1);
        switch (s->msg.msg.row->id) {
        case MSG_INIT_SECRET:
            secret = s->msg.msg.rec;
            r = cell_env_add(&s->env, secret->name, secret->value);
            explicit_bzero(s->msg.frame.data, s->msg.frame.len);
            if (r < 0)
                return fault_set(&s->fault, r, "taking a secret");
            break;
        case MSG_INIT_PREPARE:
        case MSG_INIT_GO:
            *ret_go = s->msg.msg.row->id == MSG_INIT_GO;
            return 0;
        default: /* TERMINATE: there is nothing yet that could end in order */
            _exit(0);
        }
    }
}

/* What a PID 1 needs is the right to signal the workload's uid, and to see whose a socket is (who.h):
 * /proc/PID/fd belongs to that uid alone, and its links tell only who could trace it. */
static int cell_init_drop(struct cell_setup *s)
{
    const uint64_t keep = CAPS_BIT(CAP_KILL) | CAPS_BIT(CAP_SYS_PTRACE) | CAPS_BIT(CAP_DAC_READ_SEARCH);
    const struct caps caps = {.effective = keep, .permitted = keep};
    int r = caps_bound(keep);

    if (r == 0)
        r = caps_set(&caps);
    return r < 0 ? fault_set(&s->fault, r, "dropping capabilities of cell init") : 0;
}

/* Root's pipes belong to root, and opening /dev/stdout asks for rights the open fd does not: a pipe, which
 * lives no longer than its fds, is handed over. Files and terminals of the caller stay as they are. */
static void cell_init_give_pipes(const struct cell_setup *s)
{
    for (int i = 0; i < 3; i++) {
        struct statfs fs;
        if (fstatfs(s->c->stdio[i], &fs) == 0 && (unsigned long)fs.f_type == PIPEFS_MAGIC)
            (void)!fchown(s->c->stdio[i], s->ids.outer_uid, s->ids.outer_gid);
    }
}

static void cell_init_start(struct cell_setup *s, bool go)
{
    struct workload w = {.launch = &s->plan.launch,
                         .ids = s->ids,
                         .ordinary = s->c->plan->count == 0,
                         .stdio = s->c->stdio,
                         .argv = s->plan.argv,
                         .env = s->env.v,
                         .core = s->c->core,
                         .baseline = s->c->baseline};
    struct cell_watch watch = {.line = &s->line, .msg = &s->msg, .pair = -EBADF, .launch = &s->plan.launch};
    int r;

    if (!w.ordinary)
        cell_init_give_pipes(s);
    watch.pid = workload_fork(&w, s->proc, &watch.pair, &s->fault);
    cell_env_done(&s->env);
    if (watch.pid < 0)
        cell_init_failed(s, "fork", watch.pid);
    for (int i = 0; i < 3; i++) /* or a reader would wait for PID 1's copy */
        close(s->c->stdio[i]);
    who_open(&watch.who, s->c->who, s->proc);
    close(s->proc);
    r = cell_init_drop(s);
    if (r == 0)
        r = cell_filter_load(s->c->own, false);
    if (r < 0)
        cell_init_failed(s, "drop", r);
    cell_watch_run(&watch, go);
}

static void cell_init_setup(struct cell_setup *s)
{
    int r = cell_init_alone(s->c);

    if (r == 0)
        r = line_hello(&s->line, &s->msg);
    if (r < 0)
        _exit(1); /* nobody is there to hear it */
    r = cell_plan_read(&s->plan, s->c->launch, s->c->launch_sha256);
    close(s->c->launch);
    if (r < 0) {
        fault_set(&s->fault, r, "reading the launch document");
        cell_init_failed(s, "document", r);
    }
    r = cell_init_root(s);
    if (r < 0)
        cell_init_failed(s, "files", r);
    r = cell_init_detach(s);
    if (r < 0)
        cell_init_failed(s, "detach", r);
}

void cell_init_run(const struct cell_init *c)
{
    static struct cell_setup s; /* large, and the stack is a copy of the zygote's */
    struct init_exited nothing = {.exit_code = OPT_UINT(0)};
    bool go = false;
    int r;

    s.c = c;
    s.line = (struct line){.sock = c->line,
                           .iface = &iface_init,
                           .side = FROM_SERVER,
                           .role = ROLE_INIT,
                           .peer_role = ROLE_SUPERVISOR};
    s.ids = userns_workload(c->plan, c->index);
    line_msg_init(&s.msg);
    cell_env_init(&s.env);
    cell_init_setup(&s);
    if (cell_init_ready(&s) < 0)
        _exit(1);
    r = cell_init_barrier(&s, &go);
    if (r < 0)
        cell_init_failed(&s, "secrets", r);
    if (s.plan.argv)
        cell_init_start(&s, go);
    s.line.state = LINE_RUNNING; /* a spec without run, set going all the same */
    (void)!line_send(&s.line, MSG_INIT_EXITED, 0, &nothing, NULL, 0);
    _exit(0);
}
