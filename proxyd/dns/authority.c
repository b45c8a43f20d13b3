/* SPDX-License-Identifier: MIT */
#include "proxyd/dns/authority.h"

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "proxyd/dns/parsed.h"

#define KEY_MAX (LIMIT_RESOLVERS * (LIMIT_TRUST_ANCHORS + sizeof(struct dns_resolver)) + 4096u)

#define FETCH_BUCKETS 64u

struct dns_lookup {
    TAILQ_ENTRY(dns_lookup) link;
    struct fetch *fetch;
    dns_lookup_cb cb;
    void *data;
    bool first; /* the question was asked because of this one */
};

/* One question under way, for everybody who waits for it. */
struct fetch {
    LIST_ENTRY(fetch) link;
    struct dns_authority *a;
    struct name name;
    struct dns_key key; /* of name */
    struct dns_question q;
    struct dns_forward *forward;
    struct dns_counters spent;
    TAILQ_HEAD(lookups, dns_lookup) waiting;
    bool done; /* its answer is being given out */
};

struct dns_authority {
    LIST_ENTRY(dns_authority) link;
    unsigned refs;
    struct ev_loop *loop;
    struct buf key; /* all that must be equal */
    uint32_t min_ttl_s;
    struct dns_upstreams *upstreams;
    struct dns_cache *cache;
    LIST_HEAD(fetches, fetch) fetches[FETCH_BUCKETS];
};

/* proxyd has one loop and one thread; this is the only place that knows all authorities. */
static LIST_HEAD(authorities, dns_authority) authorities = LIST_HEAD_INITIALIZER(authorities);

/* ---- which one ---- */

static void key_text(struct buf *b, const char *s)
{
    size_t n = strlen(s);

    buf_put_be32(b, (uint32_t)n);
    buf_put(b, s, n);
}

static void key_endpoint(struct buf *b, const struct endpoint_addr *e)
{
    buf_putc(b, e->addr.family);
    buf_put(b, e->addr.bytes, sizeof(e->addr.bytes));
    buf_put_be16(b, e->port);
}

static void key_resolver(struct buf *b, const struct dns_resolver *r)
{
    key_text(b, r->id);
    buf_put_be32(b, (uint32_t)r->protocol);
    key_endpoint(b, &r->addr);
    if (r->protocol == RESOLVER_DOH) {
        key_text(b, r->url.host);
        buf_put_be16(b, r->url.port);
        key_text(b, r->url.path);
    }
    key_text(b, r->tls_name);
    buf_putc(b, r->validate);
    buf_putc(b, r->fail_closed);
    buf_put_be32(b, (uint32_t)r->trust_anchors.len);
    buf_put_str(b, r->trust_anchors);
}

/* Every field by itself, with lengths: no padding, and no two policies that read the same. */
static int key_of(const struct dns_policy *policy, struct buf *b)
{
    size_t n = policy->nresolvers < LIMIT_RESOLVERS ? policy->nresolvers : LIMIT_RESOLVERS;

    buf_put_be32(b, policy->min_ttl_s);
    buf_put_be32(b, policy->max_stale_s);
    buf_putc(b, policy->refresh);
    buf_put_be32(b, (uint32_t)n);
    for (size_t i = 0; i < n; i++)
        key_resolver(b, &policy->resolvers[i]);
    buf_put_be32(b, (uint32_t)policy->nbootstrap);
    for (size_t i = 0; i < policy->nbootstrap; i++)
        key_endpoint(b, &policy->bootstrap[i]);
    return b->err;
}

static int key_make(const struct dns_policy *policy, struct buf *ret)
{
    buf_init(ret, KEY_MAX);
    return key_of(policy, ret);
}

bool dns_authority_fits(const struct dns_authority *a, const struct dns_policy *policy)
{
    _cleanup_(buf_done) struct buf key = {0};

    return key_make(policy, &key) == 0 && str_eq(buf_str(&key), buf_str(&a->key));
}

static void authority_free(struct dns_authority *a)
{
    dns_upstreams_free(a->upstreams);
    dns_cache_free(a->cache);
    buf_done(&a->key);
    free(a);
}

