/* SPDX-License-Identifier: MIT */
/* For netd's tests: netd between a supervisor and a signerd of the test's own, all three on one loop or netd
 * in a confined process of its own. */
#pragma once

#include <signal.h>
#include <stdlib.h>

#include "common/base/uuid.h"
#include "common/daemon/daemon.h"
#include "netd/netd.h"
#include "netd/role.h"
#include "tests/unit/netd_cell.h"
#include "tests/unit/signer_groups.h"

#define NETD_SUITE_CLAIMS 1024

struct netd_suite_claim {
    uint64_t type;
    uint64_t seq; /* of the request, for a late answer */
    struct ev_enforcement enforcement;
    struct ev_flow flow;
    char text[512]; /* enforcement.error, flow.rule, gap.cause or the residue's name */
    char protocol[16], source[LIMIT_ADDR_TEXT + 1], destination[LIMIT_ADDR_TEXT + 1]; /* of one flow, or "" */
    uint64_t lost;                                                                    /* of a gap */
};

/* A rule's total, not one flow. */
static inline bool netd_suite_is_row(const struct netd_suite_claim *c)
{
    return c->type == EVENT_FLOW && c->protocol[0] == '\0';
}

struct netd_suite {
    struct ev_loop *loop;
    struct endpoint *supervisor; /* our client's end */
    struct endpoint *signerd;    /* our server's end */
    struct netd *netd;           /* or NULL */
    pid_t pid;                   /* or 0 */
    bool cut;                    /* netd closed the supervisor's line */
    bool hold;                   /* claims are kept unanswered */
    uint32_t refuse;             /* claims are answered with this failure */
    struct netd_suite_claim claims[NETD_SUITE_CLAIMS];
    size_t nclaims;
    size_t answered;
};

/* One reply. */
struct netd_suite_reply {
    struct netd_suite *s;
    bool here;
    bool none;     /* an attach in mode none: a digest without sockets */
    uint32_t fail; /* 0: success */
    char text[LIMIT_ERROR_TEXT + 1];
    int fds[NETD_CELL_SOCKETS];
    size_t nfds;
    char digest[LIMIT_DIGEST + 1];
    struct netd_cell_counters_rep counters;
    size_t claims_before; /* answered claims when it came */
};

static inline void netd_suite_answer(struct netd_suite *s, size_t i)
{
    assert_int_equal(signer_groups_answer(s->signerd, s->claims[i].seq, s->refuse, i), 0);
    s->answered++;
}

static inline void netd_suite_release(struct netd_suite *s)
{
    s->hold = false;
    while (s->answered < s->nclaims)
        netd_suite_answer(s, s->answered);
}

static inline void netd_suite_keep(char *dst, size_t size, struct str t)
{
    assert_true(t.len < size);
    if (t.p != NULL)
        memcpy(dst, t.p, t.len);
}

static inline void netd_suite_keep_text(struct netd_suite_claim *c, struct str t)
{
    netd_suite_keep(c->text, sizeof(c->text), t);
}

static inline int netd_suite_on_claim(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    struct netd_suite *s = self;
    const struct signer_claim *q = m->rec;
    struct arena a;
    (void)e;
    assert_true(s->nclaims < NETD_SUITE_CLAIMS);
    struct netd_suite_claim *c = &s->claims[s->nclaims];
    *c = (struct netd_suite_claim){.type = q->type, .seq = m->seq};
    arena_init(&a, LIMIT_ARENA);
    if (q->type == EVENT_ENFORCEMENT) {
        assert_int_equal(codec_decode_all(&schema_ev_enforcement, q->body, &a, &c->enforcement), 0);
        netd_suite_keep_text(c, c->enforcement.error);
    } else if (q->type == EVENT_FLOW) {
        assert_int_equal(codec_decode_all(&schema_ev_flow, q->body, &a, &c->flow), 0);
        netd_suite_keep_text(c, c->flow.rule);
        netd_suite_keep(c->protocol, sizeof(c->protocol), c->flow.protocol);
        netd_suite_keep(c->source, sizeof(c->source), c->flow.source);
        netd_suite_keep(c->destination, sizeof(c->destination), c->flow.destination);
    } else if (q->type == EVENT_RESIDUE_REMOVED) {
        struct ev_residue_removed gone;
        assert_int_equal(codec_decode_all(&schema_ev_residue_removed, q->body, &a, &gone), 0);
        netd_suite_keep_text(c, gone.name);
    } else {
        struct ev_gap gap;
        assert_int_equal(q->type, EVENT_GAP);
        assert_int_equal(codec_decode_all(&schema_ev_gap, q->body, &a, &gap), 0);
        netd_suite_keep_text(c, gap.cause);
        c->lost = gap.lost;
    }
    arena_done(&a);
    s->nclaims++;
    if (!s->hold)
        netd_suite_answer(s, s->nclaims - 1);
    return 0;
}

