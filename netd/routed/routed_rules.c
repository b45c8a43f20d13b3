/* SPDX-License-Identifier: MIT */
/* The host's rules. A packet of a cell goes: base chain -> (by the link's name) from_N or to_N -> fit_N,
 * which knows the policy -> ok_N, which knows the quotas -> accept. What comes back out of fit_N is not
 * allowed. */
#include "netd/routed/routed.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_ipv4.h>
#include <stdio.h>

#include "netd/routed/routed_batch.h"

#define STATE(info)    (1u << ((info) + 1u)) /* NF_CT_STATE_BIT() */
#define NEW_FLOW       STATE(IP_CT_NEW)
#define RELATED_PACKET STATE(IP_CT_RELATED)
#define SET_MAX        32

const char *routed_chain(enum routed_chain i, unsigned slot, char dst[ROUTED_CHAIN_MAX])
{
    static const char *const names[] = {"from", "to", "fit", "ok", "host"};
    snprintf(dst, ROUTED_CHAIN_MAX, "%s_%u", names[i], slot & 0xffff);
    return dst;
}

static const char *set_name(const struct routed_cell *c, size_t rule, uint8_t family, char dst[SET_MAX])
{
    snprintf(dst, SET_MAX, "n%u_%u_%zu_%c", c->slot, c->generation, rule, family == AF_INET ? '4' : '6');
    return dst;
}

/* ---- the suite ---- */

/* from: packets from the suite's links, else packets to them. A link that has no entry yet passes nothing. */
static void by_link(struct routed_batch *b, const struct routed *r, const char *chain, bool from,
                    const char *map)
{
    struct nftnl_rule *rule = routed_rule(b, chain);
    routed_rule_ifname_map(b, rule, !from, map);
    routed_rule_end(b, rule);
    rule = routed_rule(b, chain);
    routed_rule_ifname(b, rule, !from, r->links, false);
    routed_rule_verdict(b, rule, NF_DROP, NULL);
    routed_rule_end(b, rule);
}

static void masquerade(struct routed_batch *b, const struct addr_prefix *pool)
{
    if (pool->addr.family == AF_UNSPEC)
        return;
    struct nftnl_rule *rule = routed_rule(b, "postrouting");
    routed_rule_saddr(b, rule, pool, true);
    routed_rule_masquerade(b, rule);
    routed_rule_end(b, rule);
}

void routed_rules_suite(struct routed_batch *b, const struct routed *r)
{
    routed_batch_add_map(b, "from");
    routed_batch_add_map(b, "to");
    routed_batch_add_map(b, "host");
    routed_batch_add_chain(b, "forward", "filter", NF_INET_FORWARD, NF_IP_PRI_FILTER);
    routed_batch_add_chain(b, "input", "filter", NF_INET_LOCAL_IN, NF_IP_PRI_FILTER);
    routed_batch_add_chain(b, "output", "filter", NF_INET_LOCAL_OUT, NF_IP_PRI_FILTER);
    routed_batch_add_chain(b, "postrouting", "nat", NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC);
    by_link(b, r, "forward", true, "from");
    by_link(b, r, "forward", false, "to");
    by_link(b, r, "input", true, "host");
    /* The host's own processes begin nothing in a cell; its resets and ICMP errors belong to a flow. */
    struct nftnl_rule *rule = routed_rule(b, "output");
    routed_rule_ifname(b, rule, true, r->links, false);
    routed_rule_flow_state(b, rule, NEW_FLOW);
    routed_rule_verdict(b, rule, NF_DROP, NULL);
    routed_rule_end(b, rule);
    masquerade(b, &r->pool.v4);
    masquerade(b, &r->pool.v6);
}

/* ---- a cell ---- */
static void end_counted(struct routed_batch *b, struct nftnl_rule *rule, const struct routed_cell *c,
                        unsigned row)
{
    routed_rule_count(b, rule, row, c->rows[row].text);
    routed_rule_verdict(b, rule, NF_DROP, NULL);
    routed_rule_end(b, rule);
}

static void spoofed(struct routed_batch *b, const struct routed_cell *c, const char *chain, uint8_t family,
                    const struct addr *own)
{
    const struct addr_prefix p = {*own, family == AF_INET ? 32 : 128};
    struct nftnl_rule *rule = routed_rule(b, chain);
    if (own->family == AF_UNSPEC)
        routed_rule_family(b, rule, family);
    else
        routed_rule_saddr(b, rule, &p, false);
    end_counted(b, rule, c, ROUTED_SPOOFED);
}

static void jump(struct routed_batch *b, const char *chain, const char *to)
{
    struct nftnl_rule *rule = routed_rule(b, chain);
    routed_rule_verdict(b, rule, NFT_JUMP, to);
    routed_rule_end(b, rule);
}

