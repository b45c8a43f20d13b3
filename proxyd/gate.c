/* SPDX-License-Identifier: MIT */
#include "proxyd/gate.h"

#include <fcntl.h>
#include <netinet/tcp.h>

#include "common/base/log.h"
#include "proxyd/conn.h"
#include "proxyd/denial.h"

#define GATE_BURST     64  /* accepts in one turn of the loop */
#define GATE_RETRY_SEC 0.1 /* pause when the process has no fd or no memory left */

/* Beyond the limit a connection is closed unheard; the count is sealed. */
static void gate_refuse(struct gate *g, int fd)
{
    close(fd);
    g->denied++;
    claims_lost(g->cfg.claims, GAP_CONNECTIONS, 1);
}

/* One connection, if there is one. False: no more for now. */
static bool gate_accept(struct gate *g)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof(peer);
    int fd = accept4(g->listener, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd >= 0 && !quota_open(g->cfg.quota)) {
        gate_refuse(g, fd);
    } else if (fd >= 0) {
        conn_start(g, fd, (struct sockaddr *)&peer, len);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        /* The connection stays in the listener's queue; without a pause the loop would spin on it. */
        log_errno(-errno, "no connection can be accepted just now");
        ev_io_stop(g->cfg.loop, &g->accepting);
        ev_timer_set(&g->retry, GATE_RETRY_SEC, 0);
        ev_timer_start(g->cfg.loop, &g->retry);
        return false;
    } else if (errno != EINTR && errno != ECONNABORTED) {
        return false;
    }
    return true;
}

static void on_acceptable(struct ev_loop *loop, struct ev_io *w, int events)
{
    (void)events;
    ev_now_update(loop); /* the time limits of all that come now begin here */
    for (int i = 0; i < GATE_BURST && gate_accept(w->data); i++)
        continue;
}

static void on_retry(struct ev_loop *loop, struct ev_timer *w, int events)
{
    struct gate *g = w->data;

    (void)events;
    ev_io_start(loop, &g->accepting);
}

/* What is accepted inherits TCP_NODELAY (the relay never waits for more): one call for all of them. */
static int listener_prepare(int listener)
{
    int flags = fcntl(listener, F_GETFL), one = 1;

    if (flags < 0 || fcntl(listener, F_SETFL, flags | O_NONBLOCK) < 0 ||
        setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0)
        return -errno;
    return 0;
}

int gate_new(const struct gate_config *cfg, int listener, struct gate **ret)
{
    int r = listener_prepare(listener);
    if (r < 0)
        return r;
    struct gate *g = calloc(1, sizeof(*g));
    if (!g)
        return -ENOMEM;
    g->cfg = *cfg;
    r = uses_set(&g->uses, &cfg->policy->allow);
    if (r < 0) {
        uses_done(&g->uses);
        free(g);
        return r;
    }
    g->listener = listener;
    ev_io_init(&g->accepting, on_acceptable, listener, EV_READ);
    ev_timer_init(&g->retry, on_retry, GATE_RETRY_SEC, 0);
    g->accepting.data = g->retry.data = g;
    ev_io_start(cfg->loop, &g->accepting);
    *ret = g;
    return 0;
}

struct gate *gate_free(struct gate *g)
{
    if (!g)
        return NULL;
    ev_io_stop(g->cfg.loop, &g->accepting);
    ev_timer_stop(g->cfg.loop, &g->retry);
    gate_denials_flush(g);
    while (g->conns)
        conn_abort(g->conns);
    cleanup_closep(&g->listener);
    uses_done(&g->uses);
    free(g);
    return NULL;
}

/* ---- another policy ---- */

/* 1 when it is cut. */
static uint64_t relay_judge_again(struct gate *g, struct conn *c)
{
    if (!c->relay || judge_again(g->cfg.policy, g->cfg.dns, &c->original, &c->j))
        return 0;
    c->j.reason = judge_miss(c->j.protocol);
    gate_deny(g, &c->j, &c->original, &c->from, NULL);
    conn_abort(c);
    return 1;
}

static uint64_t conns_judge_again(struct gate *g)
{
    uint64_t n = 0;

    for (struct conn *c = g->conns, *next; c; c = next) {
        next = c->next; /* c itself may be gone behind this, no other one */
        n += c->http ? http_session_policy_changed(c->http) : relay_judge_again(g, c);
    }
    return n;
}

uint64_t gate_policy_set(struct gate *g, const struct proxy_policy *policy)
{
    if (uses_set(&g->uses, &policy->allow) < 0)
        log_error("no memory: the uses of the new policy's rules are not counted");
    g->cfg.policy = policy;
    return upstream_policy_changed(g) + conns_judge_again(g);
}

void gate_counters(const struct gate *g, struct gate_counters *ret)
{
    *ret = (struct gate_counters){g->allowed, g->denied};
}

uint64_t gate_rule_uses(const struct gate *g, size_t rule)
{
    return uses_of(&g->uses, rule);
}

size_t gate_open(const struct gate *g)
{
    return g->nconns;
}
