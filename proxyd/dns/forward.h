/* SPDX-License-Identifier: MIT */
/* One question to the resolvers: a fresh id and a fresh source port for every try, resolvers in order and
 * then once more (LIMIT_DNS_TRIES rounds, LIMIT_DNS_TIMEOUT_MS each, DNS_UPSTREAM_MS in all), TCP when the
 * answer was truncated. */
#pragma once

#include <ev.h>

#include "proxyd/dns/dns.h"
#include "proxyd/dns/wire.h"

struct dns_forward_result {
    int error; /* 0: msg is an answer to the question; -ETIMEDOUT; another negative errno: resolvers failed */
    const uint8_t *msg; /* borrowed for the call */
    size_t len;
    const struct dns_resolver *resolver; /* that answered, or was tried last; NULL when there is none */
    uint64_t latency_us;
};

typedef void (*dns_forward_cb)(void *data, const struct dns_forward_result *result);

struct dns_forward;

/* Sends the first packet at once. cb is called exactly once, never from inside this call, and frees the
 * forward (or the owner frees it earlier: then cb is not called). resolvers and counters are borrowed. 0 or
 * -ENOMEM. */
int dns_forward_new(struct ev_loop *loop, const struct dns_resolver *resolvers, size_t n,
                    const struct dns_question *q, struct dns_counters *counters, dns_forward_cb cb,
                    void *data, struct dns_forward **ret) MUST_CHECK;

struct dns_forward *dns_forward_free(struct dns_forward *f); /* accepts NULL; returns NULL */
