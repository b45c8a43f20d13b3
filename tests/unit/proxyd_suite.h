/* SPDX-License-Identifier: MIT */
/* For proxyd's tests: the whole proxyd between a supervisor, a signerd, a resolver and a cell of the test's
 * own, all on one loop. */
#pragma once

#include "tests/unit/proxyd_net.h"
#include "tests/unit/signer_groups.h"

#include <ev.h>
#include <strings.h>
#include <sys/wait.h>

#include "common/base/clock.h"
#include "common/base/uuid.h"
#include "common/daemon/daemon.h"
#include "common/evidence/digest.h"
#include "proxyd/cell.h"
#include "proxyd/hostaddr.h"
#include "proxyd/role.h"

#define SUITE_CLAIMS 8192
#define SUITE_PORT   8443 /* of the cell's transparent listener, and so the one port that can be dialed */

struct suite_claim {
    uint64_t type, seq;
    uint32_t action, reason, protocol; /* l7 */
    uint64_t lost;                     /* gap */
    char text[512];                    /* l7: "host rule original dialed"; gap: cause; dns: name */
    char process[300], proxy[64];      /* l7: "pid exe"; where it goes through */
    bool cdn;
    bool answered;
};

struct suite_host {
    const char *name, *addrs[3];
};

struct suite {
    struct ev_loop *loop;
    struct endpoint *supervisor, *signerd;
    struct proxy *proxy; /* NULL when it runs, confined, in a process of its own */
    pid_t pid;           /* or 0 */
    bool cut;            /* proxyd ended the supervisor's line */
    bool hold;           /* claims of hold_type (0: all) stay unanswered */
    uint64_t hold_type;
    uint32_t refuse; /* l7 claims are answered with this failure */
    struct suite_claim claims[SUITE_CLAIMS];
    size_t nclaims;
    int resolver;
    struct ev_io resolver_io;
    uint16_t resolver_port;
    const struct suite_host *hosts; /* what the resolver knows; ends with a NULL name */
    char run_id[UUID_TEXT_LEN + 1];
    int sockets[_CELL_FD_MAX];
    uint16_t port, udp_port;
    bool replied;
    uint32_t fail;
    char fail_text[LIMIT_ERROR_TEXT + 1];
    struct proxy_cell_close_rep summary;
    struct proxy_rule_use uses[16];
    size_t answered_at_reply;
};

/* ---- signerd ---- */

static inline void suite_keep(struct suite_claim *c, uint64_t type, struct str body)
{
    _cleanup_(arena_done) struct arena a = {0};
    arena_init(&a, LIMIT_ARENA);
    if (type == EVENT_L7) {
        struct ev_l7 e;
        assert_int_equal(codec_decode_all(&schema_ev_l7, body, &a, &e), 0);
        c->action = e.action;
        c->reason = e.reason_code;
        c->protocol = e.protocol;
        c->cdn = e.cdn.set && e.cdn.v;
        if (e.process)
            snprintf(c->process, sizeof(c->process), "%llu %.*s", (unsigned long long)e.process->pid,
                     (int)e.process->exe.len, e.process->exe.p);
        snprintf(c->proxy, sizeof(c->proxy), "%.*s", (int)e.upstream_proxy.len,
                 e.upstream_proxy.p ? e.upstream_proxy.p : "");
        snprintf(c->text, sizeof(c->text), "%.*s|%.*s|%.*s|%.*s", (int)e.host.len, e.host.p ? e.host.p : "",
                 (int)e.rule.len, e.rule.p ? e.rule.p : "", (int)e.original_destination.len,
                 e.original_destination.p, (int)e.dialed_address.len,
                 e.dialed_address.p ? e.dialed_address.p : "");
    } else if (type == EVENT_GAP) {
        struct ev_gap e;
        assert_int_equal(codec_decode_all(&schema_ev_gap, body, &a, &e), 0);
        c->lost = e.lost;
        snprintf(c->text, sizeof(c->text), "%.*s", (int)e.cause.len, e.cause.p);
    } else if (type == EVENT_DNS_QUERY) {
        struct ev_dns_query e;
        assert_int_equal(codec_decode_all(&schema_ev_dns_query, body, &a, &e), 0);
        c->action = e.action;
        c->reason = e.reason_code;
        snprintf(c->text, sizeof(c->text), "%.*s %.*s %.*s", (int)e.query_name.len, e.query_name.p,
                 (int)e.query_type.len, e.query_type.p, (int)e.origin.len, e.origin.p);
    } else if (type == EVENT_DNS_ANSWER) {
        struct ev_dns_answer e;
        assert_int_equal(codec_decode_all(&schema_ev_dns_answer, body, &a, &e), 0);
        c->reason = e.reason_code;
        snprintf(c->text, sizeof(c->text), "%.*s %zu %zu", (int)e.query_name.len, e.query_name.p, e.answers.n,
                 e.removed.n);
    }
}

