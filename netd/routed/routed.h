/* SPDX-License-Identifier: MIT */
/* Mode routed: a cell with a link to the host, whose packets the kernel forwards, filters and masquerades by
 * itself. netd does this only when it was started with a pool of addresses; only then it keeps CAP_NET_ADMIN.
 *
 * All host rules of one suite are one table of its own, RULESET_TABLE and "_r" and the suite's number. It
 * judges packets from and to links of the suite's name and no others. Beside it stands an empty table that
 * the kernel removes when netd's socket is gone, however netd ended ("..._alive"): a table without it is a
 * dead suite's. The rules themselves stay when netd dies: nothing opens up.
 *
 * A flow that a rule for a name let through is marked (ct mark) with that rule's number, and goes on after
 * the name's address has timed out; a flow of a rule for addresses is judged packet by packet. When a rule is
 * removed neither fits any more. */
#pragma once

#include "netd/routed/pool.h"
#include "netd/routed/routed_link.h"
#include "netd/routed/routed_policy.h"
#include "netd/ruleset.h"
#include "proto/limits.h"

#define ROUTED_TABLE_MAX   48
#define ROUTED_RESIDUE_MAX 64 /* things of dead suites that are told one by one */
#define ROUTED_PIN_MIN_S   60u

/* Rows of a cell before those of its rules. */
enum routed_row {
    ROUTED_SPOOFED,     /* not the cell's address */
    ROUTED_INBOUND,     /* a flow that began outside */
    ROUTED_UNLISTED,    /* no rule allows it */
    ROUTED_NOT_ALLOWED, /* an answer of a flow that no rule allows any more */
    ROUTED_TO_HOST,     /* for the host itself */
    ROUTED_CONNECTIONS, /* quota: too many at a time */
    ROUTED_RATE,        /* quota: bytes per second */
    ROUTED_BYTES,       /* quota: bytes */
    _ROUTED_ROW_MAX,
};

struct routed_residue {
    const char *kind; /* "veth", "nft" */
    char name[ROUTED_TABLE_MAX];
};

/* Of the daemon. */
struct routed {
    struct pool pool;
    bool forwards4, forwards6; /* the host does (sysctl), as of netd's start */
    char suite[9];
    char table[ROUTED_TABLE_MAX];
    char links[ROUTED_LINK_MAX]; /* how the suite's links begin */
    int alive;                   /* the socket that owns the table ..._alive */
    uint32_t marks;              /* last one given */
    unsigned last_slot;
    uint64_t used[(POOL_SLOTS_MAX + 64) / 64]; /* slots of this suite, a bit each */
    struct routed_residue residue[ROUTED_RESIDUE_MAX];
    size_t nresidue;
};

/* Before the confinement: reads the pool and the host's forwarding. 0 or -errno (logged). */
int routed_configure(const char *pool, struct routed *ret) MUST_CHECK;

/* After it: removes what dead suites left, makes the suite's table. 0 or -errno (logged). */
int routed_start(struct routed *r) MUST_CHECK;

/* Removes the suite's table and links. For a struct that routed_start() succeeded on. */
void routed_stop(struct routed *r);

/* A netfilter socket of the host for one exchange. The fd or -errno. */
int routed_nft_open(void) MUST_CHECK;

/* ---- a cell ---- */
struct routed_pin {
    struct name name;
    struct addr addr;
    uint64_t until_us; /* CLOCK_BOOTTIME */
};

/* One row's counter. rule rows are known by their text, over all changes of the policy. */
struct routed_count {
    char text[128];
    uint32_t mark; /* of a rule */
    bool live;     /* in force; else it was removed */
    bool reported;
    uint64_t packets, bytes; /* in all */
    uint64_t before;         /* packets and bytes as of the last change of the policy: */
    uint64_t before_bytes;   /* the kernel counts from there */
    uint64_t told, told_bytes;
};

struct routed_cell {
    struct routed *routed;
    unsigned slot;
    bool linked; /* rules and link are there */
    struct routed_link link;
    struct routed_policy *policy;
    unsigned generation; /* of the policy */
    struct routed_pin *pins;
    size_t npins;
    struct routed_count *rows; /* _ROUTED_ROW_MAX, then rules */
    size_t nrows;
    size_t *row_of_rule; /* of the policy's rules */
};

/* Takes the policy document. 0 or -errno with *ret_why. Freed with routed_cell_free(). */
int routed_cell_new(struct routed *r, int policy, struct str sha256, struct routed_cell **ret,
                    const char **ret_why) MUST_CHECK;

/* Host: rules, link, addresses, in this order. The namespace has been checked. 0 or -errno, *ret_why the
 * step. */
int routed_cell_link(struct routed_cell *c, int netns, const char *run_id, const char **ret_why) MUST_CHECK;

/* Removes link and rules. NULL-safe; returns NULL. */
struct routed_cell *routed_cell_free(struct routed_cell *c);

/* Another policy, at once; *ret_cut: flows that no longer fit and were ended. 0 or -errno: nothing has
 * changed. */
int routed_cell_policy(struct routed_cell *c, int policy, struct str sha256, uint64_t *ret_cut) MUST_CHECK;

/* The name's addresses become reachable for ttl_s, where a rule names it and the address may be pinned. 0,
 * also when none was; -EDQUOT beyond LIMIT_PINS; -errno. */
int routed_cell_pin(struct routed_cell *c, const struct name *name, const struct addr *addrs, size_t n,
                    uint32_t ttl_s) MUST_CHECK;

/* Reads the kernel's counters into the rows. 0 or -errno. */
int routed_cell_count(struct routed_cell *c) MUST_CHECK;

/* routed_flows.c: ends the cell's flows that fits() refuses; how many, or -errno. mark: ct mark of the flow.
 */
struct packet_tuple;
int routed_flows_cut(const struct routed_link *l,
                     bool (*fits)(void *self, const struct packet_tuple *t, uint32_t mark), void *self,
                     uint64_t *ret_cut) MUST_CHECK;

/* routed_rules.c: the suite's base chains; a cell's chains and what leads to them; the part that depends on
 * the policy. */
struct routed_batch;
void routed_rules_suite(struct routed_batch *b, const struct routed *r);
void routed_rules_cell(struct routed_batch *b, const struct routed_cell *c, bool add);
void routed_rules_policy(struct routed_batch *b, const struct routed_cell *c);
void routed_rules_drop_sets(struct routed_batch *b, const struct routed_cell *c);
void routed_rules_pin(struct routed_batch *b, const struct routed_cell *c, const struct name *name,
                      const struct addr *a, uint64_t timeout_ms);
#define ROUTED_CHAIN_MAX 16
enum routed_chain { ROUTED_FROM, ROUTED_TO, ROUTED_FIT, ROUTED_OK, ROUTED_HOST, _ROUTED_CHAIN_MAX };
const char *routed_chain(enum routed_chain i, unsigned slot, char dst[ROUTED_CHAIN_MAX]);
