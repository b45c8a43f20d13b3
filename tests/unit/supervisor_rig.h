/* SPDX-License-Identifier: MIT */
/* A supervisor's half of one zygote and its cells, for the tests of supervisor/launch: real namespaces, real
 * processes. The test program's main() must hand ZYGOTE_ARG on to zygote_main(). */
#pragma once

#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "common/base/io.h"
#include "common/base/num.h"
#include "proto/line.h"
#include "supervisor/launch/zygote.h"

struct suite {
    struct line line;
    struct line_msg msg;
    int pidfd;
    int locks;
    char dir[64]; /* state and locks */
    char state[80];
    struct fault fault;
};

struct cell_run {
    struct launch launch;
    struct line line;
    struct line_msg msg;
    int pidfd, netns, userns;
    int out; /* what the workload writes to stdout and stderr */
    int in;  /* the workload's stdin; /dev/null when not set */
    int cgroup;
    uint64_t landlock;
    char uid_map[129];
    uint64_t inside, host; /* uids, read from it */
    /* the end */
    char text[65536];
    size_t len;
    bool ready, started, exited, failed;
    struct init_exited end;
    char stage[65];
    uint64_t error;
    char why[LIMIT_ERROR_TEXT + 1];
    char denied[16][64]; /* "syscall family" */
    uint64_t denied_count[16];
    size_t ndenied;
    int who; /* the other end of the who line */
};

static inline int rig_remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

/* A directory with all below it; links are not followed. */
static inline void rig_remove(const char *path)
{
    if (nftw(path, rig_remove_one, 8, FTW_DEPTH | FTW_PHYS) != 0)
        perror(path);
}

static inline int suite_start(struct suite *s)
{
    const char *forbidden[1] = {s->state};
    struct zygote_config cfg = {.locks_dir = -EBADF, .forbidden = forbidden, .nforbidden = 1};
    int sock, r;

    snprintf(s->dir, sizeof(s->dir), "/tmp/cell-test-XXXXXX");
    if (!mkdtemp(s->dir))
        return -errno;
    snprintf(s->state, sizeof(s->state), "%s/state", s->dir);
    if (mkdir(s->state, 0700) < 0)
        return -errno;
    s->locks = cfg.locks_dir = open(s->dir, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    line_msg_init(&s->msg);
    r = zygote_start(&cfg, &sock, &s->pidfd, &s->fault);
    if (r < 0)
        return r;
    s->line = (struct line){.sock = sock,
                            .iface = &iface_zygote,
                            .side = FROM_CLIENT,
                            .role = ROLE_SUPERVISOR,
                            .peer_role = ROLE_ZYGOTE};
    return line_hello(&s->line, &s->msg);
}

static inline void suite_stop(struct suite *s)
{
    close(s->line.sock);
    while (waitpid(-1, NULL, 0) > 0)
        ;
    close(s->pidfd);
    close(s->locks);
    line_msg_done(&s->msg);
    rig_remove(s->dir);
}

/* argv as string literals; the arrays must outlive the cell_run. */
static inline void cell_run_init(struct cell_run *c, const struct str *argv, size_t n)
{
    memset(c, 0, sizeof(*c));
    c->launch = (struct launch){.cell_id = STR_LIT("cell-one"),
                                .run_id = STR_LIT("01890000-0000-7000-8000-000000000001"),
                                .argv = {argv, n},
                                .working_directory = STR_LIT("/"),
                                .tmpfs_max_bytes = 8u << 20,
                                .ttl_ms = 20000,
                                .grace_ms = 500,
                                .nofile_max = 256};
    c->pidfd = c->netns = c->userns = c->out = c->in = c->cgroup = c->who = -EBADF;
}

/* Asks the zygote. stdin is /dev/null. 0, or -errno with the zygote's words in why. */
static inline int cell_spawn(struct suite *s, struct cell_run *c)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), out[2], init[2], who[2], r;
    uint8_t sha[32];
    int doc = codec_to_memfd(&schema_launch, &c->launch, LIMIT_LAUNCH_DOC, sha);
    struct zygote_spawn_req req = {c->launch.run_id, {(char *)sha, 32}};
    bool grouped = c->cgroup >= 0;

    if (doc < 0)
        return doc;
    if (pipe2(out, O_CLOEXEC) < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, init) < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, who) < 0)
        return -errno;
    r = line_send(&s->line, grouped ? MSG_ZYGOTE_SPAWN_IN_CGROUP_REQ : MSG_ZYGOTE_SPAWN_REQ, 0, &req,
                  (const int[]){doc, c->in >= 0 ? c->in : null, out[1], out[1], init[1], who[1], c->cgroup},
                  grouped ? 7 : 6);
    close(doc);
    close(null);
    close(out[1]);
    close(init[1]);
    close(who[1]);
    c->who = who[0];
    c->out = out[0];
    c->line = (struct line){.sock = init[0],
                            .iface = &iface_init,
                            .side = FROM_CLIENT,
                            .role = ROLE_SUPERVISOR,
                            .peer_role = ROLE_INIT};
    line_msg_init(&c->msg);
    do {
        if (r == 0)
            r = line_recv(&s->line, &s->msg, 10000);
    } while (r == 0 && s->msg.msg.row->id == MSG_ZYGOTE_REAPED); /* of an earlier cell */
    if (r != 0)
        return r < 0 ? r : -ECONNRESET;
    if (s->msg.msg.row->id == MSG_ERROR) {
        const struct error *e = s->msg.msg.rec;
        snprintf(c->why, sizeof(c->why), "%.*s", (int)e->text.len, e->text.p);
        return -EREMOTEIO;
    }
    c->pidfd = TAKE_FD(s->msg.frame.fds[0]);
    c->netns = TAKE_FD(s->msg.frame.fds[1]);
    c->userns = TAKE_FD(s->msg.frame.fds[2]);
    return line_hello(&c->line, &c->msg);
}

