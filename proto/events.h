/* SPDX-License-Identifier: MIT */
/* Every event the suite can emit: one row a type (who may claim it, in which states of the cell) and one
 * record a data object. Emitters send these typed fields; only signerd renders JSON, and it stamps cellId,
 * specId, runId and, where known, policyDigest and correlationId into every data object itself. cellctl,
 * tests and docs read the same table.
 *
 * Lists that outgrow one event are cut at whole entries by the emitter: <field>Truncated, <field>Count,
 * <field>Digest (SHA-256 over the complete list's encoding). */
#pragma once

#include "proto/limits.h"
#include "proto/schema.h"
#include "proto/words.h"

#define EVENT_TYPE_PREFIX "dev.cellos.events.cell."

/* States of a cell at signerd (decisions 45). */
#define CELL_STATE_OPENED  1u
#define CELL_STATE_STARTED 2u
#define CELL_STATE_ENDED   4u
#define CELL_STATE_LOG     8u /* no cell: the log itself speaks (role signerd only) */

/* ---- nested records ---- */
#define EV_ISOLATION_FIELDS(F, X)                                                                            \
    F(X, STRS, REQ, namespaces, "namespaces", 16, 16)                                                        \
    F(X, STR, REQ, cgroup, "cgroup", _, 64)                                                                  \
    F(X, STR, REQ, seccomp, "seccomp", _, 128)                                                               \
    F(X, STR, REQ, landlock, "landlock", _, 64)                                                              \
    F(X, STR, REQ, uid_map, "uidMap", _, 128)                                                                \
    F(X, STR, OPT, supplementary_groups, "supplementaryGroups", _, 256)
SCHEMA_DECLARE(ev_isolation, EV_ISOLATION_FIELDS)

#define EV_VIOLATION_FIELDS(F, X)                                                                            \
    F(X, STR, REQ, path, "path", _, 256)                                                                     \
    F(X, STR, REQ, rule, "rule", _, 64)                                                                      \
    F(X, STR, REQ, message, "message", _, 512)
SCHEMA_DECLARE(ev_violation, EV_VIOLATION_FIELDS)

#define EV_USAGE_FIELDS(F, X)                                                                                \
    F(X, UINT, OPT, cpu_micros, "cpuMicros", _, UINT64_MAX)                                                  \
    F(X, UINT, OPT, memory_peak_bytes, "memoryPeakBytes", _, UINT64_MAX)                                     \
    F(X, UINT, OPT, pids_peak, "pidsPeak", _, UINT32_MAX)
SCHEMA_DECLARE(ev_usage, EV_USAGE_FIELDS)

#define EV_PROVENANCE_FIELDS(F, X)                                                                           \
    F(X, STR, REQ, parent, "parent", _, LIMIT_LABEL)                                                         \
    F(X, ENUM, REQ, parent_type, "parentType", parent_type, 0)
SCHEMA_DECLARE(ev_provenance, EV_PROVENANCE_FIELDS)

#define EV_PLACEMENT_FIELDS(F, X)                                                                            \
    F(X, STR, OPT, pool_id, "poolId", _, LIMIT_LABEL)                                                        \
    F(X, STR, OPT, kubernetes_namespace, "kubernetesNamespace", _, 63)                                       \
    F(X, STR, OPT, queue_name, "queueName", _, LIMIT_LABEL)
SCHEMA_DECLARE(ev_placement, EV_PLACEMENT_FIELDS)

#define EV_LABEL_FIELDS(F, X)                                                                                \
    F(X, STR, REQ, key, "key", _, LIMIT_LABEL)                                                               \
    F(X, STR, REQ, value, "value", _, LIMIT_LABEL)
SCHEMA_DECLARE(ev_label, EV_LABEL_FIELDS)

#define EV_CORRELATION_FIELDS(F, X)                                                                          \
    F(X, STR, OPT, platform, "platform", _, LIMIT_LABEL)                                                     \
    F(X, STR, OPT, external_run_id, "externalRunId", _, LIMIT_LABEL)                                         \
    F(X, STR, OPT, external_job_id, "externalJobId", _, LIMIT_LABEL)                                         \
    F(X, STR, OPT, tenant_id, "tenantId", _, LIMIT_LABEL)                                                    \
    F(X, STR, OPT, correlation_id, "correlationId", _, LIMIT_LABEL)                                          \
    F(X, LIST, OPT, labels, "labels", ev_label, LIMIT_LABELS)