static inline void suite_answer(struct suite *s, size_t i)
{
    struct suite_claim *c = &s->claims[i];
    c->answered = true;
    assert_int_equal(signer_groups_answer(s->signerd, c->seq, c->type == EVENT_L7 ? s->refuse : 0, i), 0);
}

static inline void suite_release(struct suite *s)
{
    s->hold = false;
    for (size_t i = 0; i < s->nclaims; i++)
        if (!s->claims[i].answered)
            suite_answer(s, i);
}

static inline int suite_on_claim(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    struct suite *s = self;
    const struct signer_claim *q = m->rec;
    (void)e;
    assert_true(s->nclaims < SUITE_CLAIMS);
    assert_true(str_is(q->run_id, s->run_id));
    struct suite_claim *c = &s->claims[s->nclaims++];
    *c = (struct suite_claim){.type = q->type, .seq = m->seq};
    suite_keep(c, q->type, q->body);
    if (!s->hold || (s->hold_type != 0 && s->hold_type != q->type))
        suite_answer(s, s->nclaims - 1);
    return 0;
}

static inline void suite_on_gone(void *self, struct endpoint *e, int err)
{
    (void)self;
    (void)e;
    (void)err;
}

static inline void suite_on_cut(void *self, struct endpoint *e, int err)
{
    (void)e;
    (void)err;
    ((struct suite *)self)->cut = true;
}

/* ---- resolver ---- */

static inline void suite_resolver_answer(struct suite *s, uint8_t *q, size_t n, struct buf *b)
{
    char name[256] = {0};
    size_t at = 12, len = 0, count = 0;
    while (at < n && q[at] != 0) {
        len += (size_t)snprintf(name + len, sizeof(name) - len, "%s%.*s", len ? "." : "", q[at], &q[at + 1]);
        at += q[at] + 1u;
    }
    uint16_t type = (uint16_t)(q[at + 1] << 8 | q[at + 2]);
    const struct suite_host *h = s->hosts;
    while (h->name && strcasecmp(h->name, name) != 0) /* the resolver's client mixes the case */
        h++;
    buf_put(b, q, 2);
    buf_put_be16(b, h->name ? 0x8180 : 0x8183);
    buf_put(b, "\0\1\0\0\0\0\0\0", 8);
    buf_put(b, q + 12, at + 5 - 12);
    for (size_t i = 0; h->name && i < ARRAY_LEN(h->addrs) && h->addrs[i]; i++) {
        struct addr a = net_addr(h->addrs[i], 0).addr;
        size_t size = a.family == AF_INET ? 4 : 16;
        if (type != (a.family == AF_INET ? 1 : 28))
            continue;
        buf_put_be16(b, 0xc00c);
        buf_put_be16(b, type);
        buf_put_be16(b, 1);
        buf_put_be32(b, 60);
        buf_put_be16(b, (uint16_t)size);
        buf_put(b, a.bytes, size);
        b->data[7] = (uint8_t)++count;
    }
}

