/* SPDX-License-Identifier: MIT */
/* The enumerated words of messages, documents and events. The texts are the contract of the vocabulary:
 * exact. New values go to the end of a list; a number is never reused. */
#pragma once

#include "proto/schema.h"

#define ROLE_ENUM(X)                                                                                         \
    X(ROLE_SUPERVISOR, "supervisor")                                                                         \
    X(ROLE_NETD, "netd")                                                                                     \
    X(ROLE_PROXYD, "proxyd")                                                                                 \
    X(ROLE_SIGNERD, "signerd")                                                                               \
    X(ROLE_CELLCTL, "cellctl")                                                                               \
    X(ROLE_ZYGOTE, "zygote")                                                                                 \
    X(ROLE_INIT, "init")
ENUM_DECLARE(role_name, ROLE_ENUM)

/* How a request failed. The answer MSG_ERROR carries one of these and a sentence. */
#define FAIL_ENUM(X)                                                                                         \
    X(FAIL_INTERNAL, "internal")   /* the suite's own fault: a system call that should not fail */           \
    X(FAIL_INVALID, "invalid")     /* a value that breaks a rule the codec cannot know */                    \
    X(FAIL_STATE, "state")         /* not now: the object is in another state */                             \
    X(FAIL_UNKNOWN, "unknown")     /* no such object */                                                      \
    X(FAIL_EXISTS, "exists")       /* such an object is there already */                                     \
    X(FAIL_QUOTA, "quota")         /* a named limit is reached */                                            \
    X(FAIL_AUTHORITY, "authority") /* this role may not */                                                   \
    X(FAIL_BAD_FD, "bad_fd")       /* an fd is not what the row says */                                      \
    X(FAIL_TIMEOUT, "timeout")                                                                               \
    X(FAIL_UNSUPPORTED, "unsupported") /* this kernel or configuration cannot */                             \
    X(FAIL_NO_SPACE, "no_space")       /* the disk under the log is full */                                  \
    X(FAIL_UNAVAILABLE, "unavailable") /* a process this needs is away */                                    \
    X(FAIL_SECRET, "secret")           /* the data holds the value of a secret */
ENUM_DECLARE(fail, FAIL_ENUM)

#define ACTION_ENUM(X) X(ACTION_ALLOW, "allow") X(ACTION_DENY, "deny")
ENUM_DECLARE(action, ACTION_ENUM)

#define EVIDENCE_ENUM(X) X(EVIDENCE_STRICT, "strict") X(EVIDENCE_ASYNC, "async")
ENUM_DECLARE(evidence, EVIDENCE_ENUM)

/* How the events of a log are signed (docs/evidence.md, "Seal"). */
#define SEAL_MODE_ENUM(X) X(SEAL_EVENT, "event") X(SEAL_BATCH, "batch")
ENUM_DECLARE(seal_mode, SEAL_MODE_ENUM)

#define PRUNE_REASON_ENUM(X) X(PRUNE_BYTES, "retainBytes") X(PRUNE_AGE, "retainAge")
ENUM_DECLARE(prune_reason, PRUNE_REASON_ENUM)

#define NET_MODE_ENUM(X)                                                                                     \
    X(NET_MODE_INTERCEPT, "intercept") X(NET_MODE_NONE, "none") X(NET_MODE_ROUTED, "routed")
ENUM_DECLARE(net_mode, NET_MODE_ENUM)

#define EGRESS_PROTOCOL_ENUM(X)                                                                              \
    X(EGRESS_ANY, "any") /* absent in the spec: TLS SNI, HTTP Host or h2c :authority must prove the name */  \
    X(EGRESS_TLS, "tls")                                                                                     \
    X(EGRESS_HTTP, "http")                                                                                   \
    X(EGRESS_H2C, "h2c")                                                                                     \
    X(EGRESS_QUIC, "quic")                                                                                   \
    X(EGRESS_TCP, "tcp")                                                                                     \
    X(EGRESS_UDP, "udp")
ENUM_DECLARE(egress_protocol, EGRESS_PROTOCOL_ENUM)

