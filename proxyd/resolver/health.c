/* SPDX-License-Identifier: MIT */
#include "proxyd/resolver/server.h"

static void latency_put(struct dns_health *h, uint64_t us)
{
    h->latency_us[h->nlatencies++ % DNS_LATENCIES] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
    if (h->nlatencies == 2 * DNS_LATENCIES)
        h->nlatencies = DNS_LATENCIES;
}

void dns_health_ok(struct dns_health *h, uint64_t latency_us)
{
    h->failures = 0;
    h->down_ms = 0;
    h->down_until_us = 0;
    latency_put(h, latency_us);
}

bool dns_health_failed(struct dns_health *h, uint64_t now_us)
{
    if (++h->failures < DNS_DOWN_AFTER || now_us < h->down_until_us)
        return false;
    h->down_ms = h->down_ms ? 2 * h->down_ms : DNS_DOWN_MIN_MS;
    if (h->down_ms > DNS_DOWN_MAX_MS)
        h->down_ms = DNS_DOWN_MAX_MS;
    h->down_until_us = now_us + 1000 * h->down_ms;
    return true;
}

bool dns_health_lost(struct dns_health *h, uint64_t latency_us, uint64_t now_us)
{
    latency_put(h, latency_us);
    return dns_health_failed(h, now_us);
}

unsigned dns_health_hedge_ms(const struct dns_health *h)
{
    unsigned n = h->nlatencies < DNS_LATENCIES ? h->nlatencies : DNS_LATENCIES;
    uint32_t sorted[DNS_LATENCIES];

    if (n < DNS_LATENCIES_MIN)
        return DNS_HEDGE_START_MS;
    for (unsigned i = 0; i < n; i++) {
        unsigned at = i;
        for (; at > 0 && sorted[at - 1] > h->latency_us[i]; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = h->latency_us[i];
    }
    uint32_t ms = sorted[(n * 95 - 1) / 100] / 1000 + 1;
    return ms < DNS_HEDGE_MIN_MS ? DNS_HEDGE_MIN_MS : ms > DNS_HEDGE_MAX_MS ? DNS_HEDGE_MAX_MS : ms;
}

size_t dns_health_order(struct dns_upstreams *all, uint64_t now_us, struct dns_server *ret[LIMIT_RESOLVERS])
{
    size_t n = 0;

    for (unsigned down = 0; down < 2; down++)
        for (size_t i = 0; i < all->n; i++)
            if ((now_us < all->v[i].health.down_until_us) == (down == 1))
                ret[n++] = &all->v[i];
    return n;
}
