/* SPDX-License-Identifier: MIT */
#include "proxyd/claims.h"

#include <assert.h>
#include <sys/queue.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/uuid.h"

#define GAP_MS 1000u

/* Every class has its own part of LIMIT_CLAIM_CREDITS, so that a flood of one delays no other. */
enum claim_class { CLASS_L7, CLASS_DNS, CLASS_DENIAL, CLASS_GAP, _CLASS_MAX };
static const size_t class_credits[] = {
    [CLASS_L7] = 88,
    [CLASS_DNS] = LIMIT_DNS_IN_FLIGHT + 32, /* the cell's queries and proxyd's own (DNS_RESOLVE_ACTIVE_MAX) */
    [CLASS_DENIAL] = 64,
    [CLASS_GAP] = 8,
};

static_assert(88 + LIMIT_DNS_IN_FLIGHT + 32 + 64 + 8 <= LIMIT_CLAIM_CREDITS, "the parts fit");
static_assert(88 + LIMIT_DNS_IN_FLIGHT + 32 >= LIMIT_CLAIM_RESERVED, "allowed decisions have their share");

static const char *const gap_causes[] = {
    [GAP_DENIALS] = "denial_rate",  [GAP_CONNECTIONS] = "l7_quota", [GAP_UNACKNOWLEDGED] = "unacknowledged",
    [GAP_DNS] = "dns_rate_limited", [GAP_DATAGRAMS] = "udp_queue",
};

/* One claim under way. */
struct claim {
    struct claims *e;
    struct claim *next, **at;
    claims_ack ack; /* NULL: nobody waits (any more) */
    void *data;
    enum claim_class class;
};

/* A decision that waits for a credit, as it will be claimed. */
struct held {
    STAILQ_ENTRY(held) link;
    enum event_type type;
    claims_ack ack;
    void *data;
    size_t len;
    uint8_t body[];
};

struct gap {
    uint64_t lost, since_ms;
};

struct claims {
    struct claims_config cfg;
    char run_id[UUID_TEXT_LEN + 1];
    struct claim *list;
    size_t open[_CLASS_MAX];
    struct claims_ticket *first;
    STAILQ_HEAD(held_queue, held) held;
    size_t nheld;
    uint64_t window_ms; /* start of the second in which denials are counted */
    unsigned denials;
    struct gap gaps[_GAP_CAUSE_MAX];
    struct ev_timer gap_timer;
    bool careful[_CLASS_MAX]; /* async, but signerd refused one: effects wait until it takes one again */
    bool draining;
    void (*drained)(void *self);
    void *drained_self;
};

static void gaps_emit(struct claims *e);

static bool effects_wait(const struct claims *e, enum claim_class class)
{
    return e->cfg.strict || e->careful[class];
}

/* Where effects do not wait, what waits is the log: the queue is longer, and bounded all the same. */
static bool has_credit(const struct claims *e, enum claim_class class)
{
    bool longer = !e->cfg.strict && (class == CLASS_L7 || class == CLASS_DNS);

    return e->open[class] < (longer ? LIMIT_CLAIMS_ASYNC : class_credits[class]);
}

static void claim_unlink(struct claim *c)
{
    *c->at = c->next;
    if (c->next)
        c->next->at = c->at;
    c->e->open[c->class]--;
}

static void drain_check(struct claims *e)
{
    if (!e->draining || !e->drained)
        return;
    gaps_emit(e);
    if (claims_open(e) > 0)
        return;
    void (*done)(void *) = e->drained;
    e->drained = NULL;
    done(e->drained_self);
}

static void ticket_serve(struct claims *e)
{
    while (e->first && has_credit(e, CLASS_L7)) {
        struct claims_ticket *t = e->first;
        claims_unwait(t);
        t->ready(t->self);
    }
}

static void held_serve(struct claims *e);

static void on_ack(void *data, int err, uint64_t sequence)
{
    struct claim *c = data;
    struct claims *e = c->e;

    (void)sequence;
    claim_unlink(c);
    if (err < 0 && c->class == CLASS_GAP) /* logged, not counted again */
        log_errno(err, "a gap event of run %s is lost", e->run_id);
    else if (err < 0 && err != -EPIPE) /* without signerd the suite ends, and the log says where it stopped */
        claims_lost(e, GAP_UNACKNOWLEDGED, 1);
    e->careful[c->class] = err < 0;
    if (c->ack)
        c->ack(c->data, err);
    free(c);
    held_serve(e);
    ticket_serve(e);
    drain_check(e);
}

