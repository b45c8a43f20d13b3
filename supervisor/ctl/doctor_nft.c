/* SPDX-License-Identifier: MIT */
/* A few netlink messages, written by hand: cellctl must not link netd's GPL library for one probe. Everything
 * happens in a network namespace that dies with the probe. (netlink(7); linux/netfilter/nf_tables.h) */
#include <arpa/inet.h>
#include <endian.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include "supervisor/ctl/doctor.h"

#define BATCH_MAX 2048
#define REPLY_MAX 8192

/* A batch under construction. Sizes are known and small; put() stops at the end all the same. */
struct batch {
    _Alignas(struct nlmsghdr) uint8_t data[BATCH_MAX];
    size_t len;
    uint32_t seq;
    size_t message; /* offset of the message being written */
};

static void put(struct batch *b, const void *p, size_t n)
{
    size_t padded = (n + 3) & ~(size_t)3;
    if (b->len + padded > sizeof(b->data))
        return;
    memset(b->data + b->len, 0, padded);
    if (n > 0)
        memcpy(b->data + b->len, p, n);
    b->len += padded;
}

static void attr(struct batch *b, uint16_t type, const void *p, size_t n)
{
    struct nlattr a = {.nla_len = (uint16_t)(sizeof(struct nlattr) + n), .nla_type = type};
    put(b, &a, sizeof(a));
    put(b, p, n);
}

static void attr_text(struct batch *b, uint16_t type, const char *s)
{
    attr(b, type, s, strlen(s) + 1);
}

static void attr_u32(struct batch *b, uint16_t type, uint32_t v)
{
    uint32_t be = htonl(v);
    attr(b, type, &be, sizeof(be));
}

static size_t nest(struct batch *b, uint16_t type)
{
    size_t at = b->len;
    attr(b, type | NLA_F_NESTED, NULL, 0);
    return at;
}

static void nest_end(struct batch *b, size_t at)
{
    struct nlattr a;
    memcpy(&a, b->data + at, sizeof(a));
    a.nla_len = (uint16_t)(b->len - at);
    memcpy(b->data + at, &a, sizeof(a));
}

static void message(struct batch *b, uint16_t type, uint16_t flags, uint8_t family, uint16_t res_id)
{
    struct nlmsghdr h = {
        .nlmsg_type = type, .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags), .nlmsg_seq = b->seq++};
    struct nfgenmsg g = {.nfgen_family = family, .version = NFNETLINK_V0, .res_id = htons(res_id)};
    b->message = b->len;
    put(b, &h, sizeof(h));
    put(b, &g, sizeof(g));
}

static void message_end(struct batch *b)
{
    struct nlmsghdr h;
    memcpy(&h, b->data + b->message, sizeof(h));
    h.nlmsg_len = (uint32_t)(b->len - b->message);
    memcpy(b->data + b->message, &h, sizeof(h));
}

static void nft(struct batch *b, uint16_t type)
{
    message(b, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), NLM_F_CREATE | NLM_F_ACK, NFPROTO_INET, 0);
}

static void table_and_chain(struct batch *b)
{
    nft(b, NFT_MSG_NEWTABLE);
    attr_text(b, NFTA_TABLE_NAME, "probe");
    message_end(b);
    nft(b, NFT_MSG_NEWCHAIN);
    attr_text(b, NFTA_CHAIN_TABLE, "probe");
    attr_text(b, NFTA_CHAIN_NAME, "pre");
    size_t hook = nest(b, NFTA_CHAIN_HOOK);
    attr_u32(b, NFTA_HOOK_HOOKNUM, NF_INET_PRE_ROUTING);
    attr_u32(b, NFTA_HOOK_PRIORITY, (uint32_t)-150);
    nest_end(b, hook);
    attr_text(b, NFTA_CHAIN_TYPE, "filter");
    message_end(b);
}

/* Begins "expr { name, data {": the caller writes the data and calls expr_end. */
struct expr {
    size_t element, data;
};

static struct expr expr(struct batch *b, const char *name)
{
    struct expr e = {.element = nest(b, NFTA_LIST_ELEM)};
    attr_text(b, NFTA_EXPR_NAME, name);
    e.data = nest(b, NFTA_EXPR_DATA);
    return e;
}

static void expr_end(struct batch *b, struct expr e)
{
    nest_end(b, e.data);
    nest_end(b, e.element);
}

static void value(struct batch *b, uint16_t type, const void *p, size_t n)
{
    size_t data = nest(b, type);
    attr(b, NFTA_DATA_VALUE, p, n);
    nest_end(b, data);
}

