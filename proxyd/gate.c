/* SPDX-License-Identifier: MIT */
#include "proxyd/gate.h"

#include <fcntl.h>

#include "common/base/log.h"
#include "proxyd/conn.h"

#define GATE_BURST     64  /* accepts in one turn of the loop */
#define GATE_RETRY_SEC 0.1 /* pause when the process has no fd or no memory left */

/* Beyond the limit a connection is closed unheard; the count is sealed. */
static void gate_refuse(struct gate *g, int fd)
{
    close(fd);
    g->denied++;
    claims_lost(g->cfg.claims, GAP_CONNECTIONS, 1);
}

static void on_acceptable(struct ev_loop *loop, struct ev_io *w, int events)
{
    struct gate *g = w->data;

    (void)events;
    for (int i = 0; i < GATE_BURST; i++) {
        int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0 && g->nconns >= LIMIT_TCP_OPEN) {
            gate_refuse(g, fd);
        } else if (fd >= 0) {
            conn_start(g, fd);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            /* The connection stays in the listener's queue; without a pause the loop would spin on it. */
            log_errno(-errno, "no connection can be accepted just now");
            ev_io_stop(loop, w);
            ev_timer_set(&g->retry, GATE_RETRY_SEC, 0);
            ev_timer_start(loop, &g->retry);
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return;
        }
    }
}

static void on_retry(struct ev_loop *loop, struct ev_timer *w, int events)
{
    struct gate *g = w->data;

    (void)events;
    ev_io_start(loop, &g->accepting);
}

int gate_new(const struct gate_config *cfg, int listener, struct gate **ret)
{
    int flags = fcntl(listener, F_GETFL);
    if (flags < 0 || fcntl(listener, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    struct gate *g = calloc(1, sizeof(*g));
    if (!g)
        return -ENOMEM;
    g->cfg = *cfg;
    g->rule_uses = calloc(cfg->policy->allow.n + 1, sizeof(*g->rule_uses));
    if (!g->rule_uses) {
        free(g);
        return -ENOMEM;
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
    while (g->conns)
        conn_abort(g->conns);
    cleanup_closep(&g->listener);
    free(g->rule_uses);
    free(g);
    return NULL;
}

void gate_counters(const struct gate *g, struct gate_counters *ret)
{
    *ret = (struct gate_counters){g->allowed, g->denied, g->rule_uses};
}

size_t gate_open(const struct gate *g)
{
    return g->nconns;
}
