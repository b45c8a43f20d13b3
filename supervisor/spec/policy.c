/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "supervisor/spec/policy.h"

static void *list(struct arena *a, size_t n, size_t size)
{
    return arena_alloc(a, n ? n * size : size);
}

/* ---- policy ---- */

static int egress(const struct spec *s, struct arena *a, struct policy *p)
{
    struct policy_egress *v = list(a, s->negress, sizeof(*v));
    if (!v)
        return -ENOMEM;
    for (size_t i = 0; i < s->negress; i++) {
        const struct spec_egress *r = &s->egress[i];
        v[i] = (struct policy_egress){r->host.text, r->port_lo, r->port_hi, r->protocol};
    }
    p->egress.v = v;
    p->egress.n = s->negress;
    return 0;
}

static bool listed(const struct str *v, size_t n, struct str s)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(v[i], s))
            return true;
    return false;
}

static int dns_names(const struct spec *s, struct arena *a, struct policy *p)
{
    if (s->dns) {
        p->dns_names = s->dns->names;
        return 0;
    }
    struct str *v = list(a, s->negress, sizeof(*v));
    size_t n = 0;
    if (!v)
        return -ENOMEM;
    for (size_t i = 0; i < s->negress; i++)
        if (s->egress[i].host.kind == SPEC_HOST_NAME && !listed(v, n, s->egress[i].host.text))
            v[n++] = s->egress[i].host.text;
    p->dns_names = (struct strs){v, n};
    return 0;
}

static struct str endpoint_text(const struct endpoint_addr *e, struct arena *a)
{
    char text[ADDR_ENDPOINT_MAX];
    return arena_copy(a, str_of(addr_endpoint_format(e, text)));
}

static int own_resolver(const struct spec_resolver *s, struct arena *a, struct policy_resolver *ret)
{
    *ret = (struct policy_resolver){.resolver_id = s->id,
                                    .protocol = s->protocol,
                                    .url = s->url,
                                    .tls_server_name = s->tls_server_name,
                                    .dnssec_validate = s->dnssec_validate,
                                    .dnssec_fail_closed = s->dnssec_fail_closed,
                                    .trust_anchors = s->trust_anchors};
    if (s->endpoint.addr.family != AF_UNSPEC)
        ret->endpoint = endpoint_text(&s->endpoint, a);
    return ret->endpoint.p || s->url.p ? 0 : -ENOMEM;
}

static int host_resolver(const struct endpoint_addr *e, size_t i, struct arena *a,
                         struct policy_resolver *ret)
{
    char id[32];
    (void)snprintf(id, sizeof(id), "host-%zu", i + 1);
    *ret = (struct policy_resolver){.resolver_id = arena_copy(a, str_of(id)),
                                    .protocol = RESOLVER_DO53_UDP,
                                    .endpoint = endpoint_text(e, a)};
    return ret->resolver_id.p && ret->endpoint.p ? 0 : -ENOMEM;
}

static int resolvers(const struct spec *s, const struct policy_host *host, struct arena *a, struct policy *p)
{
    bool own = s->dns && s->dns->nresolvers > 0;
    size_t n = own ? s->dns->nresolvers : host->nresolvers;
    struct policy_resolver *v = list(a, n, sizeof(*v));
    if (!v)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        int r = own ? own_resolver(&s->dns->resolvers[i], a, &v[i])
                    : host_resolver(&host->resolvers[i], i, a, &v[i]);
        if (r < 0)
            return r;
    }
    p->resolvers.v = v;
    p->resolvers.n = n;
    return 0;
}

/* A resolver whose own name must be resolved first, by somebody else. */
static bool needs_bootstrap(const struct policy *p)
{
    for (size_t i = 0; i < p->resolvers.n; i++)
        if (!p->resolvers.v[i].endpoint.p)
            return true;
    return false;
}