/* Refused, not lost: a client falls back at once. */
static void refuse(struct routed_batch *b, const struct routed_cell *c, const char *chain)
{
    struct nftnl_rule *rule = routed_rule(b, chain);
    routed_rule_l4(b, rule, IPPROTO_TCP);
    routed_rule_count(b, rule, ROUTED_UNLISTED, c->rows[ROUTED_UNLISTED].text);
    routed_rule_reject(b, rule, true);
    routed_rule_end(b, rule);
    rule = routed_rule(b, chain);
    routed_rule_l4(b, rule, IPPROTO_UDP);
    routed_rule_count(b, rule, ROUTED_UNLISTED, c->rows[ROUTED_UNLISTED].text);
    routed_rule_reject(b, rule, false);
    routed_rule_end(b, rule);
    end_counted(b, routed_rule(b, chain), c, ROUTED_UNLISTED);
}

static void from_cell(struct routed_batch *b, const struct routed_cell *c, const char *chain, const char *fit)
{
    spoofed(b, c, chain, AF_INET, &c->link.v4);
    spoofed(b, c, chain, AF_INET6, &c->link.v6);
    struct nftnl_rule *rule = routed_rule(b, chain);
    routed_rule_flow_reply(b, rule, true);
    end_counted(b, rule, c, ROUTED_INBOUND);
    jump(b, chain, fit);
    refuse(b, c, chain);
}

static void to_cell(struct routed_batch *b, const struct routed_cell *c, const char *chain, const char *fit)
{
    static const uint8_t errors[] = {IPPROTO_ICMP, IPPROTO_ICMPV6};
    struct nftnl_rule *rule;
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) { /* about a packet of a flow of the cell's */
        rule = routed_rule(b, chain);
        routed_rule_l4(b, rule, errors[i]);
        routed_rule_flow_state(b, rule, RELATED_PACKET);
        routed_rule_verdict(b, rule, NF_ACCEPT, NULL);
        routed_rule_end(b, rule);
    }
    rule = routed_rule(b, chain);
    routed_rule_flow_reply(b, rule, false);
    end_counted(b, rule, c, ROUTED_INBOUND);
    jump(b, chain, fit);
    end_counted(b, routed_rule(b, chain), c, ROUTED_NOT_ALLOWED);
}

static void within_quota(struct routed_batch *b, const struct routed_cell *c, const char *chain)
{
    const struct policy_quota *q = &c->policy->quota;
    struct nftnl_rule *rule = routed_rule(b, chain);
    routed_rule_flow_state(b, rule, NEW_FLOW);
    routed_rule_more_flows_than(b, rule, (uint32_t)q->max_connections);
    end_counted(b, rule, c, ROUTED_CONNECTIONS);
    if (q->max_bytes_per_second.set) {
        rule = routed_rule(b, chain);
        routed_rule_faster_than(b, rule, q->max_bytes_per_second.v);
        end_counted(b, rule, c, ROUTED_RATE);
    }
    if (q->max_bytes.set) {
        rule = routed_rule(b, chain);
        routed_rule_more_bytes_than(b, rule, q->max_bytes.v);
        end_counted(b, rule, c, ROUTED_BYTES);
    }
    rule = routed_rule(b, chain);
    routed_rule_verdict(b, rule, NF_ACCEPT, NULL);
    routed_rule_end(b, rule);
}

void routed_rules_cell(struct routed_batch *b, const struct routed_cell *c, bool add)
{
    char names[_ROUTED_CHAIN_MAX][ROUTED_CHAIN_MAX];
    static const struct {
        const char *map;
        enum routed_chain chain;
    } entries[] = {{"from", ROUTED_FROM}, {"to", ROUTED_TO}, {"host", ROUTED_HOST}};
    for (unsigned i = 0; i < _ROUTED_CHAIN_MAX; i++)
        routed_chain((enum routed_chain)i, c->slot, names[i]);
    if (add) {
        for (unsigned i = 0; i < _ROUTED_CHAIN_MAX; i++)
            routed_batch_add_chain(b, names[i], NULL, 0, 0);
        within_quota(b, c, names[ROUTED_OK]);
        from_cell(b, c, names[ROUTED_FROM], names[ROUTED_FIT]);
        to_cell(b, c, names[ROUTED_TO], names[ROUTED_FIT]);
        end_counted(b, routed_rule(b, names[ROUTED_HOST]), c, ROUTED_TO_HOST);
        routed_rules_policy(b, c);
    }
    for (size_t i = 0; i < ARRAY_LEN(entries); i++)
        routed_batch_map_link(b, entries[i].map, c->link.name, names[entries[i].chain], add);
    if (add)
        return;
    for (unsigned i = 0; i < _ROUTED_CHAIN_MAX; i++)
        routed_batch_flush_chain(b, names[i]);
    for (unsigned i = 0; i < _ROUTED_CHAIN_MAX; i++)
        routed_batch_del_chain(b, names[i]);
    routed_rules_drop_sets(b, c);
}

