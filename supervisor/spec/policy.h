/* SPDX-License-Identifier: MIT */
/* From a checked spec to what the daemons are told. Everything returned points into the spec and the given
 * arena, which must outlive it. Pure functions. */
#pragma once

#include "proto/documents.h"
#include "supervisor/spec/spec.h"

/* What the operator decides, whatever a spec says (operator.h fills it). */
struct policy_operator {
    uint32_t evidence; /* enum evidence */
    uint32_t mode;     /* enum net_mode */
    struct spec_quota quota;
    const struct policy_upstream *upstream; /* NULL = connections go out directly */
    struct strs metadata;                   /* metadata addresses and prefixes that specs may list */
};

/* What the host has: its nameservers (resolv_conf_parse), used when the spec declares no resolver, and asked
 * for the host names of DoH URLs; at most LIMIT_RESOLVERS. */
struct policy_host {
    const struct endpoint_addr *resolvers;
    size_t nresolvers;
};

enum {
    POLICY_OK = 0,
    POLICY_NO_RESOLVER = 1, /* names are to be resolved, but neither the spec nor the host has a nameserver */
    POLICY_NO_BOOTSTRAP = 2, /* a DoH URL names its host, and the host has no nameserver to resolve that */
};

/* proxyd's and netd's policy. Without dnsAuthority the names of the egress rules are the allow list. Quotas
 * are the smaller of the operator's and the spec's. POLICY_OK; POLICY_NO_RESOLVER and
 * POLICY_NO_BOOTSTRAP (*ret untouched); or -ENOMEM. */
int policy_of_spec(const struct spec *s, const struct policy_operator *op, const struct policy_host *host,
                   struct arena *a, struct policy *ret) MUST_CHECK;

/* One sentence each. */
#define POLICY_NO_RESOLVER_TEXT                                                                              \
    "there is no nameserver: /etc/resolv.conf names none, so declare one (--dns IP, or "                     \
    "dnsAuthority.resolvers)"
#define POLICY_NO_BOOTSTRAP_TEXT                                                                             \
    "an https URL names its host, and /etc/resolv.conf has no nameserver to resolve that name: write the "   \
    "URL with an address, and the name as tlsServerName"

/* What the cell's child is told; no secret is in it. run_id is copied. A private tmpfs is laid over the
 * working directory unless a readWrite or readOnly path holds it: what a spec brings in is never hidden.
 * -ENOMEM or 0. */
int policy_launch(const struct spec *s, struct str run_id, uint64_t nofile_max, struct arena *a,
                  struct launch *ret) MUST_CHECK;

/* When the cell ends by the clock: the smaller of ttlSeconds and timeoutMs; a tie goes to timeoutMs
 * (vocabulary 3). */
struct policy_deadline {
    uint64_t ms;
    bool is_timeout; /* run.timeoutMs, else lifetime.ttlSeconds */
};
struct policy_deadline policy_deadline(const struct spec *s);

/* The event network_scope: the declared egress and DNS authority as the policy has them, cut to what one
 * event holds. -ENOMEM or 0. */
int policy_network_scope(const struct policy *p, struct arena *a, struct ev_network_scope *ret) MUST_CHECK;

/* "host:443/tls" or "host:8000-8100/any": how events name an egress rule. Returns dst. */
#define POLICY_RULE_TEXT_MAX 320
const char *policy_rule_text(const struct policy_egress *r, char dst[POLICY_RULE_TEXT_MAX]);
