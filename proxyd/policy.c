/* SPDX-License-Identifier: MIT */
#include "proxyd/policy.h"

#include <stdio.h>

static int protocol_of(uint32_t p, enum allow_protocol *ret)
{
    static const enum allow_protocol map[] = {
        [EGRESS_ANY] = ALLOW_ANY, [EGRESS_TLS] = ALLOW_TLS,   [EGRESS_HTTP] = ALLOW_HTTP,
        [EGRESS_H2C] = ALLOW_H2C, [EGRESS_QUIC] = ALLOW_QUIC, [EGRESS_TCP] = ALLOW_TCP,
        [EGRESS_UDP] = ALLOW_UDP,
    };

    if (p == 0 || p >= ARRAY_LEN(map))
        return -EINVAL;
    *ret = map[p];
    return 0;
}

static int compile_egress(const struct policy *doc, struct proxy_policy *p)
{
    for (size_t i = 0; i < doc->egress.n; i++) {
        const struct policy_egress *e = &doc->egress.v[i];
        struct allow_rule rule;
        if (allow_rule_parse_host(e->host, &rule) != ALLOW_OK ||
            protocol_of(e->protocol, &rule.protocol) < 0 || e->port_lo < 1 || e->port_lo > e->port_hi)
            return -EINVAL;
        rule.port_lo = (uint16_t)e->port_lo;
        rule.port_hi = (uint16_t)e->port_hi;
        int r = allow_list_add(&p->allow, &rule);
        if (r < 0)
            return r;
    }
    return 0;
}

static int compile_cdn(const struct policy *doc, struct proxy_policy *p)
{
    size_t n = 0;

    for (size_t i = 0; i < doc->cdn.n; i++)
        n += doc->cdn.v[i].patterns.n;
    p->cdn = calloc(n + 1, sizeof(*p->cdn));
    if (!p->cdn)
        return -ENOMEM;
    for (size_t i = 0; i < doc->cdn.n; i++)
        for (size_t k = 0; k < doc->cdn.v[i].patterns.n; k++)
            if (name_parse(doc->cdn.v[i].patterns.v[k], NAME_PATTERN, &p->cdn[p->ncdn++]) != NAME_OK)
                return -EINVAL;
    return 0;
}

static int compile_upstream(const struct policy *doc, struct proxy_policy *p)
{
    if (!doc->upstream)
        return 0;
    p->upstream = doc->upstream->kind;
    return addr_endpoint_parse(doc->upstream->endpoint, 0, &p->upstream_addr);
}

int policy_compile(const struct policy *doc, struct proxy_policy **ret)
{
    static int (*const parts[])(const struct policy *, struct proxy_policy *) = {
        compile_egress,
        compile_cdn,
        compile_upstream,
        policy_compile_dns,
    };
    struct proxy_policy *p = calloc(1, sizeof(*p));

    if (!p)
        return -ENOMEM;
    p->evidence = doc->evidence;
    p->mode = doc->mode;
    p->quota = doc->quota ? *doc->quota : (struct policy_quota){.max_connections = LIMIT_TCP_OPEN};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        int r = parts[i](doc, p);
        if (r < 0) {
            policy_free(p);
            return r;
        }
    }
    *ret = p;
    return 0;
}

struct proxy_policy *policy_free(struct proxy_policy *p)
{
    if (!p)
        return NULL;
    allow_list_done(&p->allow);
    free(p->cdn);
    policy_dns_done(p);
    free(p);
    return NULL;
}

bool policy_cdn_listed(const struct proxy_policy *p, const struct name *name)
{
    for (size_t i = 0; i < p->ncdn; i++)
        if (name_matches(&p->cdn[i], name))
            return true;
    return false;
}

bool policy_metadata_listed(const struct proxy_policy *p, const struct addr *addr)
{
    for (size_t i = 0; i < p->dns.nmetadata; i++)
        if (addr_prefix_contains(&p->metadata[i], addr))
            return true;
    return false;
}

bool policy_answer_listed(const struct proxy_policy *p, const struct name *name, const struct addr *addr)
{
    for (size_t i = 0; i < p->dns.nanswer_rules; i++)
        if (name_matches(&p->answers[i].host, name) && addr_prefix_contains(&p->answers[i].prefix, addr))
            return true;
    return false;
}

const char *policy_rule_text(const struct allow_rule *r, char dst[POLICY_RULE_TEXT_MAX])
{
    char host[NAME_MAX_LEN + 1], addr[ADDR_TEXT_MAX], port[12];

    if (!r->is_addr)
        snprintf(host, sizeof(host), "%s", r->name.text);
    else if (r->prefix.bits == (r->prefix.addr.family == AF_INET6 ? 128 : 32))
        snprintf(host, sizeof(host), r->prefix.addr.family == AF_INET6 ? "[%s]" : "%s",
                 addr_format(&r->prefix.addr, addr));
    else
        snprintf(host, sizeof(host), r->prefix.addr.family == AF_INET6 ? "[%s/%u]" : "%s/%u",
                 addr_format(&r->prefix.addr, addr), r->prefix.bits);
    snprintf(port, sizeof(port), r->port_lo == r->port_hi ? "%u" : "%u-%u", r->port_lo, r->port_hi);
    snprintf(dst, POLICY_RULE_TEXT_MAX, "%s:%s/%s", host, port, allow_protocol_name(r->protocol));
    return dst;
}