static int authority_fill(struct dns_authority *a, const struct dns_policy *policy)
{
    a->min_ttl_s = policy->min_ttl_s;
    for (size_t i = 0; i < FETCH_BUCKETS; i++)
        LIST_INIT(&a->fetches[i]);
    a->cache = dns_cache_new(policy->max_stale_s);
    if (!a->cache)
        return -ENOMEM;
    return dns_upstreams_new(a->loop, policy->resolvers, policy->nresolvers, policy->bootstrap,
                             policy->nbootstrap, &a->upstreams);
}

/* Takes the key. */
static int authority_new(struct ev_loop *loop, const struct dns_policy *policy, struct buf *key,
                         struct dns_authority **ret)
{
    struct dns_authority *a = calloc(1, sizeof(*a));

    if (!a)
        return -ENOMEM;
    a->loop = loop;
    a->key = *key;
    *key = (struct buf){0};
    int r = authority_fill(a, policy);
    if (r < 0) {
        authority_free(a);
        return r;
    }
    LIST_INSERT_HEAD(&authorities, a, link);
    *ret = a;
    return 0;
}

int dns_authority_get(struct ev_loop *loop, const struct dns_policy *policy, struct dns_authority **ret)
{
    _cleanup_(buf_done) struct buf key = {0};
    struct dns_authority *a;

    int r = key_make(policy, &key);
    if (r < 0)
        return r;
    LIST_FOREACH(a, &authorities, link)
    if (a->loop == loop && str_eq(buf_str(&key), buf_str(&a->key)))
        break;
    r = a ? 0 : authority_new(loop, policy, &key, &a);
    if (r < 0)
        return r;
    a->refs++;
    *ret = a;
    return 0;
}

struct dns_authority *dns_authority_unref(struct dns_authority *a)
{
    if (!a || --a->refs > 0)
        return NULL;
    LIST_REMOVE(a, link);
    authority_free(a);
    return NULL;
}

/* ---- answers ---- */

struct dns_found *dns_authority_cached(struct dns_authority *a, const struct dns_key *key, uint64_t now_us,
                                       bool *ret_stale)
{
    struct dns_found *f = dns_cache_get(a->cache, key, now_us);

    if (!f)
        return NULL;
    *ret_stale = now_us >= dns_found_fresh_until(f);
    return *ret_stale && now_us >= f->retry_us ? NULL : f;
}

/* Readable by somebody's terms at all? Else the resolver has failed, whatever it sent. */
static bool answer_usable(const struct fetch *f, const struct dns_forward_result *from, uint32_t *ret_ttl_s)
{
    _cleanup_free_ struct dns_parsed *p = malloc(sizeof(*p));

    *ret_ttl_s = 0;
    if (!p || dns_parsed_read(&f->q, from->msg, from->len, p) < 0)
        return false;
    *ret_ttl_s = dns_parsed_keep_s(p, f->a->min_ttl_s);
    return true;
}

static bool dnssec_refuses(const struct dns_forward_result *from)
{
    if (from->error < 0)
        return false;
    return from->dnssec == DNSSEC_BOGUS ||
           (from->resolver && from->resolver->fail_closed && from->dnssec != DNSSEC_SECURE);
}

/* RFC 8767: what the resolvers said before, as long as they do not say anything else. */
static struct dns_found *answer_stale(const struct fetch *f, uint64_t now_us)
{
    struct dns_found *old = dns_cache_get(f->a->cache, &f->key, now_us);

    if (!old)
        return NULL;
    old->retry_us = now_us + DNS_STALE_RETRY_S * 1000000ull;
    return dns_found_ref(old);
}

