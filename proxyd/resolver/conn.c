/* SPDX-License-Identifier: MIT */
#include "proxyd/resolver/conn.h"

#include <stdio.h>
#include <sys/random.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "proxyd/resolver/bootstrap.h"

static void on_open(struct dns_link *l);
static int on_data(struct dns_link *l, const uint8_t *p, size_t n);
static void on_closed(struct dns_link *l, int error);
static void on_idle(struct ev_loop *loop, ev_timer *w, int events);

static const struct dns_link_ops link_ops = {on_open, on_data, on_closed};

static struct dns_conn *conn_of(struct dns_link *l)
{
    return (struct dns_conn *)((char *)l - offsetof(struct dns_conn, l));
}

static void conn_free(struct dns_conn *c)
{
    dns_boot_lookup_free(c->lookup);
    ev_timer_stop(c->l.loop, &c->idle);
    c->ops->done(c);
    dns_link_close(&c->l);
    buf_done(&c->in);
    LIST_REMOVE(c, link);
    c->server->nconns--;
    free(c);
}

static void idle_in(struct dns_conn *c, unsigned ms)
{
    ev_timer_stop(c->l.loop, &c->idle);
    ev_timer_set(&c->idle, ms / 1000., 0.);
    ev_timer_start(c->l.loop, &c->idle);
}

void dns_conn_retire(struct dns_conn *c)
{
    c->retired = true;
    if (c->ntries == 0)
        idle_in(c, 0);
}

static void on_idle(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop;
    (void)events;
    conn_free(w->data);
}

/* ---- opening ---- */

static void connect_next(struct dns_conn *c)
{
    struct dns_server *s = c->server;
    bool tls = s->conf.protocol == RESOLVER_DOT || s->conf.protocol == RESOLVER_DOH;

    unsigned ms = c->at + 1 < c->nto ? DNS_LINK_NEXT_MS : DNS_LINK_OPEN_MS;

    dns_link_connect(&c->l, &c->to[c->at++], tls ? &s->tls : NULL, ms);
}

static void on_looked_up(void *data, int error, const struct addr *addrs, size_t n)
{
    struct dns_conn *c = data;

    c->lookup = NULL;
    if (error < 0) {
        (void)snprintf(c->l.why, sizeof(c->l.why), "no address from the bootstrap resolvers: %.100s",
                       c->server->conf.url.host);
        on_closed(&c->l, error);
        return;
    }
    /* the one that worked last, then the others */
    for (size_t i = 0; i < n; i++)
        if (addr_eq(&addrs[i], &c->server->good))
            c->to[c->nto++] = (struct endpoint_addr){addrs[i], c->server->conf.url.port};
    for (size_t i = 0; i < n && c->nto < ARRAY_LEN(c->to); i++)
        if (!addr_eq(&addrs[i], &c->server->good))
            c->to[c->nto++] = (struct endpoint_addr){addrs[i], c->server->conf.url.port};
    connect_next(c);
}

static int conn_open(struct dns_conn *c)
{
    const struct dns_resolver *conf = &c->server->conf;

    if (conf->addr.addr.family != AF_UNSPEC)
        c->to[c->nto++] = conf->addr;
    else if (conf->url.literal)
        c->to[c->nto++] = (struct endpoint_addr){conf->url.addr, conf->url.port};
    else
        return dns_boot_lookup_new(c->server->bootstrap, on_looked_up, c, &c->lookup);
    connect_next(c);
    return 0;
}

static struct dns_conn *conn_new(struct dns_server *s)
{
    struct dns_conn *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->server = s;
    c->ops = s->conf.protocol == RESOLVER_DOH ? &dns_doh_ops : &dns_framed_ops;
    c->max = DNS_CONN_PIPELINE;
    TAILQ_INIT(&c->tries);
    buf_init(&c->in, DNS_MESSAGE_MAX + 2);
    dns_link_init(&c->l, s->all->loop, &link_ops);
    ev_init(&c->idle, on_idle);
    c->idle.data = c;
    LIST_INSERT_HEAD(&s->conns, c, link);
    s->nconns++;
    if (getrandom(&c->next_id, sizeof(c->next_id), 0) != sizeof(c->next_id) || conn_open(c) < 0) {
        conn_free(c);
        return NULL;
    }
    return c;
}