static inline void suite_on_resolver(struct ev_loop *loop, struct ev_io *w, int events)
{
    struct suite *s = w->data;
    struct sockaddr_storage from;
    socklen_t len = sizeof(from);
    uint8_t q[2048];
    _cleanup_(buf_done) struct buf b = {0};
    (void)loop;
    (void)events;
    ssize_t n = recvfrom(w->fd, q, sizeof(q), 0, (struct sockaddr *)&from, &len);
    assert_true(n > 12);
    buf_init(&b, 4096);
    suite_resolver_answer(s, q, (size_t)n, &b);
    assert_int_equal(sendto(w->fd, b.data, b.len, 0, (struct sockaddr *)&from, len), b.len);
}

/* ---- the loop ---- */

static inline void suite_on_tick(struct ev_loop *loop, struct ev_timer *w, int events)
{
    (void)loop;
    (void)w;
    (void)events;
}

/* Until *flag (or fn) is true; fails after 15 s. flag NULL: for ms milliseconds. */
static inline void suite_run(struct suite *s, const bool *flag, unsigned ms)
{
    uint64_t end = clock_boottime_us() + (flag ? 15000000ull : ms * 1000ull);
    struct ev_timer t;
    ev_timer_init(&t, suite_on_tick, 0.002, 0.002);
    ev_now_update(s->loop);
    ev_timer_start(s->loop, &t);
    while (!(flag && *flag) && clock_boottime_us() < end)
        ev_run(s->loop, EVRUN_ONCE);
    ev_timer_stop(s->loop, &t);
    if (flag && !*flag)
        fail_msg("nothing happened in time");
}

