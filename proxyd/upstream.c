/* SPDX-License-Identifier: MIT */
#include "proxyd/upstream.h"

#include "proxyd/dial.h"
#include "proxyd/gate_state.h"
#include "proxyd/l7_event.h"
#include "proxyd/proxied.h"

#define UPSTREAM_DELAY_S 0.25  /* RFC 8305 section 5: Connection Attempt Delay */
#define UPSTREAM_AGAIN_S 0.005 /* until a name is asked for again whose evidence had no room in the queue */

struct attempt {
    struct upstream *u;
    struct endpoint_addr to;
    struct dial dial;
};

struct upstream {
    struct gate *g;
    struct upstream *next, **at;
    struct upstream_want want;
    upstream_done done;
    void *self;
    struct client *client; /* or NULL: nobody knows it */
    struct client_wait wait;
    struct dns_resolve *resolving;
    bool again;                  /* nothing is dialed ... */
    struct endpoint_addr dialed; /* ... this is where the connection leads already */
    bool started, claiming, counted;
    bool resolve_again;                  /* the timer runs to it */
    struct addr addrs[LIMIT_DIAL_ADDRS]; /* permitted ones, in the order they are tried */
    size_t naddrs, tried;                /* claims begun */
    struct attempt attempts[LIMIT_DIAL_ADDRS];
    size_t live; /* attempts under way */
    struct claims_ticket ticket;
    struct ev_timer timer;  /* the start, then the next attempt, then the end of the time */
    struct ev_timer credit; /* how long a credit is waited for */
    ev_tstamp until;
    struct proxied proxied;
    int fd; /* to the operator's proxy, while it is asked */
};

static void upstream_try(struct upstream *u);

/* ---- the end ---- */

static void upstream_free(struct upstream *u)
{
    struct ev_loop *loop = u->g->cfg.loop;

    dns_resolve_cancel(u->resolving);
    claims_forget(u->g->cfg.claims, u);
    claims_unwait(&u->ticket);
    ev_timer_stop(loop, &u->timer);
    ev_timer_stop(loop, &u->credit);
    proxied_stop(&u->proxied);
    cleanup_closep(&u->fd);
    for (size_t i = 0; i < ARRAY_LEN(u->attempts); i++)
        dial_stop(&u->attempts[i].dial);
    client_unwait(&u->wait);
    client_unref(u->client);
    *u->at = u->next;
    if (u->next)
        u->next->at = u->at;
    u->g->nupstreams--;
    free(u);
}

void upstream_cancel(struct upstream *u)
{
    if (u)
        upstream_free(u);
}

static void upstream_finish(struct upstream *u, uint32_t reason, int fd, const struct endpoint_addr *dialed)
{
    struct upstream_result result = {.reason = reason, .fd = fd, .has_dialed = dialed != NULL};
    struct ev_process room;
    const struct ev_process *process = u->client ? client_process(u->client, &room) : NULL;
    upstream_done done = u->done;
    void *self = u->self;

    if (dialed)
        result.dialed = *dialed;
    if (process && process->exe.len <= LIMIT_EXE) {
        result.has_process = true;
        result.pid = (uint32_t)process->pid;
        memcpy(result.exe, process->exe.p, process->exe.len);
    }
    upstream_free(u);
    done(self, &result);
}

static bool is_proxied(const struct upstream *u)
{
    return u->g->cfg.policy->upstream != 0;
}

static bool by_name(const struct upstream *u)
{
    return u->want.j.name.len > 0;
}

static struct endpoint_addr target(const struct upstream *u, size_t i)
{
    return (struct endpoint_addr){.addr = u->addrs[i], .port = u->want.original.port};
}

/* Everything was tried. Behind a proxy nobody here knows which address of a name that was. */
static void upstream_unreachable(struct upstream *u)
{
    struct endpoint_addr last = target(u, u->tried > 0 ? u->tried - 1 : 0);

    upstream_finish(u, L7_UPSTREAM_UNREACHABLE, -EBADF, is_proxied(u) && by_name(u) ? NULL : &last);
}