static int claim_body(struct claims *e, enum claim_class class, enum event_type type, struct str body,
                      bool deadline, claims_ack ack, void *data)
{
    struct claim *c = calloc(1, sizeof(*c));

    if (!c)
        return -ENOMEM;
    *c = (struct claim){.e = e, .ack = ack, .data = data, .class = class};
    int r = signer_claim_body(e->cfg.signer, e->run_id, type, body, deadline, on_ack, c);
    if (r < 0) {
        free(c);
        return r;
    }
    c->next = e->list;
    c->at = &e->list;
    if (c->next)
        c->next->at = &c->next;
    e->list = c;
    e->open[class]++;
    return 0;
}

static int encode(enum event_type type, const void *rec, struct buf *ret)
{
    buf_init(ret, LIMIT_CLAIM_BODY);
    return codec_encode(event_row(type)->data, rec, ret);
}

/* -EAGAIN when the class has no credit left. */
static int claim_new(struct claims *e, enum claim_class class, enum event_type type, const void *rec,
                     bool deadline, claims_ack ack, void *data)
{
    _cleanup_(buf_done) struct buf body = {0};

    if (!has_credit(e, class))
        return -EAGAIN;
    int r = encode(type, rec, &body);
    return r < 0 ? r : claim_body(e, class, type, buf_str(&body), deadline, ack, data);
}

/* ---- decisions that wait for a credit ---- */

static int held_add(struct claims *e, enum event_type type, const void *rec, claims_ack ack, void *data)
{
    _cleanup_(buf_done) struct buf body = {0};

    if (e->nheld >= LIMIT_CLAIMS_HELD)
        return -EDQUOT;
    int r = encode(type, rec, &body);
    if (r < 0)
        return r;
    struct held *h = malloc(sizeof(*h) + body.len);
    if (!h)
        return -ENOMEM;
    h->type = type;
    h->ack = ack;
    h->data = data;
    h->len = body.len;
    memcpy(h->body, body.data, body.len);
    STAILQ_INSERT_TAIL(&e->held, h, link);
    e->nheld++;
    return CLAIMS_WAITS;
}

static struct held *held_take(struct claims *e)
{
    struct held *h = STAILQ_FIRST(&e->held);

    if (h) {
        STAILQ_REMOVE_HEAD(&e->held, link);
        e->nheld--;
    }
    return h;
}

static void held_serve(struct claims *e)
{
    while (e->nheld > 0 && has_credit(e, CLASS_DNS)) {
        struct held *h = held_take(e);
        const struct str body = {(const char *)h->body, h->len};
        bool waits = effects_wait(e, CLASS_DNS);
        int r = claim_body(e, CLASS_DNS, h->type, body, waits, waits ? h->ack : NULL, h->data);
        if (h->ack && (r < 0 || !waits))
            h->ack(h->data, r);
        free(h);
    }
}

/* What has not been claimed has no effect. */
static void held_cancel(struct claims *e)
{
    struct held *h;

    while ((h = held_take(e))) {
        if (h->ack)
            h->ack(h->data, -ECANCELED);
        free(h);
    }
}

int claims_allow_held(struct claims *e, enum event_type type, const void *rec, claims_ack ack, void *data)
{
    int r = e->nheld > 0 ? -EAGAIN : claims_allow(e, type, rec, ack, data);

    return r == -EAGAIN ? held_add(e, type, rec, ack, data) : r;
}

int claims_allow(struct claims *e, enum event_type type, const void *rec, claims_ack ack, void *data)
{
    enum claim_class class = type == EVENT_L7 ? CLASS_L7 : CLASS_DNS;
    bool waits = effects_wait(e, class);
    int r = claim_new(e, class, type, rec, waits, waits ? ack : NULL, data);
    if (r < 0)
        return r;
    return waits ? CLAIMS_WAITS : CLAIMS_GOES;
}

void claims_forget(struct claims *e, const void *data)
{
    struct held *h;

    for (struct claim *c = e->list; c; c = c->next)
        if (c->data == data)
            c->ack = NULL;
    for (h = STAILQ_FIRST(&e->held); h; h = STAILQ_NEXT(h, link))
        if (h->data == data)
            h->ack = NULL;
}

/* Is there room for one more denial in this second, and a credit? */
static bool denial_room(struct claims *e)
{
    uint64_t now = clock_boottime_us() / 1000;

    if (now - e->window_ms >= 1000) {
        e->window_ms = now;
        e->denials = 0;
    }
    if (e->denials >= LIMIT_DENIES_PER_SEC || e->open[CLASS_DENIAL] >= class_credits[CLASS_DENIAL])
        return false;
    e->denials++;
    return true;
}

void claims_deny(struct claims *e, enum event_type type, const void *rec)
{
    if (!denial_room(e)) {
        claims_lost(e, GAP_DENIALS, 1);
        return;
    }
    int r = claim_new(e, CLASS_DENIAL, type, rec, false, NULL, NULL);
    if (r < 0) {
        log_errno(r, "an event of run %s cannot be claimed", e->run_id);
        claims_lost(e, GAP_UNACKNOWLEDGED, 1);
    }
}

