/* SPDX-License-Identifier: MIT */
#include "proxyd/resolver/forward.h"

#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "proxyd/resolver/server.h"
#include "proxyd/resolver/validate.h"

#define LANES 2u /* tries at a time: one, and the hedge */

struct lane {
    struct dns_forward *f;
    struct dns_server *server; /* NULL: free */
    struct dns_try *try;       /* one of these two */
    struct dns_validation *validation;
    uint64_t start_us;
};

struct dns_forward {
    struct dns_upstreams *all;
    struct dns_question q;
    struct dns_counters *counters;
    dns_forward_cb cb;
    void *data;
    struct dns_server *order[LIMIT_RESOLVERS];
    size_t n;
    size_t next; /* tries begun; the next one's resolver is order[next % n] */
    struct lane lane[LANES];
    struct dns_server *last;
    int error;                 /* of the last failed try */
    char why[DNS_TLS_WHY_MAX]; /* a copy: the try that said it is gone */
    uint64_t start_us;
    ev_timer hedge;
    ev_timer end;
};

static void lane_stop(struct lane *l)
{
    l->try = dns_try_free(l->try);
    l->validation = dns_validation_free(l->validation);
    l->server = NULL;
}

static void stop_timers(struct dns_forward *f)
{
    ev_timer_stop(f->all->loop, &f->hedge);
    ev_timer_stop(f->all->loop, &f->end);
}

static void pushed_back(const struct dns_server *s, const char *why)
{
    log_warning("resolver %s does not answer, others are asked first for %u ms: %s", s->conf.id,
                (unsigned)s->health.down_ms, why ? why : "no reason known");
}

/* The winner's own lane stays until the owner frees the forward: the message may lie in it. */
static void finish(struct dns_forward *f, struct lane *winner, const struct dns_forward_result *result)
{
    uint64_t now = clock_boottime_us();

    stop_timers(f);
    for (size_t i = 0; i < LANES; i++) {
        struct lane *l = &f->lane[i];
        if (l == winner || !l->server)
            continue;
        /* asked earlier, and still silent */
        if (winner && l->server != winner->server && l->start_us < winner->start_us &&
            dns_health_lost(&l->server->health, now - l->start_us, now))
            pushed_back(l->server, "it is slow");
        lane_stop(l);
    }
    f->cb(f->data, result); /* frees f */
}

static void finish_failed(struct dns_forward *f)
{
    finish(f, NULL,
           &(struct dns_forward_result){.error = f->error,
                                        .resolver = f->last ? &f->last->conf : NULL,
                                        .latency_us = clock_boottime_us() - f->start_us,
                                        .why = f->why[0] ? f->why : NULL});
}

static bool tries_left(const struct dns_forward *f)
{
    return f->next < f->n * LIMIT_DNS_TRIES;
}

static struct lane *lane_free(struct dns_forward *f)
{
    for (size_t i = 0; i < LANES; i++)
        if (!f->lane[i].server)
            return &f->lane[i];
    return NULL;
}

static bool any_lane(const struct dns_forward *f)
{
    return f->lane[0].server || f->lane[1].server;
}

static void on_try(void *data, const struct dns_try_result *result);

/* To ask a resolver again at its own connection helps nobody: only a datagram may have been lost. */
static bool hedge_useful(const struct dns_forward *f)
{
    return tries_left(f) && (f->n > 1 || f->order[0]->conf.protocol == RESOLVER_DO53_UDP);
}

static void hedge_later(struct dns_forward *f, const struct dns_server *s)
{
    ev_timer_stop(f->all->loop, &f->hedge);
    if (!hedge_useful(f))
        return;
    ev_timer_set(&f->hedge, dns_health_hedge_ms(&s->health) / 1000., 0.);
    ev_timer_start(f->all->loop, &f->hedge);
}

/* 0, or a negative errno when not even a failure can come from the loop. */
static int start_try(struct dns_forward *f, struct lane *l)
{
    struct dns_server *s = f->order[f->next++ % f->n];
    int r;

    l->f = f;
    l->server = f->last = s;
    l->start_us = clock_boottime_us();
    if (s->conf.validate)
        r = dns_validation_new(s, &f->q, f->counters, on_try, l, &l->validation);
    else
        /* the last one has the rest of the time: f->end */
        r = dns_try_new(s, &f->q, false, tries_left(f) ? LIMIT_DNS_TIMEOUT_MS : DNS_UPSTREAM_MS, f->counters,
                        on_try, l, &l->try);
    if (r < 0) {
        l->server = NULL;
        return r;
    }
    hedge_later(f, s);
    return 0;
}

