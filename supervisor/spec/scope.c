/* SPDX-License-Identifier: MIT */
/* The event network_scope. Long lists are cut at whole entries, so that the rendered data stays below
 * LIMIT_EVENT_DATA (decisions 40); count and digest then stand for the complete list. */
#include <stdio.h>

#include "common/evidence/digest.h"
#include "supervisor/spec/policy.h"

/* Shares of LIMIT_EVENT_DATA in JSON bytes; the rest holds the short fields. */
#define SCOPE_EGRESS_BYTES   14000u
#define SCOPE_NAMES_BYTES    12500u
#define SCOPE_ANSWERS_BYTES  9000u
#define SCOPE_RESOLVER_BYTES ((LIMIT_URL + LIMIT_LABEL + 128u) * LIMIT_RESOLVERS)
#define SCOPE_EGRESS_FIXED   56u /* {"host":"","port":"","protocol":""} with the longest port and protocol */
#define SCOPE_STRING_FIXED   3u
_Static_assert(SCOPE_EGRESS_BYTES + SCOPE_NAMES_BYTES + SCOPE_ANSWERS_BYTES + SCOPE_RESOLVER_BYTES + 2048 <
                   LIMIT_EVENT_DATA,
               "fits");

/* How a cut list shows: the three fields beside it. */
struct cut {
    struct opt_bool truncated;
    struct opt_uint count;
    struct str digest;
};

/* The digest of a list's whole encoding (a msgpack array), or -ENOMEM. */
static int cut_at(const struct buf *encoding, size_t whole, struct arena *a, struct cut *ret)
{
    uint8_t sha[DIGEST_LEN];
    char text[LIMIT_DIGEST + 1] = "sha256:";
    if (encoding->err || digest_init() < 0)
        return -ENOMEM;
    digest_sha256(encoding->data, encoding->len, sha);
    for (size_t i = 0; i < DIGEST_LEN; i++)
        (void)snprintf(text + 7 + 2 * i, 3, "%02x", sha[i]);
    ret->truncated = OPT_BOOL(true);
    ret->count = OPT_UINT(whole);
    ret->digest = arena_copy(a, str_of(text));
    return ret->digest.p ? 0 : -ENOMEM;
}

static int strings(const struct strs *all, size_t budget, struct arena *a, struct strs *ret, struct cut *cut)
{
    size_t n = 0, used = 0;
    while (n < all->n && used + all->v[n].len + SCOPE_STRING_FIXED <= budget)
        used += all->v[n++].len + SCOPE_STRING_FIXED;
    *ret = (struct strs){all->v, n};
    if (n == all->n)
        return 0;
    _cleanup_(buf_done) struct buf b = {0};
    buf_init(&b, LIMIT_POLICY_DOC);
    mp_write_array(&b, all->n);
    for (size_t i = 0; i < all->n; i++)
        mp_write_str(&b, all->v[i]);
    return cut_at(&b, all->n, a, cut);
}

static int egress_rules(const struct policy *p, struct arena *a, struct ev_network_scope *e)
{
    struct ev_egress *v = arena_alloc(a, (p->egress.n + 1) * sizeof(*v));
    size_t n = 0, used = 0;
    if (!v)
        return -ENOMEM;
    for (size_t i = 0; i < p->egress.n; i++) {
        const struct policy_egress *r = &p->egress.v[i];
        char port[16];
        (void)snprintf(port, sizeof(port), r->port_lo == r->port_hi ? "%u" : "%u-%u", (unsigned)r->port_lo,
                       (unsigned)r->port_hi);
        v[i] = (struct ev_egress){r->host, arena_copy(a, str_of(port)), r->protocol};
        if (!v[i].port.p)
            return -ENOMEM;
        used += r->host.len + SCOPE_EGRESS_FIXED;
        n += used <= SCOPE_EGRESS_BYTES;
    }
    e->egress_rules.v = v;
    e->egress_rules.n = n;
    if (n == p->egress.n)
        return 0;
    _cleanup_(buf_done) struct buf b = {0};
    struct cut cut = {0};
    buf_init(&b, LIMIT_POLICY_DOC);
    mp_write_array(&b, p->egress.n);
    for (size_t i = 0; i < p->egress.n; i++)
        if (codec_encode(&schema_ev_egress, &v[i], &b) < 0)
            return -ENOMEM;
    int r = cut_at(&b, p->egress.n, a, &cut);
    e->egress_rules_truncated = cut.truncated;
    e->egress_rules_count = cut.count;
    e->egress_rules_digest = cut.digest;
    return r;
}

static int answers(const struct policy *p, struct arena *a, struct ev_network_scope *e)
{
    if (p->answers.n == 0)
        return 0;
    struct str *v = arena_alloc(a, p->answers.n * sizeof(*v));
    struct cut cut = {0};
    if (!v)
        return -ENOMEM;
    for (size_t i = 0; i < p->answers.n; i++) {
        char text[LIMIT_HOSTNAME + LIMIT_ADDR_TEXT + 2];
        const struct policy_answer *w = &p->answers.v[i];
        (void)snprintf(text, sizeof(text), "%.*s:%.*s", (int)w->host.len, w->host.p, (int)w->prefix.len,
                       w->prefix.p);
        v[i] = arena_copy(a, str_of(text));
        if (!v[i].p)
            return -ENOMEM;
    }
    struct strs all = {v, p->answers.n};
    int r = strings(&all, SCOPE_ANSWERS_BYTES, a, &e->response_ip_allowlist, &cut);
    e->response_ip_allowlist_truncated = cut.truncated;
    e->response_ip_allowlist_count = cut.count;
    e->response_ip_allowlist_digest = cut.digest;
    return r;
}

static int resolvers(const struct policy *p, struct arena *a, struct ev_network_scope *e)
{
    struct ev_resolver *v = arena_alloc(a, (p->resolvers.n + 1) * sizeof(*v));
    if (!v)
        return -ENOMEM;
    for (size_t i = 0; i < p->resolvers.n; i++) {
        const struct policy_resolver *r = &p->resolvers.v[i];
        v[i] = (struct ev_resolver){.resolver_id = r->resolver_id,
                                    .protocol = r->protocol,
                                    .endpoint = r->url.p ? r->url : r->endpoint};
        if (r->dnssec_validate) {
            v[i].dnssec_validate = OPT_BOOL(true);
            v[i].dnssec_fail_closed = OPT_BOOL(r->dnssec_fail_closed);
        }
    }
    e->resolvers.v = v;
    e->resolvers.n = p->resolvers.n;
    return 0;
}

int policy_network_scope(const struct policy *p, struct arena *a, struct ev_network_scope *ret)
{
    struct ev_network_scope e = {.mode = p->mode, .allowed_query_types = p->query_types};
    struct cut names = {0};
    if (egress_rules(p, a, &e) < 0 || resolvers(p, a, &e) < 0 || answers(p, a, &e) < 0 ||
        strings(&p->dns_names, SCOPE_NAMES_BYTES, a, &e.hostname_allowlist, &names) < 0)
        return -ENOMEM;
    e.hostname_allowlist_truncated = names.truncated;
    e.hostname_allowlist_count = names.count;
    e.hostname_allowlist_digest = names.digest;
    *ret = e;
    return 0;
}