/* A reference in *ret->found, or an error. */
static void answer_take(struct fetch *f, const struct dns_forward_result *from, struct dns_lookup_result *ret)
{
    uint64_t now_us = clock_boottime_us();
    uint32_t ttl_s = 0;
    bool usable = from->error == 0 && answer_usable(f, from, &ttl_s);

    if (!usable && !ret->dnssec_failed && (ret->found = answer_stale(f, now_us))) {
        ret->error = 0;
        ret->stale = true;
        ret->dnssec = ret->found->dnssec;
        return;
    }
    if (from->error < 0)
        return;
    bool keep = usable && !ret->dnssec_failed;
    ret->found = dns_found_new(from->msg, from->len, now_us, keep ? ttl_s : 0);
    if (!ret->found) {
        ret->error = -ENOMEM;
        return;
    }
    ret->found->resolver = from->resolver;
    ret->found->dnssec = from->dnssec;
    if (keep)
        dns_cache_put(f->a->cache, &f->key, ret->found);
}

static void fetch_free(struct fetch *f)
{
    dns_forward_free(f->forward);
    if (!f->done)
        LIST_REMOVE(f, link);
    free(f);
}

static void on_forwarded(void *data, const struct dns_forward_result *from)
{
    struct fetch *f = data;
    struct dns_authority *a = f->a;
    struct dns_lookup *l;
    struct dns_lookup_result result = {
        .error = from->error,
        .resolver = from->resolver,
        .latency_us = from->latency_us,
        .dnssec = from->dnssec,
        .dnssec_failed = dnssec_refuses(from),
        .dnssec_why = from->dnssec_why,
    };

    /* whoever asks the same from inside a call-back starts afresh; and the last cell may go */
    LIST_REMOVE(f, link);
    f->done = true;
    a->refs++;
    answer_take(f, from, &result);
    while ((l = TAILQ_FIRST(&f->waiting))) {
        TAILQ_REMOVE(&f->waiting, l, link);
        result.upstream = l->first ? f->spent.upstream : 0;
        result.strays = l->first ? f->spent.strays : 0;
        l->cb(l->data, &result);
        free(l);
    }
    dns_found_unref(result.found);
    fetch_free(f);
    dns_authority_unref(a);
}

static struct fetch *fetch_of(struct dns_authority *a, const struct dns_key *key)
{
    struct fetch *f;

    LIST_FOREACH(f, &a->fetches[key->hash % FETCH_BUCKETS], link)
    if (f->key.hash == key->hash && f->key.qtype == key->qtype &&
        str_eq(name_str(&f->name), name_str(key->name)))
        return f;
    return NULL;
}

static int fetch_new(struct dns_authority *a, const struct dns_key *key, struct fetch **ret)
{
    struct fetch *f = calloc(1, sizeof(*f));

    if (!f)
        return -ENOMEM;
    f->a = a;
    f->name = *key->name;
    f->key = (struct dns_key){&f->name, key->qtype, key->hash};
    TAILQ_INIT(&f->waiting);
    /* the name goes out in its canonical form, not in the bytes the cell chose */
    f->q = (struct dns_question){.qtype = key->qtype, .qclass = DNS_CLASS_IN};
    dns_name_from_host(key->name, &f->q.qname);
    int r = dns_forward_new(a->upstreams, &f->q, &f->spent, on_forwarded, f, &f->forward);
    if (r < 0) {
        free(f);
        return r;
    }
    LIST_INSERT_HEAD(&a->fetches[key->hash % FETCH_BUCKETS], f, link);
    *ret = f;
    return 0;
}

int dns_authority_ask(struct dns_authority *a, const struct dns_key *key, dns_lookup_cb cb, void *data,
                      struct dns_lookup **ret)
{
    struct fetch *f = fetch_of(a, key);
    struct dns_lookup *l = calloc(1, sizeof(*l));

    if (!l)
        return -ENOMEM;
    l->first = !f;
    int r = f ? 0 : fetch_new(a, key, &f);
    if (r < 0) {
        free(l);
        return r;
    }
    l->fetch = f;
    l->cb = cb;
    l->data = data;
    TAILQ_INSERT_TAIL(&f->waiting, l, link);
    *ret = l;
    return 0;
}

struct dns_lookup *dns_lookup_cancel(struct dns_lookup *l)
{
    if (!l)
        return NULL;
    struct fetch *f = l->fetch;
    TAILQ_REMOVE(&f->waiting, l, link);
    free(l);
    if (TAILQ_EMPTY(&f->waiting) && !f->done)
        fetch_free(f);
    return NULL;
}
