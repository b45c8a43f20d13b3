/* SPDX-License-Identifier: MIT */
/* A resolver's answer as one cell sees it: judged once, when the cell meets it, and kept beside the shared
 * answer as long as that is the latest. At most LIMIT_DNS_CACHE of one cell and DNS_VIEW_BYTES. */
#pragma once

#include "proxyd/dns/answer.h"
#include "proxyd/dns/cache.h"
#include "proxyd/dns/tunnel.h"

struct dns_cell;

struct dns_view {
    struct dns_node node; /* first */
    bool linked;          /* in the cell's table */
    unsigned refs;
    struct dns_found *found;
    bool stale;
    struct dns_verdict *verdict;
    enum dns_reason_code reason;  /* for the cell; proxyd's own dials go by the verdict's */
    bool synthetic;               /* given is not the verdict's reply */
    struct dns_reply *given;      /* to the cell */
    struct dns_texts given_texts; /* of a synthetic one */
    bool said;                    /* there is nothing about it that a dns_answer still has to say */
    bool listed;                  /* the name is one that the cell may ask for, not only proxyd */
    bool used;                    /* since it was asked for last */
    bool pinned;                  /* its addresses are ... */
    uint64_t lost;                /* ... as of dns_pins_lost */
    bool reachable;               /* the pin function has done its part */
    struct dns_tunnel_mark mark;
};

/* The cell's view of this answer to this question, with a reference; a new one is announced with its drift
 * and rebinding events. 0 or -ENOMEM. */
int dns_view_get(struct dns_cell *cell, const struct dns_key *key, struct dns_found *found, bool stale,
                 struct dns_view **ret) MUST_CHECK;
struct dns_view *dns_view_unref(struct dns_view *v); /* accepts NULL; returns NULL */

/* Every view is forgotten (by the table; references stay good). */
void dns_view_clear(struct dns_cell *cell);

/* What the cell is given, or for proxyd's own dials the real thing; NULL: SERVFAIL. */
static inline struct dns_reply *dns_view_reply(const struct dns_view *v, bool own)
{
    return own ? v->verdict->reply : v->given;
}
static inline enum dns_reason_code dns_view_reason(const struct dns_view *v, bool own)
{
    return own ? v->verdict->reason : v->reason;
}
static inline const struct dns_texts *dns_view_texts(const struct dns_view *v, bool own)
{
    return v->synthetic && !own ? &v->given_texts : &v->verdict->kept;
}
