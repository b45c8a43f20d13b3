/* SPDX-License-Identifier: MIT */
/* One question to one resolver: which transport, how it is repeated, when it is given up. */
#include <sys/random.h>

#include "common/base/clock.h"
#include "proxyd/resolver/server.h"

static void detach(struct dns_try *t)
{
    if (t->on == DNS_TRY_UDP)
        dns_try_udp_stop(t);
    else if (t->on != DNS_TRY_NONE)
        dns_conn_drop(t);
    t->on = DNS_TRY_NONE;
}

static void finish(struct dns_try *t, const struct dns_try_result *result)
{
    detach(t);
    ev_timer_stop(t->server->all->loop, &t->timer);
    ev_timer_stop(t->server->all->loop, &t->later);
    t->cb(t->data, result); /* frees t */
}

static void fail_later(struct dns_try *t, int error, const char *why)
{
    struct ev_loop *loop = t->server->all->loop;

    detach(t);
    t->error = error;
    t->why = why;
    ev_timer_stop(loop, &t->later);
    ev_timer_set(&t->later, 0., 0.);
    ev_timer_start(loop, &t->later);
}

void dns_try_failed(struct dns_try *t, int error, const char *why)
{
    fail_later(t, error, why);
}

static void on_later(struct ev_loop *loop, ev_timer *w, int events)
{
    struct dns_try *t = w->data;

    (void)loop;
    (void)events;
    finish(t, &(struct dns_try_result){.error = t->error, .why = t->why});
}

static void on_timer(struct ev_loop *loop, ev_timer *w, int events)
{
    struct dns_try *t = w->data;

    (void)loop;
    (void)events;
    finish(t,
           &(struct dns_try_result){.error = -ETIMEDOUT, .why = t->server->why[0] ? t->server->why : NULL});
}

static bool encrypted(const struct dns_try *t)
{
    return t->server->conf.protocol == RESOLVER_DOT || t->server->conf.protocol == RESOLVER_DOH;
}

static bool by_udp(const struct dns_try *t)
{
    return t->server->conf.protocol == RESOLVER_DO53_UDP &&
           clock_boottime_us() >= t->server->udp_distrust_until_us;
}

static void start(struct dns_try *t, bool tcp)
{
    t->asked.udp_size = DNS_UDP_UPSTREAM;
    t->asked.pad = encrypted(t);
    t->asked.cookie = t->server->conf.protocol == RESOLVER_DO53_UDP ? &t->server->cookie : NULL;
    if (tcp || !by_udp(t)) {
        dns_conn_take(t);
        return;
    }
    int r = dns_try_udp(t);
    if (r < 0)
        fail_later(t, r, NULL);
}

void dns_try_again(struct dns_try *t, bool without_edns, bool tcp)
{
    detach(t);
    t->asked.edns = t->asked.edns && !without_edns;
    start(t, tcp);
}

void dns_try_answered(struct dns_try *t, const uint8_t *msg, size_t len)
{
    if ((msg[3] & 0xf) == DNS_FORMERR && t->asked.edns) {
        /* an old server that knows no OPT (RFC 6891 section 7) */
        dns_try_again(t, true, t->on != DNS_TRY_UDP);
        return;
    }
    finish(t, &(struct dns_try_result){.msg = msg, .len = len});
}

int dns_try_new(struct dns_server *server, const struct dns_question *q, bool dnssec, unsigned timeout_ms,
                struct dns_counters *counters, dns_try_cb cb, void *data, struct dns_try **ret)
{
    struct dns_try *t = calloc(1, sizeof(*t));

    if (!t)
        return -ENOMEM;
    t->server = server;
    t->asked.q = *q;
    t->asked.edns = true;
    t->asked.dnssec = dnssec;
    t->counters = counters;
    t->cb = cb;
    t->data = data;
    t->fd = -EBADF;
    t->start_us = clock_boottime_us();
    buf_init(&t->body, DNS_MESSAGE_MAX);
    ev_init(&t->later, on_later);
    ev_timer_init(&t->timer, on_timer, timeout_ms / 1000., 0.);
    t->timer.data = t->later.data = t;
    ev_timer_start(server->all->loop, &t->timer);
    start(t, false);
    *ret = t;
    return 0;
}

struct dns_try *dns_try_free(struct dns_try *t)
{
    if (!t)
        return NULL;
    detach(t);
    ev_timer_stop(t->server->all->loop, &t->timer);
    ev_timer_stop(t->server->all->loop, &t->later);
    buf_done(&t->body);
    free(t);
    return NULL;
}
