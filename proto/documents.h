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
    F(X, STR, REQ, endpoint, "endpoint", _, LIMIT_ADDR_TEXT) /* ip:port */
SCHEMA_DECLARE(policy_resolver, POLICY_RESOLVER_FIELDS)

#define POLICY_ANSWER_FIELDS(F, X)                                                                           \
    F(X, STR, REQ, host, "host", _, LIMIT_HOSTNAME)                                                          \
    F(X, STR, REQ, prefix, "prefix", _, LIMIT_ADDR_TEXT)
SCHEMA_DECLARE(policy_answer, POLICY_ANSWER_FIELDS)

#define POLICY_FIELDS(F, X)                                                                                  \
    F(X, ENUM, REQ, evidence, "evidence", evidence, 0)                                                       \
    F(X, LIST, REQ, egress, "egressRules", policy_egress, LIMIT_EGRESS_RULES)                                \
    F(X, STRS, REQ, dns_names, "hostnameAllowlist", LIMIT_HOSTNAME, LIMIT_DNS_NAMES)                         \
    F(X, STRS, REQ, query_types, "allowedQueryTypes", 16, LIMIT_QUERY_TYPES)                                 \
    F(X, LIST, REQ, resolvers, "resolvers", policy_resolver, LIMIT_RESOLVERS)                                \
    F(X, LIST, REQ, answers, "responseIpAllowlist", policy_answer, LIMIT_ANSWER_RULES)
SCHEMA_DECLARE(policy, POLICY_FIELDS)

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
