/* SPDX-License-Identifier: MIT */
/* Messages of the flow log. The kernel makes them, but around bytes and numbers of the workload's choosing.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netfilter/nfnetlink_log.h>

#include "netd/netlink.h"
#include "netd/nflog.h"

#define TYPE(subsystem, message) ((uint16_t)((subsystem) << 8 | (message)))

/* ---- attributes ---- */
struct attrs {
    const struct nlattr *at;
    const char *end;
};

static struct attrs attrs_of_message(const struct nlmsghdr *h)
{
    return (struct attrs){mnl_nlmsg_get_payload_offset(h, sizeof(struct nfgenmsg)),
                          mnl_nlmsg_get_payload_tail(h)};
}

static struct attrs attrs_of(const struct nlattr *nest)
{
    const char *p = mnl_attr_get_payload(nest);
    return (struct attrs){(const void *)p, p + mnl_attr_get_payload_len(nest)};
}

/* The next whole attribute, or NULL at the end of what is whole. */
static const struct nlattr *attrs_next(struct attrs *s)
{
    const struct nlattr *a = s->at;
    if (!mnl_attr_ok(a, (int)(s->end - (const char *)a)))
        return NULL;
    s->at = mnl_attr_next(a);
    return a;
}

static bool take_u8(const struct nlattr *a, uint8_t *ret)
{
    if (mnl_attr_get_payload_len(a) != sizeof(*ret))
        return false;
    *ret = mnl_attr_get_u8(a);
    return true;
}

static bool take_u16(const struct nlattr *a, uint16_t *ret)
{
    if (mnl_attr_get_payload_len(a) != sizeof(*ret))
        return false;
    *ret = ntohs(mnl_attr_get_u16(a));
    return true;
}

static bool take_u32(const struct nlattr *a, uint32_t *ret)
{
    if (mnl_attr_get_payload_len(a) != sizeof(*ret))
        return false;
    *ret = ntohl(mnl_attr_get_u32(a));
    return true;
}

static bool take_u64(const struct nlattr *a, uint64_t *ret)
{
    if (mnl_attr_get_payload_len(a) != sizeof(*ret))
        return false;
    *ret = be64toh(mnl_attr_get_u64(a));
    return true;
}

static bool take_addr(const struct nlattr *a, uint8_t family, struct addr *ret)
{
    size_t n = family == AF_INET ? 4 : 16;
    if (mnl_attr_get_payload_len(a) != n)
        return false;
    *ret = (struct addr){.family = family};
    memcpy(ret->bytes, mnl_attr_get_payload(a), n);
    return true;
}

/* ---- a logged packet ---- */
static void parse_prefix(const struct nlattr *a, const struct ruleset *rs, struct nflog_record *r)
{
    const char *p = mnl_attr_get_payload(a);
    size_t n = mnl_attr_get_payload_len(a);
    int row = ruleset_row_by_name(rs, (struct str){p, strnlen(p, n)});
    r->row = row < 0 ? RULESET_UNCOUNTED : row;
}

static void parse_packet(const struct nlmsghdr *h, const struct ruleset *rs, struct nflog_record *r)
{
    const struct nlattr *a;
    *r = (struct nflog_record){.kind = NFLOG_PACKET, .row = RULESET_UNCOUNTED, .packets = 1};
    for (struct attrs s = attrs_of_message(h); (a = attrs_next(&s)) != NULL;) {
        switch (mnl_attr_get_type(a)) {
        case NFULA_PREFIX:
            parse_prefix(a, rs, r);
            break;
        case NFULA_SEQ:
            (void)take_u32(a, &r->seq);
            break;
        case NFULA_PAYLOAD:
            r->has_tuple =
                packet_parse(mnl_attr_get_payload(a), mnl_attr_get_payload_len(a), &r->tuple, &r->bytes) == 0;
            break;
        default:
            break;
        }
    }
}

/* ---- a flow ---- */
static bool parse_flow_addresses(const struct nlattr *ip, struct packet_tuple *t)
{
    const struct nlattr *a;
    bool good = true;
    for (struct attrs s = attrs_of(ip); (a = attrs_next(&s)) != NULL;) {
        switch (mnl_attr_get_type(a)) {
        case CTA_IP_V4_SRC:
            good = good && take_addr(a, AF_INET, &t->source.addr);
            break;
        case CTA_IP_V4_DST:
            good = good && take_addr(a, AF_INET, &t->destination.addr);
            break;
        case CTA_IP_V6_SRC:
            good = good && take_addr(a, AF_INET6, &t->source.addr);
            break;
        case CTA_IP_V6_DST:
            good = good && take_addr(a, AF_INET6, &t->destination.addr);
            break;
        default:
            break;
        }
    }
    return good && t->source.addr.family != AF_UNSPEC && t->source.addr.family == t->destination.addr.family;
}