static int bootstrap(const struct policy_host *host, struct arena *a, struct policy *p)
{
    size_t n = needs_bootstrap(p) ? host->nresolvers : 0;
    struct str *v = list(a, n, sizeof(*v));
    if (!v)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        if (!(v[i] = endpoint_text(&host->resolvers[i], a)).p)
            return -ENOMEM;
    p->bootstrap = (struct strs){v, n};
    return 0;
}

static int answers(const struct spec *s, struct arena *a, struct policy *p)
{
    size_t n = s->dns ? s->dns->nanswers : 0;
    struct policy_answer *v = list(a, n, sizeof(*v));
    if (!v)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        char text[SPEC_PREFIX_TEXT_MAX];
        v[i].host = s->dns->answers[i].name;
        v[i].prefix = arena_copy(a, str_of(spec_prefix_format(&s->dns->answers[i].prefix, text)));
        if (!v[i].prefix.p)
            return -ENOMEM;
    }
    p->answers.v = v;
    p->answers.n = n;
    return 0;
}

static int refresh(const struct spec *s, struct arena *a, struct policy *p)
{
    const struct spec_refresh *from = s->dns ? s->dns->refresh : NULL;
    if (!from)
        return 0;
    struct policy_refresh *r = list(a, 1, sizeof(*r));
    if (!r)
        return -ENOMEM;
    *r = (struct policy_refresh){from->min_ttl_s, from->max_stale_s, from->strategy};
    p->refresh = r;
    return 0;
}

static int rebinding(const struct spec *s, struct arena *a, struct policy *p)
{
    const struct spec_rebinding *from = s->dns ? s->dns->rebinding : NULL;
    if (!from)
        return 0;
    struct policy_rebinding *r = list(a, 1, sizeof(*r));
    if (!r)
        return -ENOMEM;
    *r = (struct policy_rebinding){from->max_novel, from->reject};
    p->rebinding = r;
    return 0;
}

static int cdn(const struct spec *s, struct arena *a, struct policy *p)
{
    struct policy_cdn *v = list(a, s->ncdn, sizeof(*v));
    if (!v)
        return -ENOMEM;
    for (size_t i = 0; i < s->ncdn; i++)
        v[i] = (struct policy_cdn){s->cdn[i].provider_id, s->cdn[i].patterns};
    p->cdn.v = v;
    p->cdn.n = s->ncdn;
    return 0;
}

static struct opt_uint smaller(struct opt_uint a, struct opt_uint b)
{
    if (!a.set || !b.set)
        return a.set ? a : b;
    return a.v < b.v ? a : b;
}

static int quota(const struct spec_quota *s, const struct spec_quota *op, struct arena *a, struct policy *p)
{
    struct policy_quota *q = list(a, 1, sizeof(*q));
    if (!q)
        return -ENOMEM;
    struct opt_uint connections = smaller(s->max_connections, op->max_connections);
    struct opt_uint dns = smaller(s->max_dns_per_second, op->max_dns_per_second);
    *q = (struct policy_quota){.max_connections = connections.set ? connections.v : LIMIT_TCP_OPEN,
                               .max_bytes = smaller(s->max_bytes, op->max_bytes),
                               .max_bytes_per_second =
                                   smaller(s->max_bytes_per_second, op->max_bytes_per_second),
                               .max_dns_per_second = dns.set ? dns.v : LIMIT_DNS_PER_SECOND};
    p->quota = q;
    return 0;
}

/* The proxy resolves the names of egress rules itself, whether or not the cell may ask for them. */
static bool needs_resolver(const struct spec *s, const struct policy *p)
{
    if (p->mode == NET_MODE_NONE)
        return false;
    for (size_t i = 0; i < s->negress; i++)
        if (s->egress[i].host.kind == SPEC_HOST_NAME)
            return true;
    return p->dns_names.n > 0;
}