/* ---- dial ---- */

static void upstream_won(struct upstream *u, const struct attempt *a, int fd)
{
    struct endpoint_addr dialed = a->to;

    upstream_finish(u, 0, fd, &dialed);
}

static void on_proxied(void *self, int err)
{
    struct upstream *u = self;

    if (err < 0)
        upstream_unreachable(u);
    else
        upstream_won(u, &u->attempts[0], TAKE_FD(u->fd));
}

static void upstream_ask_proxy(struct upstream *u, int fd)
{
    struct proxied_target to = {.name = u->want.j.name, .addr = target(u, 0)};

    u->fd = fd;
    int r = proxied_start(&u->proxied, u->g->cfg.loop, fd, u->g->cfg.policy->upstream, &to, on_proxied, u);
    if (r < 0)
        upstream_unreachable(u);
}

static void on_dialed(void *self, int err, int fd)
{
    struct attempt *a = self;
    struct upstream *u = a->u;

    u->live--;
    if (err < 0)
        upstream_try(u); /* at once, not after the delay (RFC 8305 section 5) */
    else if (is_proxied(u))
        upstream_ask_proxy(u, fd);
    else
        upstream_won(u, a, fd);
}

/* The timer runs to the next attempt while there is one, else to the end of the time. */
static void upstream_rearm(struct upstream *u)
{
    struct ev_loop *loop = u->g->cfg.loop;
    ev_tstamp left = u->until - ev_now(loop);

    if (u->tried < u->naddrs && left > UPSTREAM_DELAY_S)
        left = UPSTREAM_DELAY_S;
    ev_timer_stop(loop, &u->timer);
    ev_timer_set(&u->timer, left > 0 ? left : 0, 0);
    ev_timer_start(loop, &u->timer);
}

static void upstream_dial(struct upstream *u)
{
    struct attempt *a = &u->attempts[u->tried - 1];
    const struct proxy_policy *p = u->g->cfg.policy;
    int r = -EACCES;

    if (!u->counted) {
        u->counted = true;
        u->g->allowed++;
        uses_add(&u->g->uses, u->want.j.rule);
    }
    a->u = u;
    a->to = is_proxied(u) ? p->upstream_addr : target(u, u->tried - 1);
    upstream_rearm(u);
    /* Once more on what connect(2) gets: addresses of the host come and go. */
    if (is_proxied(u) || dial_permitted(p, &u->want.j, &a->to.addr))
        r = dial_start(&a->dial, u->g->cfg.loop, &a->to, on_dialed, a);
    if (r == 0)
        u->live++;
    else
        upstream_try(u);
}

/* ---- evidence before effect ---- */

static void upstream_claimed(struct upstream *u)
{
    u->claiming = false;
    if (u->again) {
        upstream_finish(u, 0, -EBADF, NULL);
    } else {
        upstream_dial(u);
    }
}

static void on_acked(void *self, int result)
{
    struct upstream *u = self;

    if (result < 0)
        upstream_finish(u, L7_QUOTA, -EBADF, NULL);
    else
        upstream_claimed(u);
}

static void on_no_credit(struct ev_loop *loop, struct ev_timer *w, int events)
{
    (void)loop;
    (void)events;
    upstream_finish(w->data, L7_QUOTA, -EBADF, NULL);
}

static void upstream_claim(struct upstream *u);

static void on_credit(void *self)
{
    struct upstream *u = self;

    ev_timer_stop(u->g->cfg.loop, &u->credit);
    upstream_claim(u);
}

static void upstream_wait_credit(struct upstream *u)
{
    ev_timer_start(u->g->cfg.loop, &u->credit);
    claims_wait(u->g->cfg.claims, &u->ticket, on_credit, u);
}

