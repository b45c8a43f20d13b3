/* SPDX-License-Identifier: MIT */
/* Every message of the suite, one table an interface. A row: constant, record, id, from, roles (which peers
 * may send it), states (of the line, in which it is allowed), flags, exact number of fds, greatest length in
 * bytes. Requests and notes have even ids, replies odd ids (request + 1); a number is never reused. Ids 0 and
 * 1 are the same on every line: HELLO and ERROR. PROTOCOL.md is printed from these tables. */
#pragma once

#include "proto/documents.h"
#include "proto/events.h"

enum msg_from { FROM_CLIENT = 1, FROM_SERVER = 2 };

#define MSG_ONCE  1u /* a second one on the same line breaks the protocol */
#define MSG_CALL  2u /* a request: answered by id + 1 or ERROR with the same seq */
#define MSG_NOTE  4u /* no answer */
#define MSG_REPLY 8u

/* States of a line. Most lines know only READY; the init line walks through the others. */
#define LINE_HELLO   1u
#define LINE_READY   2u  /* init: the child sets the cell up */
#define LINE_BARRIER 4u  /* init: set up, waits for PREPARE and GO */
#define LINE_RUNNING 8u  /* init: after GO */
#define LINE_ENDED   16u /* init: the workload has ended */

#define EMPTY_FIELDS(F, X)
SCHEMA_DECLARE(empty, EMPTY_FIELDS)

#define HELLO_FIELDS(F, X)                                                                                   \
    F(X, STR, REQ, interface, "interface", _, 16)                                                            \
    F(X, UINT, REQ, version, "version", _, UINT32_MAX)                                                       \
    F(X, ENUM, REQ, role, "role", role_name, 0)
SCHEMA_DECLARE(hello, HELLO_FIELDS)

#define ERROR_FIELDS(F, X)                                                                                   \
    F(X, ENUM, REQ, fail, "fail", fail, 0)                                                                   \
    F(X, STR, REQ, text, "text", _, LIMIT_ERROR_TEXT)
SCHEMA_DECLARE(error, ERROR_FIELDS)

#define MSG_HELLO 0u
#define MSG_ERROR 1u

/* ---- signer: the three others -> signerd. The role of a claim is the line it came on. ---- */
#define SIGNER_CELL_OPEN_REQ_FIELDS(F, X)                                                                    \
    F(X, STR, REQ, run_id, "runId", _, LIMIT_RUN_ID)                                                         \
    F(X, STR, REQ, cell_id, "cellId", _, LIMIT_CELL_ID)                                                      \
    F(X, STR, OPT, policy_digest, "policyDigest", _, LIMIT_DIGEST)                                           \
    F(X, STR, OPT, correlation_id, "correlationId", _, LIMIT_LABEL)
SCHEMA_DECLARE(signer_cell_open_req, SIGNER_CELL_OPEN_REQ_FIELDS)

/* counter: of this sender, strictly rising; a repeat gets the first answer (decisions 46). body: the record
 * of the event's row, encoded. */
#define SIGNER_CLAIM_FIELDS(F, X)                                                                            \
    F(X, UINT, REQ, counter, "counter", _, UINT64_MAX)                                                       \
    F(X, STR, REQ, run_id, "runId", _, LIMIT_RUN_ID)                                                         \
    F(X, UINT, REQ, type, "type", _, _EVENT_TYPE_MAX - 1)                                                    \
    F(X, BIN, REQ, body, "body", _, LIMIT_CLAIM_BODY)
SCHEMA_DECLARE(signer_claim, SIGNER_CLAIM_FIELDS)
_Static_assert(LIMIT_CLAIM_BODY + LIMIT_RUN_ID + 64 < LIMIT_FRAME, "the longest claim fits into a frame");

/* One claim, or in their order those a busy emitter has gathered in one turn of its loop; at least one. Each
 * is judged for itself; the answer comes when the last of them has its own. */
#define SIGNER_CLAIMS_REQ_FIELDS(F, X) F(X, LIST, REQ, claims, "claims", signer_claim, LIMIT_CLAIMS_FRAME)
SCHEMA_DECLARE(signer_claims_req, SIGNER_CLAIMS_REQ_FIELDS)

/* No fail: the line is durable under this sequence. */
#define SIGNER_RESULT_FIELDS(F, X)                                                                           \
    F(X, ENUM, OPT, fail, "fail", fail, 0)                                                                   \
    F(X, UINT, REQ, sequence, "sequence", _, UINT64_MAX)
SCHEMA_DECLARE(signer_result, SIGNER_RESULT_FIELDS)

#define SIGNER_CLAIMS_REP_FIELDS(F, X) F(X, LIST, REQ, results, "results", signer_result, LIMIT_CLAIMS_FRAME)
SCHEMA_DECLARE(signer_claims_rep, SIGNER_CLAIMS_REP_FIELDS)

/* Values that no event of the run may hold (proto/secret_mark.h): once for a run, before its first claim.
 * key: 32 random bytes; digest: 32 bytes. secret: index of its name. */
