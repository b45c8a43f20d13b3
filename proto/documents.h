/* SPDX-License-Identifier: MIT */
/* Documents too big for a frame; they travel as one sealed memfd (decisions 6). */
#pragma once

#include "proto/limits.h"
#include "proto/schema.h"
#include "proto/words.h"

/* ---- policy: supervisor -> proxyd ---- */
#define POLICY_EGRESS_FIELDS(F, X)                                                                           \
    F(X, STR, REQ, host, "host", _, LIMIT_HOSTNAME) /* name, *.name, literal or CIDR as in the spec */       \
    F(X, UINT, REQ, port_lo, "portLo", _, 65535)                                                             \
    F(X, UINT, REQ, port_hi, "portHi", _, 65535)                                                             \
    F(X, ENUM, REQ, protocol, "protocol", egress_protocol, 0)
SCHEMA_DECLARE(policy_egress, POLICY_EGRESS_FIELDS)

#define POLICY_RESOLVER_FIELDS(F, X)                                                                         \
    F(X, STR, REQ, resolver_id, "resolverId", _, LIMIT_LABEL)                                                \
    F(X, ENUM, REQ, protocol, "protocol", resolver_protocol, 0)                                              \
    F(X, STR, OPT, endpoint, "endpoint", _, LIMIT_ADDR_TEXT) /* ip:port; absent: url names the host */       \
    F(X, STR, OPT, url, "url", _, LIMIT_URL)                 /* doh: RFC 8484 section 4.1, without {?dns} */ \
    F(X, STR, OPT, tls_server_name, "tlsServerName", _, LIMIT_HOSTNAME) /* absent: the endpoint's address */ \
    F(X, BOOL, REQ, dnssec_validate, "dnssecValidate", _, 1)                                                 \
    F(X, BOOL, REQ, dnssec_fail_closed, "dnssecFailClosed", _, 1)                                            \
    F(X, STR, OPT, trust_anchors, "trustAnchors", _,                                                         \
      LIMIT_TRUST_ANCHORS) /* zone file text; absent: built in */
SCHEMA_DECLARE(policy_resolver, POLICY_RESOLVER_FIELDS)

#define POLICY_ANSWER_FIELDS(F, X)                                                                           \
    F(X, STR, REQ, host, "host", _, LIMIT_HOSTNAME)                                                          \
    F(X, STR, REQ, prefix, "prefix", _, LIMIT_ADDR_TEXT)
SCHEMA_DECLARE(policy_answer, POLICY_ANSWER_FIELDS)

#define POLICY_REFRESH_FIELDS(F, X)                                                                          \
    F(X, UINT, OPT, min_ttl_s, "minTtlSeconds", _, UINT32_MAX)                                               \
    F(X, UINT, OPT, max_stale_s, "maxStaleSeconds", _, UINT32_MAX)                                           \
    F(X, ENUM, REQ, strategy, "strategy", refresh_strategy, 0)
SCHEMA_DECLARE(policy_refresh, POLICY_REFRESH_FIELDS)

#define POLICY_REBINDING_FIELDS(F, X)                                                                        \
    F(X, UINT, OPT, max_novel, "maxNovelIpsPerHostname", _, 65535)                                           \
    F(X, BOOL, REQ, reject, "rejectOnRebind", _, 1)
SCHEMA_DECLARE(policy_rebinding, POLICY_REBINDING_FIELDS)

/* The smaller of the operator's and the spec's. Bytes count both directions. */
#define POLICY_QUOTA_FIELDS(F, X)                                                                            \
    F(X, UINT, REQ, max_connections, "maxConnections", _, LIMIT_TCP_OPEN) /* open at a time */               \
    F(X, UINT, OPT, max_bytes, "maxBytes", _, UINT64_MAX)                                                    \
    F(X, UINT, OPT, max_bytes_per_second, "maxBytesPerSecond", _, UINT64_MAX)                                \
    F(X, UINT, REQ, max_dns_per_second, "maxDnsPerSecond", _, LIMIT_DNS_RATE_MAX)
SCHEMA_DECLARE(policy_quota, POLICY_QUOTA_FIELDS)

/* All connections out go through it, by name where a rule names one. */
#define POLICY_UPSTREAM_FIELDS(F, X)                                                                         \
    F(X, ENUM, REQ, kind, "kind", upstream_proxy, 0)                                                         \
    F(X, STR, REQ, endpoint, "endpoint", _, LIMIT_ADDR_TEXT)
SCHEMA_DECLARE(policy_upstream, POLICY_UPSTREAM_FIELDS)

#define POLICY_CDN_FIELDS(F, X)                                                                              \
    F(X, STR, REQ, provider_id, "providerId", _, LIMIT_CELL_ID)                                              \
    F(X, STRS, REQ, patterns, "hostnamePatterns", LIMIT_HOSTNAME, LIMIT_CDN_PATTERNS)
