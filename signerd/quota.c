/* SPDX-License-Identifier: MIT */
#include "signerd/quota.h"

#include "signerd/authority.h"

#define SECOND_NS 1000000000ull

static const char *const quota_texts[_QUOTA_MAX] = {
    [QUOTA_OK] = "ok",
    [QUOTA_E_RATE] = "quota: more events a second than this role may say of a cell",
    [QUOTA_E_EVENTS] = "quota: more events than this role may say of a cell",
    [QUOTA_E_BYTES] = "quota: more bytes than this role may say of a cell",
};

void quota_table_init(struct quota_table *t, const struct quota_options *o)
{
    static const struct quota_options none = {.rate = 0};
    uint64_t events, bytes, rate;

    o = o ? o : &none;
    rate = o->rate ? o->rate : LIMIT_QUOTA_PROXYD_RATE;
    events = o->events ? o->events : LIMIT_QUOTA_EVENTS;
    bytes = o->bytes ? o->bytes : LIMIT_QUOTA_BYTES;
    *t = (struct quota_table){
        .of = {
            [ROLE_SUPERVISOR] = {LIMIT_QUOTA_SUPERVISOR_RATE,
                                 (uint64_t)LIMIT_QUOTA_SUPERVISOR_RATE * LIMIT_QUOTA_BURST_S,
                                 LIMIT_QUOTA_EVENTS, LIMIT_QUOTA_BYTES, LIMIT_QUOTA_END_EVENTS},
            [ROLE_NETD] = {LIMIT_QUOTA_NETD_RATE, LIMIT_QUOTA_NETD_BURST, events, bytes,
                           LIMIT_QUOTA_NETD_END_EVENTS},
            [ROLE_PROXYD] = {rate, rate * LIMIT_QUOTA_BURST_S, events, bytes, 0},
        }};
}

/* Token bucket as a virtual clock: each event moves it on by 1/rate, and it may be ahead by the burst. */
static bool bucket_take(uint64_t *due_ns, uint64_t rate, uint64_t burst, uint64_t now_ns)
{
    uint64_t cost = SECOND_NS / rate, due = *due_ns > now_ns ? *due_ns : now_ns;

    if (due - now_ns > (burst - 1) * cost)
        return false;
    *due_ns = due + cost;
    return true;
}

enum class { ORDINARY, ONCE, GAP, END };

static enum class class_of(uint32_t role, enum event_type type, uint32_t state) {
    if (type == EVENT_GAP) return GAP;
    if (role == ROLE_NETD) return type == EVENT_FLOW && state != CELL_STATE_STARTED ? END : ORDINARY;
    if (role != ROLE_SUPERVISOR) return ORDINARY;
    if (type == EVENT_STARTED || type == EVENT_COMPLETED || type == EVENT_DESTROYED) return ONCE;
    return authority_is_end(type) ? END : ORDINARY;
}

/* What goes through although a quota says no. */
static bool from_reserve(struct quota *q, const struct quota_limits *l, enum class class, uint64_t now_ns)
{
    if (class == GAP)
        return bucket_take(&q->gaps_due_ns, LIMIT_QUOTA_GAPS_RATE, LIMIT_QUOTA_GAPS_BURST, now_ns);
    if (class != END || q->end_events >= l->end_events)
        return false;
    q->end_events++;
    return true;
}

enum quota_verdict quota_take(struct quota *q, const struct quota_table *t, uint32_t role,
                              const struct quota_event *e)
{
    const struct quota_limits *l = &t->of[role];
    enum class class = class_of(role, e->type, e->state);
    enum quota_verdict v = QUOTA_OK;

    if (class == ONCE)
        return QUOTA_OK;
    if (!bucket_take(&q->due_ns, l->rate, l->burst, e->now_ns))
        v = QUOTA_E_RATE;
    else if (q->events >= l->events)
        v = QUOTA_E_EVENTS;
    return v != QUOTA_OK && from_reserve(q, l, class, e->now_ns) ? QUOTA_OK : v;
}

enum quota_verdict quota_charge(struct quota *q, const struct quota_table *t, uint32_t role,
                                const struct quota_event *e, uint64_t bytes)
{
    const struct quota_limits *l = &t->of[role];
    enum class class = class_of(role, e->type, e->state);

    if (class == ONCE)
        return QUOTA_OK;
    if (q->bytes >= l->bytes || bytes > l->bytes - q->bytes)
        return from_reserve(q, l, class, e->now_ns) ? QUOTA_OK : QUOTA_E_BYTES;
    q->events++;
    q->bytes += bytes;
    return QUOTA_OK;
}

const char *quota_text(enum quota_verdict v)
{
    return v < _QUOTA_MAX ? quota_texts[v] : "quota";
}