SCHEMA_DECLARE(ev_correlation, EV_CORRELATION_FIELDS)

#define EV_EGRESS_FIELDS(F, X)                                                                               \
    F(X, STR, REQ, host, "host", _, LIMIT_HOSTNAME)                                                          \
    F(X, STR, REQ, port, "port", _, 11)                                                                      \
    F(X, ENUM, REQ, protocol, "protocol", egress_protocol, 0)
SCHEMA_DECLARE(ev_egress, EV_EGRESS_FIELDS)

#define EV_RESOLVER_FIELDS(F, X)                                                                             \
    F(X, STR, REQ, resolver_id, "resolverId", _, LIMIT_LABEL)                                                \
    F(X, ENUM, REQ, protocol, "protocol", resolver_protocol, 0)                                              \
    F(X, STR, REQ, endpoint, "endpoint", _, LIMIT_URL)                                                       \
    F(X, BOOL, OPT, dnssec_validate, "dnssecValidate", _, 1)                                                 \
    F(X, BOOL, OPT, dnssec_fail_closed, "dnssecFailClosed", _, 1)
SCHEMA_DECLARE(ev_resolver, EV_RESOLVER_FIELDS)

#define EV_DNS_RECORD_FIELDS(F, X)                                                                           \
    F(X, STR, REQ, name, "name", _, LIMIT_HOSTNAME)                                                          \
    F(X, STR, REQ, type, "type", _, 16)                                                                      \
    F(X, UINT, REQ, ttl, "ttl", _, UINT32_MAX)                                                               \
    F(X, STR, REQ, data, "data", _, LIMIT_HOSTNAME)
SCHEMA_DECLARE(ev_dns_record, EV_DNS_RECORD_FIELDS)

#define EV_DNS_REMOVED_FIELDS(F, X)                                                                          \
    F(X, STR, REQ, type, "type", _, 16)                                                                      \
    F(X, STR, REQ, data, "data", _, LIMIT_HOSTNAME)                                                          \
    F(X, ENUM, REQ, reason_code, "reasonCode", dns_reason_code, 0)                                           \
    F(X, STR, REQ, why, "why", _, 128)
SCHEMA_DECLARE(ev_dns_removed, EV_DNS_REMOVED_FIELDS)

/* pid: as the cell sees it; exe: the path of its program inside the cell */
#define EV_PROCESS_FIELDS(F, X)                                                                              \
    F(X, UINT, REQ, pid, "pid", _, INT32_MAX)                                                                \
    F(X, STR, REQ, exe, "exe", _, LIMIT_EXE)
SCHEMA_DECLARE(ev_process, EV_PROCESS_FIELDS)

/* Names below one registrable domain that were asked for; many long random labels there may be data. */
#define EV_DNS_APEX_FIELDS(F, X)                                                                             \
    F(X, STR, REQ, apex, "apex", _, LIMIT_HOSTNAME)                                                          \
    F(X, UINT, REQ, queries, "queries", _, UINT64_MAX)                                                       \
    F(X, UINT, REQ, distinct_names, "distinctNames", _, UINT64_MAX)                                          \
    F(X, UINT, REQ, label_bytes, "labelBytes", _, UINT64_MAX)                                                \
    F(X, UINT, REQ, max_label_entropy_millibits, "maxLabelEntropyMillibits", _, 8000) /* per character */    \
    F(X, BOOL, REQ, suspicious, "suspicious", _, 1)
SCHEMA_DECLARE(ev_dns_apex, EV_DNS_APEX_FIELDS)

#define EV_REFERENCE_FIELDS(F, X)                                                                            \
    F(X, STR, REQ, type, "type", _, 64)                                                                      \
    F(X, UINT, REQ, sequence, "sequence", _, UINT64_MAX)
SCHEMA_DECLARE(ev_reference, EV_REFERENCE_FIELDS)

/* ---- data of each type ---- */
#define EV_STARTED_FIELDS(F, X)                                                                              \
    F(X, UINT, REQ, ttl_seconds, "ttlSeconds", _, LIMIT_TTL_S)                                               \
    F(X, ENUM, REQ, backend, "backend", backend, 0)                                                          \
    F(X, STR, REQ, spec_digest, "specDigest", _, LIMIT_DIGEST)                                               \
    F(X, ENUM, REQ, evidence, "evidence", evidence, 0)                                                       \
    F(X, OBJ, REQ, isolation, "isolation", ev_isolation, 0)                                                  \
    F(X, STRS, OPT, redacted, "redacted", LIMIT_REDACT_NAME, LIMIT_REDACT_NAMES) /* signerd says it */
