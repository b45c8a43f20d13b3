/* SPDX-License-Identifier: MIT */
/* What the operator of a host decides for every cell: apiVersion cellos.io/v1, kind OperatorConfig. Its spec:
 *
 *   evidence   "strict" (default) or "async"
 *   network    { mode?: "intercept" (default), "none" or "routed", routedPool?: a prefix or two (IPv4, IPv6),
 *                upstreamProxy?: { kind: "connect" or "socks5", endpoint: IP:PORT },
 *                quota?: as egressQuota of a spec; the smaller one counts; maxDnsPerSecond may be greater
 *                than LIMIT_DNS_PER_SECOND here,
 *                metadataAddresses[]?: cloud metadata addresses that specs may list,
 *                caFile?: certificates for dot and doh resolvers; the system's unless given }
 *   log        { seal?: "event" (default) or "batch", segmentBytes?, segmentAgeSeconds?: when a segment is
 * closed, retainBytes?, retainAgeSeconds?: closed segments beyond that are pruned; 0 (default): none,
 *                redact?: names of fields of events whose values are left out, or "defaults"
 * (proto/redact.h), quota?: { maxEventsPerSecond?, maxEvents?, maxBytes? }: what proxyd (and netd, but for
 * the rate) may say of one cell; the rate follows network.quota.maxDnsPerSecond unless given }
 *
 * Unknown keys, wrong types and values out of range are violations as in a spec. No spec can change any of
 * it. */
#pragma once

#include "proto/redact.h"
#include "supervisor/spec/policy.h"
#include "supervisor/spec/violation.h"

#define OPERATOR_KIND        "OperatorConfig"
#define OPERATOR_ROUTED_POOL 128u /* bytes of routedPool */

/* What signerd is started with. */
struct operator_log {
    uint32_t seal; /* enum seal_mode */
    uint64_t segment_bytes, segment_age_s;
    uint64_t retain_bytes, retain_age_s; /* 0: everything is kept */
    struct redact redact;
    uint64_t quota_rate, quota_events, quota_bytes; /* 0: signerd's defaults */
};

struct operator_config {
    struct arena arena; /* owns everything below */
    struct policy_operator network;
    struct operator_log log;
    bool has_evidence;      /* the document says it */
    struct str routed_pool; /* absent; canonical, "10.0.0.0/16" or "10.0.0.0/16,fd00::/48" */
    struct str ca_file;     /* absolute; absent: the system's */
};

enum { OPERATOR_OK = 0, OPERATOR_INVALID = 1 };

/* OPERATOR_OK with *ret; OPERATOR_INVALID with violations in out (zero at the start) and *ret untouched; a
 * negative errno. */
int operator_parse(struct str bytes, struct operator_config **ret, struct violations *out) MUST_CHECK;

/* What holds without any document. 0 or -ENOMEM. */
int operator_default(struct operator_config **ret) MUST_CHECK;

/* The events a second that a cell's proxyd may claim; 0: signerd's default. */
uint64_t operator_quota_rate(const struct operator_config *c);

/* NULL-safe; returns NULL. */
struct operator_config *operator_free(struct operator_config *c);
void operator_freep(struct operator_config **c);
