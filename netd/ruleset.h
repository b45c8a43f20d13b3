/* SPDX-License-Identifier: MIT */
/* The rule set of a cell as data, one per mode. nft.c compiles it for the kernel; ruleset_text() renders it
 * as `nft -s list table inet cellos` prints it, and the digest in network_enforcement is the SHA-256 of that
 * text. */
#pragma once

#include "common/base/buf.h"
#include "common/evidence/digest.h"
#include "common/net/addr.h"
#include "proto/words.h"

#define RULESET_TABLE "cellos"
#define RULESET_MARK                                                                                         \
    77 /* on every packet that netd's sockets send; only root over the namespace can set it */
#define RULESET_PROXY_PORT  1 /* below 1024: the workload cannot bind it */
#define RULESET_DNS_PORT    53
#define RULESET_MATCHES_MAX 4
#define RULESET_ROWS_MAX    16   /* counted rows of one mode */
#define RULESET_TEXT_MAX    8192 /* bytes of the text */
#define RULESET_LOG_GROUP   77   /* NFLOG; a cell's network namespace has groups of its own */
#define RULESET_LOG_BYTES   128  /* of each logged packet: its headers */
#define RULESET_LOG_RATE                                                                                     \
    200 /* new flows of one row that are logged in a second: more than an event is made */
#define RULESET_LOG_BURST 400 /* of, and so many at once; dropped packets are all logged */

enum ruleset_chain {
    RULESET_PREROUTING, /* every packet, after lo: who gets it */
    RULESET_OUTPUT,     /* every packet, before lo: may it be at all */
    RULESET_NEW,        /* the first packet of a flow, from prerouting: it is logged, and its flow is marked
                           with its row */
    _RULESET_CHAIN_MAX,
};

enum ruleset_match_kind {
    RULESET_END = 0,
    RULESET_MARKED,      /* meta mark */
    RULESET_L4PROTO,     /* meta l4proto */
    RULESET_DPORT,       /* destination port; behind RULESET_L4PROTO */
    RULESET_DADDR,       /* destination address or prefix */
    RULESET_TRANSPARENT, /* a socket exists and IP_TRANSPARENT is this */
    RULESET_WILDCARD,    /* a socket exists and being bound to any address is this */
    RULESET_FLOW_MARK,   /* the flow's mark: 0 until chain RULESET_NEW has seen it */
    RULESET_ACCOUNTED,   /* the flow's packets are counted. A rule set that asks for this anywhere turns the
                            accounting of flows on (nft_ct.c, nf_ct_set_acct()): no file need be written */
};

struct ruleset_match {
    enum ruleset_match_kind kind;
    uint32_t value;
    struct addr_prefix dst;
};

enum ruleset_verdict {
    RULESET_ACCEPT,
    RULESET_DROP,
    RULESET_REJECT_RESET, /* answer with a TCP reset */
    RULESET_REJECT_PORT,  /* answer with an ICMP port unreachable */
    RULESET_TPROXY,       /* hand to the socket on RULESET_PROXY_PORT, and accept */
    RULESET_JUMP_NEW,     /* go through RULESET_NEW, then on with the next rule */
    RULESET_MARK_FLOW,    /* mark the flow with the row, and go on */
    RULESET_TPROXY_MARK,  /* the same, if there is a socket on RULESET_PROXY_PORT */
    RULESET_LOG,          /* log the packet, but not too many a second, and go on */
    RULESET_RETURN,       /* the end of the chain for this packet */
};

/* What is reported: one event a row at the end of a cell. Several rules may add to one row (the two
 * families). */
struct ruleset_row {
    const char *name;
    enum ruleset_chain chain;
    enum flow_reason reason;
};

#define RULESET_UNCOUNTED (-1)

struct ruleset_rule {
    enum ruleset_chain chain;
    int row; /* index into rows, or RULESET_UNCOUNTED when another row counts the same packets */
    struct ruleset_match match[RULESET_MATCHES_MAX];
    enum ruleset_verdict verdict;
};

struct ruleset {
    const struct ruleset_row *rows;
    size_t nrows;
    const struct ruleset_rule *rules; /* grouped by chain, in the order of the chains */
    size_t nrules;
    bool logs; /* drops and new flows go to NFLOG. Without it only rules that judge packets are used */
};

struct ruleset_count {
    uint64_t packets;
    uint64_t bytes;
    uint64_t logged; /* packets of this row for NFLOG, whether or not the rate let them through */
};

/* The rule set of a mode, or NULL when there is none for it here (routed). logs false: the same without any
 * log, for a kernel that has no nfnetlink_log. */
const struct ruleset *ruleset_get(enum net_mode mode, bool logs);

/* The same with logs. */
const struct ruleset *ruleset_of(enum net_mode mode);

/* Whether the rule is in force: all are, except those that only serve the log of a set without one. */
bool ruleset_has(const struct ruleset *rs, const struct ruleset_rule *rule);

/* How many are. */
size_t ruleset_count_rules(const struct ruleset *rs);

/* Whether a chain has any rule in force. */
bool ruleset_has_chain(const struct ruleset *rs, enum ruleset_chain c);

/* Whether a packet of this rule goes to NFLOG. The log's prefix is the name of the row. */
bool ruleset_logs(const struct ruleset *rs, const struct ruleset_rule *rule);

/* Whether the rule counts packets that are to be logged: a later rule of RULESET_NEW does that, or itself. */
bool ruleset_offers(const struct ruleset *rs, const struct ruleset_rule *rule);

/* Whether flows are tracked and accounted: then their ends are reported too. */
static inline bool ruleset_tracks_flows(const struct ruleset *rs)
{
    return ruleset_has_chain(rs, RULESET_NEW);
}

/* The mark of a flow that a row accepted, and its inverse: RULESET_UNCOUNTED for any other mark. */
static inline uint32_t ruleset_flow_mark(int row)
{
    return (uint32_t)row + 1;
}
int ruleset_row_of_flow_mark(const struct ruleset *rs, uint32_t mark);

/* The row with this name, or -ENOENT. */
int ruleset_row_by_name(const struct ruleset *rs, struct str name) MUST_CHECK;

/* ACTION_DENY for dropped and rejected packets. */
enum action ruleset_row_action(const struct ruleset_row *row);

/* The comment each counted rule carries in the kernel, "reason row", and its inverse: the row's index or
 * -EBADMSG. */
void ruleset_comment(const struct ruleset_row *row, struct buf *b);
int ruleset_row_of_comment(const struct ruleset *rs, struct str comment) MUST_CHECK;

const char *ruleset_chain_name(enum ruleset_chain c);

/* The canonical text; b must hold RULESET_TEXT_MAX. */
void ruleset_text(const struct ruleset *rs, struct buf *b);

/* SHA-256 of the text. digest_init() must have been called. 0 or -ENOMEM. */
int ruleset_digest(const struct ruleset *rs, uint8_t ret[static DIGEST_LEN]) MUST_CHECK;