#define SIGNER_SECRET_MARK_FIELDS(F, X)                                                                      \
    F(X, UINT, REQ, secret, "secret", _, LIMIT_SECRETS - 1)                                                  \
    F(X, UINT, REQ, length, "length", _, LIMIT_CLAIM_BODY)                                                   \
    F(X, UINT, REQ, filter, "filter", _, 255)                                                                \
    F(X, BIN, REQ, digest, "digest", _, 32)
SCHEMA_DECLARE(signer_secret_mark, SIGNER_SECRET_MARK_FIELDS)

#define SIGNER_SECRETS_REQ_FIELDS(F, X)                                                                      \
    F(X, STR, REQ, run_id, "runId", _, LIMIT_RUN_ID)                                                         \
    F(X, BIN, REQ, key, "key", _, 32)                                                                        \
    F(X, STRS, REQ, names, "names", LIMIT_SECRET_NAME, LIMIT_SECRETS)                                        \
    F(X, LIST, REQ, marks, "marks", signer_secret_mark, LIMIT_SECRET_MARKS)
SCHEMA_DECLARE(signer_secrets_req, SIGNER_SECRETS_REQ_FIELDS)
/* array heads 4 x 3, run id, key, names, marks (48: head 1, index 1, length 3, filter 2, digest 34, and room)
 */
_Static_assert(64 + LIMIT_RUN_ID + 34 + LIMIT_SECRETS * (LIMIT_SECRET_NAME + 2) + LIMIT_SECRET_MARKS * 48 <
                   LIMIT_FRAME,
               "all marks of a run fit into one frame");

#define SIGNER_HEAD_REP_FIELDS(F, X)                                                                         \
    F(X, UINT, REQ, tree_size, "treeSize", _, UINT64_MAX)                                                    \
    F(X, STR, REQ, checkpoint, "checkpoint", _, 1024)
SCHEMA_DECLARE(signer_head_rep, SIGNER_HEAD_REP_FIELDS)

/* The log cannot be written any more (disk full, I/O error): nothing further is acknowledged, cells must end.
 * A disk may get room and be full again: it is said each time. */
#define SIGNER_LOG_FAILED_FIELDS(F, X)                                                                       \
    F(X, ENUM, REQ, fail, "fail", fail, 0)                                                                   \
    F(X, STR, REQ, text, "text", _, LIMIT_ERROR_TEXT)
SCHEMA_DECLARE(signer_log_failed, SIGNER_LOG_FAILED_FIELDS)

#define MR_(role)   (1u << ROLE_##role)
#define MR_EMITTERS (MR_(SUPERVISOR) | MR_(NETD) | MR_(PROXYD))
/* 4 and 5 were one claim in a frame. */
#define SIGNER_MESSAGES(M)                                                                                   \
    M(SIGNER_CELL_OPEN_REQ, signer_cell_open_req, 2, FROM_CLIENT, MR_(SUPERVISOR), LINE_READY, MSG_CALL, 0,  \
      1024)                                                                                                  \
    M(SIGNER_CELL_OPEN_REP, empty, 3, FROM_SERVER, MR_(SIGNERD), LINE_READY, MSG_REPLY, 0, 64)               \
    M(SIGNER_CLAIMS_REQ, signer_claims_req, 12, FROM_CLIENT, MR_EMITTERS, LINE_READY, MSG_CALL, 0,           \
      LIMIT_FRAME)                                                                                           \
    M(SIGNER_CLAIMS_REP, signer_claims_rep, 13, FROM_SERVER, MR_(SIGNERD), LINE_READY, MSG_REPLY, 0, 2048)   \
    M(SIGNER_HEAD_REQ, empty, 6, FROM_CLIENT, MR_(SUPERVISOR), LINE_READY, MSG_CALL, 0, 64)                  \
    M(SIGNER_HEAD_REP, signer_head_rep, 7, FROM_SERVER, MR_(SIGNERD), LINE_READY, MSG_REPLY, 0, 2048)        \
    M(SIGNER_LOG_FAILED, signer_log_failed, 8, FROM_SERVER, MR_(SIGNERD), LINE_READY, MSG_NOTE, 0, 1024)     \
    M(SIGNER_SECRETS_REQ, signer_secrets_req, 10, FROM_CLIENT, MR_(SUPERVISOR), LINE_READY, MSG_CALL, 0,     \
      LIMIT_FRAME)                                                                                           \
    M(SIGNER_SECRETS_REP, empty, 11, FROM_SERVER, MR_(SIGNERD), LINE_READY, MSG_REPLY, 0, 64)

/* ---- netd: supervisor -> netd ---- */
/* fds: user namespace U1, network namespace. Mode intercept; the two other modes have rows of their own,
 * because what comes back differs. */
#define NETD_CELL_ATTACH_REQ_FIELDS(F, X)                                                                    \
    F(X, STR, REQ, run_id, "runId", _, LIMIT_RUN_ID)                                                         \
    F(X, STR, REQ, cell_id, "cellId", _, LIMIT_CELL_ID)