/* ---- questions on connections ---- */

static void send_on(struct dns_conn *c, struct dns_try *t)
{
    t->counters->upstream++;
    t->sent = true;
    t->seen = c->answers;
    int r = c->ops->send(c, t);
    if (r < 0)
        dns_try_failed(t, r, NULL);
}

static void conn_add(struct dns_conn *c, struct dns_try *t)
{
    t->on = DNS_TRY_CONN;
    t->conn = c;
    t->sent = t->ended = false;
    t->stream = 0;
    TAILQ_INSERT_TAIL(&c->tries, t, link);
    c->ntries++;
    ev_timer_stop(c->l.loop, &c->idle);
    if (c->l.state == DNS_LINK_OPEN)
        send_on(c, t);
}

static struct dns_conn *least_busy(struct dns_server *s)
{
    struct dns_conn *best = NULL, *c;

    LIST_FOREACH(c, &s->conns, link)
    if (!c->retired && c->ntries < c->max && (!best || c->ntries < best->ntries))
        best = c;
    return best;
}

void dns_conn_take(struct dns_try *t)
{
    struct dns_server *s = t->server;
    struct dns_conn *c = least_busy(s);

    if (!c && clock_boottime_us() < s->held_until_us) {
        dns_try_failed(t, s->held_error, s->why[0] ? s->why : NULL);
        return;
    }
    if ((!c || c->ntries >= DNS_CONN_BUSY) && s->nconns < DNS_CONNS_MAX) {
        struct dns_conn *fresh = conn_new(s);
        c = fresh ? fresh : c;
    }
    if (c) {
        conn_add(c, t);
    } else if (s->nconns == 0 || s->nwaiting >= DNS_CONN_WAITING) {
        dns_try_failed(t, s->nconns == 0 ? -ENOMEM : -EDQUOT, NULL);
    } else {
        t->on = DNS_TRY_WAITING;
        TAILQ_INSERT_TAIL(&s->waiting, t, link);
        s->nwaiting++;
    }
}

static void stop_waiting(struct dns_try *t)
{
    TAILQ_REMOVE(&t->server->waiting, t, link);
    t->server->nwaiting--;
    t->on = DNS_TRY_NONE;
}

/* There is room in c. */
static void pull(struct dns_conn *c)
{
    struct dns_server *s = c->server;

    while (!c->retired && c->ntries < c->max && !TAILQ_EMPTY(&s->waiting)) {
        struct dns_try *t = TAILQ_FIRST(&s->waiting);
        stop_waiting(t);
        conn_add(c, t);
    }
}

static void conn_remove(struct dns_conn *c, struct dns_try *t)
{
    TAILQ_REMOVE(&c->tries, t, link);
    c->ntries--;
    t->conn = NULL;
    t->on = DNS_TRY_NONE;
}

static void look_after(struct dns_conn *c)
{
    pull(c);
    if (c->ntries == 0)
        idle_in(c, c->retired ? 0 : DNS_CONN_IDLE_MS);
}

/* A connection on which nothing comes back is dead, whatever TCP says. */
static bool stalled(struct dns_conn *c, const struct dns_try *t)
{
    if (c->answers != t->seen)
        return false;
    c->given_up++;
    return c->given_up >= DNS_CONN_STALLED ||
           clock_boottime_us() - t->start_us >= 1000ull * DNS_CONN_STALLED_MS;
}

void dns_conn_drop(struct dns_try *t)
{
    struct dns_conn *c = t->conn;

    if (t->on == DNS_TRY_WAITING) {
        stop_waiting(t);
        return;
    }
    if (c->l.state == DNS_LINK_OPEN) {
        c->ops->cancel(c, t);
        if (stalled(c, t))
            c->retired = true;
    }
    conn_remove(c, t);
    look_after(c);
}

