/* SPDX-License-Identifier: MIT */
#include "proto/signer_client.h"

#include <sys/queue.h>

#include "common/base/clock.h"

#define WAITING_CHECK_S 0.5 /* how late a claim that waits for its turn may learn that its time is up */

struct claim;

/* Claims that go out in one frame. */
struct group {
    LIST_ENTRY(group) link;
    struct signer_client *s;
    size_t n;
    struct claim *claim[];
};

struct signer_client {
    struct ev_loop *loop;
    struct endpoint *e;
    struct claim *claims;              /* open ones */
    TAILQ_HEAD(claims, claim) waiting; /* those of them that are not sent yet, in the order they were made */
    LIST_HEAD(groups, group) groups;   /* sent and not answered */
    size_t nwaiting, nsent, ncalls;
    ev_timer turn;  /* never armed: fed by hand, runs when the loop has dealt with all else */
    bool gathering; /* one claim has gone out in this turn: the others of the turn go together */
    ev_timer check; /* of the waiting ones' deadlines */
    uint64_t counter;
    bool *freed; /* set by signer_client_free inside a callback */
    size_t open;
    void (*gone)(void *self, int err);
    void *self;
};

struct claim {
    struct signer_client *s;
    signer_ack_fn cb;
    void *data;
    struct claim *next, **at; /* linked, so that signer_forget finds it */
    TAILQ_ENTRY(claim) link;
    uint64_t until_us; /* CLOCK_BOOTTIME; 0: waits as long as it takes */
    enum event_type type;
    char run_id[LIMIT_RUN_ID + 1];
    struct str body; /* until it is sent: the caller's, or kept[] */
    char kept[];
};

static void claim_unlink(struct claim *c)
{
    *c->at = c->next;
    if (c->next)
        c->next->at = c->at;
    c->s->open--;
}

static int errno_of(const struct error *e)
{
    switch (e->fail) {
    case FAIL_TIMEOUT:
        return -ETIMEDOUT;
    case FAIL_UNAVAILABLE:
        return -EPIPE;
    case FAIL_NO_SPACE:
        return -ENOSPC;
    case FAIL_AUTHORITY:
        return -EPERM;
    case FAIL_QUOTA:
        return -EDQUOT;
    case FAIL_SECRET:
        return -EKEYREJECTED;
    case FAIL_INTERNAL:
        return -EIO;
    default:
        return -EPROTO;
    }
}

const char *signer_error_text(int err)
{
    switch (err) {
    case -EKEYREJECTED:
        return "it holds the value of a secret";
    case -EDQUOT:
        return "a quota of the log is reached";
    case -EPERM:
    case -EPROTO:
        return "it may not be said, or not now";
    default:
        return strerrordesc_np(-err);
    }
}

static void claim_finish(struct claim *c, int err, uint64_t sequence)
{
    claim_unlink(c);
    if (c->cb)
        c->cb(c->data, err, sequence);
    free(c);
}

/* False when the callback freed the client. */
static bool claim_finish_alive(struct claim *c, int err)
{
    struct signer_client *s = c->s;
    bool freed = false, *outer = s->freed;
    s->freed = &freed;
    claim_finish(c, err, 0);
    if (!freed)
        s->freed = outer;
    else if (outer)
        *outer = true;
    return !freed;
}

static bool send_waiting(struct signer_client *s);

/* ---- answers ---- */

static void group_free(struct group *g)
{
    LIST_REMOVE(g, link);
    free(g);
}