SCHEMA_DECLARE(ev_started, EV_STARTED_FIELDS)

#define EV_DESTROYED_FIELDS(F, X)                                                                            \
    F(X, ENUM, REQ, outcome, "outcome", outcome, 0)                                                          \
    F(X, ENUM, REQ, terminal_state, "terminalState", terminal_state, 0)                                      \
    F(X, STR, REQ, reason, "reason", _, 512)                                                                 \
    F(X, STR, OPT, evidence_bundle_ref, "evidenceBundleRef", _, 128)                                         \
    F(X, ENUM, REQ, residue_class, "residueClass", residue_class, 0)                                         \
    F(X, STR, OPT, residue_exception, "residueException", _, 512)
SCHEMA_DECLARE(ev_destroyed, EV_DESTROYED_FIELDS)

#define EV_REJECTED_FIELDS(F, X)                                                                             \
    F(X, STR, OPT, spec_digest, "specDigest", _, LIMIT_DIGEST)                                               \
    F(X, LIST, REQ, violations, "violations", ev_violation, LIMIT_VIOLATIONS)                                \
    F(X, BOOL, OPT, violations_truncated, "violationsTruncated", _, 1)                                       \
    F(X, UINT, OPT, violations_count, "violationsCount", _, UINT32_MAX)                                      \
    F(X, STR, OPT, violations_digest, "violationsDigest", _, LIMIT_DIGEST)
SCHEMA_DECLARE(ev_rejected, EV_REJECTED_FIELDS)

#define EV_COMPLETED_FIELDS(F, X)                                                                            \
    F(X, STRS, REQ, argv, "argv", 32768, LIMIT_ARGV)                                                         \
    F(X, BOOL, OPT, argv_truncated, "argvTruncated", _, 1)                                                   \
    F(X, UINT, OPT, argv_count, "argvCount", _, LIMIT_ARGV)                                                  \
    F(X, STR, OPT, argv_digest, "argvDigest", _, LIMIT_DIGEST)                                               \
    F(X, INT, REQ, exit_code, "exitCode", _, 255)                                                            \
    F(X, UINT, REQ, duration_ms, "durationMs", _, UINT64_MAX)                                                \
    F(X, UINT, OPT, signal, "signal", _, 64)                                                                 \
    F(X, STR, OPT, spawn_error, "spawnError", _, 512)                                                        \
    F(X, OBJ, OPT, usage, "usage", ev_usage, 0)
SCHEMA_DECLARE(ev_completed, EV_COMPLETED_FIELDS)

#define EV_IDENTITY_FIELDS(F, X)                                                                             \
    F(X, STRS, REQ, secrets, "secrets", LIMIT_SECRET_NAME, LIMIT_SECRETS)                                    \
    F(X, ENUM, REQ, delivery, "delivery", delivery, 0)                                                       \
    F(X, OBJ, REQ, provenance, "provenance", ev_provenance, 0)
SCHEMA_DECLARE(ev_identity, EV_IDENTITY_FIELDS)

#define EV_SUMMARY_FIELDS(F, X)                                                                              \
    F(X, UINT, REQ, lifetime_ttl_seconds, "lifetimeTtlSeconds", _, LIMIT_TTL_S)                              \
    F(X, UINT, REQ, egress_rule_count, "egressRuleCount", _, LIMIT_EGRESS_RULES)                             \
    F(X, ENUM, OPT, secret_delivery_mode, "secretDeliveryMode", delivery, 0)                                 \
    F(X, OBJ, OPT, placement, "placement", ev_placement, 0)                                                  \
    F(X, INT, OPT, command_exit_code, "commandExitCode", _, 255)                                             \
    F(X, OBJ, OPT, correlation, "correlation", ev_correlation, 0)
SCHEMA_DECLARE(ev_summary, EV_SUMMARY_FIELDS)

