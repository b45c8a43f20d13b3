/* SPDX-License-Identifier: MIT */
/* Matches and statements of one rule in netfilter's terms, over one register. A flow's own addresses and
 * ports (ct original) are looked at rather than the packet's: they are the same in both directions, and they
 * are what the cell asked for, whatever the host translates. */
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/expr.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tuple_common.h>
#include <linux/netfilter/nf_tables.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <stddef.h>
#include <stdio.h>

#include "netd/netlink.h"
#include "netd/routed/routed_batch.h"

static void fail(struct routed_batch *b)
{
    if (b->err == 0)
        b->err = -ENOMEM;
}

static struct nftnl_expr *add(struct routed_batch *b, struct nftnl_rule *r, const char *name)
{
    struct nftnl_expr *e = r != NULL ? nftnl_expr_alloc(name) : NULL;
    if (e == NULL)
        fail(b);
    else
        nftnl_rule_add_expr(r, e);
    return e;
}

static void set32(struct nftnl_expr *e, uint16_t attribute, uint32_t v)
{
    if (e != NULL)
        nftnl_expr_set_u32(e, attribute, v);
}

static void set_data(struct routed_batch *b, struct nftnl_expr *e, uint16_t attribute, const void *p,
                     size_t n)
{
    if (e != NULL && nftnl_expr_set(e, attribute, p, (uint32_t)n) < 0)
        fail(b);
}

static void set_text(struct routed_batch *b, struct nftnl_expr *e, uint16_t attribute, const char *s)
{
    if (e != NULL && nftnl_expr_set_str(e, attribute, s) < 0)
        fail(b);
}

