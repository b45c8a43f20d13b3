/* SPDX-License-Identifier: MIT */
#include "netd/routed/routed_policy.h"

#include <errno.h>
#include <stdio.h>

#include "proto/codec.h"

#define V4(n, ...)                                                                                           \
    {                                                                                                        \
        {.family = AF_INET, .bytes = {__VA_ARGS__}}, (n)                                                     \
    }
#define V6(n, ...)                                                                                           \
    {                                                                                                        \
        {.family = AF_INET6, .bytes = {__VA_ARGS__}}, (n)                                                    \
    }

/* The rows of common/net/addr_class.c. 2001::/23 also holds Teredo, 2002::/16 is 6to4: what is inside them is
 * not looked at. */
const struct addr_prefix routed_policy_special[] = {
    V4(8, 0),
    V4(8, 10),
    V4(10, 100, 64),
    V4(8, 127),
    V4(16, 169, 254),
    V4(32, 168, 63, 129, 16),
    V4(12, 172, 16),
    V4(24, 192, 0, 0),
    V4(24, 192, 0, 2),
    V4(24, 192, 88, 99),
    V4(16, 192, 168),
    V4(15, 198, 18),
    V4(24, 198, 51, 100),
    V4(24, 203, 0, 113),
    V4(3, 224), /* multicast and everything above */
    V6(23, 0x20, 1),
    V6(32, 0x20, 1, 0x0d, 0xb8),
    V6(16, 0x20, 2),
    V6(20, 0x3f, 0xff),
};
const size_t routed_policy_nspecial = ARRAY_LEN(routed_policy_special);

static int compile_egress(const struct policy *doc, struct routed_policy *p)
{
    static const enum allow_protocol map[] = {
        [EGRESS_ANY] = ALLOW_ANY, [EGRESS_TLS] = ALLOW_TLS,   [EGRESS_HTTP] = ALLOW_HTTP,
        [EGRESS_H2C] = ALLOW_H2C, [EGRESS_QUIC] = ALLOW_QUIC, [EGRESS_TCP] = ALLOW_TCP,
        [EGRESS_UDP] = ALLOW_UDP,
    };
    for (size_t i = 0; i < doc->egress.n; i++) {
        const struct policy_egress *e = &doc->egress.v[i];
        struct allow_rule rule;
        if (allow_rule_parse_host(e->host, &rule) != ALLOW_OK || e->protocol == 0 ||
            e->protocol >= ARRAY_LEN(map) || e->port_lo < 1 || e->port_lo > e->port_hi)
            return -EINVAL;
        rule.protocol = map[e->protocol];
        rule.port_lo = (uint16_t)e->port_lo;
        rule.port_hi = (uint16_t)e->port_hi;
        int r = allow_list_add(&p->allow, &rule);
        if (r < 0)
            return r;
    }
    return 0;
}

static int compile_answers(const struct policy *doc, struct routed_policy *p)
{
    p->answers = calloc(doc->answers.n + 1, sizeof(*p->answers));
    if (p->answers == NULL)
        return -ENOMEM;
    for (; p->nanswers < doc->answers.n; p->nanswers++) {
        const struct policy_answer *a = &doc->answers.v[p->nanswers];
        struct routed_answer *to = &p->answers[p->nanswers];
        if (name_parse(a->host, NAME_PATTERN, &to->host) != NAME_OK ||
            addr_prefix_parse(a->prefix, &to->prefix) < 0)
            return -EINVAL;
    }
    for (; p->nmetadata < doc->metadata.n; p->nmetadata++)
        if (addr_prefix_parse(doc->metadata.v[p->nmetadata], &p->metadata[p->nmetadata]) < 0)
            return -EINVAL;
    return 0;
}