static bool parse_flow_protocol(const struct nlattr *proto, struct packet_tuple *t)
{
    const struct nlattr *a;
    unsigned ports = 0;
    bool good = false;
    for (struct attrs s = attrs_of(proto); (a = attrs_next(&s)) != NULL;) {
        switch (mnl_attr_get_type(a)) {
        case CTA_PROTO_NUM:
            good = take_u8(a, &t->protocol);
            break;
        case CTA_PROTO_SRC_PORT:
            ports += take_u16(a, &t->source.port);
            break;
        case CTA_PROTO_DST_PORT:
            ports += take_u16(a, &t->destination.port);
            break;
        default:
            break;
        }
    }
    t->has_ports = ports == 2;
    if (!t->has_ports)
        t->source.port = t->destination.port = 0;
    return good;
}

static bool parse_flow_tuple(const struct nlattr *tuple, struct packet_tuple *t)
{
    const struct nlattr *a;
    bool addresses = false, protocol = false;
    for (struct attrs s = attrs_of(tuple); (a = attrs_next(&s)) != NULL;) {
        if (mnl_attr_get_type(a) == CTA_TUPLE_IP)
            addresses = parse_flow_addresses(a, t);
        else if (mnl_attr_get_type(a) == CTA_TUPLE_PROTO)
            protocol = parse_flow_protocol(a, t);
    }
    return addresses && protocol;
}

static void parse_flow_counters(const struct nlattr *counters, struct nflog_record *r)
{
    const struct nlattr *a;
    uint64_t v = 0;
    for (struct attrs s = attrs_of(counters); (a = attrs_next(&s)) != NULL;) {
        if (mnl_attr_get_type(a) == CTA_COUNTERS_PACKETS && take_u64(a, &v))
            r->packets += v;
        else if (mnl_attr_get_type(a) == CTA_COUNTERS_BYTES && take_u64(a, &v))
            r->bytes += v;
    }
}

int nflog_parse_flow(const struct nlmsghdr *h, const struct ruleset *rs, struct nflog_record *ret)
{
    const struct nlattr *a;
    uint32_t mark = 0;
    struct nflog_record r = {.kind = NFLOG_ENDED};
    if (mnl_nlmsg_get_payload_len(h) < sizeof(struct nfgenmsg))
        return -EBADMSG;
    for (struct attrs s = attrs_of_message(h); (a = attrs_next(&s)) != NULL;) {
        switch (mnl_attr_get_type(a)) {
        case CTA_TUPLE_ORIG:
            r.has_tuple = parse_flow_tuple(a, &r.tuple);
            break;
        case CTA_COUNTERS_ORIG:
        case CTA_COUNTERS_REPLY:
            parse_flow_counters(a, &r);
            break;
        case CTA_MARK:
            (void)take_u32(a, &mark);
            break;
        default:
            break;
        }
    }
    r.row = ruleset_row_of_flow_mark(rs, mark);
    *ret = r;
    return 0;
}

/* ---- datagrams ---- */
/* mnl_nlmsg_ok() takes a length of 2^31 and more for a negative one, and lets it pass. */
static const struct nlmsghdr *next_message(const uint8_t **at, const uint8_t *end)
{
    const struct nlmsghdr *h = (const void *)*at;
    size_t left = (size_t)(end - *at);
    if (left < sizeof(*h) || h->nlmsg_len < sizeof(*h) || h->nlmsg_len > left)
        return NULL;
    *at = netlink_padded(h) < left ? *at + netlink_padded(h) : end;
    return h;
}

void nflog_parse(const void *p, size_t n, const struct ruleset *rs,
                 void (*each)(void *self, const struct nflog_record *r), void *self)
{
    const uint8_t *at = p, *end = at + n;
    const struct nlmsghdr *h;
    struct nflog_record r;
    while ((h = next_message(&at, end)) != NULL) {
        if (mnl_nlmsg_get_payload_len(h) < sizeof(struct nfgenmsg))
            continue;
        if (h->nlmsg_type == TYPE(NFNL_SUBSYS_ULOG, NFULNL_MSG_PACKET)) {
            parse_packet(h, rs, &r);
            each(self, &r);
        } else if (h->nlmsg_type == TYPE(NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE) &&
                   nflog_parse_flow(h, rs, &r) == 0) {
            each(self, &r);
        }
    }
}