SCHEMA_DECLARE(netd_cell_attach_req, NETD_CELL_ATTACH_REQ_FIELDS)

/* fds in this order: DNS UDP, DNS TCP, transparent TCP listener, transparent UDP, raw IPv4, raw IPv6. The
 * event network_enforcement is durable by now. */
#define NETD_CELL_ATTACH_REP_FIELDS(F, X) F(X, STR, REQ, rule_set_digest, "ruleSetDigest", _, LIMIT_DIGEST)
SCHEMA_DECLARE(netd_cell_attach_rep, NETD_CELL_ATTACH_REP_FIELDS)
#define NETD_CELL_SOCKETS 6

/* Mode none: nothing is made but the rules that drop. */
#define NETD_CELL_ATTACH_NONE_REP_FIELDS(F, X)                                                               \
    F(X, STR, REQ, rule_set_digest, "ruleSetDigest", _, LIMIT_DIGEST)
SCHEMA_DECLARE(netd_cell_attach_none_rep, NETD_CELL_ATTACH_NONE_REP_FIELDS)

/* Mode routed (only where netd was started with a pool). fds: U1, the network namespace, the policy document
 * (memfd). Back: DNS UDP, DNS TCP. */
#define NETD_CELL_ATTACH_ROUTED_REQ_FIELDS(F, X)                                                             \
    F(X, STR, REQ, run_id, "runId", _, LIMIT_RUN_ID)                                                         \
    F(X, STR, REQ, cell_id, "cellId", _, LIMIT_CELL_ID)                                                      \
    F(X, BIN, REQ, policy_sha256, "policySha256", _, 32)
SCHEMA_DECLARE(netd_cell_attach_routed_req, NETD_CELL_ATTACH_ROUTED_REQ_FIELDS)
#define NETD_ROUTED_SOCKETS 2

/* The new policy of a routed cell; fd: the document (memfd). Flows that no longer fit are cut by the time of
 * the answer. */
#define NETD_CELL_POLICY_REQ_FIELDS(F, X)                                                                    \
    F(X, STR, REQ, run_id, "runId", _, LIMIT_RUN_ID)                                                         \
    F(X, BIN, REQ, policy_sha256, "policySha256", _, 32)
SCHEMA_DECLARE(netd_cell_policy_req, NETD_CELL_POLICY_REQ_FIELDS)

#define NETD_CELL_POLICY_REP_FIELDS(F, X) F(X, UINT, REQ, flows_cut, "flowsCut", _, UINT64_MAX)
SCHEMA_DECLARE(netd_cell_policy_rep, NETD_CELL_POLICY_REP_FIELDS)

#define NETD_CELL_REF_FIELDS(F, X) F(X, STR, REQ, run_id, "runId", _, LIMIT_RUN_ID)
SCHEMA_DECLARE(netd_cell_ref, NETD_CELL_REF_FIELDS)

/* Totals over the rules of the output hook; one network_flow_decision event a rule is durable by now. */
#define NETD_CELL_COUNTERS_REP_FIELDS(F, X)                                                                  \
    F(X, UINT, REQ, packets_accepted, "packetsAccepted", _, UINT64_MAX)                                      \
    F(X, UINT, REQ, packets_dropped, "packetsDropped", _, UINT64_MAX)
SCHEMA_DECLARE(netd_cell_counters_rep, NETD_CELL_COUNTERS_REP_FIELDS)

#define NETD_MESSAGES(M)                                                                                     \
    M(NETD_CELL_ATTACH_REQ, netd_cell_attach_req, 2, FROM_CLIENT, MR_(SUPERVISOR), LINE_READY, MSG_CALL, 2,  \
      512)                                                                                                   \
    M(NETD_CELL_ATTACH_REP, netd_cell_attach_rep, 3, FROM_SERVER, MR_(NETD), LINE_READY, MSG_REPLY,          \
      NETD_CELL_SOCKETS, 256)                                                                                \
    M(NETD_CELL_COUNTERS_REQ, netd_cell_ref, 4, FROM_CLIENT, MR_(SUPERVISOR), LINE_READY, MSG_CALL, 0, 128)  \
    M(NETD_CELL_COUNTERS_REP, netd_cell_counters_rep, 5, FROM_SERVER, MR_(NETD), LINE_READY, MSG_REPLY, 0,   \
      128)                                                                                                   \
    M(NETD_CELL_DETACH_REQ, netd_cell_ref, 6, FROM_CLIENT, MR_(SUPERVISOR), LINE_READY, MSG_CALL, 0, 128)    \
    M(NETD_CELL_DETACH_REP, empty, 7, FROM_SERVER, MR_(NETD), LINE_READY, MSG_REPLY, 0, 64)                  \
    M(NETD_CELL_ATTACH_NONE_REQ, netd_cell_attach_req, 8, FROM_CLIENT, MR_(SUPERVISOR), LINE_READY,          \
      MSG_CALL, 2, 512)                                                                                      \
    M(NETD_CELL_ATTACH_NONE_REP, netd_cell_attach_none_rep, 9, FROM_SERVER, MR_(NETD), LINE_READY,           \
      MSG_REPLY, 0, 256)                                                                                     \
    M(NETD_CELL_ATTACH_ROUTED_REQ, netd_cell_attach_routed_req, 10, FROM_CLIENT, MR_(SUPERVISOR),            \
      LINE_READY, MSG_CALL, 3, 512)                                                                          \
    M(NETD_CELL_ATTACH_ROUTED_REP, netd_cell_attach_rep, 11, FROM_SERVER, MR_(NETD), LINE_READY, MSG_REPLY,  \
      NETD_ROUTED_SOCKETS, 256)                                                                              \
    M(NETD_CELL_POLICY_REQ, netd_cell_policy_req, 12, FROM_CLIENT, MR_(SUPERVISOR), LINE_READY, MSG_CALL, 1, \
      256)                                                                                                   \
    M(NETD_CELL_POLICY_REP, netd_cell_policy_rep, 13, FROM_SERVER, MR_(NETD), LINE_READY, MSG_REPLY, 0, 64)