/* The decision about addrs[tried - 1]. */
static void upstream_claim(struct upstream *u)
{
    const struct proxy_policy *p = u->g->cfg.policy;
    struct endpoint_addr to = u->again ? u->dialed : target(u, u->tried - 1);
    struct ev_process room;
    const struct l7_decision what = {
        .policy = p,
        .j = &u->want.j,
        .original = &u->want.original,
        .dialed = is_proxied(u) && (u->again || by_name(u)) ? NULL : &to,
        .proxy = is_proxied(u) ? &p->upstream_addr : NULL,
        .process = u->client ? client_process(u->client, &room) : NULL,
    };

    int r = l7_claim_allow(u->g->cfg.claims, &what, on_acked, u);
    if (r == CLAIMS_GOES)
        upstream_claimed(u);
    else if (r == -EAGAIN)
        upstream_wait_credit(u);
    else if (r < 0)
        upstream_finish(u, L7_QUOTA, -EBADF, NULL);
}

/* The next address: its event, then, once that is durable, the dial. A claim under way is the next attempt.
 */
static void upstream_try(struct upstream *u)
{
    if (u->claiming)
        return;
    if (u->tried < u->naddrs && (u->tried == 0 || ev_now(u->g->cfg.loop) < u->until)) {
        u->claiming = true;
        u->tried++;
        upstream_claim(u);
    } else if (u->live == 0) {
        upstream_unreachable(u);
    }
}

static void upstream_begin(struct upstream *u);
static void upstream_resolve(struct upstream *u);

static void on_timer(struct ev_loop *loop, struct ev_timer *w, int events)
{
    struct upstream *u = w->data;

    (void)events;
    if (u->resolve_again) {
        upstream_resolve(u);
    } else if (!u->started) {
        upstream_begin(u);
    } else if (u->tried < u->naddrs && ev_now(loop) < u->until) {
        upstream_try(u);
    } else if (!u->claiming) {
        upstream_unreachable(u);
    }
}

/* ---- addresses ---- */

/* Keeps what may be dialed; the address that the client itself chose comes first. */
static void upstream_addresses(struct upstream *u, const struct addr *addrs, size_t n)
{
    for (size_t i = 0; i < n && u->naddrs < LIMIT_DIAL_ADDRS; i++) {
        if (!dial_permitted(u->g->cfg.policy, &u->want.j, &addrs[i]))
            continue;
        u->addrs[u->naddrs] = addrs[i];
        if (addr_eq(&addrs[i], &u->want.original.addr)) {
            u->addrs[u->naddrs] = u->addrs[0];
            u->addrs[0] = addrs[i];
        }
        u->naddrs++;
    }
    if (is_proxied(u) && u->naddrs > 1)
        u->naddrs = 1; /* one question to the proxy, which looks for the way itself */
}

/* Both the addresses and the process are known, or known to be unknown. */
static void upstream_begin(struct upstream *u)
{
    if (u->resolving || u->resolve_again || (u->client && client_waits(u->client)))
        return;
    u->started = true;
    if (u->again && !is_proxied(u) && !dial_permitted(u->g->cfg.policy, &u->want.j, &u->addrs[0]))
        u->naddrs = 0;
    if (u->naddrs == 0) {
        upstream_finish(u, L7_DESTINATION_DENIED, -EBADF, NULL);
        return;
    }
    u->until = ev_now(u->g->cfg.loop) + LIMIT_DIAL_MS / 1000.0;
    upstream_try(u);
}

static void on_client(void *self)
{
    upstream_begin(self);
}

static uint32_t resolve_failure(int result, enum dns_reason_code reason)
{
    switch (result) {
    case -EPERM:
        return L7_DESTINATION_DENIED;
    case -ENOENT:
    case -EHOSTUNREACH:
        return L7_UPSTREAM_UNREACHABLE;
    case -ETIMEDOUT: /* without a reason it is signerd that did not answer */
        return reason == DNS_UPSTREAM_TIMEOUT ? L7_UPSTREAM_UNREACHABLE : L7_QUOTA;
    default:
        return L7_QUOTA;
    }
}

