/* SPDX-License-Identifier: MIT */
/* Things known by a name and a type, in the order of their last use. The users bound how many there are. */
#pragma once

#include <sys/queue.h>

#include "proxyd/dns/wire.h"

/* What is looked up. */
struct dns_key {
    const struct name *name; /* canonical; borrowed */
    uint16_t qtype;
    uint64_t hash;
};

struct dns_key dns_key_of(const struct name *name, uint16_t qtype);

/* Lies inside the thing. */
struct dns_node {
    TAILQ_ENTRY(dns_node) by_use;
    LIST_ENTRY(dns_node) by_hash;
    uint64_t hash;
    uint16_t qtype;
    uint8_t len;
    char *name; /* owned; len bytes and a NUL */
};

LIST_HEAD(dns_bucket, dns_node);

struct dns_table {
    size_t n;
    size_t nbuckets;                            /* a power of two */
    struct dns_bucket *buckets;                 /* NULL until something is added */
    TAILQ_HEAD(dns_node_head, dns_node) by_use; /* last = used longest ago */
};

void dns_table_init(struct dns_table *t, size_t nbuckets);
/* Frees the table itself; it must be empty. */
void dns_table_done(struct dns_table *t);

/* The node, or NULL. Does not count as use. */
struct dns_node *dns_table_find(const struct dns_table *t, const struct dns_key *key);
void dns_table_touch(struct dns_table *t, struct dns_node *node);

/* Adds as used last; there must be none with this key. 0 or -ENOMEM. */
int dns_table_add(struct dns_table *t, struct dns_node *node, const struct dns_key *key) MUST_CHECK;
void dns_table_remove(struct dns_table *t, struct dns_node *node);

/* The one that was used longest ago; NULL when the table is empty. */
static inline struct dns_node *dns_table_oldest(const struct dns_table *t)
{
    return TAILQ_LAST(&t->by_use, dns_node_head);
}

void dns_node_name(const struct dns_node *node, struct name *ret);
