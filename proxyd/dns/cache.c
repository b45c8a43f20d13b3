/* SPDX-License-Identifier: MIT */
#include "proxyd/dns/cache.h"

#define BUCKETS  1024u
#define OVERHEAD 128u /* of an entry beside its message, with what malloc adds */

struct entry {
    struct dns_node node; /* first */
    struct dns_found *found;
};

struct dns_cache {
    struct dns_table table;
    size_t bytes;
    uint64_t stale_us;
};

struct dns_found *dns_found_new(const uint8_t *msg, size_t len, uint64_t at_us, uint32_t ttl_s)
{
    struct dns_found *f = malloc(sizeof(*f) + len);

    if (!f)
        return NULL;
    *f = (struct dns_found){.refs = 1, .at_us = at_us, .ttl_s = ttl_s, .len = len};
    if (len > 0)
        memcpy(f->msg, msg, len);
    return f;
}

struct dns_found *dns_found_ref(struct dns_found *f)
{
    f->refs++;
    return f;
}

struct dns_found *dns_found_unref(struct dns_found *f)
{
    if (f && --f->refs == 0)
        free(f);
    return NULL;
}

struct dns_cache *dns_cache_new(uint32_t stale_s)
{
    struct dns_cache *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    dns_table_init(&c->table, BUCKETS);
    c->stale_us = (uint64_t)stale_s * 1000000u;
    return c;
}

static size_t cost(const struct entry *e)
{
    return sizeof(*e) + sizeof(*e->found) + e->found->len + e->node.len + OVERHEAD;
}

static void entry_remove(struct dns_cache *c, struct entry *e)
{
    c->bytes -= cost(e);
    dns_table_remove(&c->table, &e->node);
    dns_found_unref(e->found);
    free(e);
}

struct dns_cache *dns_cache_free(struct dns_cache *c)
{
    struct dns_node *node;

    if (!c)
        return NULL;
    while ((node = dns_table_oldest(&c->table)))
        entry_remove(c, (struct entry *)node);
    dns_table_done(&c->table);
    free(c);
    return NULL;
}

struct dns_found *dns_cache_get(struct dns_cache *c, const struct dns_key *key, uint64_t now_us)
{
    struct entry *e = (struct entry *)dns_table_find(&c->table, key);

    if (!e)
        return NULL;
    if (now_us >= dns_found_fresh_until(e->found) + c->stale_us) {
        entry_remove(c, e);
        return NULL;
    }
    dns_table_touch(&c->table, &e->node);
    return e->found;
}

void dns_cache_put(struct dns_cache *c, const struct dns_key *key, struct dns_found *f)
{
    struct entry *e = (struct entry *)dns_table_find(&c->table, key);

    if (e)
        entry_remove(c, e);
    if (f->ttl_s == 0 || !(e = malloc(sizeof(*e))))
        return;
    e->found = f;
    if (dns_table_add(&c->table, &e->node, key) < 0) {
        free(e);
        return;
    }
    dns_found_ref(f);
    c->bytes += cost(e);
    /* one answer is far smaller than the whole, so the new entry itself always stays */
    while (c->table.n > DNS_CACHE_ANSWERS || c->bytes > DNS_CACHE_BYTES)
        entry_remove(c, (struct entry *)dns_table_oldest(&c->table));
}