/* meta l4proto tcp tproxy to :1 */
static void tproxy_rule(struct batch *b)
{
    uint8_t tcp = IPPROTO_TCP;
    uint16_t port = htons(1);
    struct expr e = expr(b, "meta");
    attr_u32(b, NFTA_META_KEY, NFT_META_L4PROTO);
    attr_u32(b, NFTA_META_DREG, NFT_REG_1);
    expr_end(b, e);
    e = expr(b, "cmp");
    attr_u32(b, NFTA_CMP_SREG, NFT_REG_1);
    attr_u32(b, NFTA_CMP_OP, NFT_CMP_EQ);
    value(b, NFTA_CMP_DATA, &tcp, sizeof(tcp));
    expr_end(b, e);
    e = expr(b, "immediate");
    attr_u32(b, NFTA_IMMEDIATE_DREG, NFT_REG_2);
    value(b, NFTA_IMMEDIATE_DATA, &port, sizeof(port));
    expr_end(b, e);
    e = expr(b, "tproxy");
    attr_u32(b, NFTA_TPROXY_FAMILY, NFPROTO_UNSPEC);
    attr_u32(b, NFTA_TPROXY_REG_PORT, NFT_REG_2);
    expr_end(b, e);
}

/* socket transparent (loaded into a register) */
static void socket_rule(struct batch *b)
{
    struct expr e = expr(b, "socket");
    attr_u32(b, NFTA_SOCKET_KEY, NFT_SOCKET_TRANSPARENT);
    attr_u32(b, NFTA_SOCKET_DREG, NFT_REG_1);
    expr_end(b, e);
}

static void attr_u64(struct batch *b, uint16_t type, uint64_t v)
{
    uint64_t be = htobe64(v);
    attr(b, type, &be, sizeof(be));
}

/* ct packets (loaded into a register) limit rate 1/second log group 1 */
static void log_rule(struct batch *b)
{
    uint16_t group = htons(1);
    struct expr e = expr(b, "ct");
    attr_u32(b, NFTA_CT_KEY, NFT_CT_PKTS);
    attr_u32(b, NFTA_CT_DREG, NFT_REG_1);
    expr_end(b, e);
    e = expr(b, "limit");
    attr_u64(b, NFTA_LIMIT_RATE, 1);
    attr_u64(b, NFTA_LIMIT_UNIT, 1);
    expr_end(b, e);
    e = expr(b, "log");
    attr(b, NFTA_LOG_GROUP, &group, sizeof(group));
    expr_end(b, e);
}

static void rule(struct batch *b, enum doctor_nft what)
{
    nft(b, NFT_MSG_NEWRULE);
    attr_text(b, NFTA_RULE_TABLE, "probe");
    attr_text(b, NFTA_RULE_CHAIN, "pre");
    size_t list = nest(b, NFTA_RULE_EXPRESSIONS);
    if (what == DOCTOR_NFT_TPROXY)
        tproxy_rule(b);
    else if (what == DOCTOR_NFT_LOG)
        log_rule(b);
    else
        socket_rule(b);
    nest_end(b, list);
    message_end(b);
}

/* The first error among the wanted acknowledgements, or 0 when all of them came. */
static int acknowledged(int fd, size_t wanted)
{
    _Alignas(struct nlmsghdr) uint8_t reply[REPLY_MAX];
    while (wanted > 0) {
        ssize_t n = recv(fd, reply, sizeof(reply), 0);
        if (n < 0)
            return -errno;
        size_t left = (size_t)n;
        for (struct nlmsghdr *h = (struct nlmsghdr *)reply; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
            struct nlmsgerr e;
            if (h->nlmsg_type != NLMSG_ERROR || h->nlmsg_len < NLMSG_LENGTH(sizeof(e)))
                continue;
            memcpy(&e, NLMSG_DATA(h), sizeof(e));
            if (e.error != 0)
                return e.error;
            if (wanted > 0)
                wanted--;
        }
    }
    return 0;
}

static int exchange(const struct batch *b, size_t acks)
{
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    _cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    if (fd < 0)
        return -errno;
    if (sendto(fd, b->data, b->len, 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
        return -errno;
    return acknowledged(fd, acks);
}

int doctor_nft_try(enum doctor_nft what)
{
    struct batch b = {.seq = 1};
    message(&b, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
    message_end(&b);
    table_and_chain(&b);
    if (what != DOCTOR_NFT_TABLE)
        rule(&b, what);
    message(&b, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
    message_end(&b);
    return exchange(&b, what == DOCTOR_NFT_TABLE ? 2 : 3);
}

int doctor_nft_try_flows(void)
{
    struct batch b = {.seq = 1};
    message(&b, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET_STATS, NLM_F_ACK, AF_UNSPEC, 0);
    message_end(&b);
    return exchange(&b, 1);
}