static void on_claims_answer(void *data, const struct error *error, const void *rec, int *fds, size_t nfds)
{
    struct group *g = data;
    struct signer_client *s = g->s;
    const struct signer_claims_rep *rep = rec;
    const struct signer_result *result = rep ? rep->results.v : NULL;
    bool freed = false, *outer = s->freed;

    (void)fds;
    (void)nfds;
    s->ncalls--;
    s->nsent -= g->n;
    LIST_REMOVE(g, link); /* from here on it is ours alone */
    s->freed = &freed;
    (void)!send_waiting(s);
    for (size_t i = 0; i < g->n && !freed; i++) {
        bool fits = result && rep->results.n == g->n;
        struct error refused = {.fail = fits ? result[i].fail : FAIL_INVALID};

        if (fits && !refused.fail)
            claim_finish(g->claim[i], 0, result[i].sequence);
        else
            claim_finish(g->claim[i], errno_of(error ? error : &refused), 0);
    }
    if (!freed)
        s->freed = outer;
    else if (outer)
        *outer = true;
    free(g);
}

/* ---- sending ---- */

/* How long the answer may take; 0: as long as it likes. -ETIMEDOUT when the time is up. */
static int claim_time(const struct claim *c, unsigned *ret_ms)
{
    uint64_t now = c->until_us ? clock_boottime_us() : 0;

    if (c->until_us && now >= c->until_us)
        return -ETIMEDOUT;
    *ret_ms = c->until_us ? (unsigned)((c->until_us - now + 999) / 1000) : 0;
    return 0;
}

/* Counters rise in the order of sending. */
static int group_send(struct group *g)
{
    struct signer_claim claim[LIMIT_CLAIMS_FRAME];
    struct signer_claims_req req = {.claims = {claim, g->n}};
    struct signer_client *s = g->s;
    unsigned ms = 0;
    int r = claim_time(g->claim[0], &ms); /* the oldest: its time is up first */

    for (size_t i = 0; i < g->n; i++) {
        const struct claim *c = g->claim[i];

        claim[i] = (struct signer_claim){s->counter + 1 + i, str_of(c->run_id), c->type, c->body};
    }
    if (r == 0)
        r = endpoint_call(s->e, MSG_SIGNER_CLAIMS_REQ, &req, NULL, 0, ms, on_claims_answer, g);
    if (r >= 0) {
        s->counter += g->n;
        s->nsent += g->n;
        s->ncalls++;
    }
    return r;
}

static void stop_waiting(struct signer_client *s, struct claim *c)
{
    TAILQ_REMOVE(&s->waiting, c, link);
    s->nwaiting--;
    if (s->nwaiting == 0)
        ev_timer_stop(s->loop, &s->check);
}

/* An empty one with room for max. NULL: out of memory. */
static struct group *group_new(struct signer_client *s, size_t max)
{
    struct group *g = malloc(sizeof(*g) + max * sizeof(struct claim *));

    if (!g)
        return NULL;
    g->s = s;
    g->n = 0;
    LIST_INSERT_HEAD(&s->groups, g, link);
    return g;
}

/* Takes what goes into the next frame off the queue: claims with a deadline and claims without one go apart,
 * so that one deadline is right for all of them. NULL: out of memory. */
static struct group *group_take(struct signer_client *s)
{
    struct group *g = group_new(s, LIMIT_CLAIMS_FRAME);
    struct claim *c = TAILQ_FIRST(&s->waiting);
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): what is finished was taken off the list before */
    bool deadline = c->until_us != 0;
    size_t bytes = 0;

    if (!g)
        return NULL;
    for (; c && g->n < LIMIT_CLAIMS_FRAME && (c->until_us != 0) == deadline; c = TAILQ_FIRST(&s->waiting)) {
        bytes += c->body.len + sizeof(c->run_id) + 32;
        if (g->n > 0 && bytes > LIMIT_CLAIMS_GATHER)
            break;
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): what is finished was taken off the list before */
        stop_waiting(s, c);
        g->claim[g->n++] = c;
    }
    return g;
}

/* False when a callback freed the client. */
static bool group_fail(struct group *g, int err)
{
    for (size_t i = 0; i < g->n; i++)
        if (!claim_finish_alive(g->claim[i], err))
            return false; /* the group went with it */
    group_free(g);
    return true;
}

