/* SPDX-License-Identifier: MIT */
#include "netd/routed/routed_batch.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <net/if.h>

#include "netd/netlink.h"

/* What nft calls these types of keys, so that it can show them (nftables' datatype.h). */
#define TYPE_IPV4   7
#define TYPE_IPV6   8
#define TYPE_IFNAME 41

static void fail(struct routed_batch *b, int err)
{
    if (b->err == 0)
        b->err = err;
}

static bool room(struct routed_batch *b)
{
    if (b->err == 0 && b->cap - b->len < ROUTED_BATCH_ONE) {
        size_t cap = b->cap == 0 ? 2 * ROUTED_BATCH_ONE : 2 * b->cap;
        uint8_t *data = cap > ROUTED_BATCH_MAX ? NULL : realloc(b->data, cap);
        if (data == NULL) {
            fail(b, cap > ROUTED_BATCH_MAX ? -ENOBUFS : -ENOMEM);
            return false;
        }
        b->data = data;
        b->cap = cap;
    }
    return b->err == 0;
}

static struct nlmsghdr *next(struct routed_batch *b, uint16_t type, uint16_t flags)
{
    if (!room(b))
        return NULL;
    return nftnl_nlmsg_build_hdr((char *)b->data + b->len, type, NFPROTO_INET, flags, ++b->seq);
}

static void done(struct routed_batch *b, const struct nlmsghdr *h)
{
    b->len += netlink_padded(h);
}

void routed_batch_begin(struct routed_batch *b, const char *table)
{
    *b = (struct routed_batch){.table = table};
    if (room(b))
        done(b, nftnl_batch_begin((char *)b->data, ++b->seq));
}

void routed_batch_done(struct routed_batch *b)
{
    free(b->data);
    b->data = NULL;
}

/* One acknowledgement is enough, of the last request: the kernel sends it after the commit. Errors come
 * always. */
static void ask_for_the_last(struct routed_batch *b)
{
    struct nlmsghdr *h, *last = NULL;
    for (size_t at = 0; at < b->len; at += netlink_padded(h)) {
        h = (void *)(b->data + at);
        if (h->nlmsg_type != NFNL_MSG_BATCH_BEGIN)
            last = h;
    }
    if (last == NULL)
        fail(b, -EINVAL);
    else
        last->nlmsg_flags |= NLM_F_ACK;
}

int routed_batch_commit(struct routed_batch *b, int sock)
{
    uint32_t refused = 0;
    if (b->err == 0)
        ask_for_the_last(b);
    if (room(b))
        done(b, nftnl_batch_end((char *)b->data + b->len, ++b->seq));
    return b->err < 0 ? b->err : netlink_batch(sock, b->data, b->len, 1, b->seq, 1, &refused);
}

/* ---- tables and chains ---- */
static void table(struct routed_batch *b, uint16_t type, uint16_t flags, const char *name, bool owner)
{
    struct nlmsghdr *h = next(b, type, flags);
    struct nftnl_table *t = nftnl_table_alloc();
    if (h != NULL && t != NULL && nftnl_table_set_str(t, NFTNL_TABLE_NAME, name) == 0) {
        if (owner)
            nftnl_table_set_u32(t, NFTNL_TABLE_FLAGS, NFT_TABLE_F_OWNER);
        nftnl_table_nlmsg_build_payload(h, t);
        done(b, h);
    } else {
        fail(b, -ENOMEM);
    }
    if (t != NULL)
        nftnl_table_free(t);
}

void routed_batch_add_table(struct routed_batch *b, const char *name, bool owner)
{
    table(b, NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL, name, owner);
}

void routed_batch_del_table(struct routed_batch *b, const char *name)
{
    table(b, NFT_MSG_DELTABLE, 0, name, false);
}

