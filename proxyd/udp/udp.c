/* SPDX-License-Identifier: MIT */
#include "proxyd/udp/udp.h"

#include <sys/random.h>

#include "common/base/log.h"
#include "proxyd/udp/udp_flow.h"
#include "proxyd/udp/udp_io.h"

#define BATCHES 4 /* of one cell in one turn of the loop */

/* ---- datagrams of no flow ---- */

/* No rule is for QUIC or UDP here, so nothing allows it. But what was asked for helps whoever reads the log,
 * when it can be read at a glance and has an event of its own. */
static void name_it(const struct udp *u, const struct udp_datagram *d, struct judgement *j)
{
    struct quic_reader reader = {0};
    uint32_t reason = j->reason;

    if (udp_denied_lately(u->denials, d))
        return;
    enum quic_outcome o = quic_read(&reader, d->p, d->len, 0);
    if (o == QUIC_HELLO || o == QUIC_NO_NAME || o == QUIC_BAD_NAME)
        udp_judge_quic(u->cfg.policy, &d->to, o, &reader, j);
    else if (o == QUIC_MORE)
        *j = (struct judgement){.protocol = L7_QUIC, .reason = L7_QUIC_ALLOWLIST_MISS, .rule = -1};
    if (reason == L7_PORT_DENIED) /* that comes first */
        j->reason = reason;
    quic_reader_done(&reader);
}

static void datagram_take(struct udp *u, const struct udp_datagram *d)
{
    struct udp_flow *f = udp_flow_find(u, &d->from, &d->to);
    const struct proxy_policy *p = u->cfg.policy;
    struct judgement j;

    if (f) {
        udp_flow_take(f, d);
    } else if (!udp_judge_destination(p, &d->to, &d->from.addr, &j) &&
               (udp_judge_quic_port(p, d->to.port) || udp_judge_raw_port(p, d->to.port))) {
        udp_flow_start(u, d);
    } else {
        if (j.reason != L7_DESTINATION_DENIED)
            name_it(u, d, &j);
        udp_deny(u->denials, &j, d, NULL);
    }
}

static void on_readable(struct ev_loop *loop, struct ev_io *w, int events)
{
    struct udp *u = w->data;

    (void)loop;
    (void)events;
    for (int i = 0; i < BATCHES; i++) {
        const struct udp_datagram *d;
        uint32_t overflow = u->overflow;
        size_t broken = 0, n = udp_io_recv_cell(u->sock, &d, &broken, &overflow);
        for (size_t k = 0; k < n; k++)
            datagram_take(u, &d[k]);
        if (broken > 0) { /* nobody can say where they went; they are counted all the same */
            u->count.denied += broken;
            claims_lost(u->cfg.claims, GAP_DENIALS, broken);
        }
        if (overflow != u->overflow)
            claims_lost(u->cfg.claims, GAP_DATAGRAMS, overflow - u->overflow); /* it may have wrapped */
        u->overflow = overflow;
        if (n + broken < UDP_BATCH)
            return;
    }
}

/* ---- live policy ---- */

uint64_t udp_policy_set(struct udp *u, const struct proxy_policy *policy)
{
    uint64_t cut = 0;

    u->cfg.policy = policy;
    int r = uses_set(&u->uses, &policy->allow);
    if (r < 0)
        log_errno(r, "the uses of the new rules are not counted");
    for (struct udp_flow *f = udp_flow_next(u, NULL), *next; f; f = next) {
        next = udp_flow_next(u, f);
        if (udp_flow_rejudge(f))
            continue;
        udp_flow_deny(f, f->state == FLOW_PEEK ? L7_PORT_DENIED : judge_miss(f->j.protocol), NULL);
        cut++;
    }
    return cut;
}

/* ---- life ---- */

static int udp_fill(struct udp *u)
{
    int r = quic_keys_init(), one = 1;

    if (r < 0)
        return r;
    if (setsockopt(u->sock, SOL_SOCKET, SO_RXQ_OVFL, &one, sizeof(one)) < 0)
        return -errno;
    if (getrandom(&u->seed, sizeof(u->seed), 0) != sizeof(u->seed))
        return -EIO;
    if (uses_set(&u->uses, &u->cfg.policy->allow) < 0)
        return -ENOMEM;
    return udp_denials_new(&u->cfg, u->raw4, u->raw6, &u->denials);
}

static struct udp *udp_drop(struct udp *u)
{
    udp_denials_free(u->denials);
    free(u->buckets);
    uses_done(&u->uses);
    free(u);
    return NULL;
}

int udp_new(const struct udp_config *cfg, int sock, int raw4, int raw6, struct udp **ret)
{
    struct udp *u = calloc(1, sizeof(*u));

    if (!u)
        return -ENOMEM;
    *u = (struct udp){.cfg = *cfg, .sock = sock, .raw4 = raw4, .raw6 = raw6};
    int r = udp_fill(u);
    if (r < 0) {
        udp_drop(u);
        return r;
    }
    ev_io_init(&u->reader, on_readable, sock, EV_READ);
    u->reader.data = u;
    ev_io_start(cfg->loop, &u->reader);
    *ret = u;
    return 0;
}

struct udp *udp_free(struct udp *u)
{
    if (!u)
        return NULL;
    ev_io_stop(u->cfg.loop, &u->reader);
    for (struct udp_flow *f = udp_flow_next(u, NULL); f; f = udp_flow_next(u, NULL))
        udp_flow_free(f);
    u->denials = udp_denials_free(u->denials);
    cleanup_closep(&u->sock);
    cleanup_closep(&u->raw4);
    cleanup_closep(&u->raw6);
    return udp_drop(u);
}

void udp_counters(const struct udp *u, struct udp_counters *ret)
{
    *ret = u->count;
    ret->denied += udp_denials_count(u->denials);
}

uint64_t udp_rule_uses(const struct udp *u, size_t rule)
{
    return uses_of(&u->uses, rule);
}

size_t udp_open(const struct udp *u)
{
    return u->nflows;
}