static int compile(const struct policy *doc, struct routed_policy *p)
{
    if (doc->mode != NET_MODE_ROUTED)
        return -EINVAL;
    p->quota = doc->quota != NULL ? *doc->quota : (struct policy_quota){.max_connections = LIMIT_TCP_OPEN};
    int r = compile_egress(doc, p);
    return r < 0 ? r : compile_answers(doc, p);
}

int routed_policy_read(int fd, struct str sha256, struct routed_policy **ret)
{
    _cleanup_(buf_done) struct buf bytes = {0};
    _cleanup_(arena_done) struct arena arena = {0};
    struct policy doc;
    buf_init(&bytes, LIMIT_POLICY_DOC);
    arena_init(&arena, LIMIT_ARENA);
    int r = codec_from_memfd(&schema_policy, fd, LIMIT_POLICY_DOC, sha256, &bytes, &arena, &doc);
    if (r < 0)
        return r;
    struct routed_policy *p = calloc(1, sizeof(*p));
    if (p == NULL)
        return -ENOMEM;
    r = compile(&doc, p);
    if (r < 0) {
        routed_policy_free(p);
        return r;
    }
    *ret = p;
    return 0;
}

struct routed_policy *routed_policy_free(struct routed_policy *p)
{
    if (p == NULL)
        return NULL;
    allow_list_done(&p->allow);
    free(p->answers);
    free(p);
    return NULL;
}

static bool metadata_listed(const struct routed_policy *p, const struct addr *a)
{
    for (size_t i = 0; i < p->nmetadata; i++)
        if (addr_prefix_contains(&p->metadata[i], a))
            return true;
    return false;
}

static bool answer_listed(const struct routed_policy *p, const struct name *name, const struct addr *a)
{
    for (size_t i = 0; i < p->nanswers; i++)
        if (name_matches(&p->answers[i].host, name) && addr_prefix_contains(&p->answers[i].prefix, a))
            return true;
    return false;
}

static bool class_allowed(const struct routed_policy *p, const struct addr *a)
{
    enum addr_class class = addr_classify(a);
    if (class == ADDR_UNSPECIFIED || class == ADDR_MULTICAST)
        return false;
    return class != ADDR_METADATA || metadata_listed(p, a);
}

bool routed_policy_pinnable(const struct routed_policy *p, const struct name *name, const struct addr *a)
{
    return class_allowed(p, a) && (addr_classify(a) == ADDR_GLOBAL || answer_listed(p, name, a));
}

bool routed_policy_reachable(const struct routed_policy *p, const struct allow_rule *rule)
{
    return !routed_policy_is_literal(rule) || class_allowed(p, &rule->prefix.addr);
}

bool routed_policy_is_literal(const struct allow_rule *rule)
{
    return rule->is_addr && rule->prefix.bits == (rule->prefix.addr.family == AF_INET6 ? 128 : 32);
}

uint8_t routed_policy_l4(const struct allow_rule *rule)
{
    return rule->protocol == ALLOW_QUIC || rule->protocol == ALLOW_UDP ? IPPROTO_UDP : IPPROTO_TCP;
}

void routed_policy_text(const struct allow_rule *r, char *dst, size_t cap)
{
    char host[NAME_MAX_LEN + 1], addr[ADDR_TEXT_MAX], port[12];
    if (!r->is_addr)
        snprintf(host, sizeof(host), "%s", r->name.text);
    else if (routed_policy_is_literal(r))
        snprintf(host, sizeof(host), r->prefix.addr.family == AF_INET6 ? "[%s]" : "%s",
                 addr_format(&r->prefix.addr, addr));
    else
        snprintf(host, sizeof(host), r->prefix.addr.family == AF_INET6 ? "[%s/%u]" : "%s/%u",
                 addr_format(&r->prefix.addr, addr), r->prefix.bits);
    snprintf(port, sizeof(port), r->port_lo == r->port_hi ? "%u" : "%u-%u", r->port_lo, r->port_hi);
    snprintf(dst, cap, "%s:%s/%s", host, port, allow_protocol_name(r->protocol));
}
