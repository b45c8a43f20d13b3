/* SPDX-License-Identifier: MIT */
/* The addresses of the host in a DoH url, looked up by plain DNS at the bootstrap resolvers and kept for
 * their TTL. Who forges them gains nothing but a failed handshake: the certificate must name the host. */
#pragma once

#include "proxyd/resolver/upstream.h"

#define DNS_BOOTSTRAP_TTL_MIN_S 30u
#define DNS_BOOTSTRAP_TTL_MAX_S 86400u
#define DNS_BOOTSTRAP_ADDRS     LIMIT_DIAL_ADDRS

struct dns_bootstrap;
struct dns_boot_lookup;

/* Copies host and resolvers; without a resolver every lookup fails. 0, -EINVAL (no host name), -ENOMEM. */
int dns_bootstrap_new(struct ev_loop *loop, const char *host, const struct endpoint_addr *resolvers, size_t n,
                      struct dns_bootstrap **ret) MUST_CHECK;
struct dns_bootstrap *dns_bootstrap_free(struct dns_bootstrap *b); /* after its lookups; accepts NULL */

/* error 0: n >= 1 addresses, IPv6 and IPv4 in turn, borrowed for the call; perhaps past their TTL when the
 * resolvers did not answer. */
typedef void (*dns_boot_cb)(void *data, int error, const struct addr *addrs, size_t n);

/* cb comes once, never from inside this call, and *ret is gone with it. 0 or -ENOMEM. */
int dns_boot_lookup_new(struct dns_bootstrap *b, dns_boot_cb cb, void *data,
                        struct dns_boot_lookup **ret) MUST_CHECK;
struct dns_boot_lookup *
dns_boot_lookup_free(struct dns_boot_lookup *l); /* no call-back any more; accepts NULL */
