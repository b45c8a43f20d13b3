/* SPDX-License-Identifier: MIT */
/* The way out of an allowed connection: its name's addresses, the event, the dial, the relay. */
#include "proxyd/conn.h"
#include "proxyd/l7_event.h"

static void conn_try(struct conn *c);

void conn_out_stop(struct conn *c)
{
    dns_resolve_cancel(c->resolving);
    c->resolving = NULL;
    claims_forget(c->g->cfg.claims, c);
    claims_unwait(&c->ticket);
    dial_stop(&c->dial);
    c->relay = relay_free(c->relay);
    cleanup_closep(&c->upstream);
    c->upstream = -EBADF;
}

static struct endpoint_addr conn_target(const struct conn *c)
{
    return (struct endpoint_addr){.addr = c->addrs[c->tried], .port = c->original.port};
}

/* ---- relay ---- */

/* The bytes of a request that may pass (relay_filter). */
static ssize_t on_request_bytes(void *self, const uint8_t *p, size_t n)
{
    struct conn *c = self;

    return http_body_take(&c->first.body, p, n);
}

/* A second request on the connection was never judged: it is not forwarded, and that is a decision. The first
 * one gets its answer. */
static void on_refused(void *self)
{
    struct conn *c = self;
    struct judgement second = {
        .reason = L7_UNKNOWN_PROTOCOL, .protocol = L7_HTTP, .rule = -1, .name = c->j.name};

    if (c->refused)
        return;
    c->refused = true;
    c->g->denied++;
    second.literal = c->j.literal;
    l7_event_deny(c->g->cfg.claims, &second, &c->original, NULL);
}

static void on_relay_done(void *self, enum relay_end end)
{
    struct conn *c = self;

    if (end != RELAY_CLEAN)
        conn_abort(c);
    else if (c->j.protocol == L7_HTTP)
        conn_finish(c, NULL, 0); /* the client may still be sending */
    else
        conn_free(c);
}

/* What goes upstream first: the bytes as they came, or the request head with "Connection: close". */
static int conn_head(struct conn *c, struct buf *ret)
{
    buf_init(ret, 2 * LIMIT_PEEK);
    if (c->j.protocol != L7_HTTP) {
        buf_put(ret, c->seen.data, c->seen.len);
        return ret->err;
    }
    int r = http_head_rewrite(c->seen.data, &c->first.head, ret);
    if (r < 0)
        return r;
    buf_put(ret, c->seen.data + c->first.head.len, c->first.body_seen);
    return ret->err;
}

static void conn_relay(struct conn *c)
{
    bool http = c->j.protocol == L7_HTTP;
    struct relay_config cfg = {
        .loop = c->g->cfg.loop,
        .pool = c->g->cfg.pool,
        .client = c->client,
        .upstream = c->upstream,
        .idle_ms = LIMIT_RELAY_IDLE_MS,
        .filter = http ? on_request_bytes : NULL,
        .refused = on_refused,
        .done = on_relay_done,
        .self = c,
    };
    _cleanup_(buf_done) struct buf head = {0};

    if (conn_head(c, &head) < 0 ||
        relay_new(&cfg, &head, http && http_body_ended(&c->first.body), &c->relay) < 0) {
        conn_abort(c);
        return;
    }
    if (http && c->seen.len > c->first.head.len + c->first.body_seen)
        on_refused(c);
    buf_done(&c->seen);
}

/* ---- dial ---- */

static void on_dialed(void *self, int err, int fd)
{
    struct conn *c = self;

    if (err < 0) {
        c->tried++;
        conn_try(c);
        return;
    }
    c->upstream = fd;
    conn_relay(c);
}

static void conn_dial(struct conn *c)
{
    struct endpoint_addr to = conn_target(c);
    ev_tstamp left = c->dial_until - ev_now(c->g->cfg.loop);
    unsigned ms = left > 0 ? (unsigned)(left * 1000) : 0;

    if (!c->counted) {
        c->counted = true;
        c->g->allowed++;
        c->g->rule_uses[c->j.rule]++;
    }
    if (c->tried + 1 < c->naddrs && ms > CONN_ATTEMPT_MS)
        ms = CONN_ATTEMPT_MS;
    /* Once more on what connect(2) gets: addresses of the host come and go. */
    int r = -EACCES;
    if (ms == 0)
        r = -ETIMEDOUT;
    else if (dial_permitted(c->g->cfg.policy, &c->j, &to.addr))
        r = dial_start(&c->dial, c->g->cfg.loop, &to, ms, on_dialed, c);
    if (r < 0)
        on_dialed(c, r, -EBADF);
}