#define RESOLVER_PROTOCOL_ENUM(X)                                                                            \
    X(RESOLVER_DO53_UDP, "do53-udp")                                                                         \
    X(RESOLVER_DO53_TCP, "do53-tcp")                                                                         \
    X(RESOLVER_DOT, "dot")                                                                                   \
    X(RESOLVER_DOH, "doh")                                                                                   \
    X(RESOLVER_DOQ, "doq")
ENUM_DECLARE(resolver_protocol, RESOLVER_PROTOCOL_ENUM)

#define REFRESH_STRATEGY_ENUM(X)                                                                             \
    X(REFRESH_TTL_HONOR, "ttl-honor") /* names in use are asked for again as their TTL ends */               \
    X(REFRESH_MANUAL, "manual")       /* only when the cell asks */
ENUM_DECLARE(refresh_strategy, REFRESH_STRATEGY_ENUM)

#define ANSWER_MODE_ENUM(X) X(ANSWER_REAL, "real") X(ANSWER_SYNTHETIC, "synthetic")
ENUM_DECLARE(answer_mode, ANSWER_MODE_ENUM)

/* RFC 4035 section 4.3 */
#define DNSSEC_STATUS_ENUM(X)                                                                                \
    X(DNSSEC_SECURE, "secure")                                                                               \
    X(DNSSEC_INSECURE, "insecure")                                                                           \
    X(DNSSEC_BOGUS, "bogus")                                                                                 \
    X(DNSSEC_INDETERMINATE, "indeterminate")
ENUM_DECLARE(dnssec_status, DNSSEC_STATUS_ENUM)

/* How the operator's own proxy is asked for a connection. */
#define UPSTREAM_PROXY_ENUM(X)                                                                               \
    X(UPSTREAM_PROXY_CONNECT, "connect") /* RFC 9110 section 9.3.6 */                                        \
    X(UPSTREAM_PROXY_SOCKS5, "socks5")   /* RFC 1928 */
ENUM_DECLARE(upstream_proxy, UPSTREAM_PROXY_ENUM)

#define TRANSPORT_ENUM(X) X(TRANSPORT_TCP, "tcp") X(TRANSPORT_UDP, "udp")
ENUM_DECLARE(transport, TRANSPORT_ENUM)

#define L7_REASON_ENUM(X)                                                                                    \
    X(L7_SNI_ALLOWLIST_MATCH, "l7_sni_allowlist_match")                                                      \
    X(L7_SNI_ALLOWLIST_MISS, "l7_sni_allowlist_miss")                                                        \
    X(L7_SNI_MISSING, "l7_sni_missing")                                                                      \
    X(L7_HTTP_HOST_ALLOWLIST_MATCH, "l7_http_host_allowlist_match")                                          \
    X(L7_HTTP_HOST_ALLOWLIST_MISS, "l7_http_host_allowlist_miss")                                            \
    X(L7_HTTP_HOST_MISSING, "l7_http_host_missing")                                                          \
    X(L7_H2_AUTHORITY_ALLOWLIST_MATCH, "l7_h2_authority_allowlist_match")                                    \
    X(L7_H2_AUTHORITY_ALLOWLIST_MISS, "l7_h2_authority_allowlist_miss")                                      \
    X(L7_H2_AUTHORITY_MISSING, "l7_h2_authority_missing")                                                    \
    X(L7_H2_UNPARSEABLE_HEADERS, "l7_h2_unparseable_headers")                                                \
    X(L7_UNKNOWN_PROTOCOL, "l7_unknown_protocol")                                                            \
    X(L7_PEEK_TIMEOUT, "l7_peek_timeout")                                                                    \
    X(L7_NAME_CONFLICT, "l7_name_conflict")                                                                  \
    X(L7_DESTINATION_DENIED, "l7_destination_denied")                                                        \
    X(L7_PORT_DENIED, "l7_port_denied")                                                                      \
    X(L7_UPSTREAM_UNREACHABLE, "l7_upstream_unreachable")                                                    \
    X(L7_QUIC_ALLOWLIST_MATCH, "l7_quic_allowlist_match")                                                    \
    X(L7_QUIC_ALLOWLIST_MISS, "l7_quic_allowlist_miss")                                                      \
    X(L7_PINNED_ADDRESS_MATCH, "l7_pinned_address_match")                                                    \
    X(L7_PINNED_ADDRESS_MISS, "l7_pinned_address_miss")                                                      \
    X(L7_QUOTA, "l7_quota")
