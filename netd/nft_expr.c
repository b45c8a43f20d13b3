/* SPDX-License-Identifier: MIT */
#include "netd/nft_expr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/expr.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <stddef.h>

/* A new expression at the end of r, which owns it; NULL when memory is out. */
static struct nftnl_expr *add(struct nftnl_rule *r, const char *name)
{
    struct nftnl_expr *e = nftnl_expr_alloc(name);
    if (e != NULL)
        nftnl_rule_add_expr(r, e);
    return e;
}

static int add_compare(struct nftnl_rule *r, uint32_t op, const void *data, size_t n)
{
    struct nftnl_expr *e = add(r, "cmp");
    if (e == NULL)
        return -ENOMEM;
    nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
    nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_OP, op);
    return nftnl_expr_set(e, NFTNL_EXPR_CMP_DATA, data, (uint32_t)n) < 0 ? -ENOMEM : 0;
}

static int add_equal(struct nftnl_rule *r, const void *data, size_t n)
{
    return add_compare(r, NFT_CMP_EQ, data, n);
}

static int add_meta(struct nftnl_rule *r, uint32_t key, const void *data, size_t n)
{
    struct nftnl_expr *e = add(r, "meta");
    if (e == NULL)
        return -ENOMEM;
    nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, key);
    nftnl_expr_set_u32(e, NFTNL_EXPR_META_DREG, NFT_REG_1);
    return add_equal(r, data, n);
}

static int add_payload(struct nftnl_rule *r, uint32_t base, size_t offset, size_t len)
{
    struct nftnl_expr *e = add(r, "payload");
    if (e == NULL)
        return -ENOMEM;
    nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_DREG, NFT_REG_1);
    nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_BASE, base);
    nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_OFFSET, (uint32_t)offset);
    nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_LEN, (uint32_t)len);
    return 0;
}

static int add_mask(struct nftnl_rule *r, const uint8_t *mask, size_t n)
{
    static const uint8_t zero[16];
    struct nftnl_expr *e = add(r, "bitwise");
    if (e == NULL)
        return -ENOMEM;
    nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_SREG, NFT_REG_1);
    nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_DREG, NFT_REG_1);
    nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_LEN, (uint32_t)n);
    if (nftnl_expr_set(e, NFTNL_EXPR_BITWISE_MASK, mask, (uint32_t)n) < 0)
        return -ENOMEM;
    return nftnl_expr_set(e, NFTNL_EXPR_BITWISE_XOR, zero, (uint32_t)n) < 0 ? -ENOMEM : 0;
}

/* Whole bytes of a prefix are simply fewer bytes to load; only an odd rest needs a mask. */
static int add_daddr(struct nftnl_rule *r, const struct addr_prefix *dst)
{
    bool v4 = dst->addr.family == AF_INET;
    uint8_t nfproto = v4 ? NFPROTO_IPV4 : NFPROTO_IPV6;
    size_t offset = v4 ? offsetof(struct iphdr, daddr) : offsetof(struct ip6_hdr, ip6_dst);
    size_t n = dst->bits % 8 == 0 ? dst->bits / 8u : v4 ? 4u : 16u;
    int ret = add_meta(r, NFT_META_NFPROTO, &nfproto, sizeof(nfproto));
    if (ret == 0)
        ret = add_payload(r, NFT_PAYLOAD_NETWORK_HEADER, offset, n);
    if (ret == 0 && dst->bits % 8 != 0) {
        uint8_t mask[16] = {0};
        for (unsigned bit = 0; bit < dst->bits; bit++)
            mask[bit / 8] = (uint8_t)(mask[bit / 8] | 0x80u >> bit % 8);
        ret = add_mask(r, mask, n);
    }
    return ret == 0 ? add_equal(r, dst->addr.bytes, n) : ret;
}

static int add_dport(struct nftnl_rule *r, uint32_t port)
{
    uint16_t be = htons((uint16_t)port);
    int ret = add_payload(r, NFT_PAYLOAD_TRANSPORT_HEADER, 2, sizeof(be));
    return ret == 0 ? add_equal(r, &be, sizeof(be)) : ret;
}

