/* SPDX-License-Identifier: MIT */
#include "netd/nft.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/table.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_ipv4.h>

#include "netd/netlink.h"
#include "netd/nft_expr.h"

#define NFT_BATCH_MAX   32768 /* bytes of one transaction; the largest rule set takes half */
#define NFT_REQUEST_MAX 2048  /* bytes of one rule */

/* The transaction under construction. Every request wants an acknowledgement: the kernel sends them after the
 * commit, so the last one proves the whole. */
struct nft_batch {
    uint8_t *data;
    size_t len;
    uint32_t seq;
    unsigned acks;
};

/* The next header, or NULL when the batch is full. */
static struct nlmsghdr *batch_next(struct nft_batch *b, uint16_t type, uint16_t flags)
{
    if (NFT_BATCH_MAX - b->len < NFT_REQUEST_MAX)
        return NULL;
    b->acks++;
    return nftnl_nlmsg_build_hdr((char *)b->data + b->len, type, NFPROTO_INET, (uint16_t)(NLM_F_ACK | flags),
                                 ++b->seq);
}

static void batch_done(struct nft_batch *b, const struct nlmsghdr *h)
{
    b->len += netlink_padded(h);
}

static void table_freep(struct nftnl_table **t)
{
    if (*t != NULL)
        nftnl_table_free(*t);
}

static void chain_freep(struct nftnl_chain **c)
{
    if (*c != NULL)
        nftnl_chain_free(*c);
}

static void rule_freep(struct nftnl_rule **r)
{
    if (*r != NULL)
        nftnl_rule_free(*r);
}

static void udata_freep(struct nftnl_udata_buf **u)
{
    if (*u != NULL)
        nftnl_udata_buf_free(*u);
}

/* NLM_F_EXCL: a namespace that has such a table is not a blank one. */
static int batch_table(struct nft_batch *b)
{
    _cleanup_(table_freep) struct nftnl_table *t = nftnl_table_alloc();
    struct nlmsghdr *h = batch_next(b, NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL);
    if (t == NULL || h == NULL)
        return -ENOMEM;
    if (nftnl_table_set_str(t, NFTNL_TABLE_NAME, RULESET_TABLE) < 0)
        return -ENOMEM;
    nftnl_table_nlmsg_build_payload(h, t);
    batch_done(b, h);
    return 0;
}

static int batch_chain(struct nft_batch *b, enum ruleset_chain chain)
{
    static const struct {
        uint32_t hook;
        int32_t priority;
    } at[] = {
        [RULESET_PREROUTING] = {NF_INET_PRE_ROUTING, NF_IP_PRI_MANGLE},
        [RULESET_OUTPUT] = {NF_INET_LOCAL_OUT, NF_IP_PRI_FILTER},
    };
    _cleanup_(chain_freep) struct nftnl_chain *c = nftnl_chain_alloc();
    struct nlmsghdr *h = batch_next(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL);
    if (c == NULL || h == NULL)
        return -ENOMEM;
    if (nftnl_chain_set_str(c, NFTNL_CHAIN_TABLE, RULESET_TABLE) < 0 ||
        nftnl_chain_set_str(c, NFTNL_CHAIN_NAME, ruleset_chain_name(chain)) < 0)
        return -ENOMEM;
    if (chain != RULESET_NEW) {
        if (nftnl_chain_set_str(c, NFTNL_CHAIN_TYPE, "filter") < 0)
            return -ENOMEM;
        nftnl_chain_set_u32(c, NFTNL_CHAIN_HOOKNUM, at[chain].hook);
        nftnl_chain_set_s32(c, NFTNL_CHAIN_PRIO, at[chain].priority);
        nftnl_chain_set_u32(c, NFTNL_CHAIN_POLICY, NF_DROP);
    }
    nftnl_chain_nlmsg_build_payload(h, c);
    batch_done(b, h);
    return 0;
}

