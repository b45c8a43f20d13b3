/* SPDX-License-Identifier: MIT */
#include "proxyd/dns/table.h"

#include <assert.h>

struct dns_key dns_key_of(const struct name *name, uint16_t qtype)
{
    /* the types of one name lie in different buckets */
    return (struct dns_key){name, qtype, dns_hash(name->text, name->len) + qtype * 0x9e3779b97f4a7c15u};
}

void dns_table_init(struct dns_table *t, size_t nbuckets)
{
    *t = (struct dns_table){.nbuckets = nbuckets};
    TAILQ_INIT(&t->by_use);
}

void dns_table_done(struct dns_table *t)
{
    assert(t->n == 0);
    free(t->buckets);
    t->buckets = NULL;
}

static struct dns_bucket *bucket_of(const struct dns_table *t, uint64_t hash)
{
    return &t->buckets[hash & (t->nbuckets - 1)];
}

struct dns_node *dns_table_find(const struct dns_table *t, const struct dns_key *key)
{
    struct dns_node *node;

    if (!t->buckets)
        return NULL;
    LIST_FOREACH(node, bucket_of(t, key->hash), by_hash)
    if (node->hash == key->hash && node->qtype == key->qtype && node->len == key->name->len &&
        memcmp(node->name, key->name->text, node->len) == 0)
        return node;
    return NULL;
}

void dns_table_touch(struct dns_table *t, struct dns_node *node)
{
    if (TAILQ_FIRST(&t->by_use) == node)
        return;
    TAILQ_REMOVE(&t->by_use, node, by_use);
    TAILQ_INSERT_HEAD(&t->by_use, node, by_use);
}

int dns_table_add(struct dns_table *t, struct dns_node *node, const struct dns_key *key)
{
    if (!t->buckets && !(t->buckets = calloc(t->nbuckets, sizeof(*t->buckets))))
        return -ENOMEM;
    node->name = str_dup(name_str(key->name));
    if (!node->name)
        return -ENOMEM;
    node->len = key->name->len;
    node->qtype = key->qtype;
    node->hash = key->hash;
    TAILQ_INSERT_HEAD(&t->by_use, node, by_use);
    LIST_INSERT_HEAD(bucket_of(t, node->hash), node, by_hash);
    t->n++;
    return 0;
}

void dns_table_remove(struct dns_table *t, struct dns_node *node)
{
    TAILQ_REMOVE(&t->by_use, node, by_use);
    LIST_REMOVE(node, by_hash);
    free(node->name);
    node->name = NULL;
    t->n--;
}

void dns_node_name(const struct dns_node *node, struct name *ret)
{
    ret->len = node->len;
    memcpy(ret->text, node->name, (size_t)node->len + 1);
}
