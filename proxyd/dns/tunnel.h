/* SPDX-License-Identifier: MIT */
/* Hints of data in query names: for each registrable domain ("apex", by the public suffix list that is built
 * into libpsl) how often it was asked for, under how many names, and how random they look. Counts what the
 * cell asks, allowed or not. Never judges a query: the figures go into the cell's homeostasis event. */
#pragma once

#include "proxyd/dns/dns.h"

#define DNS_APEXES_TRACKED 64u /* of one cell; the one that was asked for least makes room */

/* Suspicious: so many different names below one apex ... */
#define DNS_TUNNEL_NAMES 128u
/* ... and the bytes left of the apex are so many in the mean, or one label carries so much for each of its
 * characters (hex digits at random: 4000, words: about 3000). */
#define DNS_TUNNEL_LABEL_BYTES       32u
#define DNS_TUNNEL_ENTROPY_MILLIBITS 3800u

struct dns_tunnel; /* NULL: nothing was asked yet */

/* Where a name was counted, so that its repeats cost nothing. */
struct dns_tunnel_mark {
    uint32_t slot;   /* + 1; 0: nowhere */
    uint32_t serial; /* of the apex in that slot */
    uint32_t label_bytes;
};

/* A question with this name. *t is made when it is NULL; out of memory nothing is counted. */
void dns_tunnel_note(struct dns_tunnel **t, const struct name *name, struct dns_tunnel_mark *ret);
/* The same name again. */
void dns_tunnel_again(struct dns_tunnel *t, const struct dns_tunnel_mark *mark);

/* At most max: the suspicious ones first, then by queries. Returns how many. Accepts NULL. */
size_t dns_tunnel_apexes(const struct dns_tunnel *t, struct dns_apex *ret, size_t max);

struct dns_tunnel *dns_tunnel_free(struct dns_tunnel *t); /* accepts NULL; returns NULL */