#define EV_NETWORK_SCOPE_FIELDS(F, X)                                                                        \
    F(X, ENUM, REQ, mode, "mode", net_mode, 0)                                                               \
    F(X, LIST, REQ, egress_rules, "egressRules", ev_egress, LIMIT_EGRESS_RULES)                              \
    F(X, BOOL, OPT, egress_rules_truncated, "egressRulesTruncated", _, 1)                                    \
    F(X, UINT, OPT, egress_rules_count, "egressRulesCount", _, UINT32_MAX)                                   \
    F(X, STR, OPT, egress_rules_digest, "egressRulesDigest", _, LIMIT_DIGEST)                                \
    F(X, STRS, REQ, hostname_allowlist, "hostnameAllowlist", LIMIT_HOSTNAME, LIMIT_DNS_NAMES)                \
    F(X, BOOL, OPT, hostname_allowlist_truncated, "hostnameAllowlistTruncated", _, 1)                        \
    F(X, UINT, OPT, hostname_allowlist_count, "hostnameAllowlistCount", _, UINT32_MAX)                       \
    F(X, STR, OPT, hostname_allowlist_digest, "hostnameAllowlistDigest", _, LIMIT_DIGEST)                    \
    F(X, STRS, REQ, allowed_query_types, "allowedQueryTypes", 16, LIMIT_QUERY_TYPES)                         \
    F(X, LIST, REQ, resolvers, "resolvers", ev_resolver, LIMIT_RESOLVERS)                                    \
    F(X, STRS, OPT, response_ip_allowlist, "responseIpAllowlist", 320, LIMIT_ANSWER_RULES)                   \
    F(X, BOOL, OPT, response_ip_allowlist_truncated, "responseIpAllowlistTruncated", _, 1)                   \
    F(X, UINT, OPT, response_ip_allowlist_count, "responseIpAllowlistCount", _, UINT32_MAX)                  \
    F(X, STR, OPT, response_ip_allowlist_digest, "responseIpAllowlistDigest", _, LIMIT_DIGEST)
SCHEMA_DECLARE(ev_network_scope, EV_NETWORK_SCOPE_FIELDS)

#define EV_ENFORCEMENT_FIELDS(F, X)                                                                          \
    F(X, ENUM, REQ, mode, "mode", net_mode, 0)                                                               \
    F(X, STR, REQ, rule_set_digest, "ruleSetDigest", _, LIMIT_DIGEST)                                        \
    F(X, STRS, REQ, families, "families", 8, 4)                                                              \
    F(X, UINT, REQ, rules, "rules", _, UINT32_MAX)                                                           \
    F(X, BOOL, REQ, applied, "applied", _, 1)                                                                \
    F(X, STR, OPT, error, "error", _, 512)
SCHEMA_DECLARE(ev_enforcement, EV_ENFORCEMENT_FIELDS)

#define EV_FLOW_FIELDS(F, X)                                                                                 \
    F(X, ENUM, REQ, action, "action", action, 0)                                                             \
    F(X, ENUM, REQ, reason_code, "reasonCode", flow_reason, 0)                                               \
    F(X, STR, REQ, rule, "rule", _, 128)                                                                     \
    F(X, STR, REQ, chain, "chain", _, 32)                                                                    \
    F(X, UINT, REQ, packets, "packets", _, UINT64_MAX)                                                       \
    F(X, UINT, REQ, bytes, "bytes", _, UINT64_MAX)                                                           \
    F(X, STR, OPT, protocol, "protocol", _, 16) /* of one flow: "tcp", "udp", "icmp", or a number */         \
    F(X, STR, OPT, source, "source", _, LIMIT_ADDR_TEXT)                                                     \
    F(X, STR, OPT, destination, "destination", _, LIMIT_ADDR_TEXT)                                           \
    F(X, BOOL, OPT, ended, "ended", _, 1) /* packets and bytes are the flow's totals */
SCHEMA_DECLARE(ev_flow, EV_FLOW_FIELDS)

#define EV_DNS_QUERY_FIELDS(F, X)                                                                            \
    F(X, STR, OPT, query_name, "queryName", _, LIMIT_HOSTNAME)                                               \
    F(X, STR, OPT, query_type, "queryType", _, 16)                                                           \
    F(X, ENUM, REQ, action, "action", action, 0)                                                             \
    F(X, ENUM, REQ, reason_code, "reasonCode", dns_reason_code, 0)                                           \
    F(X, STR, OPT, resolver_id, "resolverId", _, LIMIT_LABEL)                                                \
    F(X, STR, OPT, origin, "origin", _, 8) /* "cell", "dial" or "refresh": who asked */                      \
    F(X, BOOL, OPT, cached, "cached", _, 1)                                                                  \
    F(X, LIST, OPT, answers, "answers", ev_dns_record, 128)                                                  \
    F(X, BOOL, OPT, answers_truncated, "answersTruncated", _, 1)                                             \
    F(X, UINT, OPT, answers_count, "answersCount", _, UINT32_MAX)                                            \
    F(X, STR, OPT, answers_digest, "answersDigest", _, LIMIT_DIGEST)