/* ---- gaps ---- */

void claims_lost(struct claims *e, enum gap_cause cause, uint64_t n)
{
    struct gap *g = &e->gaps[cause];

    if (g->lost == 0)
        g->since_ms = clock_realtime_ms();
    g->lost += n;
    if (!ev_is_active(&e->gap_timer) && !e->draining) {
        ev_timer_set(&e->gap_timer, GAP_MS / 1000.0, 0);
        ev_timer_start(e->cfg.loop, &e->gap_timer);
    }
}

static int gap_emit(struct claims *e, enum gap_cause cause)
{
    char since[CLOCK_RFC3339_LEN + 1], until[CLOCK_RFC3339_LEN + 1];
    struct gap *g = &e->gaps[cause];

    int r = clock_format_rfc3339(g->since_ms / 1000, since);
    if (r >= 0)
        r = clock_format_rfc3339(clock_realtime_ms() / 1000, until);
    if (r < 0)
        return r;
    struct ev_gap rec = {g->lost, str_of(since), str_of(until), str_of(gap_causes[cause])};
    return claim_new(e, CLASS_GAP, EVENT_GAP, &rec, false, NULL, NULL);
}

static void gaps_emit(struct claims *e)
{
    for (size_t i = 0; i < _GAP_CAUSE_MAX; i++) {
        if (e->gaps[i].lost == 0)
            continue;
        if (e->open[CLASS_GAP] >= class_credits[CLASS_GAP])
            return; /* when draining: tried again at the next answer; else at the next second */
        int r = gap_emit(e, (enum gap_cause)i);
        if (r < 0)
            log_errno(r, "a gap of %llu (%s) of run %s cannot be claimed",
                      (unsigned long long)e->gaps[i].lost, gap_causes[i], e->run_id);
        e->gaps[i] = (struct gap){0};
    }
}

static void on_gap_timer(struct ev_loop *loop, struct ev_timer *w, int events)
{
    struct claims *e = w->data;
    bool more = false;

    (void)events;
    gaps_emit(e);
    for (size_t i = 0; i < _GAP_CAUSE_MAX; i++)
        more |= e->gaps[i].lost > 0;
    if (more) {
        ev_timer_set(w, GAP_MS / 1000.0, 0);
        ev_timer_start(loop, w);
    }
}

/* ---- waiting for a credit ---- */

void claims_wait(struct claims *e, struct claims_ticket *t, void (*ready)(void *self), void *self)
{
    struct claims_ticket **at = &e->first;

    while (*at)
        at = &(*at)->next;
    *t = (struct claims_ticket){.at = at, .ready = ready, .self = self};
    *at = t;
}

void claims_unwait(struct claims_ticket *t)
{
    if (!t->at)
        return;
    *t->at = t->next;
    if (t->next)
        t->next->at = t->at;
    t->at = NULL;
}

/* ---- life ---- */

int claims_new(const struct claims_config *cfg, struct claims **ret)
{
    struct claims *e = calloc(1, sizeof(*e));

    if (!e)
        return -ENOMEM;
    e->cfg = *cfg;
    struct str id = str_of(cfg->run_id);
    if (!id.p || id.len > UUID_TEXT_LEN) {
        free(e);
        return -EINVAL;
    }
    memcpy(e->run_id, id.p, id.len);
    ev_timer_init(&e->gap_timer, on_gap_timer, GAP_MS / 1000.0, 0);
    e->gap_timer.data = e;
    STAILQ_INIT(&e->held);
    *ret = e;
    return 0;
}

struct claims *claims_free(struct claims *e)
{
    if (!e)
        return NULL;
    ev_timer_stop(e->cfg.loop, &e->gap_timer);
    held_cancel(e);
    struct claim *c = e->list, *next;
    e->list = NULL;
    for (; c; c = next) {
        next = c->next;
        signer_forget(e->cfg.signer, c);
        if (c->ack)
            c->ack(c->data, -ECANCELED);
        free(c);
    }
    while (e->first)
        claims_unwait(e->first);
    free(e);
    return NULL;
}

void claims_drain(struct claims *e, void (*done)(void *self), void *self)
{
    ev_timer_stop(e->cfg.loop, &e->gap_timer);
    held_cancel(e);
    e->draining = true;
    e->drained = done;
    e->drained_self = self;
    drain_check(e);
}

size_t claims_open(const struct claims *e)
{
    size_t n = 0;

    for (size_t i = 0; i < _CLASS_MAX; i++)
        n += e->open[i];
    return n;
}