/* ---- the policy ---- */
static void allow(struct routed_batch *b, struct nftnl_rule *rule, const struct routed_cell *c, size_t i)
{
    char ok[ROUTED_CHAIN_MAX];
    size_t row = c->row_of_rule[i];
    routed_rule_count(b, rule, (unsigned)row, c->rows[row].text);
    routed_rule_verdict(b, rule, NFT_GOTO, routed_chain(ROUTED_OK, c->slot, ok));
    routed_rule_end(b, rule);
}

static void allow_name(struct routed_batch *b, const struct routed_cell *c, const char *chain, size_t i)
{
    static const uint8_t families[] = {AF_INET, AF_INET6};
    const struct allow_rule *a = &c->policy->allow.rules[i];
    uint32_t mark = c->rows[c->row_of_rule[i]].mark;
    char set[SET_MAX];
    struct nftnl_rule *rule = routed_rule(b, chain);
    routed_rule_flow_mark(b, rule, mark);
    allow(b, rule, c, i);
    for (size_t f = 0; f < ARRAY_LEN(families); f++) {
        routed_batch_add_addresses(b, set_name(c, i, families[f], set), families[f], LIMIT_PINS);
        rule = routed_rule(b, chain);
        routed_rule_flow_state(b, rule, NEW_FLOW);
        routed_rule_l4(b, rule, routed_policy_l4(a));
        routed_rule_flow_daddr_in(b, rule, families[f], set);
        routed_rule_flow_dport(b, rule, a->port_lo, a->port_hi);
        routed_rule_flow_mark_set(b, rule, mark);
        allow(b, rule, c, i);
    }
}

static void allow_addresses(struct routed_batch *b, const struct routed_cell *c, const char *chain, size_t i)
{
    const struct allow_rule *a = &c->policy->allow.rules[i];
    if (!routed_policy_reachable(c->policy, a))
        return;
    struct nftnl_rule *rule = routed_rule(b, chain);
    routed_rule_l4(b, rule, routed_policy_l4(a));
    routed_rule_flow_daddr(b, rule, &a->prefix, true);
    routed_rule_flow_dport(b, rule, a->port_lo, a->port_hi);
    allow(b, rule, c, i);
}

/* What follows in the chain does not reach these. */
static void leave_special(struct routed_batch *b, const char *chain)
{
    static const struct addr_prefix global6 = {{.family = AF_INET6, .bytes = {0x20}}, 3};
    struct nftnl_rule *rule;
    for (size_t i = 0; i < routed_policy_nspecial; i++) {
        rule = routed_rule(b, chain);
        routed_rule_flow_daddr(b, rule, &routed_policy_special[i], true);
        routed_rule_verdict(b, rule, NFT_RETURN, NULL);
        routed_rule_end(b, rule);
    }
    rule = routed_rule(b, chain);
    routed_rule_flow_daddr(b, rule, &global6, false);
    routed_rule_verdict(b, rule, NFT_RETURN, NULL);
    routed_rule_end(b, rule);
}

void routed_rules_policy(struct routed_batch *b, const struct routed_cell *c)
{
    const struct allow_list *l = &c->policy->allow;
    char fit[ROUTED_CHAIN_MAX];
    bool wide = false;
    routed_chain(ROUTED_FIT, c->slot, fit);
    for (size_t i = 0; i < l->n; i++) {
        if (!l->rules[i].is_addr)
            allow_name(b, c, fit, i);
        else if (routed_policy_is_literal(&l->rules[i]))
            allow_addresses(b, c, fit, i);
        else
            wide = true;
    }
    if (wide)
        leave_special(b, fit);
    for (size_t i = 0; wide && i < l->n; i++)
        if (l->rules[i].is_addr && !routed_policy_is_literal(&l->rules[i]))
            allow_addresses(b, c, fit, i);
}

void routed_rules_drop_sets(struct routed_batch *b, const struct routed_cell *c)
{
    const struct allow_list *l = &c->policy->allow;
    char set[SET_MAX];
    for (size_t i = 0; i < l->n; i++) {
        if (l->rules[i].is_addr)
            continue;
        routed_batch_del_set(b, set_name(c, i, AF_INET, set));
        routed_batch_del_set(b, set_name(c, i, AF_INET6, set));
    }
}

void routed_rules_pin(struct routed_batch *b, const struct routed_cell *c, const struct name *name,
                      const struct addr *a, uint64_t timeout_ms)
{
    const struct allow_list *l = &c->policy->allow;
    char set[SET_MAX];
    for (size_t i = 0; i < l->n; i++)
        if (!l->rules[i].is_addr && name_matches(&l->rules[i].name, name))
            routed_batch_pin(b, set_name(c, i, a->family, set), a, timeout_ms);
}