/* ---- pin: proxyd -> netd. The addresses of a name, put into a routed cell's sets before the answer is
 * released; netd matches the name with the cell's policy itself. ---- */
#define PIN_PIN_REQ_FIELDS(F, X)                                                                             \
    F(X, STR, REQ, run_id, "runId", _, LIMIT_RUN_ID)                                                         \
    F(X, STR, REQ, name, "name", _, LIMIT_HOSTNAME)                                                          \
    F(X, UINT, REQ, ttl_s, "ttlSeconds", _, UINT32_MAX)                                                      \
    F(X, STRS, REQ, addresses, "addresses", LIMIT_ADDR_TEXT, LIMIT_PIN_ADDRS)
SCHEMA_DECLARE(pin_pin_req, PIN_PIN_REQ_FIELDS)

#define PIN_MESSAGES(M)                                                                                      \
    M(PIN_PIN_REQ, pin_pin_req, 2, FROM_CLIENT, MR_(PROXYD), LINE_READY, MSG_CALL, 0, 8192)                  \
    M(PIN_PIN_REP, empty, 3, FROM_SERVER, MR_(NETD), LINE_READY, MSG_REPLY, 0, 64)

/* ---- who: proxyd -> PID 1 of one cell. Who made the socket with these ends? local is the client's. Asked
 * before the decision is claimed; without an answer within LIMIT_WHO_MS the process is unknown. ---- */
#define WHO_WHO_REQ_FIELDS(F, X)                                                                             \
    F(X, ENUM, REQ, transport, "transport", transport, 0)                                                    \
    F(X, STR, REQ, local, "local", _, LIMIT_ADDR_TEXT)                                                       \
    F(X, STR, REQ, remote, "remote", _, LIMIT_ADDR_TEXT)
SCHEMA_DECLARE(who_who_req, WHO_WHO_REQ_FIELDS)

#define WHO_WHO_REP_FIELDS(F, X) F(X, OBJ, OPT, process, "process", ev_process, 0)
SCHEMA_DECLARE(who_who_rep, WHO_WHO_REP_FIELDS)

#define WHO_MESSAGES(M)                                                                                      \
    M(WHO_WHO_REQ, who_who_req, 2, FROM_CLIENT, MR_(PROXYD), LINE_READY, MSG_CALL, 0, 256)                   \
    M(WHO_WHO_REP, who_who_rep, 3, FROM_SERVER, MR_(INIT), LINE_READY, MSG_REPLY, 0, 512)

/* ---- proxy: supervisor -> proxyd ---- */
/* fds: the policy document (memfd), the who line, then the six sockets in netd's order. */
#define PROXY_CELL_OPEN_REQ_FIELDS(F, X)                                                                     \
    F(X, STR, REQ, run_id, "runId", _, LIMIT_RUN_ID)                                                         \
    F(X, STR, REQ, cell_id, "cellId", _, LIMIT_CELL_ID)                                                      \
    F(X, BIN, REQ, policy_sha256, "policySha256", _, 32)
SCHEMA_DECLARE(proxy_cell_open_req, PROXY_CELL_OPEN_REQ_FIELDS)

/* A changed policy; fd: the document (memfd). What no longer fits is cut by the time of the answer. */
#define PROXY_CELL_POLICY_REQ_FIELDS(F, X)                                                                   \
    F(X, STR, REQ, run_id, "runId", _, LIMIT_RUN_ID)                                                         \
    F(X, BIN, REQ, policy_sha256, "policySha256", _, 32)
SCHEMA_DECLARE(proxy_cell_policy_req, PROXY_CELL_POLICY_REQ_FIELDS)

#define PROXY_CELL_POLICY_REP_FIELDS(F, X) F(X, UINT, REQ, connections_cut, "connectionsCut", _, UINT64_MAX)
SCHEMA_DECLARE(proxy_cell_policy_rep, PROXY_CELL_POLICY_REP_FIELDS)

#define PROXY_CELL_CLOSE_REQ_FIELDS(F, X) F(X, STR, REQ, run_id, "runId", _, LIMIT_RUN_ID)
SCHEMA_DECLARE(proxy_cell_close_req, PROXY_CELL_CLOSE_REQ_FIELDS)