/* cond is evaluated until it is true, never again. */
#define SUITE_UNTIL(s, cond)                                                                                 \
    do {                                                                                                     \
        bool came_ = false;                                                                                  \
        for (int tries_ = 0; !(came_ = (cond)) && tries_ < 4000; tries_++)                                   \
            suite_run((s), NULL, 3);                                                                         \
        if (!came_)                                                                                          \
            fail_msg("not in time: %s", #cond);                                                              \
    } while (0)

/* The n-th (from 0) claim of this type, or NULL. */
static inline struct suite_claim *suite_claim_of(struct suite *s, uint64_t type, size_t n)
{
    for (size_t i = 0; i < s->nclaims; i++)
        if (s->claims[i].type == type && n-- == 0)
            return &s->claims[i];
    return NULL;
}

static inline size_t suite_count(struct suite *s, uint64_t type)
{
    size_t n = 0;
    while (suite_claim_of(s, type, n))
        n++;
    return n;
}

/* ---- supervisor ---- */

static inline void suite_on_reply(void *data, const struct error *error, const void *rec, int *fds,
                                  size_t nfds)
{
    struct suite *s = data;
    (void)fds;
    (void)nfds;
    s->replied = true;
    s->fail = error ? error->fail : 0;
    if (error)
        snprintf(s->fail_text, sizeof(s->fail_text), "%.*s", (int)error->text.len, error->text.p);
    s->answered_at_reply = 0;
    for (size_t i = 0; i < s->nclaims; i++)
        s->answered_at_reply += s->claims[i].answered;
    (void)rec;
}

static inline void suite_on_closed(void *data, const struct error *error, const void *rec, int *fds,
                                   size_t nfds)
{
    struct suite *s = data;
    const struct proxy_cell_close_rep *r = rec;
    suite_on_reply(data, error, rec, fds, nfds);
    if (error)
        return;
    s->summary = *r;
    assert_true(r->rules.n <= ARRAY_LEN(s->uses));
    for (size_t i = 0; i < r->rules.n; i++)
        s->uses[i] = r->rules.v[i];
}

static inline void suite_sockets(struct suite *s, uint16_t port)
{
    s->sockets[CELL_FD_DNS_UDP] = net_cell_socket(SOCK_DGRAM, 53);
    s->sockets[CELL_FD_DNS_TCP] = net_cell_socket(SOCK_STREAM, 53);
    s->sockets[CELL_FD_TCP] = net_cell_socket(SOCK_STREAM, port);
    s->sockets[CELL_FD_UDP] = net_cell_socket(SOCK_DGRAM, 4433);
    s->sockets[CELL_FD_RAW4] = net_raw(AF_INET);
    s->sockets[CELL_FD_RAW6] = net_raw(AF_INET6);
}

static inline void suite_sockets_close(struct suite *s)
{
    for (size_t i = 0; i < _CELL_FD_MAX; i++) {
        cleanup_closep(&s->sockets[i]);
        s->sockets[i] = -EBADF;
    }
}

/* Sends the request with s->sockets (which stay the test's) and waits for the answer; the failure, or 0. */
static inline uint32_t suite_open_raw(struct suite *s, uint8_t sha256[32])
{
    struct proxy_cell_open_req req = {str_of(s->run_id), STR_LIT("cell"), {(char *)sha256, 32}};
    s->replied = false;
    assert_int_equal(endpoint_call(s->supervisor, MSG_PROXY_CELL_OPEN_REQ, &req, s->sockets, _CELL_FD_MAX,
                                   10000, suite_on_reply, s),
                     0);
    suite_run(s, &s->replied, 0);
    return s->fail;
}

/* What a document must have and most tests do not care about. */
static inline void suite_policy_complete(struct policy *doc)
{
    static const struct policy_quota quota = {.max_connections = LIMIT_TCP_OPEN};
    if (doc->mode == 0)
        doc->mode = NET_MODE_INTERCEPT;
    if (doc->answer_mode == 0)
        doc->answer_mode = ANSWER_REAL;
    if (!doc->quota)
        doc->quota = &quota;
}

/* A who line on which nobody answers. */
static inline void suite_who(struct suite *s)
{
    int pair[2];
    if (s->sockets[CELL_FD_WHO] >= 0)
        return;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    s->sockets[CELL_FD_WHO] = pair[0];
    close(pair[1]);
}

static inline uint32_t suite_open(struct suite *s, struct policy *doc)
{
    suite_policy_complete(doc);
    suite_who(s);
    uint8_t sha256[32];
    char endpoint[32];
    snprintf(endpoint, sizeof(endpoint), "127.0.0.1:%u", s->resolver_port);
    struct policy_resolver resolver = {
        .resolver_id = STR_LIT("test"), .protocol = RESOLVER_DO53_UDP, .endpoint = str_of(endpoint)};
    if (doc->resolvers.n == 0) {
        doc->resolvers.v = &resolver;
        doc->resolvers.n = 1;
    }
    s->sockets[CELL_FD_POLICY] = codec_to_memfd(&schema_policy, doc, LIMIT_POLICY_DOC, sha256);
    assert_true(s->sockets[CELL_FD_POLICY] >= 0);
    return suite_open_raw(s, sha256);
}

static inline void suite_close_send(struct suite *s)
{
    struct proxy_cell_close_req req = {str_of(s->run_id)};
    s->replied = false;
    assert_int_equal(
        endpoint_call(s->supervisor, MSG_PROXY_CELL_CLOSE_REQ, &req, NULL, 0, 10000, suite_on_closed, s), 0);
}

static inline uint32_t suite_close(struct suite *s)
{
    suite_close_send(s);
    suite_run(s, &s->replied, 0);
    return s->fail;
}

/* ---- life ---- */

/* What main() does, in a forked process. */
static inline void suite_daemon(int supervisor, int signerd)
{
    char name[] = "proxyd", option[] = "--mode", mode[] = "embedded", text[16];
    char *argv[] = {name, option, mode, NULL};
    int argc = 3;
    struct daemon d;
    struct proxy *p = NULL;
    int high1 = fcntl(supervisor, F_DUPFD, 100), high2 = fcntl(signerd, F_DUPFD, 100), netd[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, netd) < 0)
        _exit(1);
    int high3 = fcntl(netd[0], F_DUPFD, 100);
    dup2(high1, 3);
    dup2(high2, 4);
    dup2(high3, 5);
    snprintf(text, sizeof(text), "%d", (int)getpid());
    setenv("LISTEN_PID", text, 1);
    setenv("LISTEN_FDS", "3", 1);
    setenv("LISTEN_FDNAMES", "supervisor:signerd:netd", 1);
    if (daemon_begin(&role_proxyd, &argc, argv, &d) < 0)
        _exit(1);
    hostaddr_init();
    if (digest_init() < 0 || daemon_confine(&d, NULL, 0, NULL, 0) < 0)
        _exit(2);
    struct ev_loop *loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    if (!loop || proxy_new(loop, d.fds[ROLE_PROXYD_SUPERVISOR], d.fds[ROLE_PROXYD_SIGNERD], &p) < 0)
        _exit(3);
    ev_run(loop, 0);
    _exit(p->failed ? 4 : 0);
}

