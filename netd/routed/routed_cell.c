/* SPDX-License-Identifier: MIT */
/* One routed cell on the host: rules, then link, then addresses; its policy, its pins and its counters. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "netd/netlink.h"
#include "netd/packet.h"
#include "netd/routed/routed.h"
#include "netd/routed/routed_batch.h"

static const char *const row_names[_ROUTED_ROW_MAX] = {
    [ROUTED_SPOOFED] = "spoofed",   [ROUTED_INBOUND] = "inbound",
    [ROUTED_UNLISTED] = "unlisted", [ROUTED_NOT_ALLOWED] = "not_allowed",
    [ROUTED_TO_HOST] = "to_host",   [ROUTED_CONNECTIONS] = "quota_connections",
    [ROUTED_RATE] = "quota_rate",   [ROUTED_BYTES] = "quota_bytes",
};

static int commit(struct routed_batch *b)
{
    _cleanup_close_ int nft = routed_nft_open();
    int r = nft < 0 ? nft : routed_batch_commit(b, nft);
    routed_batch_done(b);
    return r;
}

/* ---- rows ---- */

/* The row of a rule: rules are the same when their text is. */
static size_t row_named(const struct routed_cell *c, const char *text)
{
    size_t i = _ROUTED_ROW_MAX;
    while (i < c->nrows && strcmp(c->rows[i].text, text) != 0)
        i++;
    return i;
}

/* Rows for the rules of a policy that the cell does not have yet. */
static int add_rows(struct routed_cell *c, const struct routed_policy *p, size_t **ret)
{
    size_t room = c->nrows + p->allow.n;
    struct routed_count *rows = realloc(c->rows, (room + _ROUTED_ROW_MAX) * sizeof(*rows));
    size_t *of = rows == NULL ? NULL : calloc(p->allow.n + 1, sizeof(*of));
    if (rows != NULL)
        c->rows = rows;
    if (of == NULL)
        return -ENOMEM;
    for (; c->nrows < _ROUTED_ROW_MAX; c->nrows++) {
        rows[c->nrows] = (struct routed_count){.live = true};
        snprintf(rows[c->nrows].text, sizeof(rows->text), "%s", row_names[c->nrows]);
    }
    for (size_t i = 0; i < p->allow.n; i++) {
        char text[sizeof(rows->text)];
        routed_policy_text(&p->allow.rules[i], text, sizeof(text));
        size_t row = row_named(c, text);
        if (row == c->nrows) {
            c->rows[c->nrows++] = (struct routed_count){.mark = ++c->routed->marks};
            memcpy(c->rows[row].text, text, sizeof(text));
        }
        of[i] = row;
    }
    *ret = of;
    return 0;
}

/* Which rows are in force with the policy of now. */
static void mark_live(struct routed_cell *c)
{
    for (size_t i = _ROUTED_ROW_MAX; i < c->nrows; i++)
        c->rows[i].live = false;
    for (size_t i = 0; i < c->policy->allow.n; i++)
        c->rows[c->row_of_rule[i]].live = true;
}

/* ---- new and gone ---- */
int routed_cell_new(struct routed *r, int policy, struct str sha256, struct routed_cell **ret,
                    const char **ret_why)
{
    struct routed_cell *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return -ENOMEM;
    c->routed = r;
    *ret_why = "read the policy";
    int e = routed_policy_read(policy, sha256, &c->policy);
    if (e == 0)
        e = add_rows(c, c->policy, &c->row_of_rule);
    if (e == 0 && ((r->pool.v4.addr.family != AF_UNSPEC && !r->forwards4) ||
                   (r->pool.v6.addr.family != AF_UNSPEC && !r->forwards6))) {
        *ret_why =
            "route the cell: the host does not forward packets (sysctl net.ipv4.ip_forward=1, and for IPv6 "
            "net.ipv6.conf.all.forwarding=1)";
        e = -EHOSTUNREACH;
    }
    if (e < 0) {
        routed_cell_free(c);
        return e;
    }
    mark_live(c);
    *ret = c;
    return 0;
}

static void give_slot_back(struct routed_cell *c)
{
    if (c->slot != 0)
        c->routed->used[c->slot / 64] &= ~(1ull << c->slot % 64);
    c->slot = 0;
}

/* The link first: what is left of it is never without rules. */
static int unlink_cell(struct routed_cell *c)
{
    struct routed_batch b;
    _cleanup_close_ int route = netlink_open(NETLINK_ROUTE);
    int e = route < 0 ? route : routed_link_remove(route, c->link.name);
    if (e < 0)
        return e;
    routed_batch_begin(&b, c->routed->table);
    routed_rules_cell(&b, c, false);
    return commit(&b);
}