static int add_socket(struct nftnl_rule *r, uint32_t key, uint32_t value)
{
    uint8_t v = (uint8_t)value;
    struct nftnl_expr *e = add(r, "socket");
    if (e == NULL)
        return -ENOMEM;
    nftnl_expr_set_u32(e, NFTNL_EXPR_SOCKET_KEY, key);
    nftnl_expr_set_u32(e, NFTNL_EXPR_SOCKET_DREG, NFT_REG_1);
    return add_equal(r, &v, sizeof(v));
}

static int add_flow_key(struct nftnl_rule *r, uint32_t key)
{
    struct nftnl_expr *e = add(r, "ct");
    if (e == NULL)
        return -ENOMEM;
    nftnl_expr_set_u32(e, NFTNL_EXPR_CT_KEY, key);
    nftnl_expr_set_u32(e, NFTNL_EXPR_CT_DREG, NFT_REG_1);
    return 0;
}

static int add_flow_mark(struct nftnl_rule *r, uint32_t mark)
{
    int ret = add_flow_key(r, NFT_CT_MARK);
    return ret == 0 ? add_equal(r, &mark, sizeof(mark)) : ret;
}

static int add_accounted(struct nftnl_rule *r)
{
    const uint64_t none = 0;
    int ret = add_flow_key(r, NFT_CT_PKTS);
    return ret == 0 ? add_compare(r, NFT_CMP_NEQ, &none, sizeof(none)) : ret;
}

static int add_match(struct nftnl_rule *r, const struct ruleset_match *m)
{
    uint8_t proto = (uint8_t)m->value;
    switch (m->kind) {
    case RULESET_MARKED:
        return add_meta(r, NFT_META_MARK, &m->value, sizeof(m->value));
    case RULESET_L4PROTO:
        return add_meta(r, NFT_META_L4PROTO, &proto, sizeof(proto));
    case RULESET_DPORT:
        return add_dport(r, m->value);
    case RULESET_DADDR:
        return add_daddr(r, &m->dst);
    case RULESET_TRANSPARENT:
        return add_socket(r, NFT_SOCKET_TRANSPARENT, m->value);
    case RULESET_WILDCARD:
        return add_socket(r, NFT_SOCKET_WILDCARD, m->value);
    case RULESET_FLOW_MARK:
        return add_flow_mark(r, m->value);
    case RULESET_ACCOUNTED:
        return add_accounted(r);
    case RULESET_END:
        break;
    }
    return 0;
}

static int add_tproxy(struct nftnl_rule *r)
{
    uint16_t be = htons(RULESET_PROXY_PORT);
    struct nftnl_expr *port = add(r, "immediate");
    if (port == NULL)
        return -ENOMEM;
    nftnl_expr_set_u32(port, NFTNL_EXPR_IMM_DREG, NFT_REG_1);
    if (nftnl_expr_set(port, NFTNL_EXPR_IMM_DATA, &be, sizeof(be)) < 0)
        return -ENOMEM;
    struct nftnl_expr *e = add(r, "tproxy");
    if (e == NULL)
        return -ENOMEM;
    nftnl_expr_set_u32(e, NFTNL_EXPR_TPROXY_FAMILY, NFPROTO_UNSPEC);
    nftnl_expr_set_u32(e, NFTNL_EXPR_TPROXY_REG_PORT, NFT_REG_1);
    return 0;
}

static int add_reject(struct nftnl_rule *r, enum ruleset_verdict v)
{
    struct nftnl_expr *e = add(r, "reject");
    if (e == NULL)
        return -ENOMEM;
    bool reset = v == RULESET_REJECT_RESET;
    nftnl_expr_set_u32(e, NFTNL_EXPR_REJECT_TYPE, reset ? NFT_REJECT_TCP_RST : NFT_REJECT_ICMPX_UNREACH);
    nftnl_expr_set_u8(e, NFTNL_EXPR_REJECT_CODE, reset ? 0 : NFT_REJECT_ICMPX_PORT_UNREACH);
    return 0;
}

static int add_set_flow_mark(struct nftnl_rule *r, uint32_t mark)
{
    struct nftnl_expr *value = add(r, "immediate");
    if (value == NULL)
        return -ENOMEM;
    nftnl_expr_set_u32(value, NFTNL_EXPR_IMM_DREG, NFT_REG_1);
    if (nftnl_expr_set(value, NFTNL_EXPR_IMM_DATA, &mark, sizeof(mark)) < 0)
        return -ENOMEM;
    struct nftnl_expr *e = add(r, "ct");
    if (e == NULL)
        return -ENOMEM;
    nftnl_expr_set_u32(e, NFTNL_EXPR_CT_KEY, NFT_CT_MARK);
    nftnl_expr_set_u32(e, NFTNL_EXPR_CT_SREG, NFT_REG_1);
    return 0;
}