static void compare(struct routed_batch *b, struct nftnl_rule *r, uint32_t op, const void *p, size_t n)
{
    struct nftnl_expr *e = add(b, r, "cmp");
    set32(e, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
    set32(e, NFTNL_EXPR_CMP_OP, op);
    set_data(b, e, NFTNL_EXPR_CMP_DATA, p, n);
}

static void mask(struct routed_batch *b, struct nftnl_rule *r, const void *bits, size_t n)
{
    static const uint8_t zero[16];
    struct nftnl_expr *e = add(b, r, "bitwise");
    set32(e, NFTNL_EXPR_BITWISE_SREG, NFT_REG_1);
    set32(e, NFTNL_EXPR_BITWISE_DREG, NFT_REG_1);
    set32(e, NFTNL_EXPR_BITWISE_LEN, (uint32_t)n);
    set_data(b, e, NFTNL_EXPR_BITWISE_MASK, bits, n);
    set_data(b, e, NFTNL_EXPR_BITWISE_XOR, zero, n);
}

static void meta(struct routed_batch *b, struct nftnl_rule *r, uint32_t key)
{
    struct nftnl_expr *e = add(b, r, "meta");
    set32(e, NFTNL_EXPR_META_KEY, key);
    set32(e, NFTNL_EXPR_META_DREG, NFT_REG_1);
}

static struct nftnl_expr *ct(struct routed_batch *b, struct nftnl_rule *r, uint32_t key)
{
    struct nftnl_expr *e = add(b, r, "ct");
    set32(e, NFTNL_EXPR_CT_KEY, key);
    set32(e, NFTNL_EXPR_CT_DREG, NFT_REG_1);
    return e;
}

static void ct_original(struct routed_batch *b, struct nftnl_rule *r, uint32_t key)
{
    struct nftnl_expr *e = ct(b, r, key);
    if (e != NULL)
        nftnl_expr_set_u8(e, NFTNL_EXPR_CT_DIR, IP_CT_DIR_ORIGINAL);
}

static void lookup(struct routed_batch *b, struct nftnl_rule *r, const char *set, bool verdict)
{
    struct nftnl_expr *e = add(b, r, "lookup");
    set32(e, NFTNL_EXPR_LOOKUP_SREG, NFT_REG_1);
    if (verdict)
        set32(e, NFTNL_EXPR_LOOKUP_DREG, NFT_REG_VERDICT);
    set_text(b, e, NFTNL_EXPR_LOOKUP_SET, set);
}

/* An address is in register 1. */
static void compare_prefix(struct routed_batch *b, struct nftnl_rule *r, const struct addr_prefix *p,
                           bool equal)
{
    uint8_t bits[16] = {0};
    size_t n = p->addr.family == AF_INET ? 4 : 16;
    for (unsigned i = 0; i < p->bits; i++)
        bits[i / 8] = (uint8_t)(bits[i / 8] | 0x80u >> i % 8);
    if (p->bits != 8 * n)
        mask(b, r, bits, n);
    compare(b, r, equal ? NFT_CMP_EQ : NFT_CMP_NEQ, p->addr.bytes, n);
}

/* ---- matches ---- */
void routed_rule_ifname(struct routed_batch *b, struct nftnl_rule *r, bool out, const char *prefix,
                        bool whole)
{
    char name[IFNAMSIZ] = {0};
    size_t n = strnlen(prefix, sizeof(name) - 1);
    memcpy(name, prefix, n);
    meta(b, r, out ? NFT_META_OIFNAME : NFT_META_IIFNAME);
    compare(b, r, NFT_CMP_EQ, name, whole ? sizeof(name) : n);
}

void routed_rule_ifname_map(struct routed_batch *b, struct nftnl_rule *r, bool out, const char *map)
{
    meta(b, r, out ? NFT_META_OIFNAME : NFT_META_IIFNAME);
    lookup(b, r, map, true);
}

void routed_rule_family(struct routed_batch *b, struct nftnl_rule *r, uint8_t family)
{
    uint8_t v = family == AF_INET ? NFPROTO_IPV4 : NFPROTO_IPV6;
    meta(b, r, NFT_META_NFPROTO);
    compare(b, r, NFT_CMP_EQ, &v, sizeof(v));
}

void routed_rule_l4(struct routed_batch *b, struct nftnl_rule *r, uint8_t proto)
{
    meta(b, r, NFT_META_L4PROTO);
    compare(b, r, NFT_CMP_EQ, &proto, sizeof(proto));
}

void routed_rule_saddr(struct routed_batch *b, struct nftnl_rule *r, const struct addr_prefix *p, bool equal)
{
    bool v4 = p->addr.family == AF_INET;
    routed_rule_family(b, r, p->addr.family);
    struct nftnl_expr *e = add(b, r, "payload");
    set32(e, NFTNL_EXPR_PAYLOAD_DREG, NFT_REG_1);
    set32(e, NFTNL_EXPR_PAYLOAD_BASE, NFT_PAYLOAD_NETWORK_HEADER);
    set32(e, NFTNL_EXPR_PAYLOAD_OFFSET,
          (uint32_t)(v4 ? offsetof(struct iphdr, saddr) : offsetof(struct ip6_hdr, ip6_src)));
    set32(e, NFTNL_EXPR_PAYLOAD_LEN, v4 ? 4 : 16);
    compare_prefix(b, r, p, equal);
}

void routed_rule_flow_daddr(struct routed_batch *b, struct nftnl_rule *r, const struct addr_prefix *p,
                            bool equal)
{
    ct_original(b, r, p->addr.family == AF_INET ? NFT_CT_DST_IP : NFT_CT_DST_IP6);
    compare_prefix(b, r, p, equal);
}

void routed_rule_flow_daddr_in(struct routed_batch *b, struct nftnl_rule *r, uint8_t family, const char *set)
{
    ct_original(b, r, family == AF_INET ? NFT_CT_DST_IP : NFT_CT_DST_IP6);
    lookup(b, r, set, false);
}

void routed_rule_flow_dport(struct routed_batch *b, struct nftnl_rule *r, uint16_t lo, uint16_t hi)
{
    uint16_t from = htons(lo), to = htons(hi);
    ct_original(b, r, NFT_CT_PROTO_DST);
    compare(b, r, lo == hi ? NFT_CMP_EQ : NFT_CMP_GTE, &from, sizeof(from));
    if (lo != hi)
        compare(b, r, NFT_CMP_LTE, &to, sizeof(to));
}

void routed_rule_flow_reply(struct routed_batch *b, struct nftnl_rule *r, bool reply)
{
    uint8_t v = reply ? IP_CT_DIR_REPLY : IP_CT_DIR_ORIGINAL;
    ct(b, r, NFT_CT_DIRECTION);
    compare(b, r, NFT_CMP_EQ, &v, sizeof(v));
}

void routed_rule_flow_state(struct routed_batch *b, struct nftnl_rule *r, uint32_t bits)
{
    const uint32_t none = 0;
    ct(b, r, NFT_CT_STATE);
    mask(b, r, &bits, sizeof(bits));
    compare(b, r, NFT_CMP_NEQ, &none, sizeof(none));
}

void routed_rule_flow_mark(struct routed_batch *b, struct nftnl_rule *r, uint32_t mark)
{
    ct(b, r, NFT_CT_MARK);
    compare(b, r, NFT_CMP_EQ, &mark, sizeof(mark));
}

/* ---- limits ---- */
void routed_rule_more_flows_than(struct routed_batch *b, struct nftnl_rule *r, uint32_t n)
{
    struct nftnl_expr *e = add(b, r, "connlimit");
    set32(e, NFTNL_EXPR_CONNLIMIT_COUNT, n);
    set32(e, NFTNL_EXPR_CONNLIMIT_FLAGS, NFT_CONNLIMIT_F_INV);
}

void routed_rule_faster_than(struct routed_batch *b, struct nftnl_rule *r, uint64_t bytes_per_second)
{
    struct nftnl_expr *e = add(b, r, "limit");
    if (e == NULL)
        return;
    nftnl_expr_set_u64(e, NFTNL_EXPR_LIMIT_RATE, bytes_per_second);
    nftnl_expr_set_u64(e, NFTNL_EXPR_LIMIT_UNIT, 1); /* second */
    /* Room for a whole large segment: with less nothing would ever pass. */
    set32(e, NFTNL_EXPR_LIMIT_BURST, 65536);
    set32(e, NFTNL_EXPR_LIMIT_TYPE, NFT_LIMIT_PKT_BYTES);
    set32(e, NFTNL_EXPR_LIMIT_FLAGS, NFT_LIMIT_F_INV);
}

void routed_rule_more_bytes_than(struct routed_batch *b, struct nftnl_rule *r, uint64_t bytes)
{
    struct nftnl_expr *e = add(b, r, "quota");
    if (e == NULL)
        return;
    nftnl_expr_set_u64(e, NFTNL_EXPR_QUOTA_BYTES, bytes);
    set32(e, NFTNL_EXPR_QUOTA_FLAGS, NFT_QUOTA_F_INV);
}

/* ---- statements ---- */
void routed_rule_flow_mark_set(struct routed_batch *b, struct nftnl_rule *r, uint32_t mark)
{
    struct nftnl_expr *value = add(b, r, "immediate");
    set32(value, NFTNL_EXPR_IMM_DREG, NFT_REG_1);
    set_data(b, value, NFTNL_EXPR_IMM_DATA, &mark, sizeof(mark));
    struct nftnl_expr *e = add(b, r, "ct");
    set32(e, NFTNL_EXPR_CT_KEY, NFT_CT_MARK);
    set32(e, NFTNL_EXPR_CT_SREG, NFT_REG_1);
}

/* The comment is "number text": nft shows it, and the counter is found by it again. */
void routed_rule_count(struct routed_batch *b, struct nftnl_rule *r, unsigned n, const char *text)
{
    char comment[NFTNL_UDATA_COMMENT_MAXLEN];
    snprintf(comment, sizeof(comment), "%u %.100s", n, text);
    add(b, r, "counter");
    struct nftnl_udata_buf *u = nftnl_udata_buf_alloc(NFT_USERDATA_MAXLEN);
    if (r == NULL || u == NULL || !nftnl_udata_put_strz(u, NFTNL_UDATA_RULE_COMMENT, comment) ||
        nftnl_rule_set_data(r, NFTNL_RULE_USERDATA, nftnl_udata_buf_data(u), nftnl_udata_buf_len(u)) < 0)
        fail(b);
    if (u != NULL)
        nftnl_udata_buf_free(u);
}

void routed_rule_reject(struct routed_batch *b, struct nftnl_rule *r, bool reset)
{
    struct nftnl_expr *e = add(b, r, "reject");
    set32(e, NFTNL_EXPR_REJECT_TYPE, reset ? NFT_REJECT_TCP_RST : NFT_REJECT_ICMPX_UNREACH);
    if (e != NULL)
        nftnl_expr_set_u8(e, NFTNL_EXPR_REJECT_CODE, reset ? 0 : NFT_REJECT_ICMPX_PORT_UNREACH);
}

void routed_rule_masquerade(struct routed_batch *b, struct nftnl_rule *r)
{
    add(b, r, "masq");
}

void routed_rule_verdict(struct routed_batch *b, struct nftnl_rule *r, int verdict, const char *to)
{
    struct nftnl_expr *e = add(b, r, "immediate");
    set32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
    set32(e, NFTNL_EXPR_IMM_VERDICT, (uint32_t)verdict);
    if (to != NULL)
        set_text(b, e, NFTNL_EXPR_IMM_CHAIN, to);
}

/* ---- counters ---- */
struct reading {
    const char *chain;
    void (*each)(void *self, unsigned row, uint64_t packets, uint64_t bytes);
    void *self;
};

struct counter {
    bool found;
    uint64_t packets, bytes;
};

static int take_counter(struct nftnl_expr *e, void *data)
{
    struct counter *c = data;
    if (strcmp(nftnl_expr_get_str(e, NFTNL_EXPR_NAME), "counter") == 0) {
        c->found = true;
        c->packets = nftnl_expr_get_u64(e, NFTNL_EXPR_CTR_PACKETS);
        c->bytes = nftnl_expr_get_u64(e, NFTNL_EXPR_CTR_BYTES);
    }
    return 0;
}

static int take_comment(const struct nftnl_udata *attr, void *data)
{
    unsigned *row = data;
    const char *s = nftnl_udata_get(attr);
    unsigned n = 0, i = 0;
    if (nftnl_udata_type(attr) != NFTNL_UDATA_RULE_COMMENT)
        return 0;
    for (; i < nftnl_udata_len(attr) && i < 6 && s[i] >= '0' && s[i] <= '9'; i++)
        n = 10 * n + (unsigned)(s[i] - '0');
    if (i > 0)
        *row = n;
    return 0;
}

static int take_rule(const struct nlmsghdr *h, void *self)
{
    const struct reading *q = self;
    struct counter c = {0};
    unsigned row = UINT32_MAX;
    uint32_t len = 0;
    struct nftnl_rule *r = nftnl_rule_alloc();
    if (r == NULL)
        return -ENOMEM;
    int ret = nftnl_rule_nlmsg_parse(h, r) < 0 ? -EBADMSG : 0;
    const char *name = ret == 0 ? nftnl_rule_get_str(r, NFTNL_RULE_CHAIN) : NULL;
    if (name != NULL && strcmp(name, q->chain) == 0) {
        const void *udata = nftnl_rule_get_data(r, NFTNL_RULE_USERDATA, &len);
        if (nftnl_expr_foreach(r, take_counter, &c) < 0 ||
            (udata != NULL && nftnl_udata_parse(udata, len, take_comment, &row) < 0))
            ret = -EBADMSG;
        else if (c.found && row != UINT32_MAX)
            q->each(q->self, row, c.packets, c.bytes);
    }
    nftnl_rule_free(r);
    return ret;
}

int routed_counters(int sock, const char *table, const char *chain, uint32_t seq,
                    void (*each)(void *self, unsigned row, uint64_t packets, uint64_t bytes), void *self)
{
    _Alignas(struct nlmsghdr) char buf[512];
    struct reading q = {chain, each, self};
    struct nftnl_rule *filter = nftnl_rule_alloc();
    if (filter == NULL)
        return -ENOMEM;
    int r = nftnl_rule_set_str(filter, NFTNL_RULE_TABLE, table) < 0 ||
                    nftnl_rule_set_str(filter, NFTNL_RULE_CHAIN, chain) < 0
                ? -ENOMEM
                : 0;
    struct nlmsghdr *h = nftnl_nlmsg_build_hdr(buf, NFT_MSG_GETRULE, NFPROTO_INET, NLM_F_DUMP, seq);
    nftnl_rule_nlmsg_build_payload(h, filter);
    nftnl_rule_free(filter);
    return r < 0 ? r : netlink_dump(sock, h, take_rule, &q);
}