static void chain(struct routed_batch *b, uint16_t msg, uint16_t flags, const char *name, const char *type,
                  uint32_t hook, int32_t prio)
{
    struct nlmsghdr *h = next(b, msg, flags);
    struct nftnl_chain *c = nftnl_chain_alloc();
    if (h != NULL && c != NULL && nftnl_chain_set_str(c, NFTNL_CHAIN_TABLE, b->table) == 0 &&
        nftnl_chain_set_str(c, NFTNL_CHAIN_NAME, name) == 0 &&
        (type == NULL || nftnl_chain_set_str(c, NFTNL_CHAIN_TYPE, type) == 0)) {
        if (type != NULL) {
            nftnl_chain_set_u32(c, NFTNL_CHAIN_HOOKNUM, hook);
            nftnl_chain_set_s32(c, NFTNL_CHAIN_PRIO, prio);
            nftnl_chain_set_u32(c, NFTNL_CHAIN_POLICY, NF_ACCEPT); /* the host's other packets are not ours */
        }
        nftnl_chain_nlmsg_build_payload(h, c);
        done(b, h);
    } else {
        fail(b, -ENOMEM);
    }
    if (c != NULL)
        nftnl_chain_free(c);
}

void routed_batch_add_chain(struct routed_batch *b, const char *name, const char *type, uint32_t hook,
                            int32_t prio)
{
    chain(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL, name, type, hook, prio);
}

void routed_batch_del_chain(struct routed_batch *b, const char *name)
{
    chain(b, NFT_MSG_DELCHAIN, 0, name, NULL, 0, 0);
}

void routed_batch_flush_chain(struct routed_batch *b, const char *name)
{
    struct nlmsghdr *h = next(b, NFT_MSG_DELRULE, 0);
    struct nftnl_rule *r = nftnl_rule_alloc();
    if (h != NULL && r != NULL && nftnl_rule_set_str(r, NFTNL_RULE_TABLE, b->table) == 0 &&
        nftnl_rule_set_str(r, NFTNL_RULE_CHAIN, name) == 0) {
        nftnl_rule_nlmsg_build_payload(h, r);
        done(b, h);
    } else {
        fail(b, -ENOMEM);
    }
    if (r != NULL)
        nftnl_rule_free(r);
}

/* ---- sets ---- */
static void set_freep(struct nftnl_set **s)
{
    if (*s != NULL)
        nftnl_set_free(*s);
}

static struct nftnl_set *set_of(struct routed_batch *b, const char *name)
{
    struct nftnl_set *s = nftnl_set_alloc();
    if (s != NULL && nftnl_set_set_str(s, NFTNL_SET_TABLE, b->table) == 0 &&
        nftnl_set_set_str(s, NFTNL_SET_NAME, name) == 0)
        return s;
    set_freep(&s);
    fail(b, -ENOMEM);
    return NULL;
}

static void put_set(struct routed_batch *b, struct nftnl_set *s, uint16_t type, uint16_t flags)
{
    struct nlmsghdr *h = next(b, type, flags);
    if (h == NULL)
        return;
    nftnl_set_nlmsg_build_payload(h, s);
    done(b, h);
}

void routed_batch_add_addresses(struct routed_batch *b, const char *name, uint8_t family, uint32_t size)
{
    _cleanup_(set_freep) struct nftnl_set *s = set_of(b, name);
    if (s == NULL)
        return;
    nftnl_set_set_u32(s, NFTNL_SET_FAMILY, NFPROTO_INET);
    nftnl_set_set_u32(s, NFTNL_SET_FLAGS, NFT_SET_TIMEOUT);
    nftnl_set_set_u32(s, NFTNL_SET_KEY_TYPE, family == AF_INET ? TYPE_IPV4 : TYPE_IPV6);
    nftnl_set_set_u32(s, NFTNL_SET_KEY_LEN, family == AF_INET ? 4 : 16);
    nftnl_set_set_u32(s, NFTNL_SET_DESC_SIZE, size);
    nftnl_set_set_u32(s, NFTNL_SET_ID, ++b->set_id);
    put_set(b, s, NFT_MSG_NEWSET, NLM_F_CREATE | NLM_F_EXCL);
}

