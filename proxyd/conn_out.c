/* SPDX-License-Identifier: MIT */
/* The way out of an allowed connection, and the relay behind it. */
#include "proxyd/conn.h"
#include "proxyd/denial.h"

void conn_out_stop(struct conn *c)
{
    upstream_cancel(c->out);
    c->out = NULL;
    c->relay = relay_free(c->relay);
    cleanup_closep(&c->upstream);
    c->upstream = -EBADF;
}

/* ---- relay ---- */

/* The cell has used up its bytes: said once, whatever is cut by it. */
static void conn_quota(struct conn *c)
{
    struct judgement j = c->j;

    j.reason = L7_QUOTA;
    if (!c->g->quota_told)
        gate_deny(c->g, &j, &c->original, &c->from, NULL);
    c->g->quota_told = true;
    conn_abort(c);
}

static void on_relay_done(void *self, enum relay_end end)
{
    struct conn *c = self;

    if (end == RELAY_QUOTA)
        conn_quota(c);
    else if (end != RELAY_CLEAN)
        conn_abort(c);
    else
        conn_free(c);
}

static void conn_relay(struct conn *c)
{
    struct relay_config cfg = {
        .loop = c->g->cfg.loop,
        .pool = c->g->cfg.pool,
        .client = c->client,
        .upstream = c->upstream,
        .idle_ms = LIMIT_RELAY_IDLE_MS,
        .quota = c->g->cfg.quota,
        .done = on_relay_done,
        .self = c,
    };
    struct buf nothing = {0}; /* a raw connection: not a byte was read */

    if (relay_new(&cfg, c->first ? &c->first->seen : &nothing, &c->relay) < 0)
        conn_abort(c);
    else
        conn_first_free(c);
}

/* ---- the way out ---- */

static void on_out(void *self, const struct upstream_result *result)
{
    struct conn *c = self;

    c->out = NULL;
    if (result->reason != 0) {
        conn_deny(c, result->reason, result->has_dialed ? &result->dialed : NULL);
        return;
    }
    c->upstream = result->fd;
    conn_relay(c);
}

void conn_go(struct conn *c)
{
    struct upstream_want want = {.j = c->j, .original = c->original, .client = c->from};

    if (upstream_open(c->g, &want, on_out, c, &c->out) < 0)
        conn_deny(c, L7_QUOTA, NULL);
}