struct routed_cell *routed_cell_free(struct routed_cell *c)
{
    if (c == NULL)
        return NULL;
    int e = c->linked ? unlink_cell(c) : 0;
    if (e < 0)
        log_errno(e, "cannot remove the host's side of the link %s", c->link.name);
    else
        give_slot_back(c); /* else the address is not free */
    routed_policy_free(c->policy);
    free(c->pins);
    free(c->rows);
    free(c->row_of_rule);
    free(c);
    return NULL;
}

/* ---- link ---- */
static bool take_slot(struct routed_cell *c)
{
    struct routed *r = c->routed;
    for (unsigned i = 0; i < r->pool.slots; i++) {
        r->last_slot = r->last_slot % r->pool.slots + 1;
        uint64_t bit = 1ull << r->last_slot % 64;
        if (r->used[r->last_slot / 64] & bit)
            continue;
        r->used[r->last_slot / 64] |= bit;
        c->slot = r->last_slot;
        return true;
    }
    return false;
}

static void name_link(struct routed_cell *c)
{
    const uint8_t high = (uint8_t)(c->slot >> 8), low = (uint8_t)c->slot;
    struct routed_link *l = &c->link;
    snprintf(l->name, sizeof(l->name), ROUTED_LINK_PREFIX "%.8s-%04x", c->routed->suite, c->slot & 0xffff);
    l->v4 = pool_ipv4(&c->routed->pool, c->slot);
    l->v6 = pool_ipv6(&c->routed->pool, c->slot);
    memcpy(l->mac_host, (const uint8_t[]){2, 0xce, 0, 0, high, low}, 6);
    memcpy(l->mac_cell, (const uint8_t[]){2, 0xce, 0, 1, high, low}, 6);
}

static int link_once(struct routed_cell *c, int netns, const char *run_id, const char **ret_why)
{
    struct routed_batch b;
    char alias[64];
    snprintf(alias, sizeof(alias), RULESET_TABLE " %s", run_id);
    *ret_why = "commit the host's rules";
    routed_batch_begin(&b, c->routed->table);
    routed_rules_cell(&b, c, true);
    int e = commit(&b);
    if (e < 0)
        return e;
    c->linked = true;
    _cleanup_close_ int route = netlink_open(NETLINK_ROUTE);
    *ret_why = "make the link";
    e = route < 0 ? route : routed_link_make(route, &c->link, netns, alias);
    if (e < 0)
        return e;
    _cleanup_close_ int up = netlink_open(NETLINK_ROUTE);
    *ret_why = "set the link up on the host";
    return up < 0 ? up : routed_link_up(up, &c->link);
}

/* Another suite may have the address: then the next one is tried, while this one stays taken. */
int routed_cell_link(struct routed_cell *c, int netns, const char *run_id, const char **ret_why)
{
    for (unsigned tries = 0; tries <= POOL_SLOTS_MAX; tries++) {
        *ret_why = "find a free address in the pool";
        if (!take_slot(c))
            return -EADDRNOTAVAIL;
        name_link(c);
        int e = link_once(c, netns, run_id, ret_why);
        if (e != -EEXIST)
            return e;
        e = unlink_cell(c);
        c->linked = false;
        if (e < 0)
            return e;
    }
    return -EADDRNOTAVAIL;
}

/* ---- pins ---- */
static void forget_old_pins(struct routed_cell *c, uint64_t now)
{
    size_t n = 0;
    for (size_t i = 0; i < c->npins; i++)
        if (c->pins[i].until_us > now)
            c->pins[n++] = c->pins[i];
    c->npins = n;
}

static void keep_pin(struct routed_cell *c, const struct name *name, const struct addr *a, uint64_t until)
{
    for (size_t i = 0; i < c->npins; i++) {
        struct routed_pin *p = &c->pins[i];
        if (!addr_eq(&p->addr, a) || p->name.len != name->len ||
            memcmp(p->name.text, name->text, name->len) != 0)
            continue;
        p->until_us = p->until_us > until ? p->until_us : until;
        return;
    }
    c->pins[c->npins++] = (struct routed_pin){*name, *a, until};
}

/* Room for so many more. */
static int pins_reserve(struct routed_cell *c, size_t n)
{
    size_t cap = 64;
    if (c->npins + n > LIMIT_PINS)
        return -EDQUOT;
    while (cap < c->npins + n)
        cap *= 2;
    struct routed_pin *pins = realloc(c->pins, cap * sizeof(*pins));
    if (pins == NULL)
        return -ENOMEM;
    c->pins = pins;
    return 0;
}