/* rule: index into the policy's egressRules; only rules that were used are listed. */
#define PROXY_RULE_USE_FIELDS(F, X)                                                                          \
    F(X, UINT, REQ, rule, "rule", _, LIMIT_EGRESS_RULES - 1)                                                 \
    F(X, UINT, REQ, connections, "connections", _, UINT64_MAX)
SCHEMA_DECLARE(proxy_rule_use, PROXY_RULE_USE_FIELDS)

/* All events of the cell are durable or refused by now. */
#define PROXY_CELL_CLOSE_REP_FIELDS(F, X)                                                                    \
    F(X, UINT, REQ, connections_allowed, "connectionsAllowed", _, UINT64_MAX)                                \
    F(X, UINT, REQ, l7_denied, "l7Denied", _, UINT64_MAX)                                                    \
    F(X, UINT, REQ, dns_allowed, "dnsAllowed", _, UINT64_MAX)                                                \
    F(X, UINT, REQ, dns_denied, "dnsDenied", _, UINT64_MAX)                                                  \
    F(X, UINT, REQ, bytes_sent, "bytesSent", _, UINT64_MAX)                                                  \
    F(X, UINT, REQ, bytes_received, "bytesReceived", _, UINT64_MAX)                                          \
    F(X, LIST, REQ, apexes, "dnsApexes", ev_dns_apex, LIMIT_APEXES)                                          \
    F(X, LIST, REQ, rules, "rules", proxy_rule_use, LIMIT_EGRESS_RULES)
SCHEMA_DECLARE(proxy_cell_close_rep, PROXY_CELL_CLOSE_REP_FIELDS)

#define PROXY_MESSAGES(M)                                                                                    \
    M(PROXY_CELL_OPEN_REQ, proxy_cell_open_req, 2, FROM_CLIENT, MR_(SUPERVISOR), LINE_READY, MSG_CALL, 8,    \
      512)                                                                                                   \
    M(PROXY_CELL_OPEN_REP, empty, 3, FROM_SERVER, MR_(PROXYD), LINE_READY, MSG_REPLY, 0, 64)                 \
    M(PROXY_CELL_CLOSE_REQ, proxy_cell_close_req, 4, FROM_CLIENT, MR_(SUPERVISOR), LINE_READY, MSG_CALL, 0,  \
      128)                                                                                                   \
    M(PROXY_CELL_CLOSE_REP, proxy_cell_close_rep, 5, FROM_SERVER, MR_(PROXYD), LINE_READY, MSG_REPLY, 0,     \
      LIMIT_FRAME)                                                                                           \
    M(PROXY_CELL_OPEN_ROUTED_REQ, proxy_cell_open_req, 6, FROM_CLIENT, MR_(SUPERVISOR), LINE_READY,          \
      MSG_CALL, 1 + NETD_ROUTED_SOCKETS, 512)                                                                \
    M(PROXY_CELL_OPEN_ROUTED_REP, empty, 7, FROM_SERVER, MR_(PROXYD), LINE_READY, MSG_REPLY, 0, 64)          \
    M(PROXY_CELL_POLICY_REQ, proxy_cell_policy_req, 8, FROM_CLIENT, MR_(SUPERVISOR), LINE_READY, MSG_CALL,   \
      1, 256)                                                                                                \
    M(PROXY_CELL_POLICY_REP, proxy_cell_policy_rep, 9, FROM_SERVER, MR_(PROXYD), LINE_READY, MSG_REPLY, 0, 64)

/* ---- zygote: supervisor -> zygote ---- */
/* fds: launch document (memfd), the workload's stdin, stdout, stderr, the cell's ends of the init line and
 * the who line[, cgroup dir]. */
#define ZYGOTE_SPAWN_REQ_FIELDS(F, X)                                                                        \
    F(X, STR, REQ, run_id, "runId", _, LIMIT_RUN_ID)                                                         \
    F(X, BIN, REQ, launch_sha256, "launchSha256", _, 32)
SCHEMA_DECLARE(zygote_spawn_req, ZYGOTE_SPAWN_REQ_FIELDS)

/* fds: pidfd of cell init, its network namespace, the user namespace U1. pid: for the log only. */
#define ZYGOTE_SPAWN_REP_FIELDS(F, X) F(X, UINT, REQ, pid, "pid", _, INT32_MAX)
SCHEMA_DECLARE(zygote_spawn_rep, ZYGOTE_SPAWN_REP_FIELDS)

/* Cell init is gone; status as in wait(2). */
#define ZYGOTE_REAPED_FIELDS(F, X)                                                                           \
    F(X, STR, REQ, run_id, "runId", _, LIMIT_RUN_ID)                                                         \
    F(X, UINT, REQ, status, "status", _, UINT32_MAX)
SCHEMA_DECLARE(zygote_reaped, ZYGOTE_REAPED_FIELDS)

