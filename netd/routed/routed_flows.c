/* SPDX-License-Identifier: MIT */
/* Flows of a cell in the host's connection tracking, by ctnetlink. */
#include "netd/routed/routed.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <time.h>

#include "netd/netlink.h"
#include "netd/nflog.h"

#define CUT_AT_ONCE 64 /* flows between two looks at the table */

struct cut {
    const struct routed_link *link;
    bool (*fits)(void *self, const struct packet_tuple *t, uint32_t mark);
    void *self;
    struct packet_tuple found[CUT_AT_ONCE];
    size_t n;
};

static uint32_t mark_of(const struct nlmsghdr *h)
{
    const char *end = mnl_nlmsg_get_payload_tail(h);
    for (const struct nlattr *a = mnl_nlmsg_get_payload_offset(h, sizeof(struct nfgenmsg));
         mnl_attr_ok(a, (int)(end - (const char *)a)); a = mnl_attr_next(a))
        if (mnl_attr_get_type(a) == CTA_MARK && mnl_attr_get_payload_len(a) == sizeof(uint32_t))
            return ntohl(mnl_attr_get_u32(a));
    return 0;
}

static int take_flow(const struct nlmsghdr *h, void *self)
{
    struct cut *c = self;
    struct nflog_record r;
    if (nflog_parse_flow(h, ruleset_of(NET_MODE_INTERCEPT), &r) < 0)
        return -EBADMSG;
    const struct addr *from = &r.tuple.source.addr;
    if (!addr_eq(from, &c->link->v4) && !addr_eq(from, &c->link->v6))
        return 0;
    if (c->n < CUT_AT_ONCE && !c->fits(c->self, &r.tuple, mark_of(h)))
        c->found[c->n++] = r.tuple;
    return 0;
}

static void put_tuple(struct nlmsghdr *h, const struct packet_tuple *t)
{
    bool v4 = t->source.addr.family == AF_INET;
    size_t n = v4 ? 4 : 16;
    struct nlattr *tuple = mnl_attr_nest_start(h, CTA_TUPLE_ORIG);
    struct nlattr *ip = mnl_attr_nest_start(h, CTA_TUPLE_IP);
    mnl_attr_put(h, v4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, n, t->source.addr.bytes);
    mnl_attr_put(h, v4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, n, t->destination.addr.bytes);
    mnl_attr_nest_end(h, ip);
    struct nlattr *proto = mnl_attr_nest_start(h, CTA_TUPLE_PROTO);
    mnl_attr_put_u8(h, CTA_PROTO_NUM, t->protocol);
    mnl_attr_put_u16(h, CTA_PROTO_SRC_PORT, htons(t->source.port));
    mnl_attr_put_u16(h, CTA_PROTO_DST_PORT, htons(t->destination.port));
    mnl_attr_nest_end(h, proto);
    mnl_attr_nest_end(h, tuple);
}

/* 1 when it was there, 0 when it had gone by itself. */
static int end_flow(const struct packet_tuple *t)
{
    _Alignas(struct nlmsghdr) uint8_t buf[512];
    uint32_t refused = 0;
    _cleanup_close_ int sock = netlink_open(NETLINK_NETFILTER);
    if (sock < 0)
        return sock;
    struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
    h->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE;
    h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    h->nlmsg_seq = 1;
    struct nfgenmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
    m->nfgen_family = t->source.addr.family;
    m->version = NFNETLINK_V0;
    put_tuple(h, t);
    int r = netlink_batch(sock, buf, h->nlmsg_len, 1, 1, 1, &refused);
    return r == 0 ? 1 : r == -ENOENT ? 0 : r;
}

/* Flows without ports (ICMP) are no rule's, and are not looked for: nothing lets them through. */
int routed_flows_cut(const struct routed_link *l,
                     bool (*fits)(void *self, const struct packet_tuple *t, uint32_t mark), void *self,
                     uint64_t *ret_cut)
{
    struct cut c = {.link = l, .fits = fits, .self = self};
    uint64_t ended = 0;
    for (unsigned round = 0; round < LIMIT_TCP_OPEN; round++) {
        _Alignas(struct nlmsghdr) uint8_t request[64];
        _cleanup_close_ int sock = netlink_open(NETLINK_NETFILTER);
        if (sock < 0)
            return sock;
        c.n = 0;
        int r = netlink_dump(sock, nflog_put_dump(request, 1), take_flow, &c);
        uint64_t before = ended;
        for (size_t i = 0; r >= 0 && i < c.n; i++) {
            r = c.found[i].has_ports ? end_flow(&c.found[i]) : 0;
            ended += r > 0;
        }
        if (r < 0)
            return r;
        if (c.n < CUT_AT_ONCE || ended == before)
            break;
    }
    *ret_cut = ended;
    return 0;
}
