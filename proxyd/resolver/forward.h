/* SPDX-License-Identifier: MIT */
/* One question to the resolvers of an authority: in their order, those that fail behind the others; the next
 * one as well when the first is slower than it mostly is, and the first good answer wins; LIMIT_DNS_TRIES
 * rounds, LIMIT_DNS_TIMEOUT_MS a try, DNS_UPSTREAM_MS in all. */
#pragma once

#include <ev.h>

#include "proxyd/dns/dns.h"
#include "proxyd/dns/wire.h"
#include "proxyd/resolver/upstream.h"

struct dns_forward_result {
    int error; /* 0: msg is an answer to the question; -ETIMEDOUT; another negative errno: resolvers failed */
    const uint8_t *msg; /* borrowed for the call; its id means nothing */
    size_t len;
    const struct dns_resolver *resolver; /* that answered, or was tried last; NULL when there is none */
    uint64_t latency_us;
    enum dnssec_status dnssec; /* dnssec_status_absent: the resolver's answers are not validated */
    const char *dnssec_why;    /* bogus, insecure, indeterminate: why, for the event; may be NULL */
    const char *why;           /* of an error, more than errno says: "certificate: ..."; may be NULL */
};

typedef void (*dns_forward_cb)(void *data, const struct dns_forward_result *result);

struct dns_forward;

/* Sends the first packet at once. cb is called exactly once, never from inside this call, and frees the
 * forward (or the owner frees it earlier: then cb is not called). all and counters are borrowed. A
 * bogus answer is an answer: error 0, dnssec DNSSEC_BOGUS; it must not be used. 0 or -ENOMEM. */
int dns_forward_new(struct dns_upstreams *all, const struct dns_question *q, struct dns_counters *counters,
                    dns_forward_cb cb, void *data, struct dns_forward **ret) MUST_CHECK;

struct dns_forward *dns_forward_free(struct dns_forward *f); /* accepts NULL; returns NULL */