#define ZYGOTE_MESSAGES(M)                                                                                   \
    M(ZYGOTE_SPAWN_REQ, zygote_spawn_req, 2, FROM_CLIENT, MR_(SUPERVISOR), LINE_READY, MSG_CALL, 6, 256)     \
    M(ZYGOTE_SPAWN_REP, zygote_spawn_rep, 3, FROM_SERVER, MR_(ZYGOTE), LINE_READY, MSG_REPLY, 3, 64)         \
    M(ZYGOTE_SPAWN_IN_CGROUP_REQ, zygote_spawn_req, 4, FROM_CLIENT, MR_(SUPERVISOR), LINE_READY, MSG_CALL,   \
      7, 256)                                                                                                \
    M(ZYGOTE_SPAWN_IN_CGROUP_REP, zygote_spawn_rep, 5, FROM_SERVER, MR_(ZYGOTE), LINE_READY, MSG_REPLY, 3,   \
      64)                                                                                                    \
    M(ZYGOTE_REAPED, zygote_reaped, 6, FROM_SERVER, MR_(ZYGOTE), LINE_READY, MSG_NOTE, 0, 128)

/* ---- init: supervisor -> PID 1 of one cell ---- */
#define INIT_READY_FIELDS(F, X)                                                                              \
    F(X, UINT, REQ, landlock_abi, "landlockAbi", _, 1024) /* 0: this kernel has none */                      \
    F(X, STR, REQ, uid_map, "uidMap", _, 128) /* of the workload, e.g. "1000 -> host 1879048193" */          \
    F(X, STRS, REQ, namespaces, "namespaces", 16, 16)
SCHEMA_DECLARE(init_ready, INIT_READY_FIELDS)

/* stage: where the set-up or the exec failed; text: one sentence for the operator. */
#define INIT_FAILED_FIELDS(F, X)                                                                             \
    F(X, STR, REQ, stage, "stage", _, 64)                                                                    \
    F(X, UINT, REQ, error, "errno", _, 4095)                                                                 \
    F(X, STR, REQ, text, "text", _, LIMIT_ERROR_TEXT)
SCHEMA_DECLARE(init_failed, INIT_FAILED_FIELDS)

#define INIT_SECRET_FIELDS(F, X)                                                                             \
    F(X, STR, REQ, name, "name", _, LIMIT_SECRET_NAME) /* of the environment variable */                     \
    F(X, BIN, REQ, value, "value", _, LIMIT_SECRET_VALUE)
SCHEMA_DECLARE(init_secret, INIT_SECRET_FIELDS)

#define INIT_SIGNAL_FIELDS(F, X) F(X, UINT, REQ, signal, "signal", _, 64)
SCHEMA_DECLARE(init_signal, INIT_SIGNAL_FIELDS)

/* exit_code 0..255, or signal when a signal killed the argv process; timed_out: the deadline ended it. */
#define INIT_EXITED_FIELDS(F, X)                                                                             \
    F(X, UINT, OPT, exit_code, "exitCode", _, 255)                                                           \
    F(X, UINT, OPT, signal, "signal", _, 64)                                                                 \
    F(X, BOOL, REQ, timed_out, "timedOut", _, 1)
SCHEMA_DECLARE(init_exited, INIT_EXITED_FIELDS)

/* PREPARE: no more secrets come; the workload's process may be made, confined, and held right before its
 * exec. GO lets it go on. */
#define INIT_MESSAGES(M)                                                                                     \
    M(INIT_READY, init_ready, 2, FROM_SERVER, MR_(INIT), LINE_READY, MSG_NOTE | MSG_ONCE, 0, 1024)           \
    M(INIT_FAILED, init_failed, 4, FROM_SERVER, MR_(INIT), LINE_READY | LINE_BARRIER | LINE_RUNNING,         \
      MSG_NOTE | MSG_ONCE, 0, 1024)                                                                          \
    M(INIT_SECRET, init_secret, 6, FROM_CLIENT, MR_(SUPERVISOR), LINE_BARRIER, MSG_NOTE, 0, 34000)           \
    M(INIT_GO, empty, 8, FROM_CLIENT, MR_(SUPERVISOR), LINE_BARRIER, MSG_NOTE | MSG_ONCE, 0, 64)             \
    M(INIT_STARTED, empty, 10, FROM_SERVER, MR_(INIT), LINE_RUNNING, MSG_NOTE | MSG_ONCE, 0, 64)             \
    M(INIT_SIGNAL, init_signal, 12, FROM_CLIENT, MR_(SUPERVISOR), LINE_RUNNING, MSG_NOTE, 0, 64)             \
    M(INIT_TERMINATE, empty, 14, FROM_CLIENT, MR_(SUPERVISOR), LINE_BARRIER | LINE_RUNNING, MSG_NOTE, 0, 64) \
    M(INIT_DENIED, ev_syscall_denied, 16, FROM_SERVER, MR_(INIT), LINE_RUNNING, MSG_NOTE, 0, 256)            \
    M(INIT_EXITED, init_exited, 18, FROM_SERVER, MR_(INIT), LINE_RUNNING, MSG_NOTE | MSG_ONCE, 0, 64)        \
    M(INIT_PREPARE, empty, 20, FROM_CLIENT, MR_(SUPERVISOR), LINE_BARRIER, MSG_NOTE | MSG_ONCE, 0, 64)