SCHEMA_DECLARE(policy_cdn, POLICY_CDN_FIELDS)

#define POLICY_FIELDS(F, X)                                                                                  \
    F(X, ENUM, REQ, evidence, "evidence", evidence, 0)                                                       \
    F(X, LIST, REQ, egress, "egressRules", policy_egress, LIMIT_EGRESS_RULES)                                \
    F(X, STRS, REQ, dns_names, "hostnameAllowlist", LIMIT_HOSTNAME, LIMIT_DNS_NAMES)                         \
    F(X, STRS, REQ, query_types, "allowedQueryTypes", 16, LIMIT_QUERY_TYPES)                                 \
    F(X, LIST, REQ, resolvers, "resolvers", policy_resolver, LIMIT_RESOLVERS)                                \
    F(X, LIST, REQ, answers, "responseIpAllowlist", policy_answer, LIMIT_ANSWER_RULES)                       \
    F(X, ENUM, REQ, mode, "mode", net_mode, 0)                                                               \
    F(X, ENUM, REQ, answer_mode, "answerMode", answer_mode, 0)                                               \
    F(X, OBJ, OPT, refresh, "refreshPolicy", policy_refresh, 0)                                              \
    F(X, OBJ, OPT, rebinding, "rebindingPolicy", policy_rebinding, 0)                                        \
    F(X, OBJ, REQ, quota, "quota", policy_quota, 0)                                                          \
    F(X, OBJ, OPT, upstream, "upstreamProxy", policy_upstream, 0)                                            \
    F(X, LIST, REQ, cdn, "cdnAuthority", policy_cdn, LIMIT_CDN_PROVIDERS)                                    \
    F(X, STRS, REQ, metadata, "metadataAddresses", LIMIT_ADDR_TEXT, LIMIT_METADATA_PREFIXES)                 \
    F(X, STRS, REQ, bootstrap, "bootstrapResolvers", LIMIT_ADDR_TEXT, LIMIT_RESOLVERS) /* for names in url   \
                                                                                        */
SCHEMA_DECLARE(policy, POLICY_FIELDS)

/* ---- egress rules: supervisor -> cellctl policy ---- */
#define EGRESS_RULES_FIELDS(F, X) F(X, LIST, REQ, rules, "egressRules", policy_egress, LIMIT_EGRESS_RULES)
SCHEMA_DECLARE(egress_rules, EGRESS_RULES_FIELDS)

/* ---- attachments: cellctl -> supervisor: the files that a document names (trustAnchorsPath). cellctl reads
 * them with the caller's rights; the supervisor has no file system. ---- */
#define ATTACHMENT_FIELDS(F, X)                                                                              \
    F(X, STR, REQ, path, "path", _, LIMIT_PATH)                                                              \
    F(X, BIN, REQ, content, "content", _, LIMIT_TRUST_ANCHORS)
SCHEMA_DECLARE(attachment, ATTACHMENT_FIELDS)

#define ATTACHMENTS_FIELDS(F, X) F(X, LIST, REQ, files, "files", attachment, LIMIT_ATTACHMENTS)
SCHEMA_DECLARE(attachments, ATTACHMENTS_FIELDS)

/* ---- launch: supervisor -> zygote -> the cell's child. No secret is in it: those come over the init
 * channel. ---- */
#define LAUNCH_FIELDS(F, X)                                                                                  \
    F(X, STR, REQ, cell_id, "cellId", _, LIMIT_CELL_ID)                                                      \
    F(X, STR, REQ, run_id, "runId", _, LIMIT_RUN_ID)                                                         \
    F(X, STRS, OPT, argv, "argv", LIMIT_ARGV_BYTES, LIMIT_ARGV) /* absent: nothing is run */                 \
    F(X, STR, REQ, working_directory, "workingDirectory", _, LIMIT_PATH)                                     \
    F(X, BOOL, REQ, working_directory_tmpfs, "workingDirectoryTmpfs", _, 1)                                  \
    F(X, STRS, REQ, read_only, "readOnly", LIMIT_PATH, LIMIT_PATHS)                                          \
    F(X, STRS, REQ, read_write, "readWrite", LIMIT_PATH, LIMIT_PATHS)                                        \
    F(X, UINT, REQ, tmpfs_max_bytes, "tmpfsMaxBytes", _, LIMIT_TMPFS)                                        \
    F(X, UINT, REQ, ttl_ms, "ttlMs", _, LIMIT_TTL_S * 1000ull) /* TTL or timeout, the smaller */             \
    F(X, UINT, REQ, grace_ms, "graceMs", _, LIMIT_GRACE_S * 1000ull)                                         \
    F(X, UINT, REQ, nofile_max, "nofileMax", _, UINT32_MAX)
SCHEMA_DECLARE(launch, LAUNCH_FIELDS)
