/* SPDX-License-Identifier: MIT */
/* One nftables transaction under construction: objects in, one exchange at the end. The first failure sticks,
 * so that a long list of rules needs one check. Inside netd/routed*.c only. */
#pragma once

#include <libnftnl/rule.h>
#include <stdint.h>

#include "common/net/addr.h"

#define ROUTED_BATCH_MAX                                                                                     \
    (4u << 20)                  /* bytes of one transaction: LIMIT_EGRESS_RULES name rules of two families */
#define ROUTED_BATCH_ONE 65536u /* bytes of one request */

struct routed_batch {
    const char *table;
    uint8_t *data; /* owned */
    size_t len, cap;
    uint32_t seq;
    uint32_t set_id;
    int err;
};

/* Takes nothing; table outlives it. Freed with routed_batch_done(). */
void routed_batch_begin(struct routed_batch *b, const char *table);
void routed_batch_done(struct routed_batch *b);

/* Commits everything or nothing. 0 or -errno. sock: NETLINK_NETFILTER, only for this. */
int routed_batch_commit(struct routed_batch *b, int sock) MUST_CHECK;

/* owner: the table lives as long as the socket that makes it. */
void routed_batch_add_table(struct routed_batch *b, const char *name, bool owner);
void routed_batch_del_table(struct routed_batch *b, const char *name);

/* type NULL: a chain that is jumped to. */
void routed_batch_add_chain(struct routed_batch *b, const char *name, const char *type, uint32_t hook,
                            int32_t prio);
void routed_batch_del_chain(struct routed_batch *b, const char *name);
void routed_batch_flush_chain(struct routed_batch *b, const char *name);

/* A set of addresses with timeouts, and a map from an interface's name to a jump. */
void routed_batch_add_addresses(struct routed_batch *b, const char *name, uint8_t family, uint32_t size);
void routed_batch_add_map(struct routed_batch *b, const char *name);
void routed_batch_del_set(struct routed_batch *b, const char *name);

/* Renews the address whatever is there: it lives timeout_ms from now on. */
void routed_batch_pin(struct routed_batch *b, const char *set, const struct addr *a, uint64_t timeout_ms);
void routed_batch_map_link(struct routed_batch *b, const char *map, const char *link, const char *to,
                           bool add);

/* ---- one rule of the chain with the name: begin, matches and statements in order, end ---- */
struct nftnl_rule *routed_rule(struct routed_batch *b, const char *name);
void routed_rule_end(struct routed_batch *b, struct nftnl_rule *r);

void routed_rule_ifname(struct routed_batch *b, struct nftnl_rule *r, bool out, const char *prefix,
                        bool whole);
void routed_rule_ifname_map(struct routed_batch *b, struct nftnl_rule *r, bool out, const char *map);
void routed_rule_family(struct routed_batch *b, struct nftnl_rule *r, uint8_t family);
void routed_rule_l4(struct routed_batch *b, struct nftnl_rule *r, uint8_t proto);
void routed_rule_saddr(struct routed_batch *b, struct nftnl_rule *r, const struct addr_prefix *p, bool equal);
/* Of the flow's first direction: the same for packets both ways. */
void routed_rule_flow_daddr(struct routed_batch *b, struct nftnl_rule *r, const struct addr_prefix *p,
                            bool equal);
void routed_rule_flow_daddr_in(struct routed_batch *b, struct nftnl_rule *r, uint8_t family, const char *set);
void routed_rule_flow_dport(struct routed_batch *b, struct nftnl_rule *r, uint16_t lo, uint16_t hi);
void routed_rule_flow_reply(struct routed_batch *b, struct nftnl_rule *r, bool reply);
void routed_rule_flow_state(struct routed_batch *b, struct nftnl_rule *r, uint32_t bits);
void routed_rule_flow_mark(struct routed_batch *b, struct nftnl_rule *r, uint32_t mark);
void routed_rule_flow_mark_set(struct routed_batch *b, struct nftnl_rule *r, uint32_t mark);
void routed_rule_more_flows_than(struct routed_batch *b, struct nftnl_rule *r, uint32_t n);
void routed_rule_faster_than(struct routed_batch *b, struct nftnl_rule *r, uint64_t bytes_per_second);
void routed_rule_more_bytes_than(struct routed_batch *b, struct nftnl_rule *r, uint64_t bytes);
/* Counts, as row number n of the cell; text: for who reads the rules with nft. */
void routed_rule_count(struct routed_batch *b, struct nftnl_rule *r, unsigned n, const char *text);
void routed_rule_reject(struct routed_batch *b, struct nftnl_rule *r, bool reset);
void routed_rule_masquerade(struct routed_batch *b, struct nftnl_rule *r);
/* NF_ACCEPT, NF_DROP, NFT_RETURN; or NFT_JUMP, NFT_GOTO to a chain. */
void routed_rule_verdict(struct routed_batch *b, struct nftnl_rule *r, int verdict, const char *to);

/* Reads the counters of a chain: each(row, packets, bytes) for every rule that counts. 0 or -errno. */
int routed_counters(int sock, const char *table, const char *chain, uint32_t seq,
                    void (*each)(void *self, unsigned row, uint64_t packets, uint64_t bytes),
                    void *self) MUST_CHECK;