static inline void netd_suite_on_cut(void *self, struct endpoint *e, int err)
{
    struct netd_suite *s = self;
    (void)e;
    (void)err;
    s->cut = true;
}

static inline void netd_suite_on_signer_cut(void *self, struct endpoint *e, int err)
{
    (void)self;
    (void)e;
    (void)err;
}

/* What main() does, in a forked process. */
static inline void netd_suite_daemon(int supervisor, int signerd)
{
    char *argv[] = {(char *)(uintptr_t) "netd", (char *)(uintptr_t) "--mode", (char *)(uintptr_t) "embedded",
                    NULL},
         text[16];
    int argc = 3;
    struct daemon d;
    struct netd_self self;
    struct netd *n = NULL;
    int high1 = fcntl(supervisor, F_DUPFD, 100), high2 = fcntl(signerd, F_DUPFD, 100);
    int proxyd[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, proxyd) < 0)
        _exit(1);
    int high3 = fcntl(proxyd[0], F_DUPFD, 100);
    dup2(high1, 3);
    dup2(high2, 4);
    dup2(high3, 5);
    snprintf(text, sizeof(text), "%d", (int)getpid());
    setenv("LISTEN_PID", text, 1);
    setenv("LISTEN_FDS", "3", 1);
    setenv("LISTEN_FDNAMES", "supervisor:signerd:proxyd", 1);
    if (daemon_begin(&role_netd, &argc, argv, &d) < 0 || netd_self_read(d.fds[0], &self) < 0 ||
        daemon_confine(&d, NULL, 0, NULL, 0) < 0)
        _exit(1);
    struct ev_loop *loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    if (loop == NULL || netd_new(loop, &self, d.fds[0], d.fds[1], &n) < 0)
        _exit(2);
    ev_run(loop, 0);
    _exit(n->failed ? 3 : 0);
}

static inline int netd_suite_on_claims(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    return signer_groups_take(self, e, m, netd_suite_on_claim);
}

static inline void netd_suite_start(struct netd_suite *s, bool confined)
{
    static const struct endpoint_handler handlers[] = {{MSG_SIGNER_CLAIMS_REQ, netd_suite_on_claims}};
    static const struct endpoint_ops signer_ops = {
        .handlers = handlers, .n = ARRAY_LEN(handlers), .gone = netd_suite_on_signer_cut};
    static const struct endpoint_ops supervisor_ops = {.gone = netd_suite_on_cut};
    int sup[2], sig[2];
    *s = (struct netd_suite){.loop = ev_loop_new(EVFLAG_AUTO)};
    assert_non_null(s->loop);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sup), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sig), 0);
    if (confined) {
        fflush(NULL);
        s->pid = fork();
        assert_true(s->pid >= 0);
        if (s->pid == 0)
            netd_suite_daemon(sup[1], sig[1]);
        close(sup[1]);
        close(sig[1]);
    } else {
        struct netd_self self;
        assert_int_equal(netd_self_read(sup[1], &self), 0);
        assert_int_equal(netd_new(s->loop, &self, sup[1], sig[1], &s->netd), 0);
    }
    const struct endpoint_config sup_cfg = {&iface_netd, FROM_CLIENT,     ROLE_SUPERVISOR,
                                            ROLE_NETD,   &supervisor_ops, s};
    const struct endpoint_config sig_cfg = {&iface_signer, FROM_SERVER, ROLE_SIGNERD,
                                            ROLE_NETD,     &signer_ops, s};
    assert_int_equal(endpoint_new(s->loop, sup[0], &sup_cfg, &s->supervisor), 0);
    assert_int_equal(endpoint_new(s->loop, sig[0], &sig_cfg, &s->signerd), 0);
}

