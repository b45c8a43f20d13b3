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

static int compile_names(const struct policy *doc, struct proxy_policy *p)
{
    p->names = calloc(doc->dns_names.n + 1, sizeof(*p->names));
    if (!p->names)
        return -ENOMEM;
    for (size_t i = 0; i < doc->dns_names.n; i++)
        if (name_parse(doc->dns_names.v[i], NAME_PATTERN, &p->names[i]) != NAME_OK)
            return -EINVAL;
    return 0;
}

static int compile_types(const struct policy *doc, struct proxy_policy *p)
{
    p->qtypes = calloc(doc->query_types.n + 1, sizeof(*p->qtypes));
    if (!p->qtypes)
        return -ENOMEM;
    for (size_t i = 0; i < doc->query_types.n; i++)
        if (dns_type_parse(doc->query_types.v[i], &p->qtypes[i]) < 0)
            return -EINVAL;
    return 0;
}

static int compile_resolvers(const struct policy *doc, struct proxy_policy *p)
{
    p->resolvers = calloc(doc->resolvers.n + 1, sizeof(*p->resolvers));
    if (!p->resolvers)
        return -ENOMEM;
    for (size_t i = 0; i < doc->resolvers.n; i++) {
        const struct policy_resolver *r = &doc->resolvers.v[i];
        struct dns_resolver *to = &p->resolvers[i];
        if (r->protocol != RESOLVER_DO53_UDP && r->protocol != RESOLVER_DO53_TCP)
            return -EINVAL;
        if (r->resolver_id.len > LIMIT_LABEL || addr_endpoint_parse(r->endpoint, 53, &to->addr) < 0)
            return -EINVAL;
        memcpy(to->id, r->resolver_id.p, r->resolver_id.len);
        to->protocol = (enum resolver_protocol)r->protocol;
    }
    return 0;
}

static int compile_answers(const struct policy *doc, struct proxy_policy *p)
{
    p->answers = calloc(doc->answers.n + 1, sizeof(*p->answers));
    if (!p->answers)
        return -ENOMEM;
    for (size_t i = 0; i < doc->answers.n; i++)
        if (name_parse(doc->answers.v[i].host, NAME_PATTERN, &p->answers[i].host) != NAME_OK ||
            addr_prefix_parse(doc->answers.v[i].prefix, &p->answers[i].prefix) < 0)
            return -EINVAL;
    return 0;
}

int policy_compile(const struct policy *doc, struct proxy_policy **ret)
{
    static int (*const parts[])(const struct policy *, struct proxy_policy *) = {
        compile_egress, compile_names, compile_types, compile_resolvers, compile_answers,
    };
    struct proxy_policy *p = calloc(1, sizeof(*p));

    if (!p)
        return -ENOMEM;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        int r = parts[i](doc, p);
        if (r < 0) {
            policy_free(p);
            return r;
        }
    }
    p->evidence = doc->evidence;
    p->dns = (struct dns_policy){
        .names = p->names,
        .nnames = doc->dns_names.n,
        .egress = &p->allow,
        .qtypes = p->qtypes,
        .nqtypes = doc->query_types.n,
        .resolvers = p->resolvers,
        .nresolvers = doc->resolvers.n,
        .answer_rules = p->answers,
        .nanswer_rules = doc->answers.n,
    };
    *ret = p;
    return 0;
}

struct proxy_policy *policy_free(struct proxy_policy *p)
{
    if (!p)
        return NULL;
    allow_list_done(&p->allow);
    free(p->names);
    free(p->qtypes);
    free(p->resolvers);
    free(p->answers);
    free(p);
    return NULL;
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
