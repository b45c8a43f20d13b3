/* SPDX-License-Identifier: MIT */
/* A resolver's message taken apart: which records belong to the question at all, and how long it is good for.
 * The same for every cell; what one of them may have of it: answer.h. */
#pragma once

#include "proxyd/dns/dns.h"
#include "proxyd/dns/wire.h"

struct dns_parsed {
    const struct dns_question *q;
    const uint8_t *msg; /* borrowed */
    size_t len;
    uint8_t rcode;
    uint32_t negative_ttl; /* from the authority's SOA (RFC 2308 section 5); 0 without one */
    size_t n;
    struct dns_rr rr[DNS_ANSWERS_MAX];
    const char *why[DNS_ANSWERS_MAX]; /* NULL: it belongs to the question */
    bool followed[DNS_ANSWERS_MAX];   /* a CNAME of the chain */
    size_t nchain;
    struct dns_wire_name chain[DNS_CHAIN_MAX + 1]; /* the name asked, then CNAME targets */
};

/* msg answers q (dns_response_matches). 0; -EBADMSG when it is broken, over the limits, or an error other
 * than NXDOMAIN: then only rcode says something. */
int dns_parsed_read(const struct dns_question *q, const uint8_t *msg, size_t len,
                    struct dns_parsed *ret) MUST_CHECK;

/* Is this record what was asked for (not only on the way to it)? */
bool dns_parsed_answers(const struct dns_parsed *p, const struct dns_rr *rr);

/* A record's TTL, at most DNS_TTL_MAX_S. */
uint32_t dns_parsed_ttl(const struct dns_rr *rr);

/* Seconds for which the message may be kept: the least TTL of what belongs to the question, but at least
 * min_ttl_s; or for a negative answer that of RFC 2308, at most DNS_NEGATIVE_TTL_MAX_S, and 0 without an SOA.
 */
uint32_t dns_parsed_keep_s(const struct dns_parsed *p, uint32_t min_ttl_s);

/* The address in an A or AAAA record; false for any other, and for one of the wrong length. */
bool dns_rr_addr(const uint8_t *base, const struct dns_rr *rr, struct addr *ret);
/* The name that is the whole rdata (CNAME, DNAME). 0 or -EBADMSG. */
int dns_rr_target(const uint8_t *base, const struct dns_rr *rr, struct dns_wire_name *ret) MUST_CHECK;
