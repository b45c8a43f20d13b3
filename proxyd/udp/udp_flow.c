/* SPDX-License-Identifier: MIT */
#include "proxyd/udp/udp_flow.h"

#include "common/base/clock.h"

/* ---- the table ---- */

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9e3779b97f4a7c15ull;
    return h ^ h >> 29;
}

static uint64_t mix_endpoint(uint64_t h, const struct endpoint_addr *e)
{
    uint64_t half[2];

    memcpy(half, e->addr.bytes, 16);
    return mix(mix(mix(h, half[0]), half[1]), e->port);
}

static size_t bucket_of(const struct udp *u, const struct endpoint_addr *client,
                        const struct endpoint_addr *original)
{
    return mix_endpoint(mix_endpoint(u->seed, client), original) % UDP_BUCKETS;
}

static bool endpoint_eq(const struct endpoint_addr *a, const struct endpoint_addr *b)
{
    return a->port == b->port && addr_eq(&a->addr, &b->addr);
}

struct udp_flow *udp_flow_find(const struct udp *u, const struct endpoint_addr *client,
                               const struct endpoint_addr *original)
{
    struct udp_flow *f = u->buckets ? u->buckets[bucket_of(u, client, original)] : NULL;

    while (f && !(endpoint_eq(&f->client, client) && endpoint_eq(&f->original, original)))
        f = f->next;
    return f;
}

struct udp_flow *udp_flow_next(const struct udp *u, const struct udp_flow *f)
{
    if (f && f->next)
        return f->next;
    size_t i = f ? bucket_of(u, &f->client, &f->original) + 1 : 0;
    for (; u->buckets && i < UDP_BUCKETS; i++)
        if (u->buckets[i])
            return u->buckets[i];
    return NULL;
}

static void held_free(struct udp_flow *f)
{
    while (f->held) {
        struct udp_held *next = f->held->next;
        free(f->held);
        f->held = next;
    }
}

void udp_flow_free(struct udp_flow *f)
{
    struct udp *u = f->u;

    ev_timer_stop(u->cfg.loop, &f->timer);
    udp_out_cancel(f->out);
    udp_relay_stop(f);
    held_free(f);
    if (f->quic)
        quic_reader_done(f->quic);
    free(f->quic);
    if (u->cfg.quota)
        quota_close(u->cfg.quota);
    *f->at = f->next;
    if (f->next)
        f->next->at = f->at;
    u->nflows--;
    free(f);
}

static void on_peek_timeout(struct ev_loop *loop, struct ev_timer *w, int events);

static struct udp_flow *flow_new(struct udp *u, const struct udp_datagram *d, bool quic)
{
    if (!u->buckets)
        u->buckets = calloc(UDP_BUCKETS, sizeof(struct udp_flow *));
    struct udp_flow *f = u->buckets ? calloc(1, sizeof(*f)) : NULL;

    if (!f)
        return NULL;
    f->quic = quic ? calloc(1, sizeof(*f->quic)) : NULL;
    if ((quic && !f->quic) || (u->cfg.quota && !quota_open(u->cfg.quota))) {
        free(f->quic);
        free(f);
        return NULL;
    }
    f->u = u;
    f->client = d->from;
    f->original = d->to;
    f->fd = -EBADF;
    f->held_end = &f->held;
    ev_timer_init(&f->timer, on_peek_timeout, LIMIT_PEEK_MS / 1000.0, 0);
    f->timer.data = f;
    f->at = &u->buckets[bucket_of(u, &d->from, &d->to)];
    f->next = *f->at;
    if (f->next)
        f->next->at = &f->next;
    *f->at = f;
    u->nflows++;
    return f;
}

/* When the table is full, the flow that has been idle longest gives way, if it has been for a while. */
static bool table_room(struct udp *u)
{
    struct udp_flow *oldest = NULL;

    if (u->nflows < UDP_FLOWS_MAX)
        return true;
    for (struct udp_flow *f = udp_flow_next(u, NULL); f; f = udp_flow_next(u, f))
        if (f->state == FLOW_OPEN && (!oldest || f->active < oldest->active))
            oldest = f;
    if (!oldest || ev_now(u->cfg.loop) - oldest->active < UDP_UNREPLIED_S)
        return false;
    udp_flow_free(oldest);
    return true;
}

/* ---- what waits ---- */

static void hold(struct udp_flow *f, const struct udp_datagram *d)
{
    struct udp_held *h = NULL;

    if (f->nheld < UDP_HELD_MAX && f->held_bytes + d->len <= UDP_HELD_BYTES)
        h = malloc(sizeof(*h) + d->len);
    if (!h) {
        f->u->count.dropped++;
        return;
    }
    h->next = NULL;
    h->len = d->len;
    memcpy(h->bytes, d->p, d->len);
    *f->held_end = h;
    f->held_end = &h->next;
    f->nheld++;
    f->held_bytes += d->len;
}

/* ---- the judgement ---- */

void udp_flow_deny(struct udp_flow *f, uint32_t reason, const struct endpoint_addr *dialed)
{
    struct udp_datagram d = {.from = f->client, .to = f->original};
    struct udp *u = f->u;
    struct judgement j = f->j;

    for (const struct udp_held *h = f->held; h; h = h->next) { /* the last one is quoted in the answer */
        d.p = h->bytes;
        d.len = h->len;
    }
    j.allow = false;
    j.reason = reason;
    udp_deny(u->denials, &j, &d, dialed);
    udp_flow_free(f);
}

