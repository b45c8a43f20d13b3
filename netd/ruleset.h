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

enum ruleset_chain {
    RULESET_PREROUTING, /* every packet, after lo: who gets it */
    RULESET_OUTPUT,     /* every packet, before lo: may it be at all */
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
};

struct ruleset_count {
    uint64_t packets;
    uint64_t bytes;
};

/* The rule set of a mode, or NULL when this version has none for it (routed). */
const struct ruleset *ruleset_of(enum net_mode mode);

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