void routed_batch_add_map(struct routed_batch *b, const char *name)
{
    _cleanup_(set_freep) struct nftnl_set *s = set_of(b, name);
    if (s == NULL)
        return;
    nftnl_set_set_u32(s, NFTNL_SET_FAMILY, NFPROTO_INET);
    nftnl_set_set_u32(s, NFTNL_SET_FLAGS, NFT_SET_MAP);
    nftnl_set_set_u32(s, NFTNL_SET_KEY_TYPE, TYPE_IFNAME);
    nftnl_set_set_u32(s, NFTNL_SET_KEY_LEN, IFNAMSIZ);
    nftnl_set_set_u32(s, NFTNL_SET_DATA_TYPE, NFT_DATA_VERDICT);
    nftnl_set_set_u32(s, NFTNL_SET_ID, ++b->set_id);
    put_set(b, s, NFT_MSG_NEWSET, NLM_F_CREATE | NLM_F_EXCL);
}

void routed_batch_del_set(struct routed_batch *b, const char *name)
{
    _cleanup_(set_freep) struct nftnl_set *s = set_of(b, name);
    if (s != NULL)
        put_set(b, s, NFT_MSG_DELSET, 0);
}

static void put_elements(struct routed_batch *b, struct nftnl_set *s, bool add)
{
    struct nlmsghdr *h =
        next(b, add ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM, (uint16_t)(add ? NLM_F_CREATE : 0));
    if (h == NULL)
        return;
    nftnl_set_elems_nlmsg_build_payload(h, s);
    done(b, h);
}

/* An element's time cannot be set anew in older kernels: it is made (unless it is there), removed, and made.
 */
void routed_batch_pin(struct routed_batch *b, const char *set, const struct addr *a, uint64_t timeout_ms)
{
    _cleanup_(set_freep) struct nftnl_set *s = set_of(b, set);
    struct nftnl_set_elem *e = s != NULL ? nftnl_set_elem_alloc() : NULL;
    if (e == NULL) {
        fail(b, -ENOMEM);
        return;
    }
    nftnl_set_elem_set(e, NFTNL_SET_ELEM_KEY, a->bytes, a->family == AF_INET ? 4 : 16);
    nftnl_set_elem_set_u64(e, NFTNL_SET_ELEM_TIMEOUT, timeout_ms);
    nftnl_set_elem_add(s, e);
    put_elements(b, s, true);
    put_elements(b, s, false);
    put_elements(b, s, true);
}

void routed_batch_map_link(struct routed_batch *b, const char *map, const char *link, const char *to,
                           bool add)
{
    char key[IFNAMSIZ] = {0};
    memcpy(key, link, strnlen(link, sizeof(key) - 1));
    _cleanup_(set_freep) struct nftnl_set *s = set_of(b, map);
    struct nftnl_set_elem *e = s != NULL ? nftnl_set_elem_alloc() : NULL;
    if (e == NULL) {
        fail(b, -ENOMEM);
        return;
    }
    nftnl_set_elem_set(e, NFTNL_SET_ELEM_KEY, key, sizeof(key));
    nftnl_set_elem_set_u32(e, NFTNL_SET_ELEM_VERDICT, (uint32_t)NFT_JUMP);
    if (nftnl_set_elem_set_str(e, NFTNL_SET_ELEM_CHAIN, to) < 0)
        fail(b, -ENOMEM);
    nftnl_set_elem_add(s, e);
    put_elements(b, s, add);
}

struct nftnl_rule *routed_rule(struct routed_batch *b, const char *name)
{
    struct nftnl_rule *r = nftnl_rule_alloc();
    if (r != NULL && nftnl_rule_set_str(r, NFTNL_RULE_TABLE, b->table) == 0 &&
        nftnl_rule_set_str(r, NFTNL_RULE_CHAIN, name) == 0)
        return r;
    if (r != NULL)
        nftnl_rule_free(r);
    fail(b, -ENOMEM);
    return NULL;
}

void routed_rule_end(struct routed_batch *b, struct nftnl_rule *r)
{
    struct nlmsghdr *h = r != NULL ? next(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND) : NULL;
    if (h != NULL) {
        nftnl_rule_nlmsg_build_payload(h, r);
        done(b, h);
    }
    if (r != NULL)
        nftnl_rule_free(r);
}