/* ---- control: cellctl -> supervisor ---- */
/* fds: the spec document (memfd), the attachments (memfd), the workload's stdin, stdout, stderr. name: the
 * cell's id in events when the document has no usable one. */
#define CONTROL_RUN_REQ_FIELDS(F, X)                                                                         \
    F(X, STR, REQ, run_id, "runId", _, LIMIT_RUN_ID)                                                         \
    F(X, STR, REQ, name, "name", _, LIMIT_CELL_ID)                                                           \
    F(X, BIN, REQ, spec_sha256, "specSha256", _, 32)                                                         \
    F(X, BIN, REQ, attachments_sha256, "attachmentsSha256", _, 32)
SCHEMA_DECLARE(control_run_req, CONTROL_RUN_REQ_FIELDS)

#define RUN_RESULT_ENUM(X)                                                                                   \
    X(RUN_EXITED, "exited")     /* exitCode */                                                               \
    X(RUN_SIGNALED, "signaled") /* signal */                                                                 \
    X(RUN_TIMED_OUT, "timedOut")                                                                             \
    X(RUN_NOT_FOUND, "notFound")                                                                             \
    X(RUN_NOT_EXECUTABLE, "notExecutable")                                                                   \
    X(RUN_REJECTED, "rejected") /* bad spec, policy, authority, seccomp */                                   \
    X(RUN_SUITE_FAILED, "suiteFailed")                                                                       \
    X(RUN_NOTHING, "nothing") /* a spec without run */
ENUM_DECLARE(run_result, RUN_RESULT_ENUM)

#define CONTROL_RUN_REP_FIELDS(F, X)                                                                         \
    F(X, ENUM, REQ, result, "result", run_result, 0)                                                         \
    F(X, UINT, OPT, exit_code, "exitCode", _, 255)                                                           \
    F(X, UINT, OPT, signal, "signal", _, 64)                                                                 \
    F(X, STR, REQ, text, "text", _, LIMIT_ERROR_TEXT) /* one sentence, may be empty */                       \
    F(X, UINT, REQ, l7_denied, "l7Denied", _, UINT64_MAX)                                                    \
    F(X, UINT, REQ, dns_denied, "dnsDenied", _, UINT64_MAX)                                                  \
    F(X, STR, OPT, checkpoint, "checkpoint", _, 1024)
SCHEMA_DECLARE(control_run_rep, CONTROL_RUN_REP_FIELDS)

#define CONTROL_STEP_FIELDS(F, X)                                                                            \
    F(X, STR, REQ, text, "text", _, LIMIT_ERROR_TEXT)                                                        \
    F(X, UINT, REQ, micros, "micros", _, UINT64_MAX) /* since the request */
SCHEMA_DECLARE(control_step, CONTROL_STEP_FIELDS)

#define CONTROL_REJECTED_FIELDS(F, X)                                                                        \
    F(X, LIST, REQ, violations, "violations", ev_violation, LIMIT_VIOLATIONS)
SCHEMA_DECLARE(control_rejected, CONTROL_REJECTED_FIELDS)

#define CONTROL_SIGNAL_FIELDS(F, X)                                                                          \
    F(X, STR, REQ, run_id, "runId", _, LIMIT_RUN_ID)                                                         \
    F(X, UINT, REQ, signal, "signal", _, 64)                                                                 \
    F(X, STR, OPT, reason, "reason", _, LIMIT_LABEL) /* of a SIGKILL, for the log */
SCHEMA_DECLARE(control_signal, CONTROL_SIGNAL_FIELDS)

/* fd of the answer: the rules as they are now (document egress_rules). A live change of a cell's egress
 * rules, in the words of --allow. Removals name a rule as the events do. */
#define CONTROL_POLICY_REQ_FIELDS(F, X)                                                                      \
    F(X, STR, REQ, run_id, "runId", _, LIMIT_RUN_ID)                                                         \
    F(X, STRS, REQ, add, "add", 320, LIMIT_POLICY_CHANGES)                                                   \
    F(X, STRS, REQ, remove, "remove", 320, LIMIT_POLICY_CHANGES)
SCHEMA_DECLARE(control_policy_req, CONTROL_POLICY_REQ_FIELDS)

#define CONTROL_POLICY_REP_FIELDS(F, X)                                                                      \
    F(X, UINT, REQ, connections_cut, "connectionsCut", _, UINT64_MAX)                                        \
    F(X, BIN, REQ, rules_sha256, "rulesSha256", _, 32)
SCHEMA_DECLARE(control_policy_rep, CONTROL_POLICY_REP_FIELDS)