static void on_out(void *self, const struct udp_out_result *result)
{
    struct udp_flow *f = self;
    struct udp *u = f->u;

    f->out = NULL;
    if (result->reason != 0) {
        udp_flow_deny(f, result->reason, result->has_dialed ? &result->dialed : NULL);
        return;
    }
    u->count.allowed++;
    uses_add(&u->uses, f->j.rule);
    udp_relay_start(f, result->fd);
}

static void flow_go(struct udp_flow *f)
{
    struct udp_want want = {f->j, f->client, f->original};

    f->state = FLOW_OUT;
    ev_timer_stop(f->u->cfg.loop, &f->timer);
    if (udp_out_start(&f->u->cfg, &want, on_out, f, &f->out) < 0)
        udp_flow_deny(f, L7_QUOTA, NULL);
}

/* By the raw rules; a flow they allow is not read as QUIC, now or later. */
static bool raw_allows(struct udp_flow *f, struct judgement *ret)
{
    udp_judge_raw(f->u->cfg.policy, f->u->cfg.dns, &f->original, ret);
    return ret->allow;
}

/* quic: what the rules for QUIC say, or NULL when none is for this port. A raw rule allows whatever is in it;
 * the reason of a denial is that of the closer look. */
static void flow_decide(struct udp_flow *f, const struct judgement *quic)
{
    struct judgement raw;

    if (quic && quic->allow) {
        f->j = *quic;
        flow_go(f);
        return;
    }
    bool allowed = raw_allows(f, &raw);
    if (quic && !allowed && (quic->reason != L7_UNKNOWN_PROTOCOL || raw.reason == L7_UNKNOWN_PROTOCOL)) {
        f->j = *quic;
        udp_flow_deny(f, quic->reason, NULL);
        return;
    }
    f->j = raw;
    if (!allowed) {
        udp_flow_deny(f, raw.reason, NULL);
        return;
    }
    if (f->quic)
        quic_reader_done(f->quic);
    free(f->quic);
    f->quic = NULL;
    flow_go(f);
}

static void on_peek_timeout(struct ev_loop *loop, struct ev_timer *w, int events)
{
    struct judgement j = {.protocol = L7_QUIC, .reason = L7_PEEK_TIMEOUT, .rule = -1};

    (void)loop;
    (void)events;
    flow_decide(w->data, &j);
}

static enum quic_outcome read_quic(struct udp_flow *f, const struct udp_datagram *d)
{
    return quic_read(f->quic, d->p, d->len, clock_boottime_us() / 1000);
}

static void flow_peek(struct udp_flow *f, const struct udp_datagram *d)
{
    enum quic_outcome o = read_quic(f, d);
    struct judgement j;

    hold(f, d);
    if (o == QUIC_MORE)
        return;
    udp_judge_quic(f->u->cfg.policy, &f->original, o, f->quic, &j);
    flow_decide(f, &j);
}

/* On a flow that was decided: nothing that asks for something else may use it. True: d may go on. */
static bool flow_still(struct udp_flow *f, const struct udp_datagram *d, enum quic_outcome *ret)
{
    *ret = f->quic ? read_quic(f, d) : QUIC_PASS;
    if (*ret == QUIC_PASS || *ret == QUIC_MORE)
        return true;
    struct judgement j = {.protocol = L7_QUIC, .rule = -1, .name = f->j.name};
    j.reason = *ret == QUIC_BAD_NAME ? L7_NAME_CONFLICT : L7_UNKNOWN_PROTOCOL;
    udp_deny(f->u->denials, &j, d, NULL);
    return false;
}

static void flow_relay(struct udp_flow *f, const struct udp_datagram *d, enum quic_outcome o)
{
    if (o == QUIC_MORE || (f->held && f->quic && !quic_waits(f->quic))) {
        hold(f, d);
        if (o != QUIC_MORE)
            udp_relay_flush(f);
        return;
    }
    udp_relay_send(f, d->p, d->len);
}

void udp_flow_take(struct udp_flow *f, const struct udp_datagram *d)
{
    enum quic_outcome o;

    if (f->state == FLOW_PEEK)
        flow_peek(f, d);
    else if (!flow_still(f, d, &o))
        return;
    else if (f->state == FLOW_OUT)
        hold(f, d);
    else
        flow_relay(f, d, o);
}

/* ---- begin and change ---- */

static void refuse_start(struct udp *u, const struct udp_datagram *d)
{
    struct judgement j = {.protocol = L7_UDP, .reason = L7_QUOTA, .rule = -1};

    udp_deny(u->denials, &j, d, NULL);
    claims_lost(u->cfg.claims, GAP_CONNECTIONS, 1);
}

void udp_flow_start(struct udp *u, const struct udp_datagram *d)
{
    bool quic = udp_judge_quic_port(u->cfg.policy, d->to.port);
    bool left = !u->cfg.quota || quota_left(u->cfg.quota);
    struct udp_flow *f = left && table_room(u) ? flow_new(u, d, quic) : NULL;

    if (!f) {
        refuse_start(u, d);
        return;
    }
    if (quic) {
        ev_timer_start(u->cfg.loop, &f->timer);
        flow_peek(f, d);
    } else {
        hold(f, d);
        flow_decide(f, NULL);
    }
}

bool udp_flow_rejudge(struct udp_flow *f)
{
    const struct proxy_policy *p = f->u->cfg.policy;

    if (f->state == FLOW_PEEK)
        return udp_judge_quic_port(p, f->original.port) || udp_judge_raw_port(p, f->original.port);
    if (!judge_again(p, f->u->cfg.dns, &f->original, &f->j))
        return false;
    if (f->out)
        udp_out_rule_set(f->out, f->j.rule);
    return true;
}