static int add_log(struct nftnl_rule *r, const char *prefix)
{
    struct nftnl_expr *e = add(r, "log");
    if (e == NULL)
        return -ENOMEM;
    nftnl_expr_set_u16(e, NFTNL_EXPR_LOG_GROUP, RULESET_LOG_GROUP);
    nftnl_expr_set_u32(e, NFTNL_EXPR_LOG_SNAPLEN, RULESET_LOG_BYTES);
    return nftnl_expr_set_str(e, NFTNL_EXPR_LOG_PREFIX, prefix) < 0 ? -ENOMEM : 0;
}

static int add_rate(struct nftnl_rule *r)
{
    struct nftnl_expr *e = add(r, "limit");
    if (e == NULL)
        return -ENOMEM;
    nftnl_expr_set_u64(e, NFTNL_EXPR_LIMIT_RATE, RULESET_LOG_RATE);
    nftnl_expr_set_u64(e, NFTNL_EXPR_LIMIT_UNIT, 1); /* second */
    nftnl_expr_set_u32(e, NFTNL_EXPR_LIMIT_BURST, RULESET_LOG_BURST);
    nftnl_expr_set_u32(e, NFTNL_EXPR_LIMIT_TYPE, NFT_LIMIT_PKTS);
    return 0;
}

/* The counter stands before the log: it counts what is offered to it, also what nobody could read in time. */
static int add_evidence(struct nftnl_rule *r, const struct ruleset *rs, const struct ruleset_rule *rule)
{
    if (rule->row == RULESET_UNCOUNTED)
        return 0;
    int ret = 0;
    if (rule->verdict == RULESET_MARK_FLOW || rule->verdict == RULESET_TPROXY_MARK)
        ret = add_set_flow_mark(r, ruleset_flow_mark(rule->row));
    if (ret == 0 && rule->verdict == RULESET_LOG)
        ret = add_rate(r);
    else if (ret == 0 && add(r, "counter") == NULL)
        ret = -ENOMEM;
    return ret == 0 && ruleset_logs(rs, rule) ? add_log(r, rs->rows[rule->row].name) : ret;
}

static int add_verdict(struct nftnl_rule *r, enum ruleset_verdict v)
{
    static const int kernel[] = {
        [RULESET_ACCEPT] = NF_ACCEPT,  [RULESET_DROP] = NF_DROP,      [RULESET_TPROXY] = NF_ACCEPT,
        [RULESET_JUMP_NEW] = NFT_JUMP, [RULESET_RETURN] = NFT_RETURN,
    };
    if (v == RULESET_REJECT_RESET || v == RULESET_REJECT_PORT)
        return add_reject(r, v);
    if (v == RULESET_MARK_FLOW || v == RULESET_TPROXY_MARK || v == RULESET_LOG) /* the next rule */
        return 0;
    struct nftnl_expr *e = add(r, "immediate");
    if (e == NULL)
        return -ENOMEM;
    nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
    nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_VERDICT, (uint32_t)kernel[v]);
    if (v != RULESET_JUMP_NEW)
        return 0;
    return nftnl_expr_set_str(e, NFTNL_EXPR_IMM_CHAIN, ruleset_chain_name(RULESET_NEW)) < 0 ? -ENOMEM : 0;
}

int nft_expr_rule(struct nftnl_rule *r, const struct ruleset *rs, const struct ruleset_rule *rule)
{
    int ret = 0;
    for (size_t i = 0; ret == 0 && i < RULESET_MATCHES_MAX && rule->match[i].kind != RULESET_END; i++)
        ret = add_match(r, &rule->match[i]);
    if (ret == 0 && (rule->verdict == RULESET_TPROXY || rule->verdict == RULESET_TPROXY_MARK))
        ret = add_tproxy(r);
    if (ret == 0)
        ret = add_evidence(r, rs, rule);
    return ret == 0 ? add_verdict(r, rule->verdict) : ret;
}
