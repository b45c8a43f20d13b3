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

static int resolver(struct str id, uint32_t protocol, const struct endpoint_addr *e, struct arena *a,
                    struct policy_resolver *ret)
{
    char text[ADDR_ENDPOINT_MAX];
    struct str endpoint = arena_copy(a, str_of(addr_endpoint_format(e, text)));
    if (!id.p || !endpoint.p)
        return -ENOMEM;
    *ret = (struct policy_resolver){.resolver_id = id, .protocol = protocol, .endpoint = endpoint};
    return 0;
}

static int resolvers(const struct spec *s, const struct endpoint_addr *host, size_t nhost, struct arena *a,
                     struct policy *p)
{
    bool own = s->dns && s->dns->nresolvers > 0;
    size_t n = own ? s->dns->nresolvers : nhost;
    if (n > LIMIT_RESOLVERS)
        n = LIMIT_RESOLVERS;
    struct policy_resolver *v = list(a, n, sizeof(*v));
    if (!v)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "host-%zu", i + 1);
        int r = own ? resolver(s->dns->resolvers[i].id, s->dns->resolvers[i].protocol,
                               &s->dns->resolvers[i].endpoint, a, &v[i])
                    : resolver(arena_copy(a, str_of(id)), RESOLVER_DO53_UDP, &host[i], a, &v[i]);
        if (r < 0)
            return r;
    }
    p->resolvers.v = v;
    p->resolvers.n = n;
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

/* The proxy resolves the names of egress rules itself, whether or not the cell may ask for them. */
static bool needs_resolver(const struct spec *s, const struct policy *p)
{
    for (size_t i = 0; i < s->negress; i++)
        if (s->egress[i].host.kind == SPEC_HOST_NAME)
            return true;
    return p->dns_names.n > 0;
}

int policy_of_spec(const struct spec *s, uint32_t evidence, const struct endpoint_addr *host, size_t nhost,
                   struct arena *a, struct policy *ret)
{
    static const struct policy_quota quota = {.max_connections = LIMIT_TCP_OPEN};
    struct policy p = {.evidence = evidence,
                       .mode = NET_MODE_INTERCEPT,
                       .answer_mode = ANSWER_REAL,
                       .quota = &quota,
                       .query_types = s->dns ? s->dns->query_types : spec_query_types_default};
    if (egress(s, a, &p) < 0 || dns_names(s, a, &p) < 0 || resolvers(s, host, nhost, a, &p) < 0 ||
        answers(s, a, &p) < 0)
        return -ENOMEM;
    if (p.resolvers.n == 0 && needs_resolver(s, &p))
        return POLICY_NO_RESOLVER;
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