/* Goes on from the loop with what is left. */
static void go_on(struct dns_forward *f, struct lane *l)
{
    int r = tries_left(f) ? start_try(f, l) : -EAGAIN;

    if (r == -EAGAIN || (r < 0 && any_lane(f))) {
        if (!any_lane(f))
            finish_failed(f);
        return;
    }
    if (r < 0) {
        f->error = r;
        finish_failed(f);
    }
}

static bool soft_failure(const struct dns_try_result *r)
{
    uint8_t rcode = r->msg[3] & 0xf;

    return r->dnssec != DNSSEC_BOGUS &&
           (rcode == DNS_SERVFAIL || rcode == DNS_NOTIMP || rcode == DNS_REFUSED);
}

/* What went wrong is on this side: the resolver is as well as before. */
static bool our_own(int error)
{
    return error == -ENOMEM || error == -ENOBUFS || error == -EDQUOT || error == -EMFILE || error == -ENFILE;
}

static void failed(struct lane *l, int error, const char *why)
{
    struct dns_forward *f = l->f;

    if (!our_own(error) && dns_health_failed(&l->server->health, clock_boottime_us()))
        pushed_back(l->server, why ? why : strerror(-error));
    f->error = error;
    (void)snprintf(f->why, sizeof(f->why), "%s", why ? why : "");
    lane_stop(l);
    go_on(f, l);
}

/* Is somebody else still to say something better than "I cannot"? */
static bool hope_left(const struct dns_forward *f, const struct lane *l)
{
    const struct lane *other = &f->lane[l == &f->lane[0]];

    return f->next < f->n || (other->server && other->server != l->server);
}

static void on_try(void *data, const struct dns_try_result *r)
{
    struct lane *l = data;
    struct dns_forward *f = l->f;

    if (r->error < 0) {
        failed(l, r->error, r->why);
        return;
    }
    if (soft_failure(r) && hope_left(f, l)) {
        bool ask_on = f->next < f->n;
        f->error = -EHOSTUNREACH;
        f->why[0] = '\0';
        lane_stop(l);
        if (ask_on)
            go_on(f, l);
        return;
    }
    uint64_t now = clock_boottime_us();
    dns_health_ok(&l->server->health, now - l->start_us);
    finish(f, l,
           &(struct dns_forward_result){.msg = r->msg,
                                        .len = r->len,
                                        .resolver = &l->server->conf,
                                        .latency_us = now - f->start_us,
                                        .dnssec = r->dnssec,
                                        .dnssec_why = r->dnssec ? r->why : NULL});
}

static void on_hedge(struct ev_loop *loop, ev_timer *w, int events)
{
    struct dns_forward *f = w->data;
    struct lane *l = lane_free(f);

    (void)loop;
    (void)events;
    /* no memory for it: the other lane goes on */
    if (l && tries_left(f) && start_try(f, l) < 0)
        return;
}

static void on_end(struct ev_loop *loop, ev_timer *w, int events)
{
    struct dns_forward *f = w->data;

    (void)loop;
    (void)events;
    if (f->n == 0) {
        f->error = -EHOSTUNREACH;
        finish_failed(f);
        return;
    }
    f->error = -ETIMEDOUT;
    uint64_t now = clock_boottime_us();
    for (size_t i = 0; i < LANES; i++)
        if (f->lane[i].server && dns_health_failed(&f->lane[i].server->health, now))
            pushed_back(f->lane[i].server, "no answer in time");
    finish_failed(f);
}

int dns_forward_new(struct dns_upstreams *all, const struct dns_question *q, struct dns_counters *counters,
                    dns_forward_cb cb, void *data, struct dns_forward **ret)
{
    struct dns_forward *f = calloc(1, sizeof(*f));

    if (!f)
        return -ENOMEM;
    f->all = all;
    f->q = *q;
    f->counters = counters;
    f->cb = cb;
    f->data = data;
    f->error = -EHOSTUNREACH;
    f->start_us = clock_boottime_us();
    f->n = dns_health_order(all, f->start_us, f->order);
    ev_init(&f->hedge, on_hedge);
    ev_timer_init(&f->end, on_end, f->n ? DNS_UPSTREAM_MS / 1000. : 0., 0.);
    f->hedge.data = f->end.data = f;
    ev_timer_start(all->loop, &f->end);
    if (f->n > 0) {
        int r = start_try(f, &f->lane[0]);
        if (r < 0) {
            dns_forward_free(f);
            return r;
        }
    }
    *ret = f;
    return 0;
}

struct dns_forward *dns_forward_free(struct dns_forward *f)
{
    if (!f)
        return NULL;
    stop_timers(f);
    for (size_t i = 0; i < LANES; i++)
        lane_stop(&f->lane[i]);
    free(f);
    return NULL;
}
