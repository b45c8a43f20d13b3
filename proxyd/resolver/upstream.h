/* SPDX-License-Identifier: MIT */
/* The resolvers of one authority with everything that outlives a question: connections, TLS sessions,
 * cookies, health, latencies, validators. All cells with the same resolvers share one, so that connections
 * are reused. */
#pragma once

#include <ev.h>

#include "proxyd/dns/dns.h"

struct dns_upstreams;

/* Copies resolvers (at most LIMIT_RESOLVERS are used) and bootstrap, which is where names in DoH urls are
 * looked up by plain DNS; nothing is opened before the first question. n == 0: every question fails. 0,
 * -EINVAL (a url without a host), -ENOMEM, -EIO. */
int dns_upstreams_new(struct ev_loop *loop, const struct dns_resolver *resolvers, size_t n,
                      const struct endpoint_addr *bootstrap, size_t nbootstrap,
                      struct dns_upstreams **ret) MUST_CHECK;

/* Closes everything. Every dns_forward of it must be freed before. Not from inside a call-back of one.
 * Accepts NULL; returns NULL. */
struct dns_upstreams *dns_upstreams_free(struct dns_upstreams *all);

/* The same server, asked and judged in the same way (the ids may differ)? */
bool dns_resolver_eq(const struct dns_resolver *a, const struct dns_resolver *b);

/* "https://dns.example/dns-query", "https://[2001:db8::1]:8443/q?x": scheme https only, no user, no fragment,
 * port 443 unless it says else. 0 or -EINVAL. */
int dns_url_parse(struct str s, struct dns_url *ret) MUST_CHECK;
