/* SPDX-License-Identifier: MIT */
/* From a checked spec to what the daemons are told. Everything returned points into the spec and the given
 * arena, which must outlive it. Pure functions. */
#pragma once

#include "proto/documents.h"
#include "supervisor/spec/spec.h"

enum {
    POLICY_OK = 0,
    POLICY_NO_RESOLVER = 1, /* names are to be resolved, but neither the spec nor the host has a nameserver */
};

/* proxyd's policy. evidence: enum evidence. host/nhost: the host's nameservers (resolv_conf_parse), used when
 * the spec declares no resolver; at most LIMIT_RESOLVERS. Without dnsAuthority the names of the egress rules
 * are the allow list. POLICY_OK, POLICY_NO_RESOLVER (*ret untouched), or -ENOMEM. */
int policy_of_spec(const struct spec *s, uint32_t evidence, const struct endpoint_addr *host, size_t nhost,
                   struct arena *a, struct policy *ret) MUST_CHECK;

/* One sentence for POLICY_NO_RESOLVER. */
#define POLICY_NO_RESOLVER_TEXT                                                                              \
    "there is no nameserver: /etc/resolv.conf names none, so declare one (--dns IP, or "                     \
    "dnsAuthority.resolvers)"

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