static inline void netd_suite_stop(struct netd_suite *s)
{
    s->supervisor = endpoint_free(s->supervisor);
    if (s->pid > 0) { /* the end of the line is the end of netd */
        int status = 0;
        assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
        assert_int_equal(status, 0);
    }
    s->netd = netd_free(s->netd);
    s->signerd = endpoint_free(s->signerd);
    ev_loop_destroy(s->loop);
}

static inline void netd_suite_on_reply(void *data, const struct error *error, const void *rec, int *fds,
                                       size_t nfds)
{
    struct netd_suite_reply *r = data;
    r->here = true;
    r->claims_before = r->s->answered;
    if (error != NULL) {
        r->fail = error->fail;
        memcpy(r->text, error->text.p, error->text.len);
        return;
    }
    if (nfds > 0 || r->none) {
        const struct netd_cell_attach_rep *rep = rec;
        memcpy(r->digest, rep->rule_set_digest.p, rep->rule_set_digest.len);
    }
    for (size_t i = 0; i < nfds; i++)
        r->fds[i] = TAKE_FD(fds[i]);
    r->nfds = nfds;
}

static inline void netd_suite_on_counters(void *data, const struct error *error, const void *rec, int *fds,
                                          size_t nfds)
{
    struct netd_suite_reply *r = data;
    netd_suite_on_reply(data, error, rec, fds, nfds);
    if (error == NULL)
        r->counters = *(const struct netd_cell_counters_rep *)rec;
}

static inline void netd_suite_send(struct netd_suite *s, uint32_t id, const char *run_id, const int *fds,
                                   struct netd_suite_reply *r)
{
    const struct netd_cell_attach_req attach = {str_of(run_id), STR_LIT("cell")};
    const struct netd_cell_ref ref = {str_of(run_id)};
    bool is_attach = id == MSG_NETD_CELL_ATTACH_REQ || id == MSG_NETD_CELL_ATTACH_NONE_REQ;
    *r = (struct netd_suite_reply){.s = s, .none = id == MSG_NETD_CELL_ATTACH_NONE_REQ};
    assert_int_equal(
        endpoint_call(s->supervisor, id, is_attach ? (const void *)&attach : &ref, fds, is_attach ? 2 : 0,
                      20000, id == MSG_NETD_CELL_COUNTERS_REQ ? netd_suite_on_counters : netd_suite_on_reply,
                      r),
        0);
}

static inline void netd_suite_alarm(struct ev_loop *loop, ev_timer *t, int events)
{
    (void)loop;
    (void)t;
    (void)events;
    fail_msg("nothing happened in time");
}

/* Runs the loop until *flag, or until what is pending has been handled (flag NULL). */
static inline void netd_suite_run(struct netd_suite *s, const bool *flag)
{
    ev_timer t;
    ev_timer_init(&t, netd_suite_alarm, 15., 0.);
    ev_now_update(s->loop);
    ev_timer_start(s->loop, &t);
    while (flag != NULL && !*flag)
        ev_run(s->loop, EVRUN_ONCE);
    for (int i = 0; flag == NULL && i < 50; i++) {
        ev_run(s->loop, EVRUN_NOWAIT);
        usleep(2000);
    }
    ev_timer_stop(s->loop, &t);
}

static inline struct netd_suite_reply netd_suite_call(struct netd_suite *s, uint32_t id, const char *run_id,
                                                      const int *fds)
{
    struct netd_suite_reply r;
    netd_suite_send(s, id, run_id, fds, &r);
    netd_suite_run(s, &r.here);
    return r;
}

static inline struct netd_suite_reply netd_suite_attach(struct netd_suite *s, const char *run_id,
                                                        const struct netd_cell *c)
{
    return netd_suite_call(s, MSG_NETD_CELL_ATTACH_REQ, run_id, (const int[]){c->userns, c->netns});
}

static inline void netd_suite_close(struct netd_suite_reply *r)
{
    for (size_t i = 0; i < r->nfds; i++)
        close(r->fds[i]);
}