#define CONTROL_MESSAGES(M)                                                                                  \
    M(CONTROL_RUN_REQ, control_run_req, 2, FROM_CLIENT, MR_(CELLCTL), LINE_READY, MSG_CALL, 5, 512)          \
    M(CONTROL_RUN_REP, control_run_rep, 3, FROM_SERVER, MR_(SUPERVISOR), LINE_READY, MSG_REPLY, 0, 4096)     \
    M(CONTROL_STEP, control_step, 4, FROM_SERVER, MR_(SUPERVISOR), LINE_READY, MSG_NOTE, 0, 1024)            \
    M(CONTROL_REJECTED, control_rejected, 6, FROM_SERVER, MR_(SUPERVISOR), LINE_READY, MSG_NOTE, 0,          \
      LIMIT_FRAME)                                                                                           \
    M(CONTROL_SIGNAL, control_signal, 8, FROM_CLIENT, MR_(CELLCTL), LINE_READY, MSG_NOTE, 0, 512)            \
    M(CONTROL_POLICY_REQ, control_policy_req, 10, FROM_CLIENT, MR_(CELLCTL), LINE_READY, MSG_CALL, 0,        \
      LIMIT_FRAME)                                                                                           \
    M(CONTROL_POLICY_REP, control_policy_rep, 11, FROM_SERVER, MR_(SUPERVISOR), LINE_READY, MSG_REPLY, 1, 128)

/* ---- all interfaces: I(name, version, table, "what") ---- */
#define INTERFACES(I)                                                                                        \
    I(signer, 4, SIGNER_MESSAGES, "supervisor, netd, proxyd to signerd: claims of events")                   \
    I(netd, 1, NETD_MESSAGES, "supervisor to netd: the network of a cell")                                   \
    I(proxy, 1, PROXY_MESSAGES, "supervisor to proxyd: policies and sockets of a cell")                      \
    I(pin, 1, PIN_MESSAGES, "proxyd to netd: addresses of names, for routed cells")                          \
    I(who, 1, WHO_MESSAGES, "proxyd to PID 1 of a cell: the process behind a connection")                    \
    I(zygote, 1, ZYGOTE_MESSAGES, "supervisor to the zygote: new cells")                                     \
    I(init, 1, INIT_MESSAGES, "supervisor to PID 1 of a cell: barrier, secrets, signals, the end")           \
    I(control, 2, CONTROL_MESSAGES, "cellctl to supervisor: runs")

/* What the fds of a row are, in order: F(constant, "what") for every row with fds. */
#define MESSAGE_FDS(F)                                                                                       \
    F(NETD_CELL_ATTACH_REQ, "user namespace U1, network namespace")                                          \
    F(NETD_CELL_ATTACH_REP, "DNS UDP, DNS TCP, transparent TCP listener, transparent UDP, raw IPv4, raw "    \
                            "IPv6")                                                                          \
    F(NETD_CELL_ATTACH_NONE_REQ, "as NETD_CELL_ATTACH_REQ")                                                  \
    F(NETD_CELL_ATTACH_ROUTED_REQ, "user namespace U1, network namespace, policy document (memfd)")          \
    F(NETD_CELL_ATTACH_ROUTED_REP, "DNS UDP, DNS TCP")                                                       \
    F(NETD_CELL_POLICY_REQ, "policy document (memfd)")                                                       \
    F(PROXY_CELL_OPEN_REQ, "policy document (memfd), proxyd's end of the who line, then the six sockets of " \
                           "NETD_CELL_ATTACH_REP")                                                           \
    F(PROXY_CELL_OPEN_ROUTED_REQ, "policy document (memfd), DNS UDP, DNS TCP")                               \
    F(PROXY_CELL_POLICY_REQ, "policy document (memfd)")                                                      \
    F(ZYGOTE_SPAWN_REQ, "launch document (memfd), stdin, stdout, stderr, the cell's ends of the init line "  \
                        "and the who line")                                                                  \
    F(ZYGOTE_SPAWN_REP, "pidfd of cell init, its network namespace, user namespace U1")                      \
    F(ZYGOTE_SPAWN_IN_CGROUP_REQ, "as ZYGOTE_SPAWN_REQ, then the cgroup's directory")                        \
    F(ZYGOTE_SPAWN_IN_CGROUP_REP, "as ZYGOTE_SPAWN_REP")                                                     \
    F(CONTROL_POLICY_REP, "egress_rules document (memfd)")                                                   \
    F(CONTROL_RUN_REQ, "spec document (memfd), attachments (memfd), stdin, stdout, stderr of the workload")

#define MSG_CONSTANT_(c, rec, id, from, roles, states, flags, nfds, max) MSG_##c = id,
enum { SIGNER_MESSAGES(MSG_CONSTANT_) };
enum { NETD_MESSAGES(MSG_CONSTANT_) };
enum { PROXY_MESSAGES(MSG_CONSTANT_) };
enum { PIN_MESSAGES(MSG_CONSTANT_) };
enum { WHO_MESSAGES(MSG_CONSTANT_) };
enum { ZYGOTE_MESSAGES(MSG_CONSTANT_) };
enum { INIT_MESSAGES(MSG_CONSTANT_) };
enum { CONTROL_MESSAGES(MSG_CONSTANT_) };