/* The comment in nft's own form (a typed string in the user data), so that nft shows it too. */
static int rule_set_comment(struct nftnl_rule *r, const struct ruleset_row *row)
{
    _cleanup_(udata_freep) struct nftnl_udata_buf *udata = nftnl_udata_buf_alloc(NFT_USERDATA_MAXLEN);
    struct buf text = {0};
    int ret = -ENOMEM;
    buf_init(&text, NFTNL_UDATA_COMMENT_MAXLEN);
    ruleset_comment(row, &text);
    const char *s = buf_cstr(&text);
    if (udata != NULL && s != NULL && nftnl_udata_put_strz(udata, NFTNL_UDATA_RULE_COMMENT, s) &&
        nftnl_rule_set_data(r, NFTNL_RULE_USERDATA, nftnl_udata_buf_data(udata),
                            nftnl_udata_buf_len(udata)) == 0)
        ret = 0;
    buf_done(&text);
    return ret;
}

static int batch_rule(struct nft_batch *b, const struct ruleset *rs, const struct ruleset_rule *rule)
{
    _cleanup_(rule_freep) struct nftnl_rule *r = nftnl_rule_alloc();
    struct nlmsghdr *h = batch_next(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
    if (r == NULL || h == NULL)
        return -ENOMEM;
    if (nftnl_rule_set_str(r, NFTNL_RULE_TABLE, RULESET_TABLE) < 0 ||
        nftnl_rule_set_str(r, NFTNL_RULE_CHAIN, ruleset_chain_name(rule->chain)) < 0)
        return -ENOMEM;
    int ret = nft_expr_rule(r, rs, rule);
    if (ret == 0 && rule->row != RULESET_UNCOUNTED)
        ret = rule_set_comment(r, &rs->rows[rule->row]);
    if (ret < 0)
        return ret;
    nftnl_rule_nlmsg_build_payload(h, r);
    batch_done(b, h);
    return 0;
}

static void batch_frame(struct nft_batch *b, struct nlmsghdr *(*put)(char *, uint32_t))
{
    batch_done(b, put((char *)b->data + b->len, ++b->seq));
}

int nft_apply(int sock, const struct ruleset *rs)
{
    _cleanup_free_ uint8_t *data = malloc(NFT_BATCH_MAX);
    struct nft_batch b = {.data = data};
    uint32_t refused = 0;
    if (data == NULL)
        return -ENOMEM;
    batch_frame(&b, nftnl_batch_begin);
    int r = batch_table(&b);
    for (enum ruleset_chain c = 0; r == 0 && c < _RULESET_CHAIN_MAX; c++)
        if (ruleset_has_chain(rs, c))
            r = batch_chain(&b, c);
    for (size_t i = 0; r == 0 && i < rs->nrules; i++)
        if (ruleset_has(rs, &rs->rules[i]))
            r = batch_rule(&b, rs, &rs->rules[i]);
    if (r < 0)
        return r; // NOLINT(clang-analyzer-unix.Malloc): clang 14 does not know the cleanup attribute
    batch_frame(&b, nftnl_batch_end);
    /* The begin message (1) is in the range: a failed commit is reported there. */
    return netlink_batch(sock, b.data, b.len, 1, b.seq, b.acks, &refused);
}

/* ---- counters ---- */
struct nft_counts {
    const struct ruleset *rs;
    size_t seen; /* rules so far: they come in our order, chain by chain */
    struct ruleset_count sum[RULESET_ROWS_MAX];
};

static int comment_attr(const struct nftnl_udata *attr, void *data)
{
    struct str *ret = data;
    if (nftnl_udata_type(attr) == NFTNL_UDATA_RULE_COMMENT && nftnl_udata_len(attr) > 0)
        *ret = (struct str){nftnl_udata_get(attr), nftnl_udata_len(attr) - 1u}; /* without its NUL */
    return 0;
}

/* The row a rule counts for, RULESET_UNCOUNTED without a comment, or -EBADMSG (which differs: it is below
 * -1). */
static int rule_row(const struct nftnl_rule *r, const struct ruleset *rs, int *ret)
{
    struct str comment = STR_NONE;
    uint32_t len = 0;
    const void *udata = nftnl_rule_get_data(r, NFTNL_RULE_USERDATA, &len);
    if (udata != NULL && nftnl_udata_parse(udata, len, comment_attr, &comment) < 0)
        return -EBADMSG;
    int row = comment.p == NULL ? RULESET_UNCOUNTED : ruleset_row_of_comment(rs, comment);
    if (row < RULESET_UNCOUNTED)
        return row;
    *ret = row;
    return 0;
}

static int counter_expr(struct nftnl_expr *e, void *data)
{
    struct ruleset_count *c = data;
    if (strcmp(nftnl_expr_get_str(e, NFTNL_EXPR_NAME), "counter") == 0) {
        c->packets += nftnl_expr_get_u64(e, NFTNL_EXPR_CTR_PACKETS);
        c->bytes += nftnl_expr_get_u64(e, NFTNL_EXPR_CTR_BYTES);
    }
    return 0;
}

/* Rules of RULESET_NEW only say how many packets were for the log: prerouting counts the same ones. */
static int add_counts(struct nftnl_rule *r, struct nft_counts *n, const struct ruleset_rule *rule)
{
    struct ruleset_count c = {0};
    if (nftnl_expr_foreach(r, counter_expr, &c) < 0)
        return -EBADMSG;
    struct ruleset_count *sum = &n->sum[rule->row];
    if (ruleset_offers(n->rs, rule))
        sum->logged += c.packets;
    if (rule->chain == RULESET_NEW)
        return 0;
    sum->packets += c.packets;
    sum->bytes += c.bytes;
    return 0;
}

static int count_rule(const struct nlmsghdr *h, void *self)
{
    struct nft_counts *n = self;
    _cleanup_(rule_freep) struct nftnl_rule *r = nftnl_rule_alloc();
    int row = RULESET_UNCOUNTED;
    if (r == NULL)
        return -ENOMEM;
    while (n->seen < n->rs->nrules && !ruleset_has(n->rs, &n->rs->rules[n->seen]))
        n->seen++;
    if (nftnl_rule_nlmsg_parse(h, r) < 0 || n->seen >= n->rs->nrules)
        return -EBADMSG;
    const struct ruleset_rule *want = &n->rs->rules[n->seen++];
    const char *chain = nftnl_rule_get_str(r, NFTNL_RULE_CHAIN);
    int ret = rule_row(r, n->rs, &row);
    if (ret < 0)
        return ret;
    if (row != want->row || chain == NULL || strcmp(chain, ruleset_chain_name(want->chain)) != 0)
        return -EBADMSG;
    return row == RULESET_UNCOUNTED ? 0 : add_counts(r, n, want);
}

int nft_read_counts(int sock, const struct ruleset *rs, uint32_t seq,
                    struct ruleset_count ret[RULESET_ROWS_MAX])
{
    _Alignas(struct nlmsghdr) char buf[256];
    struct nft_counts n = {.rs = rs};
    _cleanup_(rule_freep) struct nftnl_rule *filter = nftnl_rule_alloc();
    if (filter == NULL || nftnl_rule_set_str(filter, NFTNL_RULE_TABLE, RULESET_TABLE) < 0)
        return -ENOMEM;
    struct nlmsghdr *h = nftnl_nlmsg_build_hdr(buf, NFT_MSG_GETRULE, NFPROTO_INET, NLM_F_DUMP, seq);
    nftnl_rule_nlmsg_build_payload(h, filter);
    int r = netlink_dump(sock, h, count_rule, &n);
    if (r < 0)
        return r;
    while (n.seen < rs->nrules && !ruleset_has(rs, &rs->rules[n.seen]))
        n.seen++;
    if (n.seen != rs->nrules)
        return -EBADMSG;
    memcpy(ret, n.sum, sizeof(n.sum));
    return 0;
}