static void on_resolved(void *data, int result, enum dns_reason_code reason, const struct addr *addrs,
                        size_t n)
{
    struct upstream *u = data;

    u->resolving = NULL;
    if (result == -EAGAIN && ev_now(u->g->cfg.loop) < u->until) {
        u->resolve_again = true; /* a full queue delays decisions, it refuses none */
        ev_timer_set(&u->timer, UPSTREAM_AGAIN_S, 0);
        ev_timer_start(u->g->cfg.loop, &u->timer);
        return;
    }
    if (result < 0) {
        upstream_finish(u, resolve_failure(result, reason), -EBADF, NULL);
        return;
    }
    upstream_addresses(u, addrs, n);
    upstream_begin(u);
}

static void upstream_resolve(struct upstream *u)
{
    u->resolve_again = false;
    if (dns_resolve(u->g->cfg.dns, &u->want.j.name, on_resolved, u, &u->resolving) < 0)
        upstream_finish(u, L7_QUOTA, -EBADF, NULL);
}

/* ---- life ---- */

static struct upstream *upstream_new(struct gate *g, const struct upstream_want *want, upstream_done done,
                                     void *self)
{
    struct upstream *u = calloc(1, sizeof(*u));

    if (!u)
        return NULL;
    u->g = g;
    u->want = *want;
    u->done = done;
    u->self = self;
    u->fd = -EBADF;
    u->client = client_find(g, &want->client);
    if (u->client)
        client_ref(u->client);
    if (u->client && client_waits(u->client))
        client_wait(u->client, &u->wait, on_client, u);
    for (size_t i = 0; i < ARRAY_LEN(u->attempts); i++)
        u->attempts[i].dial.fd = -EBADF;
    u->until = ev_now(g->cfg.loop) + LIMIT_ACK_MS / 1000.0; /* of the addresses, at first */
    ev_timer_init(&u->timer, on_timer, 0, 0);
    ev_timer_init(&u->credit, on_no_credit, LIMIT_ACK_MS / 1000.0, 0);
    u->timer.data = u->credit.data = u;
    u->next = g->upstreams;
    u->at = &g->upstreams;
    if (u->next)
        u->next->at = &u->next;
    g->upstreams = u;
    g->nupstreams++;
    return u;
}

int upstream_open(struct gate *g, const struct upstream_want *want, upstream_done done, void *self,
                  struct upstream **ret)
{
    if (g->nupstreams >= LIMIT_TCP_OPEN)
        return -EDQUOT;
    struct upstream *u = upstream_new(g, want, done, self);
    if (!u)
        return -ENOMEM;
    if (want->j.literal || want->j.pinned) {
        upstream_addresses(u, &want->original.addr, 1);
        ev_timer_start(g->cfg.loop, &u->timer);
    } else {
        int r = dns_resolve(g->cfg.dns, &want->j.name, on_resolved, u, &u->resolving);
        if (r < 0) {
            upstream_free(u);
            return r == -ENOMEM ? r : -EDQUOT;
        }
    }
    *ret = u;
    return 0;
}

int upstream_again(struct gate *g, const struct upstream_want *want, const struct endpoint_addr *dialed,
                   upstream_done done, void *self, struct upstream **ret)
{
    if (g->nupstreams >= LIMIT_TCP_OPEN)
        return -EDQUOT;
    struct upstream *u = upstream_new(g, want, done, self);
    if (!u)
        return -ENOMEM;
    u->again = true;
    u->dialed = *dialed;
    u->addrs[u->naddrs++] = dialed->addr;
    ev_timer_start(g->cfg.loop, &u->timer);
    *ret = u;
    return 0;
}

/* The first that the present policy does not allow. */
static struct upstream *upstream_outlawed(struct gate *g)
{
    for (struct upstream *u = g->upstreams; u; u = u->next)
        if (!judge_again(g->cfg.policy, g->cfg.dns, &u->want.original, &u->want.j))
            return u;
    return NULL;
}

uint64_t upstream_policy_changed(struct gate *g)
{
    struct upstream *u;
    uint64_t n = 0;

    for (; (u = upstream_outlawed(g)); n++)
        upstream_finish(u, judge_miss(u->want.j.protocol), -EBADF, NULL);
    return n;
}