/* "INSIDE -> host HOST"; both stay 0 when it is anything else. */
static inline void cell_read_map(struct cell_run *c)
{
    static const char between[] = " -> host ";
    const char *at = strstr(c->uid_map, between);

    if (!at ||
        num_parse_u64((struct str){c->uid_map, (size_t)(at - c->uid_map)}, 0, UINT32_MAX, &c->inside) < 0 ||
        num_parse_u64(str_of(at + strlen(between)), 0, UINT32_MAX, &c->host) < 0)
        c->inside = c->host = 0;
}

static inline void cell_take(struct cell_run *c)
{
    const struct init_failed *f;
    const struct ev_syscall_denied *d;
    const struct init_ready *y;

    switch (c->msg.msg.row->id) {
    case MSG_INIT_READY:
        y = c->msg.msg.rec;
        c->ready = true;
        c->landlock = y->landlock_abi;
        snprintf(c->uid_map, sizeof(c->uid_map), "%.*s", (int)y->uid_map.len, y->uid_map.p);
        cell_read_map(c);
        c->line.state = LINE_BARRIER;
        break;
    case MSG_INIT_STARTED:
        c->started = true;
        break;
    case MSG_INIT_FAILED:
        f = c->msg.msg.rec;
        c->failed = true;
        c->error = f->error;
        snprintf(c->stage, sizeof(c->stage), "%.*s", (int)f->stage.len, f->stage.p);
        snprintf(c->why, sizeof(c->why), "%.*s", (int)f->text.len, f->text.p);
        break;
    case MSG_INIT_DENIED:
        d = c->msg.msg.rec;
        if (c->ndenied < 16) {
            snprintf(c->denied[c->ndenied], 64, "%.*s%s%.*s", (int)d->syscall.len, d->syscall.p,
                     d->family.p ? " " : "", (int)d->family.len, d->family.p ? d->family.p : "");
            c->denied_count[c->ndenied++] = d->count;
        }
        break;
    case MSG_INIT_EXITED:
        c->exited = true;
        c->end = *(const struct init_exited *)c->msg.msg.rec;
        break;
    default:
        break;
    }
}

/* Reads until READY or FAILED. 0 when ready. */
static inline int cell_wait_ready(struct cell_run *c)
{
    while (!c->ready && !c->failed) {
        int r = line_recv(&c->line, &c->msg, 15000);
        if (r != 0)
            return r < 0 ? r : -ECONNRESET;
        cell_take(c);
    }
    return c->ready ? 0 : -EREMOTEIO;
}

static inline int cell_go(struct cell_run *c)
{
    struct empty none = {};
    int r = line_send(&c->line, MSG_INIT_GO, 0, &none, NULL, 0);

    c->line.state = LINE_RUNNING;
    return r;
}

static inline void cell_drain(struct cell_run *c)
{
    ssize_t n;

    while (c->len < sizeof(c->text) - 1 &&
           (n = read(c->out, c->text + c->len, sizeof(c->text) - 1 - c->len)) > 0)
        c->len += (size_t)n;
    c->text[c->len] = '\0';
}

/* Reads both until the line closes (PID 1 is gone) and the output ends. */
static inline int cell_wait_end(struct cell_run *c)
{
    for (;;) {
        struct pollfd p[] = {{.fd = c->line.sock, .events = POLLIN}, {.fd = c->out, .events = POLLIN}};
        if (poll(p, 2, 30000) <= 0)
            return -ETIMEDOUT;
        if (p[1].revents) {
            ssize_t n = read(c->out, c->text + c->len, sizeof(c->text) - 1 - c->len);
            if (n > 0) {
                c->len += (size_t)n;
                c->text[c->len] = '\0';
                continue;
            }
            close(c->out);
            c->out = -EBADF;
        }
        if (p[0].revents) {
            int r = line_recv(&c->line, &c->msg, 0);
            if (r == 1)
                break;
            if (r < 0)
                return r;
            cell_take(c);
        }
    }
    if (c->out >= 0)
        cell_drain(c);
    struct pollfd end = {.fd = c->pidfd, .events = POLLIN};
    return poll(&end, 1, 5000) == 1 ? 0 : -ETIMEDOUT;
}

static inline void cell_run_done(struct cell_run *c)
{
    const int fds[] = {c->pidfd, c->netns, c->userns, c->out, c->line.sock, c->who};

    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        if (fds[i] > 2)
            close(fds[i]);
    line_msg_done(&c->msg);
}

/* All of it. 0 when the workload ran and ended. */
static inline int cell_run_all(struct suite *s, struct cell_run *c)
{
    int r = cell_spawn(s, c);

    if (r == 0)
        r = cell_wait_ready(c);
    if (r == 0)
        r = cell_go(c);
    if (r == 0)
        r = cell_wait_end(c);
    return r;
}

#define RIG_ORDINARY_UID 61000

/* Runs the tests; as root a second time as an ordinary user, in a child. */
static inline int rig_as_both(int (*run)(void))
{
    int status, failed = 0;
    pid_t pid;

    if (geteuid() == 0) {
        pid = fork();
        if (pid == 0) {
            if (setgroups(0, NULL) < 0 ||
                setresgid(RIG_ORDINARY_UID, RIG_ORDINARY_UID, RIG_ORDINARY_UID) < 0 ||
                setresuid(RIG_ORDINARY_UID, RIG_ORDINARY_UID, RIG_ORDINARY_UID) < 0 ||
                prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0) /* the change of uid took it */
                _exit(99);
            exit(run());
        }
        if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
            failed = 1;
    }
    return run() + failed;
}
