/* SPDX-License-Identifier: MIT */
#include "proxyd/udp/udp_deny.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "proxyd/l7_event.h"
#include "proxyd/udp/icmp.h"

#define REPEAT_MS   1000u
#define WAITING_MAX 64u /* denials that wait for the name of their process; more are claimed without */

/* A flow that was denied a moment ago. A place may be taken over by another flow: then the first one gets an
 * event more, never one less. */
struct denied {
    struct endpoint_addr from, to;
    uint64_t until_ms;
};

/* One denial whose process is being asked for. */
struct waiting {
    struct udp_denials *n;
    struct waiting *next, **at;
    struct process_ask *ask;
    struct judgement j;
    struct endpoint_addr from, to, dialed;
    bool has_dialed;
    size_t len, nquote;
    uint8_t quote[ICMP_QUOTE_MAX];
};

struct udp_denials {
    const struct udp_config *cfg;
    int raw4, raw6;
    uint64_t count;
    struct waiting *list;
    size_t nwaiting;
    struct denied *recent; /* UDP_DENIED_FLOWS, from the first denial on */
};

void udp_unreachable(struct udp_denials *n, const struct udp_datagram *d)
{
    uint8_t packet[ICMP_PACKET_MAX];
    struct endpoint_addr host = {.addr = d->from.addr};
    struct sockaddr_storage ss;
    size_t nquote = !d->p ? 0 : d->len < ICMP_QUOTE_MAX ? d->len : ICMP_QUOTE_MAX;

    if (d->from.addr.family != d->to.addr.family || addr_classify(&d->to.addr) == ADDR_MULTICAST)
        return; /* RFC 1122 section 3.2.2: no error about a multicast */
    size_t len = icmp_port_unreachable(&d->from, &d->to, d->len, d->p, nquote, packet);
    socklen_t nss = addr_to_sockaddr(&host, &ss); /* port 0: a raw socket takes nothing else */
    int raw = d->to.addr.family == AF_INET6 ? n->raw6 : n->raw4;
    if (sendto(raw, packet, len, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&ss, nss) < 0)
        log_debug("a denied datagram stays unanswered");
}

/* ---- one event a flow and second ---- */

static size_t place_of(const struct udp_datagram *d)
{
    uint32_t h = 2166136261u; /* FNV-1a; who makes two flows meet here earns himself more events */

    for (size_t i = 0; i < sizeof(d->to.addr.bytes); i++)
        h = (h ^ d->to.addr.bytes[i]) * 16777619u;
    h = (h ^ d->to.port) * 16777619u;
    h = (h ^ d->from.port) * 16777619u;
    return (h ^ h >> 16) % UDP_DENIED_FLOWS;
}

static bool endpoint_eq(const struct endpoint_addr *a, const struct endpoint_addr *b)
{
    return a->port == b->port && addr_eq(&a->addr, &b->addr);
}

bool udp_denied_lately(const struct udp_denials *n, const struct udp_datagram *d)
{
    const struct denied *place = n->recent ? &n->recent[place_of(d)] : NULL;

    return place && clock_boottime_us() / 1000 < place->until_ms && endpoint_eq(&place->from, &d->from) &&
           endpoint_eq(&place->to, &d->to);
}

static void remember(struct udp_denials *n, const struct udp_datagram *d)
{
    if (!n->recent)
        n->recent = calloc(UDP_DENIED_FLOWS, sizeof(*n->recent));
    if (n->recent) /* else every denial has its event, as far as those have room */
        n->recent[place_of(d)] = (struct denied){d->from, d->to, clock_boottime_us() / 1000 + REPEAT_MS};
}

/* ---- the event, with the process where it can be known ---- */

/* The answer comes after the process was asked for: its first effect may be that the socket is closed. */
static void waiting_end(struct waiting *w, const struct ev_process *process)
{
    struct udp_datagram d = {w->from, w->to, w->nquote > 0 ? w->quote : NULL, w->len};
    struct udp_denials *n = w->n;
    const struct l7_decision deny = {
        .j = &w->j, .original = &w->to, .dialed = w->has_dialed ? &w->dialed : NULL, .process = process};

    l7_claim_deny(n->cfg->claims, &deny);
    udp_unreachable(n, &d);
    process_cancel(w->ask);
    *w->at = w->next;
    if (w->next)
        w->next->at = w->at;
    n->nwaiting--;
    free(w);
}

static void on_process(void *self, const struct ev_process *process)
{
    struct waiting *w = self;

    w->ask = NULL;
    waiting_end(w, process);
}

static struct waiting *waiting_new(struct udp_denials *n, const struct judgement *j,
                                   const struct udp_datagram *d, const struct endpoint_addr *dialed)
{
    struct waiting *w = n->nwaiting < WAITING_MAX ? calloc(1, sizeof(*w)) : NULL;

    if (!w)
        return NULL;
    *w = (struct waiting){.n = n, .j = *j, .from = d->from, .to = d->to, .len = d->len, .has_dialed = dialed};
    if (dialed)
        w->dialed = *dialed;
    w->nquote = !d->p ? 0 : d->len < ICMP_QUOTE_MAX ? d->len : ICMP_QUOTE_MAX;
    if (w->nquote > 0)
        memcpy(w->quote, d->p, w->nquote);
    w->next = n->list;
    w->at = &n->list;
    if (w->next)
        w->next->at = &w->next;
    n->list = w;
    n->nwaiting++;
    return w;
}

void udp_deny(struct udp_denials *n, const struct judgement *j, const struct udp_datagram *d,
              const struct endpoint_addr *dialed)
{
    n->count++;
    if (udp_denied_lately(n, d)) {
        claims_lost(n->cfg->claims, GAP_DENIALS, 1);
        udp_unreachable(n, d);
        return;
    }
    remember(n, d);
    struct waiting *w = n->cfg->process ? waiting_new(n, j, d, dialed) : NULL;
    if (!w) {
        l7_claim_deny(n->cfg->claims, &(struct l7_decision){.j = j, .original = &d->to, .dialed = dialed});
        udp_unreachable(n, d);
    } else if (process_ask(n->cfg->process, TRANSPORT_UDP, &d->from, &d->to, on_process, w, &w->ask) < 0) {
        waiting_end(w, NULL);
    }
}

/* ---- life ---- */

int udp_denials_new(const struct udp_config *cfg, int raw4, int raw6, struct udp_denials **ret)
{
    struct udp_denials *n = calloc(1, sizeof(*n));

    if (!n)
        return -ENOMEM;
    n->cfg = cfg;
    n->raw4 = raw4;
    n->raw6 = raw6;
    *ret = n;
    return 0;
}

struct udp_denials *udp_denials_free(struct udp_denials *n)
{
    if (!n)
        return NULL;
    for (struct waiting *w = n->list, *next; w; w = next) {
        next = w->next;
        waiting_end(w, NULL);
    }
    free(n->recent);
    free(n);
    return NULL;
}

uint64_t udp_denials_count(const struct udp_denials *n)
{
    return n->count;
}
