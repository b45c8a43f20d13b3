/* SPDX-License-Identifier: MIT */
#include "proxyd/dns/cache.h"

#include <sys/queue.h>

#include "proxyd/dns/dns.h"

#define BUCKETS                                                                                              \
    256u /* with LIMIT_DNS_CACHE entries a lookup costs at most that many compares, whatever the names */

struct entry {
    TAILQ_ENTRY(entry) by_use;
    LIST_ENTRY(entry) by_hash;
    struct dns_reply *reply;
    uint16_t qtype;
    struct name name;
};

struct dns_cache {
    size_t n;
    size_t bytes;
    TAILQ_HEAD(entry_head, entry) by_use; /* last = used longest ago */
    LIST_HEAD(bucket, entry) buckets[BUCKETS];
};

struct dns_cache *dns_cache_new(void)
{
    struct dns_cache *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    TAILQ_INIT(&c->by_use);
    for (size_t i = 0; i < BUCKETS; i++)
        LIST_INIT(&c->buckets[i]);
    return c;
}

static void entry_remove(struct dns_cache *c, struct entry *e)
{
    TAILQ_REMOVE(&c->by_use, e, by_use);
    LIST_REMOVE(e, by_hash);
    c->n--;
    c->bytes -= e->reply->len;
    dns_reply_unref(e->reply);
    free(e);
}

struct dns_cache *dns_cache_free(struct dns_cache *c)
{
    if (c)
        while (!TAILQ_EMPTY(&c->by_use))
            entry_remove(c, TAILQ_FIRST(&c->by_use));
    free(c);
    return NULL;
}

/* FNV-1a (Fowler, Noll, Vo) over name and type. */
static struct bucket *bucket_of(struct dns_cache *c, const struct name *name, uint16_t qtype)
{
    uint32_t h = 2166136261u ^ qtype;

    for (size_t i = 0; i < name->len; i++)
        h = (h ^ (uint8_t)name->text[i]) * 16777619u;
    return &c->buckets[h % BUCKETS];
}

static struct entry *find(struct dns_cache *c, const struct name *name, uint16_t qtype)
{
    struct entry *e;

    LIST_FOREACH(e, bucket_of(c, name, qtype), by_hash)
    if (e->qtype == qtype && str_eq(name_str(&e->name), name_str(name)))
        return e;
    return NULL;
}

struct dns_reply *dns_cache_get(struct dns_cache *c, const struct name *name, uint16_t qtype, uint64_t now_us)
{
    struct entry *e = find(c, name, qtype);

    if (!e)
        return NULL;
    if (now_us >= e->reply->at_us + (uint64_t)e->reply->ttl_s * 1000000) {
        entry_remove(c, e);
        return NULL;
    }
    TAILQ_REMOVE(&c->by_use, e, by_use);
    TAILQ_INSERT_HEAD(&c->by_use, e, by_use);
    return e->reply;
}

void dns_cache_put(struct dns_cache *c, const struct name *name, uint16_t qtype, struct dns_reply *reply)
{
    struct entry *e = find(c, name, qtype), *newer;

    if (e)
        entry_remove(c, e);
    if (reply->ttl_s == 0 || !(e = malloc(sizeof(*e))))
        return;
    e->reply = dns_reply_ref(reply);
    e->qtype = qtype;
    e->name = *name;
    TAILQ_INSERT_HEAD(&c->by_use, e, by_use);
    LIST_INSERT_HEAD(bucket_of(c, name, qtype), e, by_hash);
    c->n++;
    c->bytes += reply->len;
    /* one answer is far smaller than the whole, so the new entry itself always stays */
    for (e = TAILQ_LAST(&c->by_use, entry_head); e && (c->n > LIMIT_DNS_CACHE || c->bytes > DNS_CACHE_BYTES);
         e = newer) {
        newer = TAILQ_PREV(e, entry_head, by_use);
        entry_remove(c, e);
    }
}