/* False when a callback freed the client. */
static bool send_one_waiting(struct signer_client *s)
{
    struct group *g = group_take(s);
    int r;

    if (!g) {
        struct claim *c = TAILQ_FIRST(&s->waiting);

        stop_waiting(s, c);
        return claim_finish_alive(c, -ENOMEM);
    }
    r = group_send(g);
    return r >= 0 || group_fail(g, r);
}

/* One claim in a frame of its own, now. 0 or -errno. */
static int claim_send(struct claim *c)
{
    struct group *g = group_new(c->s, 1);
    int r;

    if (!g)
        return -ENOMEM;
    g->claim[g->n++] = c;
    r = group_send(g);
    if (r < 0)
        group_free(g);
    return r;
}

/* False when a callback freed the client. */
static bool send_waiting(struct signer_client *s)
{
    while (!s->gathering && s->ncalls < LIMIT_CLAIM_CALLS && s->nsent < LIMIT_CLAIMS_SENT &&
           !TAILQ_EMPTY(&s->waiting))
        if (!send_one_waiting(s))
            return false;
    return true;
}

static void on_turn(struct ev_loop *loop, ev_timer *w, int events)
{
    struct signer_client *s = w->data;

    (void)loop;
    (void)events;
    s->gathering = false;
    (void)!send_waiting(s);
}

/* What waits although nothing is answered any more: the deadlines are kept all the same. */
static void on_check(struct ev_loop *loop, ev_timer *w, int events)
{
    struct signer_client *s = w->data;
    uint64_t now = clock_boottime_us();
    struct claim *c;
    (void)loop;
    (void)events;
    do {
        c = TAILQ_FIRST(&s->waiting);
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): what is finished was taken off the list before */
        while (c && (c->until_us == 0 || now < c->until_us))
            c = TAILQ_NEXT(c, link);
        if (c) {
            stop_waiting(s, c);
            if (!claim_finish_alive(c, -ETIMEDOUT))
                return;
        }
    } while (c);
}

static bool fail_waiting(struct signer_client *s)
{
    struct claim *c;
    while ((c = TAILQ_FIRST(&s->waiting))) {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): what is finished was taken off the list before */
        stop_waiting(s, c);
        if (!claim_finish_alive(c, -EPIPE))
            return false;
    }
    return true;
}

static void claim_wait(struct claim *c)
{
    struct signer_client *s = c->s;
    TAILQ_INSERT_TAIL(&s->waiting, c, link);
    if (s->nwaiting++ == 0) {
        ev_timer_set(&s->check, WAITING_CHECK_S, WAITING_CHECK_S);
        ev_timer_start(s->loop, &s->check);
    }
}

static void on_gone(void *self, struct endpoint *e, int err)
{
    (void)e;
    struct signer_client *s = self;
    if (fail_waiting(s) && s->gone)
        s->gone(s->self, err);
}

/* Only the supervisor's line gets this note: the cells must end, the reserve still takes their last events.
 */
static int on_log_failed(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    (void)e;
    struct signer_client *s = self;
    const struct signer_log_failed *f = m->rec;
    if (s->gone)
        s->gone(s->self, f->fail == FAIL_NO_SPACE ? -ENOSPC : -EIO);
    return 0;
}

int signer_client_new(struct ev_loop *loop, int sock, uint32_t role, void (*gone)(void *self, int err),
                      void *self, struct signer_client **ret)
{
    static const struct endpoint_handler handlers[] = {{MSG_SIGNER_LOG_FAILED, on_log_failed}};
    static const struct endpoint_ops ops = {handlers, ARRAY_LEN(handlers), .gone = on_gone};
    struct signer_client *s = calloc(1, sizeof(*s));
    if (!s) {
        close(sock);
        return -ENOMEM;
    }
    s->loop = loop;
    s->gone = gone;
    s->self = self;
    TAILQ_INIT(&s->waiting);
    LIST_INIT(&s->groups);
    ev_init(&s->turn, on_turn);
    ev_set_priority(&s->turn, EV_MINPRI);
    s->turn.data = s;
    ev_timer_init(&s->check, on_check, WAITING_CHECK_S, WAITING_CHECK_S);
    s->check.data = s;
    struct endpoint_config cfg = {&iface_signer, FROM_CLIENT, role, ROLE_SIGNERD, &ops, s};
    int r = endpoint_new(loop, sock, &cfg, &s->e);
    if (r < 0) {
        free(s);
        return r;
    }
    *ret = s;
    return 0;
}