ENUM_DECLARE(l7_reason, L7_REASON_ENUM)

#define L7_PROTOCOL_ENUM(X)                                                                                  \
    X(L7_TLS, "tls")                                                                                         \
    X(L7_HTTP, "http")                                                                                       \
    X(L7_H2C, "h2c") X(L7_QUIC, "quic") X(L7_TCP, "tcp") X(L7_UDP, "udp") X(L7_UNKNOWN, "unknown")
ENUM_DECLARE(l7_protocol, L7_PROTOCOL_ENUM)

#define DNS_REASON_ENUM(X)                                                                                   \
    X(DNS_MALFORMED_QUERY, "malformed_query")                                                                \
    X(DNS_ALLOWLIST_MATCH, "dns_allowlist_match")                                                            \
    X(DNS_ALLOWLIST_MISS, "dns_allowlist_miss")                                                              \
    X(DNS_TYPE_DENIED, "dns_type_denied")                                                                    \
    X(DNS_UPSTREAM_TIMEOUT, "dns_upstream_timeout")                                                          \
    X(DNS_UPSTREAM_FAILURE, "dns_upstream_failure")                                                          \
    X(DNS_REBIND_REJECTED, "dns_rebind_rejected")                                                            \
    X(DNS_DNSSEC_FAILED, "dns_dnssec_failed")                                                                \
    X(DNS_RATE_LIMITED, "dns_rate_limited")
ENUM_DECLARE(dns_reason_code, DNS_REASON_ENUM)

#define FLOW_REASON_ENUM(X)                                                                                  \
    X(FLOW_RULE_ACCEPT, "flow_rule_accept")                                                                  \
    X(FLOW_PROXY_ACCEPT, "flow_proxy_accept")                                                                \
    X(FLOW_LOOPBACK_ACCEPT, "flow_loopback_accept")                                                          \
    X(FLOW_DEFAULT_DROP, "flow_default_drop")
ENUM_DECLARE(flow_reason, FLOW_REASON_ENUM)

#define OUTCOME_ENUM(X) X(OUTCOME_SUCCEEDED, "succeeded") X(OUTCOME_FAILED, "failed")
ENUM_DECLARE(outcome, OUTCOME_ENUM)

#define TERMINAL_STATE_ENUM(X) X(TERMINAL_CLEAN, "clean") X(TERMINAL_FORCED, "forced")
ENUM_DECLARE(terminal_state, TERMINAL_STATE_ENUM)

#define RESIDUE_CLASS_ENUM(X) X(RESIDUE_NONE, "none") X(RESIDUE_DOCUMENTED_EXCEPTION, "documentedException")
ENUM_DECLARE(residue_class, RESIDUE_CLASS_ENUM)

#define BACKEND_ENUM(X)                                                                                      \
    X(BACKEND_PROCESS, "process") X(BACKEND_GVISOR, "gvisor") X(BACKEND_MICROVM, "microvm")
ENUM_DECLARE(backend, BACKEND_ENUM)

#define DELIVERY_ENUM(X)                                                                                     \
    X(DELIVERY_ENV, "env")                                                                                   \
    X(DELIVERY_RUNTIME_BROKER, "runtimeBroker")                                                              \
    X(DELIVERY_RUNTIME_LEASED_BROKER, "runtimeLeasedBroker")
ENUM_DECLARE(delivery, DELIVERY_ENUM)

#define PARENT_TYPE_ENUM(X) X(PARENT_SPEC, "spec") X(PARENT_BROKER, "broker")
ENUM_DECLARE(parent_type, PARENT_TYPE_ENUM)