int policy_of_spec(const struct spec *s, const struct policy_operator *op, const struct policy_host *host,
                   struct arena *a, struct policy *ret)
{
    struct policy p = {.evidence = op->evidence,
                       .mode = op->mode,
                       .answer_mode = s->dns ? s->dns->answer_mode : (uint32_t)ANSWER_REAL,
                       .upstream = op->upstream,
                       .metadata = op->metadata,
                       .query_types = s->dns ? s->dns->query_types : spec_query_types_default};
    if (egress(s, a, &p) < 0 || dns_names(s, a, &p) < 0 || resolvers(s, host, a, &p) < 0 ||
        answers(s, a, &p) < 0 || bootstrap(host, a, &p) < 0 || refresh(s, a, &p) < 0 ||
        rebinding(s, a, &p) < 0 || cdn(s, a, &p) < 0 || quota(&s->quota, &op->quota, a, &p) < 0)
        return -ENOMEM;
    if (needs_resolver(s, &p) && p.resolvers.n == 0)
        return POLICY_NO_RESOLVER;
    if (needs_resolver(s, &p) && needs_bootstrap(&p) && p.bootstrap.n == 0)
        return POLICY_NO_BOOTSTRAP;
    *ret = p;
    return POLICY_OK;
}

const char *policy_rule_text(const struct policy_egress *r, char dst[POLICY_RULE_TEXT_MAX])
{
    bool v6 = memchr(r->host.p, ':', r->host.len) != NULL;
    int n = snprintf(dst, POLICY_RULE_TEXT_MAX, "%s%.*s%s:%u", v6 ? "[" : "", (int)r->host.len, r->host.p,
                     v6 ? "]" : "", (unsigned)r->port_lo);
    if (r->port_hi != r->port_lo)
        n += snprintf(dst + n, POLICY_RULE_TEXT_MAX - (size_t)n, "-%u", (unsigned)r->port_hi);
    (void)snprintf(dst + n, POLICY_RULE_TEXT_MAX - (size_t)n, "/%s",
                   enum_text(&enum_egress_protocol, r->protocol));
    return dst;
}

/* ---- launch ---- */

struct policy_deadline policy_deadline(const struct spec *s)
{
    uint64_t ttl = s->ttl_s * 1000;
    if (s->run && s->run->timeout_ms.set && s->run->timeout_ms.v <= ttl)
        return (struct policy_deadline){s->run->timeout_ms.v, true};
    return (struct policy_deadline){ttl, false};
}

static bool inside(struct str path, const struct strs *dirs)
{
    for (size_t i = 0; i < dirs->n; i++) {
        struct str d = dirs->v[i];
        if (path.len >= d.len && memcmp(path.p, d.p, d.len) == 0 &&
            (path.len == d.len || path.p[d.len] == '/'))
            return true;
    }
    return false;
}

/* A directory of the host would show through, and /tmp is private already. */
static bool wants_tmpfs(const struct spec *s, struct str cwd)
{
    return cwd.len > 1 && !str_is(cwd, "/tmp") && !inside(cwd, &s->fs.read_write) &&
           !inside(cwd, &s->fs.read_only);
}

int policy_launch(const struct spec *s, struct str run_id, uint64_t nofile_max, struct arena *a,
                  struct launch *ret)
{
    struct str cwd = s->run && s->run->cwd.p ? s->run->cwd : STR_LIT("/");
    struct str id = arena_copy(a, run_id);
    if (!id.p)
        return -ENOMEM;
    *ret = (struct launch){
        .cell_id = s->id,
        .run_id = id,
        .argv = s->run ? s->run->argv : (struct strs){NULL, 0},
        .working_directory = cwd,
        .working_directory_tmpfs = wants_tmpfs(s, cwd),
        .read_only = s->fs.read_only,
        .read_write = s->fs.read_write,
        .tmpfs_max_bytes = s->fs.tmpfs_max_bytes,
        .ttl_ms = policy_deadline(s).ms,
        .grace_ms = (s->run ? s->run->limits.grace_s : SPEC_GRACE_DEFAULT_S) * 1000,
        .nofile_max = nofile_max,
    };
    return 0;
}