SCHEMA_DECLARE(ev_dns_query, EV_DNS_QUERY_FIELDS)

#define EV_DNS_ANSWER_FIELDS(F, X)                                                                           \
    F(X, STR, REQ, query_name, "queryName", _, LIMIT_HOSTNAME)                                               \
    F(X, STR, REQ, query_type, "queryType", _, 16)                                                           \
    F(X, STR, REQ, response_rcode, "responseRcode", _, 16)                                                   \
    F(X, ENUM, REQ, reason_code, "reasonCode", dns_reason_code, 0)                                           \
    F(X, LIST, REQ, answers, "answers", ev_dns_record, 128)                                                  \
    F(X, BOOL, OPT, answers_truncated, "answersTruncated", _, 1)                                             \
    F(X, UINT, OPT, answers_count, "answersCount", _, UINT32_MAX)                                            \
    F(X, STR, OPT, answers_digest, "answersDigest", _, LIMIT_DIGEST)                                         \
    F(X, LIST, OPT, removed, "removed", ev_dns_removed, 128)                                                 \
    F(X, BOOL, OPT, removed_truncated, "removedTruncated", _, 1)                                             \
    F(X, UINT, OPT, removed_count, "removedCount", _, UINT32_MAX)                                            \
    F(X, STR, OPT, removed_digest, "removedDigest", _, LIMIT_DIGEST)                                         \
    F(X, BOOL, OPT, ech_removed, "echRemoved", _, 1)                                                         \
    F(X, BOOL, OPT, hints_removed, "hintsRemoved", _, 1)                                                     \
    F(X, BOOL, OPT, stale, "stale", _, 1)                                                                    \
    F(X, BOOL, OPT, synthetic, "synthetic", _, 1) /* the cell got addresses of its own instead */            \
    F(X, ENUM, OPT, dnssec_status, "dnssecStatus", dnssec_status, 0)                                         \
    F(X, STR, REQ, resolver_id, "resolverId", _, LIMIT_LABEL)                                                \
    F(X, UINT, REQ, latency_micros, "latencyMicros", _, UINT64_MAX)
SCHEMA_DECLARE(ev_dns_answer, EV_DNS_ANSWER_FIELDS)

/* process: who made the socket, where the cell could say so in time; never a guess. */
#define EV_L7_FIELDS(F, X)                                                                                   \
    F(X, ENUM, REQ, action, "action", action, 0)                                                             \
    F(X, ENUM, REQ, reason_code, "reasonCode", l7_reason, 0)                                                 \
    F(X, ENUM, REQ, protocol, "protocol", l7_protocol, 0)                                                    \
    F(X, STR, OPT, host, "host", _, LIMIT_HOSTNAME)                                                          \
    F(X, UINT, REQ, port, "port", _, 65535)                                                                  \
    F(X, STR, REQ, original_destination, "originalDestination", _, LIMIT_ADDR_TEXT)                          \
    F(X, STR, OPT, dialed_address, "dialedAddress", _, LIMIT_ADDR_TEXT)                                      \
    F(X, STR, OPT, rule, "rule", _, 320)                                                                     \
    F(X, BOOL, OPT, ech, "ech", _, 1)                                                                        \
    F(X, BOOL, OPT, cdn, "cdn", _, 1) /* the name is a cdnAuthority pattern's */                             \
    F(X, STR, OPT, upstream_proxy, "upstreamProxy", _, LIMIT_ADDR_TEXT)                                      \
    F(X, OBJ, UNK, process, "process", ev_process, 0)
SCHEMA_DECLARE(ev_l7, EV_L7_FIELDS)

/* dns_authority_*: what came back for a name, against what came back before. Digests are SHA-256 over the
 * sorted addresses' texts, one a line. */
