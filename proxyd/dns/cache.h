/* SPDX-License-Identifier: MIT */
/* What resolvers answered, by name and type, as it came: nothing is filtered here, because the cells that
 * share it are allowed different things. At most DNS_CACHE_ANSWERS and DNS_CACHE_BYTES; the answer that was
 * used longest ago goes first. Times are CLOCK_BOOTTIME microseconds. */
#pragma once

#include "proxyd/dns/dns.h"
#include "proxyd/dns/table.h"

/* One answer of a resolver. Constant, but for retry_us. */
struct dns_found {
    unsigned refs;
    const struct dns_resolver *resolver; /* borrowed from the authority's upstreams */
    enum dnssec_status dnssec;
    uint32_t ttl_s;    /* fresh for so long; 0: for those who waited for it only */
    uint64_t at_us;    /* when it came */
    uint64_t retry_us; /* the resolvers have failed since: until then it is given stale at once */
    size_t len;
    uint8_t msg[];
};

/* With one reference, or NULL. */
struct dns_found *dns_found_new(const uint8_t *msg, size_t len, uint64_t at_us, uint32_t ttl_s);
struct dns_found *dns_found_ref(struct dns_found *f);
struct dns_found *dns_found_unref(struct dns_found *f); /* accepts NULL; returns NULL */

static inline uint64_t dns_found_fresh_until(const struct dns_found *f)
{
    return f->at_us + (uint64_t)f->ttl_s * 1000000u;
}

struct dns_cache;

/* stale_s: an answer is kept so long after its TTL. NULL on ENOMEM. */
struct dns_cache *dns_cache_new(uint32_t stale_s);
struct dns_cache *dns_cache_free(struct dns_cache *c); /* accepts NULL; returns NULL */

/* A borrowed answer, perhaps past its TTL but not past stale_s, or NULL. */
struct dns_found *dns_cache_get(struct dns_cache *c, const struct dns_key *key, uint64_t now_us);

/* Takes a reference of its own; replaces an older answer. One with ttl_s 0 is not kept. Out of memory: not
 * kept. */
void dns_cache_put(struct dns_cache *c, const struct dns_key *key, struct dns_found *f);