struct signer_client *signer_client_free(struct signer_client *s)
{
    if (!s)
        return NULL;
    if (s->freed)
        *s->freed = true;
    endpoint_free(s->e);
    ev_timer_stop(s->loop, &s->check);
    ev_clear_pending(s->loop, &s->turn);
    while (!LIST_EMPTY(&s->groups))
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it takes itself off the list before */
        group_free(LIST_FIRST(&s->groups));
    while (s->claims) {
        struct claim *c = s->claims;
        s->claims = c->next;
        free(c);
    }
    free(s);
    return NULL;
}

static void claim_link(struct claim *c)
{
    struct signer_client *s = c->s;
    c->next = s->claims;
    c->at = &s->claims;
    if (s->claims)
        s->claims->at = &c->next;
    s->claims = c;
    s->open++;
}

/* A copy of the body is kept only for a claim that has to wait. */
static struct claim *claim_new(struct signer_client *s, const char *run_id, struct str body, bool waits)
{
    size_t n = waits ? body.len : 0;
    struct claim *c = malloc(sizeof(*c) + n);
    if (!c)
        return NULL;
    memset(c, 0, sizeof(*c));
    c->s = s;
    memcpy(c->kept, body.p, n);
    c->body = waits ? (struct str){c->kept, n} : body;
    memcpy(c->run_id, run_id, strnlen(run_id, LIMIT_RUN_ID));
    return c;
}

int signer_claim_body(struct signer_client *s, const char *run_id, enum event_type type, struct str body,
                      bool deadline, signer_ack_fn cb, void *data)
{
    /* The first one of a turn goes at once; those behind it wait for the end of the turn, and go together. */
    bool waits = s->gathering || s->nsent >= LIMIT_CLAIMS_SENT || s->ncalls >= LIMIT_CLAIM_CALLS ||
                 !TAILQ_EMPTY(&s->waiting);
    if (!event_row(type) || strlen(run_id) > LIMIT_RUN_ID)
        return -EINVAL;
    if (waits && s->nwaiting >= LIMIT_CLAIMS_WAITING)
        return -EDQUOT;
    struct claim *c = claim_new(s, run_id, body, waits);
    if (!c)
        return -ENOMEM;
    int r = 0;
    c->cb = cb;
    c->data = data;
    c->type = type;
    c->until_us = deadline ? clock_boottime_us() + LIMIT_ACK_MS * 1000ull : 0;
    if (waits)
        claim_wait(c);
    else
        r = claim_send(c);
    if (r < 0) {
        free(c);
        return r;
    }
    claim_link(c);
    s->gathering = true;
    ev_feed_event(s->loop, &s->turn, EV_CUSTOM);
    return 0;
}

int signer_claim(struct signer_client *s, const char *run_id, enum event_type type, const void *rec,
                 bool deadline, signer_ack_fn cb, void *data)
{
    const struct event_row *row = event_row(type);
    if (!row)
        return -EINVAL;
    _cleanup_(buf_done) struct buf body = {0};
    buf_init(&body, LIMIT_CLAIM_BODY);
    int r = codec_encode(row->data, rec, &body);
    return r < 0 ? r : signer_claim_body(s, run_id, type, buf_str(&body), deadline, cb, data);
}

void signer_forget(struct signer_client *s, const void *data)
{
    for (struct claim *c = s->claims; c; c = c->next)
        if (c->data == data)
            c->cb = NULL;
}

size_t signer_client_open(const struct signer_client *s)
{
    return s->open;
}

struct endpoint *signer_client_endpoint(struct signer_client *s)
{
    return s->e;
}