#define EV_DNS_AUTHORITY_FIELDS(F, X)                                                                        \
    F(X, STR, REQ, resolver_id, "resolverId", _, LIMIT_LABEL)                                                \
    F(X, STR, REQ, hostname, "hostname", _, LIMIT_HOSTNAME)                                                  \
    F(X, STR, OPT, query_type, "queryType", _, 16)                                                           \
    F(X, STR, OPT, previous_digest, "previousDigest", _, LIMIT_DIGEST)                                       \
    F(X, STR, OPT, current_digest, "currentDigest", _, LIMIT_DIGEST)                                         \
    F(X, STRS, OPT, addresses, "addresses", LIMIT_ADDR_TEXT, 128)                                            \
    F(X, UINT, OPT, novel_addresses, "novelAddresses", _, UINT32_MAX)                                        \
    F(X, UINT, OPT, max_novel, "maxNovelIpsPerHostname", _, 65535)                                           \
    F(X, ENUM, OPT, dnssec_status, "dnssecStatus", dnssec_status, 0)                                         \
    F(X, STR, OPT, why, "why", _, 256)
SCHEMA_DECLARE(ev_dns_authority, EV_DNS_AUTHORITY_FIELDS)

/* A live change of a cell's policy; durable before it takes effect where it widens. */
#define EV_POLICY_CHANGED_FIELDS(F, X)                                                                       \
    F(X, STRS, REQ, added, "added", 320, LIMIT_POLICY_CHANGES)                                               \
    F(X, STRS, REQ, removed, "removed", 320, LIMIT_POLICY_CHANGES)                                           \
    F(X, STR, REQ, new_policy_digest, "newPolicyDigest", _, LIMIT_DIGEST)                                    \
    F(X, UINT, REQ, requested_by_uid, "requestedByUid", _, UINT32_MAX)
SCHEMA_DECLARE(ev_policy_changed, EV_POLICY_CHANGED_FIELDS)

#define EV_HOMEOSTASIS_FIELDS(F, X)                                                                          \
    F(X, UINT, REQ, declared_egress_rules, "declaredEgressRules", _, LIMIT_EGRESS_RULES)                     \
    F(X, UINT, REQ, exercised_egress_connections, "exercisedEgressConnections", _, UINT64_MAX)               \
    F(X, STRS, REQ, unused_egress_rules, "unusedEgressRules", 320, LIMIT_EGRESS_RULES)                       \
    F(X, UINT, REQ, dns_allowed, "dnsAllowed", _, UINT64_MAX)                                                \
    F(X, UINT, REQ, dns_denied, "dnsDenied", _, UINT64_MAX)                                                  \
    F(X, UINT, REQ, l7_denied, "l7Denied", _, UINT64_MAX)                                                    \
    F(X, STRS, OPT, unused_secrets, "unusedSecrets", LIMIT_SECRET_NAME, LIMIT_SECRETS)                       \
    F(X, UINT, OPT, memory_max_bytes, "memoryMaxBytes", _, UINT64_MAX)                                       \
    F(X, UINT, OPT, pids_max, "pidsMax", _, UINT32_MAX)                                                      \
    F(X, OBJ, OPT, peak, "peak", ev_usage, 0)                                                                \
    F(X, UINT, OPT, bytes_sent, "bytesSent", _, UINT64_MAX) /* by the cell */                                \
    F(X, UINT, OPT, bytes_received, "bytesReceived", _, UINT64_MAX)                                          \
    F(X, LIST, OPT, dns_apexes, "dnsApexes", ev_dns_apex, LIMIT_APEXES) /* the busiest and the suspicious */
SCHEMA_DECLARE(ev_homeostasis, EV_HOMEOSTASIS_FIELDS)

/* since, until: RFC 3339 */
#define EV_GAP_FIELDS(F, X)                                                                                  \
    F(X, UINT, REQ, lost, "lost", _, UINT64_MAX)                                                             \
    F(X, STR, REQ, since, "since", _, 20)                                                                    \
    F(X, STR, REQ, until, "until", _, 20)                                                                    \
    F(X, STR, REQ, cause, "cause", _, 64)
SCHEMA_DECLARE(ev_gap, EV_GAP_FIELDS)

#define EV_BUNDLE_FIELDS(F, X) F(X, LIST, REQ, events, "events", ev_reference, 64)
SCHEMA_DECLARE(ev_bundle, EV_BUNDLE_FIELDS)

#define EV_RESIDUE_REMOVED_FIELDS(F, X)                                                                      \
    F(X, STR, REQ, kind, "kind", _, 32)                                                                      \
    F(X, STR, REQ, name, "name", _, 256)
SCHEMA_DECLARE(ev_residue_removed, EV_RESIDUE_REMOVED_FIELDS)

