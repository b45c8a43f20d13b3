/* SPDX-License-Identifier: MIT */
/* The client's side of a connection: its first bytes, the judgement, the denial, the end. */
#include "proxyd/conn.h"

#include "common/base/log.h"
#include "proxyd/denial.h"
#include "proxyd/l7_event.h"

static void conn_reading_stop(struct conn *c)
{
    ev_io_stop(c->g->cfg.loop, &c->reader);
    ev_timer_stop(c->g->cfg.loop, &c->timer);
}

void conn_first_free(struct conn *c)
{
    if (c->first)
        buf_done(&c->first->seen);
    free(c->first);
    c->first = NULL;
}

void conn_free(struct conn *c)
{
    conn_reading_stop(c);
    conn_out_stop(c);
    http_session_free(c->http);
    farewell_stop(&c->farewell);
    cleanup_closep(&c->client);
    conn_first_free(c);
    client_unwait(&c->hold);
    client_unref(c->who);
    *c->at = c->next;
    if (c->next)
        c->next->at = c->at;
    c->g->nconns--;
    quota_close(c->g->cfg.quota);
    free(c);
}

void conn_abort(struct conn *c)
{
    if (c->client >= 0)
        farewell_reset(c->client);
    if (c->upstream >= 0)
        farewell_reset(c->upstream);
    conn_free(c);
}

static void on_farewell(void *self)
{
    conn_free(self);
}

void conn_finish(struct conn *c, const void *last, size_t n)
{
    conn_reading_stop(c);
    conn_out_stop(c);
    farewell_start(&c->farewell, c->g->cfg.loop, c->client, last, n, on_farewell, c);
}

void conn_deny(struct conn *c, uint32_t reason, const struct endpoint_addr *dialed)
{
    uint8_t words[L7_REFUSAL_MAX];

    c->j.allow = false;
    c->j.reason = reason;
    gate_deny(c->g, &c->j, &c->original, &c->from, dialed);
    conn_finish(c, words, l7_refusal(&c->j, words));
}

/* Nothing was read and nobody knows what it speaks: a plain end. The socket stays until the process is known,
 * because cell init can only look for a connection that still exists. */
static void conn_deny_unheard(struct conn *c)
{
    gate_deny(c->g, &c->j, &c->original, &c->from, NULL);
    (void)shutdown(c->client, SHUT_WR); /* fails when the peer is gone already */
    if (client_waits(c->who))
        client_wait(c->who, &c->hold, on_farewell, c);
    else
        conn_free(c);
}

static void conn_judged(struct conn *c)
{
    conn_reading_stop(c);
    judge_cdn(c->g->cfg.policy, c->g->cfg.dns, &c->original, &c->j);
    if (c->j.allow)
        conn_go(c);
    else
        conn_deny(c, c->j.reason, NULL);
}

static void conn_no_more(struct conn *c, bool timeout)
{
    judge_no_more(c->first != NULL, timeout, &c->j);
    conn_judged(c);
}

/* Adds what was read. 0 or -ENOMEM. */
static int conn_seen(struct conn *c, const uint8_t *p, size_t n)
{
    if (!c->first) {
        c->first = calloc(1, sizeof(*c->first));
        if (!c->first)
            return -ENOMEM;
        buf_init(&c->first->seen, LIMIT_PEEK);
    }
    buf_put(&c->first->seen, p, n);
    return c->first->seen.err;
}

static void on_http_done(void *self)
{
    struct conn *c = self;

    c->http = NULL;
    conn_free(c);
}

/* It is no TLS: the session finds out whether it is HTTP/1 or h2c, and judges what it says. */
static void conn_http(struct conn *c)
{
    conn_reading_stop(c);
    int r = http_session_start(c->g, TAKE_FD(c->client), &c->original, &c->from, &c->first->seen,
                               on_http_done, c, &c->http);
    if (r < 0) {
        log_errno(r, "a connection is dropped");
        conn_free(c);
        return;
    }
    conn_first_free(c);
}

static void on_readable(struct ev_loop *loop, struct ev_io *w, int events)
{
    struct conn *c = w->data;
    uint8_t *scratch = c->g->cfg.pool->scratch;
    size_t seen = c->first ? c->first->seen.len : 0;
    ssize_t n = recv(c->client, scratch, LIMIT_PEEK - seen, MSG_DONTWAIT);

    (void)loop;
    (void)events;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        conn_no_more(c, false);
        return;
    }
    int r = conn_seen(c, scratch, (size_t)n);
    if (r < 0) {
        log_errno(r, "a connection is dropped");
        conn_abort(c);
        return;
    }
    if (c->first->seen.data[0] != JUDGE_TLS_FIRST_BYTE)
        conn_http(c);
    else if (judge_tls(c->g->cfg.policy, &c->original, &c->first->hello, c->first->seen.data,
                       c->first->seen.len, &c->j) == JUDGE_DECIDED)
        conn_judged(c);
}

static void on_silent(struct ev_loop *loop, struct ev_timer *w, int events)
{
    (void)loop;
    (void)events;
    conn_no_more(w->data, true);
}

static int conn_addresses(int fd, const struct sockaddr *peer, socklen_t peer_len,
                          struct endpoint_addr *ret_original, struct endpoint_addr *ret_from)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);

    if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0)
        return -errno;
    int r = addr_from_sockaddr((struct sockaddr *)&ss, len, ret_original);
    return r < 0 ? r : addr_from_sockaddr(peer, peer_len, ret_from);
}

static struct conn *conn_new(struct gate *g, int fd, const struct endpoint_addr *original,
                             const struct endpoint_addr *from)
{
    struct conn *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    *c = (struct conn){
        .g = g, .client = fd, .upstream = -EBADF, .original = *original, .from = *from, .next = g->conns};
    c->who = client_new(g, from);
    if (!c->who) {
        free(c);
        return NULL;
    }
    ev_io_init(&c->reader, on_readable, fd, EV_READ);
    ev_timer_init(&c->timer, on_silent, LIMIT_PEEK_MS / 1000.0, 0);
    c->reader.data = c->timer.data = c;
    c->at = &g->conns;
    if (c->next)
        c->next->at = &c->next;
    g->conns = c;
    g->nconns++;
    return c;
}

/* All that can be said before a byte is read. */
static int conn_judge_unheard(struct conn *c)
{
    const struct gate_config *cfg = &c->g->cfg;

    if (judge_destination(cfg->policy, &c->original, &c->from.addr, &c->j) == JUDGE_DECIDED)
        return JUDGE_DECIDED;
    if (!quota_left(cfg->quota)) {
        c->j.reason = L7_QUOTA;
        return JUDGE_DECIDED;
    }
    return judge_raw(cfg->policy, cfg->dns, &c->original, &c->j);
}

void conn_start(struct gate *g, int fd, const struct sockaddr *peer, socklen_t len)
{
    struct endpoint_addr original, from;
    int r = conn_addresses(fd, peer, len, &original, &from);
    struct conn *c = r < 0 ? NULL : conn_new(g, fd, &original, &from);

    if (!c) {
        log_errno(r < 0 ? r : -ENOMEM, "a connection is dropped");
        close(fd);
        quota_close(g->cfg.quota);
        return;
    }
    client_ask(c->who, &original);
    if (conn_judge_unheard(c) == JUDGE_MORE) {
        ev_io_start(g->cfg.loop, &c->reader);
        ev_timer_start(g->cfg.loop, &c->timer);
    } else if (c->j.allow) {
        conn_go(c);
    } else {
        conn_deny_unheard(c);
    }
}
