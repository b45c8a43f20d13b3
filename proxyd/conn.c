/* SPDX-License-Identifier: MIT */
/* The client's side of a connection: its first bytes, the judgement, the denial, the end. */
#include "proxyd/conn.h"

#include <netinet/tcp.h>

#include "common/base/log.h"
#include "proxyd/l7_event.h"

static void conn_reading_stop(struct conn *c)
{
    ev_io_stop(c->g->cfg.loop, &c->reader);
    ev_timer_stop(c->g->cfg.loop, &c->timer);
}

void conn_free(struct conn *c)
{
    conn_reading_stop(c);
    conn_out_stop(c);
    farewell_stop(&c->farewell);
    cleanup_closep(&c->client);
    buf_done(&c->seen);
    *c->at = c->next;
    if (c->next)
        c->next->at = c->at;
    c->g->nconns--;
    free(c);
}

void conn_abort(struct conn *c)
{
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
    c->g->denied++;
    l7_event_deny(c->g->cfg.claims, &c->j, &c->original, dialed);
    conn_finish(c, words, l7_refusal(&c->j, &c->original, words));
}

static void conn_judged(struct conn *c)
{
    conn_reading_stop(c);
    if (c->j.allow)
        conn_go(c);
    else
        conn_deny(c, c->j.reason, NULL);
}

static void conn_no_more(struct conn *c, bool timeout)
{
    judge_no_more(&c->first, timeout, &c->j);
    conn_judged(c);
}

static void on_readable(struct ev_loop *loop, struct ev_io *w, int events)
{
    struct conn *c = w->data;
    uint8_t *scratch = c->g->cfg.pool->scratch;
    ssize_t n = recv(c->client, scratch, LIMIT_PEEK - c->seen.len, MSG_DONTWAIT);

    (void)loop;
    (void)events;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        conn_no_more(c, false);
        return;
    }
    buf_put(&c->seen, scratch, (size_t)n);
    if (c->seen.err < 0) {
        log_errno(c->seen.err, "a connection is dropped");
        conn_abort(c);
        return;
    }
    if (judge_first_bytes(c->g->cfg.policy, &c->original, &c->first, c->seen.data, c->seen.len, &c->j) ==
        JUDGE_DECIDED)
        conn_judged(c);
}

static void on_silent(struct ev_loop *loop, struct ev_timer *w, int events)
{
    (void)loop;
    (void)events;
    conn_no_more(w->data, true);
}

static int conn_addresses(int fd, struct endpoint_addr *ret_original, struct endpoint_addr *ret_from)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);

    if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0)
        return -errno;
    int r = addr_from_sockaddr((struct sockaddr *)&ss, len, ret_original);
    if (r < 0)
        return r;
    len = sizeof(ss);
    if (getpeername(fd, (struct sockaddr *)&ss, &len) < 0)
        return -errno;
    return addr_from_sockaddr((struct sockaddr *)&ss, len, ret_from);
}

static struct conn *conn_new(struct gate *g, int fd)
{
    struct conn *c = calloc(1, sizeof(*c));
    int one = 1;

    if (!c)
        return NULL;
    c->g = g;
    c->client = fd;
    c->upstream = -EBADF;
    c->dial.fd = -EBADF;
    buf_init(&c->seen, LIMIT_PEEK);
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0)
        log_debug("no TCP_NODELAY on a cell's connection");
    ev_io_init(&c->reader, on_readable, fd, EV_READ);
    ev_timer_init(&c->timer, on_silent, LIMIT_PEEK_MS / 1000.0, 0);
    c->reader.data = c->timer.data = c;
    c->next = g->conns;
    c->at = &g->conns;
    if (c->next)
        c->next->at = &c->next;
    g->conns = c;
    g->nconns++;
    return c;
}

void conn_start(struct gate *g, int fd)
{
    struct endpoint_addr original, from;
    int r = conn_addresses(fd, &original, &from);
    struct conn *c = r < 0 ? NULL : conn_new(g, fd);

    if (!c) {
        log_errno(r < 0 ? r : -ENOMEM, "a connection is dropped");
        close(fd);
        return;
    }
    c->original = original;
    if (judge_destination(g->cfg.policy, &original, &from.addr, &c->j) == JUDGE_DECIDED) {
        g->denied++; /* nothing was read and nobody knows what it speaks: a plain end */
        l7_event_deny(g->cfg.claims, &c->j, &original, NULL);
        conn_free(c);
        return;
    }
    ev_io_start(g->cfg.loop, &c->reader);
    ev_now_update(g->cfg.loop);
    ev_timer_start(g->cfg.loop, &c->timer);
}