#define EV_SYSCALL_DENIED_FIELDS(F, X)                                                                       \
    F(X, STR, REQ, syscall, "syscall", _, 32)                                                                \
    F(X, STR, OPT, family, "family", _, 32)                                                                  \
    F(X, UINT, REQ, count, "count", _, UINT64_MAX)
SCHEMA_DECLARE(ev_syscall_denied, EV_SYSCALL_DENIED_FIELDS)

#define EV_CLAIM_REFUSED_FIELDS(F, X)                                                                        \
    F(X, ENUM, REQ, role, "role", role_name, 0)                                                              \
    F(X, STR, REQ, type, "type", _, 64)                                                                      \
    F(X, STR, OPT, claimed_cell_id, "claimedCellId", _, LIMIT_CELL_ID)                                       \
    F(X, STR, REQ, reason, "reason", _, LIMIT_REASON)                                                        \
    F(X, UINT, REQ, count, "count", _, UINT64_MAX)
SCHEMA_DECLARE(ev_claim_refused, EV_CLAIM_REFUSED_FIELDS)

#define EV_RECOVERED_FIELDS(F, X)                                                                            \
    F(X, UINT, REQ, previous_size, "previousSize", _, UINT64_MAX)                                            \
    F(X, STR, REQ, previous_root, "previousRoot", _, LIMIT_DIGEST)                                           \
    F(X, STR, REQ, boot_id, "bootId", _, 36)                                                                 \
    F(X, UINT, REQ, torn_bytes, "tornBytes", _, UINT64_MAX)                                                  \
    F(X, STR, OPT, torn_digest, "tornDigest", _, LIMIT_DIGEST)
SCHEMA_DECLARE(ev_recovered, EV_RECOVERED_FIELDS)

/* Lines firstIndex to firstIndex + lines - 1 are taken away by retention, root: of the tree up to there. */
#define EV_PRUNED_FIELDS(F, X)                                                                               \
    F(X, UINT, REQ, first_index, "firstIndex", _, UINT64_MAX)                                                \
    F(X, UINT, REQ, lines, "lines", _, UINT64_MAX)                                                           \
    F(X, STR, REQ, root, "root", _, LIMIT_DIGEST)                                                            \
    F(X, ENUM, REQ, reason, "reason", prune_reason, 0)
SCHEMA_DECLARE(ev_pruned, EV_PRUNED_FIELDS)
/* version: of the log's keyset file; digest: of that version's line; keyid: of the key that signs from here
 * on */
#define EV_KEYSET_CHANGED_FIELDS(F, X)                                                                       \
    F(X, UINT, REQ, version, "version", _, UINT32_MAX)                                                       \
    F(X, STR, REQ, digest, "digest", _, LIMIT_DIGEST)                                                        \
    F(X, STR, REQ, keyid, "keyid", _, LIMIT_DIGEST)
SCHEMA_DECLARE(ev_keyset_changed, EV_KEYSET_CHANGED_FIELDS)

/* ---- the table: E(constant, record, "type suffix", roles, states) ---- */
#define EV_R(role) (1u << ROLE_##role)
#define EV_ALIVE   (CELL_STATE_OPENED | CELL_STATE_STARTED | CELL_STATE_ENDED)
#define EV_RUNNING (CELL_STATE_STARTED | CELL_STATE_ENDED)