int routed_cell_pin(struct routed_cell *c, const struct name *name, const struct addr *addrs, size_t n,
                    uint32_t ttl_s)
{
    uint64_t now = clock_boottime_us();
    uint64_t ms = 1000ull * (ttl_s > ROUTED_PIN_MIN_S ? ttl_s : ROUTED_PIN_MIN_S);
    struct routed_batch b;
    if (!c->linked || !allow_name_listed(&c->policy->allow, name))
        return 0;
    forget_old_pins(c, now);
    int e = pins_reserve(c, n);
    if (e < 0)
        return e;
    routed_batch_begin(&b, c->routed->table);
    uint32_t empty = b.seq;
    for (size_t i = 0; i < n; i++)
        if (routed_policy_pinnable(c->policy, name, &addrs[i]))
            routed_rules_pin(&b, c, name, &addrs[i], ms);
    if (b.err == 0 && b.seq == empty) {
        routed_batch_done(&b);
        return 0;
    }
    e = commit(&b);
    for (size_t i = 0; e == 0 && i < n; i++)
        if (routed_policy_pinnable(c->policy, name, &addrs[i]))
            keep_pin(c, name, &addrs[i], now + 1000 * ms);
    return e;
}

/* ---- another policy ---- */
static bool flow_fits(void *self, const struct packet_tuple *t, uint32_t mark)
{
    const struct routed_cell *c = self;
    const struct allow_list *l = &c->policy->allow;
    for (size_t i = 0; i < l->n; i++) {
        const struct allow_rule *r = &l->rules[i];
        if (!r->is_addr ? c->rows[c->row_of_rule[i]].mark == mark
                        : t->protocol == routed_policy_l4(r) && t->destination.port >= r->port_lo &&
                              t->destination.port <= r->port_hi && routed_policy_reachable(c->policy, r) &&
                              addr_prefix_contains(&r->prefix, &t->destination.addr))
            return true;
    }
    return false;
}

/* The new rules and the pins that go with them, in place of the old ones. */
static int swap_rules(struct routed_cell *c, const struct routed_policy *old_policy, unsigned old_generation)
{
    struct routed_cell old = *c;
    struct routed_batch b;
    char fit[ROUTED_CHAIN_MAX];
    uint64_t now = clock_boottime_us();
    old.policy = (struct routed_policy *)old_policy;
    old.generation = old_generation;
    routed_batch_begin(&b, c->routed->table);
    routed_batch_flush_chain(&b, routed_chain(ROUTED_FIT, c->slot, fit));
    routed_rules_drop_sets(&b, &old);
    routed_rules_policy(&b, c);
    for (size_t i = 0; i < c->npins; i++)
        if (c->pins[i].until_us > now &&
            routed_policy_pinnable(c->policy, &c->pins[i].name, &c->pins[i].addr))
            routed_rules_pin(&b, c, &c->pins[i].name, &c->pins[i].addr,
                             (c->pins[i].until_us - now) / 1000 + 1);
    return commit(&b);
}

/* The kernel counts from zero again for every rule of the policy. */
static void count_anew(struct routed_cell *c)
{
    for (size_t i = _ROUTED_ROW_MAX; i < c->nrows; i++) {
        c->rows[i].before = c->rows[i].packets;
        c->rows[i].before_bytes = c->rows[i].bytes;
    }
}

int routed_cell_policy(struct routed_cell *c, int policy, struct str sha256, uint64_t *ret_cut)
{
    struct routed_policy *next = NULL, *old = c->policy;
    size_t *of = NULL, *old_of = c->row_of_rule;
    int e = routed_policy_read(policy, sha256, &next);
    if (e == 0)
        e = routed_cell_count(c);
    if (e == 0)
        e = add_rows(c, next, &of);
    if (e != 0) {
        routed_policy_free(next);
        return e;
    }
    forget_old_pins(c, clock_boottime_us());
    c->policy = next;
    c->row_of_rule = of;
    c->generation++;
    e = swap_rules(c, old, c->generation - 1);
    if (e < 0) {
        c->policy = old;
        c->row_of_rule = old_of;
        c->generation--;
        routed_policy_free(next);
        free(of);
        return e;
    }
    routed_policy_free(old);
    free(old_of);
    count_anew(c);
    mark_live(c);
    return routed_flows_cut(&c->link, flow_fits, c, ret_cut);
}

/* ---- counters ---- */
static void take_count(void *self, unsigned row, uint64_t packets, uint64_t bytes)
{
    struct routed_cell *c = self;
    if (row >= c->nrows)
        return;
    c->rows[row].packets += packets;
    c->rows[row].bytes += bytes;
}

int routed_cell_count(struct routed_cell *c)
{
    char chain[ROUTED_CHAIN_MAX];
    int e = 0;
    if (!c->linked)
        return 0;
    for (size_t i = 0; i < c->nrows; i++) {
        if (i >= _ROUTED_ROW_MAX && !c->rows[i].live)
            continue;
        c->rows[i].packets = c->rows[i].before;
        c->rows[i].bytes = c->rows[i].before_bytes;
    }
    for (unsigned i = 0; e == 0 && i < _ROUTED_CHAIN_MAX; i++) {
        _cleanup_close_ int nft = routed_nft_open();
        e = nft < 0 ? nft
                    : routed_counters(nft, c->routed->table,
                                      routed_chain((enum routed_chain)i, c->slot, chain), 1, take_count, c);
    }
    return e;
}