/* ---- evidence before effect ---- */

static void on_acked(void *self, int result)
{
    struct conn *c = self;

    if (result < 0)
        conn_deny(c, L7_QUOTA, NULL);
    else
        conn_dial(c);
}

static void on_no_credit(struct ev_loop *loop, struct ev_timer *w, int events)
{
    (void)loop;
    (void)events;
    conn_deny(w->data, L7_QUOTA, NULL);
}

static void on_credit(void *self)
{
    struct conn *c = self;

    ev_timer_stop(c->g->cfg.loop, &c->timer);
    conn_try(c);
}

static void conn_wait_credit(struct conn *c)
{
    ev_set_cb(&c->timer, on_no_credit);
    ev_timer_set(&c->timer, LIMIT_ACK_MS / 1000.0, 0);
    ev_timer_start(c->g->cfg.loop, &c->timer);
    claims_wait(c->g->cfg.claims, &c->ticket, on_credit, c);
}

/* The next address: its event, then, once that is durable, the dial. */
static void conn_try(struct conn *c)
{
    if (c->tried >= c->naddrs) {
        c->tried = c->naddrs - 1;
        struct endpoint_addr last = conn_target(c);
        conn_deny(c, L7_UPSTREAM_UNREACHABLE, &last);
        return;
    }
    struct endpoint_addr to = conn_target(c);
    int r = l7_event_allow(c->g->cfg.claims, c->g->cfg.policy, &c->j, &c->original, &to, on_acked, c);
    if (r == CLAIMS_GOES)
        conn_dial(c);
    else if (r == -EAGAIN)
        conn_wait_credit(c);
    else if (r < 0)
        conn_deny(c, L7_QUOTA, NULL);
}

/* ---- addresses ---- */

/* Keeps what may be dialed; the address that the client itself chose comes first. */
static void conn_addresses_set(struct conn *c, const struct addr *addrs, size_t n)
{
    for (size_t i = 0; i < n && c->naddrs < LIMIT_DIAL_ADDRS; i++) {
        if (!dial_permitted(c->g->cfg.policy, &c->j, &addrs[i]))
            continue;
        c->addrs[c->naddrs] = addrs[i];
        if (addr_eq(&addrs[i], &c->original.addr)) {
            c->addrs[c->naddrs] = c->addrs[0];
            c->addrs[0] = addrs[i];
        }
        c->naddrs++;
    }
    if (c->naddrs == 0) {
        conn_deny(c, L7_DESTINATION_DENIED, NULL);
        return;
    }
    ev_now_update(c->g->cfg.loop);
    c->dial_until = ev_now(c->g->cfg.loop) + LIMIT_DIAL_MS / 1000.0;
    conn_try(c);
}

static uint32_t resolve_failure(int result, enum dns_reason_code reason)
{
    switch (result) {
    case -EPERM:
        return L7_DESTINATION_DENIED;
    case -ENOENT:
    case -EHOSTUNREACH:
        return L7_UPSTREAM_UNREACHABLE;
    case -ETIMEDOUT: /* without a reason it is signerd that did not answer */
        return reason == DNS_UPSTREAM_TIMEOUT ? L7_UPSTREAM_UNREACHABLE : L7_QUOTA;
    default:
        return L7_QUOTA;
    }
}

static void on_resolved(void *data, int result, enum dns_reason_code reason, const struct addr *addrs,
                        size_t n)
{
    struct conn *c = data;

    c->resolving = NULL;
    if (result < 0)
        conn_deny(c, resolve_failure(result, reason), NULL);
    else
        conn_addresses_set(c, addrs, n);
}

void conn_go(struct conn *c)
{
    if (c->j.literal) {
        conn_addresses_set(c, &c->original.addr, 1);
        return;
    }
    int r = dns_resolve(c->g->cfg.dns, &c->j.name, on_resolved, c, &c->resolving);
    if (r < 0)
        conn_deny(c, L7_QUOTA, NULL);
}