#define EVENTS(E)                                                                                            \
    E(EVENT_STARTED, ev_started, "lifecycle.v1.started", EV_R(SUPERVISOR), CELL_STATE_OPENED)                \
    E(EVENT_DESTROYED, ev_destroyed, "lifecycle.v1.destroyed", EV_R(SUPERVISOR), EV_ALIVE)                   \
    E(EVENT_REJECTED, ev_rejected, "lifecycle.v1.rejected", EV_R(SUPERVISOR), CELL_STATE_OPENED)             \
    E(EVENT_COMPLETED, ev_completed, "command.v1.completed", EV_R(SUPERVISOR), CELL_STATE_STARTED)           \
    E(EVENT_MATERIALIZED, ev_identity, "identity.v1.materialized", EV_R(SUPERVISOR),                         \
      CELL_STATE_OPENED | CELL_STATE_STARTED)                                                                \
    E(EVENT_REVOKED, ev_identity, "identity.v1.revoked", EV_R(SUPERVISOR), EV_ALIVE)                         \
    E(EVENT_SUMMARY, ev_summary, "compliance.v1.summary", EV_R(SUPERVISOR), EV_ALIVE)                        \
    E(EVENT_NETWORK_SCOPE, ev_network_scope, "observability.v1.network_scope", EV_R(SUPERVISOR),             \
      CELL_STATE_OPENED)                                                                                     \
    E(EVENT_ENFORCEMENT, ev_enforcement, "observability.v1.network_enforcement", EV_R(NETD),                 \
      CELL_STATE_OPENED)                                                                                     \
    E(EVENT_FLOW, ev_flow, "observability.v1.network_flow_decision", EV_R(NETD), EV_ALIVE)                   \
    E(EVENT_DNS_QUERY, ev_dns_query, "observability.v1.dns_query", EV_R(PROXYD), EV_RUNNING)                 \
    E(EVENT_DNS_ANSWER, ev_dns_answer, "observability.v1.dns_answer", EV_R(PROXYD), EV_RUNNING)              \
    E(EVENT_L7, ev_l7, "observability.v1.l7_egress_decision", EV_R(PROXYD), EV_RUNNING)                      \
    E(EVENT_HOMEOSTASIS, ev_homeostasis, "observability.v1.homeostasis", EV_R(SUPERVISOR), EV_RUNNING)       \
    E(EVENT_GAP, ev_gap, "observability.v1.gap",                                                             \
      EV_R(SUPERVISOR) | EV_R(NETD) | EV_R(PROXYD) | EV_R(SIGNERD), EV_ALIVE | CELL_STATE_LOG)               \
    E(EVENT_BUNDLE, ev_bundle, "evidence_bundle.v1.emitted", EV_R(SUPERVISOR), EV_ALIVE)                     \
    E(EVENT_RESIDUE_REMOVED, ev_residue_removed, "lifecycle.v1.residue_removed",                             \
      EV_R(SUPERVISOR) | EV_R(NETD), EV_ALIVE)                                                               \
    E(EVENT_SYSCALL_DENIED, ev_syscall_denied, "observability.v1.syscall_denied", EV_R(SUPERVISOR),          \
      EV_RUNNING)                                                                                            \
    E(EVENT_CLAIM_REFUSED, ev_claim_refused, "log.v1.claim_refused", EV_R(SIGNERD),                          \
      EV_ALIVE | CELL_STATE_LOG)                                                                             \
    E(EVENT_RECOVERED, ev_recovered, "log.v1.recovered", EV_R(SIGNERD), CELL_STATE_LOG)                      \
    E(EVENT_DNS_DRIFT, ev_dns_authority, "observability.v1.dns_authority_drift", EV_R(PROXYD), EV_RUNNING)   \
    E(EVENT_DNS_REBIND_THRESHOLD, ev_dns_authority, "observability.v1.dns_authority_rebind_threshold",       \
      EV_R(PROXYD), EV_RUNNING)                                                                              \
    E(EVENT_DNS_REBIND_REJECTED, ev_dns_authority, "observability.v1.dns_authority_rebind_rejected",         \
      EV_R(PROXYD), EV_RUNNING)                                                                              \
    E(EVENT_DNS_DNSSEC_FAILED, ev_dns_authority, "observability.v1.dns_authority_dnssec_failed",             \
      EV_R(PROXYD), EV_RUNNING)                                                                              \
    E(EVENT_POLICY_CHANGED, ev_policy_changed, "lifecycle.v1.policy_changed", EV_R(SUPERVISOR), EV_RUNNING)  \
    E(EVENT_PRUNED, ev_pruned, "log.v1.pruned", EV_R(SIGNERD), CELL_STATE_LOG)                               \
    E(EVENT_KEYSET_CHANGED, ev_keyset_changed, "log.v1.keyset_changed", EV_R(SIGNERD), CELL_STATE_LOG)

#define EVENT_CONSTANT_(c, rec, suffix, roles, states) c,
enum event_type { EVENT_NONE = 0, EVENTS(EVENT_CONSTANT_) _EVENT_TYPE_MAX };

struct event_row {
    enum event_type type;
    const char *suffix; /* the CloudEvents type is EVENT_TYPE_PREFIX + suffix */
    const struct schema *data;
    uint32_t roles;  /* bit 1 << enum role_name */
    uint32_t states; /* CELL_STATE_* */
};

/* The row of a type, or NULL for a number that is none. */
const struct event_row *event_row(uint64_t type);
/* The row with this suffix, or NULL. */
const struct event_row *event_row_by_suffix(struct str suffix);
