/* SPDX-License-Identifier: MIT */
/* What a cell's hostnames resolved to before. The first answer of each family to a hostname is what it is;
 * from then on a changed set is a drift, and addresses that the hostname never had before count against
 * maxNovelIpsPerHostname. The history is the cell's own: what another cell was given says nothing. */
#pragma once

#include "proxyd/dns/dns.h"

#define DNS_HISTORY_NAMES 4096u /* hostnames of one cell ... */
#define DNS_HISTORY_ADDRS 512u  /* ... and addresses of one hostname that are remembered */

#define DNS_SET_DIGEST_MAX (LIMIT_DIGEST + 1)

struct dns_history; /* NULL: nothing was answered yet */

struct dns_novelty {
    bool drift; /* the set differs from the one before: */
    char previous[DNS_SET_DIGEST_MAX];
    char current[DNS_SET_DIGEST_MAX];
    bool threshold; /* this answer is the one that passed the threshold (and, when nothing is rejected, each
                       that adds to it) */
    uint32_t novel; /* addresses beyond the first answers, so far and in this one */
    size_t nover;   /* addresses of this answer beyond maxNovelIpsPerHostname: */
    bool over[DNS_ANSWERS_MAX];
};

/* The (permitted) addresses of one answer for A or AAAA; at most DNS_ANSWERS_MAX, none: nothing is learned.
 * *h is made when it is NULL. Without room for one more hostname the one that was answered longest ago is
 * forgotten, unless the policy counts novel addresses: then all of the new one's are over (to forget would be
 * a way around the count). 0 or -ENOMEM. */
int dns_history_judge(struct dns_history **h, const struct dns_policy *policy, const struct name *name,
                      uint16_t qtype, const struct addr *addrs, size_t n, struct dns_novelty *ret) MUST_CHECK;

/* Has this hostname had this address, by an answer that was handed on? For hints. Accepts NULL. */
bool dns_history_knows(const struct dns_history *h, const struct name *name, const struct addr *addr);

struct dns_history *dns_history_free(struct dns_history *h); /* accepts NULL; returns NULL */
