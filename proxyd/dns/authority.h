/* SPDX-License-Identifier: MIT */
/* What all cells with the same resolvers and the same refresh policy have in common: connections to the
 * resolvers, their answers as they came, and questions under way. Cells whose resolvers or refresh policies
 * differ in a single byte never share one.
 *
 * Everything a cell may or may not is its own all the same: allow list and query types, filters of answers,
 * rebinding policy and history, synthetic addresses, pins, rate limit and events; an answer out of the shared
 * cache is judged for each cell as if it had just come. One thing can be seen across cells: that an answer
 * comes fast may mean that another cell of the same authority has asked for that name. This is accepted:
 * where it is not, resolver ids that differ keep cells apart.
 *
 * Memory: DNS_CACHE_ANSWERS and DNS_CACHE_BYTES for each authority. */
#pragma once

#include "proxyd/dns/cache.h"
#include "proxyd/resolver/forward.h"

struct dns_authority;

/* The one with this policy's resolvers, bootstrap and refresh policy on this loop; made when there is none. A
 * reference is the caller's. 0 or -ENOMEM. */
int dns_authority_get(struct ev_loop *loop, const struct dns_policy *policy,
                      struct dns_authority **ret) MUST_CHECK;
/* Accepts NULL; returns NULL. All lookups of the caller must have ended. */
struct dns_authority *dns_authority_unref(struct dns_authority *a);

/* Would dns_authority_get give this one? */
bool dns_authority_fits(const struct dns_authority *a, const struct dns_policy *policy);

/* What can be said without asking: an answer within its TTL, or one within max_stale_s whose resolvers have
 * just failed (then *ret_stale). Borrowed; NULL: it must be asked for. */
struct dns_found *dns_authority_cached(struct dns_authority *a, const struct dns_key *key, uint64_t now_us,
                                       bool *ret_stale);

struct dns_lookup_result {
    int error;                           /* 0: found; -ETIMEDOUT; another negative errno: resolvers failed */
    struct dns_found *found;             /* borrowed for the call; readable or not: dns_answer_judge says */
    bool stale;                          /* the resolvers failed, this is what they said before */
    const struct dns_resolver *resolver; /* that answered, or was tried last; NULL when there is none */
    uint64_t latency_us;
    enum dnssec_status dnssec;
    bool dnssec_failed; /* bogus, or not secure where that is required: found must not be used */
    const char *dnssec_why;
    uint64_t upstream, strays; /* what it cost; 0 for all but the one who caused it */
};

typedef void (*dns_lookup_cb)(void *data, const struct dns_lookup_result *result);

struct dns_lookup;

/* Asks the resolvers, or joins those who wait for the same question already. cb is called exactly once and
 * never from inside, or, after dns_lookup_cancel, not at all. 0 or -ENOMEM. */
int dns_authority_ask(struct dns_authority *a, const struct dns_key *key, dns_lookup_cb cb, void *data,
                      struct dns_lookup **ret) MUST_CHECK;

/* Accepts NULL; returns NULL. When nobody waits any more the question is given up. */
struct dns_lookup *dns_lookup_cancel(struct dns_lookup *l);
