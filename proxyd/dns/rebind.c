/* SPDX-License-Identifier: MIT */
#include "proxyd/dns/rebind.h"

#include <stdio.h>

#include "common/evidence/digest.h"
#include "proxyd/dns/table.h"

#define BUCKETS 256u

struct host {
    struct dns_node node; /* first */
    bool seen[2];         /* A, AAAA */
    bool passed;          /* the threshold */
    uint8_t digest[2][DIGEST_LEN];
    uint32_t novel;
    size_t n, cap;
    struct addr *addrs; /* all it had */
};

struct dns_history {
    struct dns_table table;
};

static void host_remove(struct dns_history *h, struct host *host)
{
    dns_table_remove(&h->table, &host->node);
    free(host->addrs);
    free(host);
}

struct dns_history *dns_history_free(struct dns_history *h)
{
    struct dns_node *node;

    if (!h)
        return NULL;
    while ((node = dns_table_oldest(&h->table)))
        host_remove(h, (struct host *)node);
    dns_table_done(&h->table);
    free(h);
    return NULL;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* SHA-256 over the sorted addresses' texts, one a line (proto/events.h). */
static int set_digest(const struct addr *addrs, size_t n, uint8_t ret[DIGEST_LEN])
{
    _cleanup_free_ char(*text)[ADDR_TEXT_MAX] = calloc(n, sizeof(*text));

    if (!text)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        addr_format(&addrs[i], text[i]);
    qsort(text, n, sizeof(*text), by_text);
    digest_begin();
    for (size_t i = 0; i < n; i++) {
        digest_add(text[i], strlen(text[i]));
        digest_add("\n", 1);
    }
    digest_end(ret);
    return 0;
}

static void digest_text(const uint8_t sha[DIGEST_LEN], char dst[DNS_SET_DIGEST_MAX])
{
    memcpy(dst, "sha256:", 8);
    for (size_t i = 0; i < DIGEST_LEN; i++)
        (void)snprintf(dst + 7 + 2 * i, 3, "%02x", sha[i]);
}

static bool host_has(const struct host *host, const struct addr *addr)
{
    for (size_t i = 0; i < host->n; i++)
        if (addr_eq(&host->addrs[i], addr))
            return true;
    return false;
}

static int host_learn(struct host *host, const struct addr *addr)
{
    if (host->n == host->cap) {
        size_t cap = host->cap ? 2 * host->cap : 4;
        struct addr *p = realloc(host->addrs, cap * sizeof(*p));
        if (!p)
            return -ENOMEM;
        host->addrs = p;
        host->cap = cap;
    }
    host->addrs[host->n++] = *addr;
    return 0;
}

/* 0 with *ret == NULL when there is no room. */
static int host_of(struct dns_history *h, const struct dns_policy *policy, const struct name *name,
                   struct host **ret)
{
    struct dns_key key = dns_key_of(name, 0);
    struct host *host = (struct host *)dns_table_find(&h->table, &key);

    *ret = host;
    if (host) {
        dns_table_touch(&h->table, &host->node);
        return 0;
    }
    if (h->table.n >= DNS_HISTORY_NAMES) {
        if (policy->novel_limited)
            return 0;
        host_remove(h, (struct host *)dns_table_oldest(&h->table));
    }
    host = calloc(1, sizeof(*host));
    if (!host || dns_table_add(&h->table, &host->node, &key) < 0) {
        free(host);
        return -ENOMEM;
    }
    *ret = host;
    return 0;
}

/* One address that is not of the first answer. */
static int judge_novel(struct host *host, const struct dns_policy *policy, const struct addr *addr,
                       bool *ret_over)
{
    bool room = host->n < DNS_HISTORY_ADDRS;

    *ret_over = policy->novel_limited && (host->novel >= policy->max_novel || !room);
    if (*ret_over && policy->reject_rebind)
        return 0;
    host->novel++;
    return room ? host_learn(host, addr) : 0;
}

static int judge_addrs(struct host *host, const struct dns_policy *policy, bool first,
                       const struct addr *addrs, size_t n, struct dns_novelty *ret)
{
    for (size_t i = 0; i < n; i++) {
        int r = 0;
        if (host_has(host, &addrs[i]))
            continue;
        if (first)
            r = host_learn(host, &addrs[i]);
        else
            r = judge_novel(host, policy, &addrs[i], &ret->over[i]);
        if (r < 0)
            return r;
        ret->nover += ret->over[i];
    }
    ret->novel = host->novel + (policy->reject_rebind ? (uint32_t)ret->nover : 0);
    ret->threshold = ret->nover > 0 && (!policy->reject_rebind || !host->passed);
    host->passed |= ret->nover > 0;
    return 0;
}

static void all_over(const struct addr *addrs, size_t n, struct dns_novelty *ret)
{
    (void)addrs;
    ret->nover = n;
    ret->novel = (uint32_t)n;
    ret->threshold = true;
    for (size_t i = 0; i < n; i++)
        ret->over[i] = true;
}

int dns_history_judge(struct dns_history **h, const struct dns_policy *policy, const struct name *name,
                      uint16_t qtype, const struct addr *addrs, size_t n, struct dns_novelty *ret)
{
    size_t kind = qtype == DNS_TYPE_AAAA;
    uint8_t digest[DIGEST_LEN];
    struct host *host;

    memset(ret, 0, sizeof(*ret));
    if (n == 0)
        return 0;
    if (!*h) {
        *h = calloc(1, sizeof(**h));
        if (!*h)
            return -ENOMEM;
        dns_table_init(&(*h)->table, BUCKETS);
    }
    int r = host_of(*h, policy, name, &host);
    if (r == 0)
        r = set_digest(addrs, n, digest);
    if (r < 0)
        return r;
    if (!host) {
        all_over(addrs, n, ret);
        return 0;
    }
    bool first = !host->seen[kind];
    digest_text(digest, ret->current);
    if (!first && memcmp(digest, host->digest[kind], DIGEST_LEN) != 0) {
        ret->drift = true;
        digest_text(host->digest[kind], ret->previous);
    }
    memcpy(host->digest[kind], digest, DIGEST_LEN);
    host->seen[kind] = true;
    return judge_addrs(host, policy, first, addrs, n, ret);
}

bool dns_history_knows(const struct dns_history *h, const struct name *name, const struct addr *addr)
{
    struct dns_key key = dns_key_of(name, 0);
    const struct host *host = h ? (const struct host *)dns_table_find(&h->table, &key) : NULL;

    return host && host_has(host, addr);
}