void dns_conn_answered(struct dns_conn *c, struct dns_try *t, const uint8_t *msg, size_t len)
{
    c->answers++;
    c->server->hold_ms = 0;
    c->given_up = 0;
    conn_remove(c, t);
    t->on = DNS_TRY_NONE;
    look_after(c);
    dns_try_answered(t, msg, len); /* not UDP: a repetition goes to a connection again */
}

/* ---- the link's events ---- */

static void on_open(struct dns_link *l)
{
    struct dns_conn *c = conn_of(l);
    struct dns_try *t, *next;

    c->server->why[0] = '\0';
    c->server->good = c->to[c->at - 1].addr;
    int r = c->ops->open ? c->ops->open(c) : 0;
    if (r < 0)
        dns_conn_retire(c);
    for (t = TAILQ_FIRST(&c->tries); t; t = next) {
        next = TAILQ_NEXT(t, link);
        if (r < 0)
            dns_try_failed(t, r, NULL);
        else if (!t->sent) /* room that one of them left may be filled already */
            send_on(c, t);
    }
}

static int on_data(struct dns_link *l, const uint8_t *p, size_t n)
{
    struct dns_conn *c = conn_of(l);

    return c->ops->data(c, p, n);
}

/* A server may close a connection it has answered on at any time (RFC 7766 section 6.2.4): what was asked
 * there goes once to another one. */
static void move_or_fail(struct dns_try *t, bool move, int error)
{
    if (!move || t->moved) {
        dns_try_failed(t, error, t->server->why[0] ? t->server->why : NULL);
        return;
    }
    t->moved = true;
    dns_conn_take(t);
}

/* A certificate that does not fit is the operator's to know, once and not at every question. */
static void say_why(struct dns_server *s, const char *why)
{
    if (why[0] && strcmp(s->why, why) != 0)
        log_warning("resolver %s: %s", s->conf.id, why);
    memcpy(s->why, why, sizeof(s->why));
}

/* A handshake costs a thousand times what a question does: a server with which it fails is not tried again
 * for every question. */
static void hold(struct dns_server *s, int error)
{
    if (s->conf.protocol != RESOLVER_DOT && s->conf.protocol != RESOLVER_DOH)
        return;
    s->hold_ms = s->hold_ms ? 2 * s->hold_ms : DNS_HOLD_MIN_MS;
    if (s->hold_ms > DNS_HOLD_MAX_MS)
        s->hold_ms = DNS_HOLD_MAX_MS;
    s->held_until_us = clock_boottime_us() + 1000ull * s->hold_ms;
    s->held_error = error;
}

static void on_closed(struct dns_link *l, int error)
{
    struct dns_conn *c = conn_of(l);
    struct dns_server *s = c->server;
    struct dns_tries orphans = TAILQ_HEAD_INITIALIZER(orphans);
    bool used = c->answers > 0;
    struct dns_try *t;

    if (!used && c->at < c->nto) {
        connect_next(c);
        return;
    }
    say_why(s, l->why);
    if (!used && (l->connected || error == -ENOKEY || error == -EBADMSG))
        hold(s, error);
    while ((t = TAILQ_FIRST(&c->tries))) {
        conn_remove(c, t);
        TAILQ_INSERT_TAIL(&orphans, t, link);
    }
    conn_free(c);
    while ((t = TAILQ_FIRST(&orphans))) {
        TAILQ_REMOVE(&orphans, t, link);
        move_or_fail(t, used, error);
    }
    while (s->nconns == 0 && (t = TAILQ_FIRST(&s->waiting))) {
        stop_waiting(t);
        move_or_fail(t, used, error);
    }
}

void dns_conn_close_all(struct dns_server *s)
{
    struct dns_conn *c, *next;

    for (c = LIST_FIRST(&s->conns); c; c = next) {
        next = LIST_NEXT(c, link);
        conn_free(c);
    }
}