static inline void suite_proxy_start(struct suite *s, int supervisor, int signerd, bool confined)
{
    if (!confined) {
        assert_int_equal(proxy_new(s->loop, supervisor, signerd, &s->proxy), 0);
        return;
    }
    fflush(NULL);
    s->pid = fork();
    assert_true(s->pid >= 0);
    if (s->pid == 0)
        suite_daemon(supervisor, signerd);
    close(supervisor);
    close(signerd);
}

static inline int suite_on_claims(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    return signer_groups_take(self, e, m, suite_on_claim);
}

static inline struct suite *suite_start_as(const struct suite_host *hosts, bool confined)
{
    static const struct endpoint_handler handlers[] = {{MSG_SIGNER_CLAIMS_REQ, suite_on_claims}};
    static const struct endpoint_ops signer_ops = {
        .handlers = handlers, .n = ARRAY_LEN(handlers), .gone = suite_on_gone};
    static const struct endpoint_ops supervisor_ops = {.gone = suite_on_cut};
    struct suite *s = calloc(1, sizeof(*s));
    int sup[2], sig[2];
    assert_non_null(s);
    s->loop = ev_loop_new(EVFLAG_AUTO);
    s->hosts = hosts;
    uuid_v7(s->run_id);
    for (size_t i = 0; i < _CELL_FD_MAX; i++)
        s->sockets[i] = -EBADF;
    s->resolver = net_server(SOCK_DGRAM, "127.0.0.1", 0);
    s->resolver_port = net_port(s->resolver);
    ev_io_init(&s->resolver_io, suite_on_resolver, s->resolver, EV_READ);
    s->resolver_io.data = s;
    ev_io_start(s->loop, &s->resolver_io);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sup), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sig), 0);
    suite_proxy_start(s, sup[1], sig[1], confined);
    const struct endpoint_config sup_cfg = {&iface_proxy, FROM_CLIENT,     ROLE_SUPERVISOR,
                                            ROLE_PROXYD,  &supervisor_ops, s};
    const struct endpoint_config sig_cfg = {&iface_signer, FROM_SERVER, ROLE_SIGNERD,
                                            ROLE_PROXYD,   &signer_ops, s};
    assert_int_equal(endpoint_new(s->loop, sup[0], &sup_cfg, &s->supervisor), 0);
    assert_int_equal(endpoint_new(s->loop, sig[0], &sig_cfg, &s->signerd), 0);
    return s;
}

static inline struct suite *suite_start(const struct suite_host *hosts)
{
    return suite_start_as(hosts, false);
}

static inline void suite_stop(struct suite *s)
{
    proxy_free(s->proxy);
    endpoint_free(s->supervisor);
    if (s->pid > 0) { /* the end of the line is the end of proxyd */
        int status = 0;
        assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
        assert_int_equal(status, 0);
    }
    endpoint_free(s->signerd);
    ev_io_stop(s->loop, &s->resolver_io);
    close(s->resolver);
    suite_sockets_close(s);
    ev_loop_destroy(s->loop);
    free(s);
}
