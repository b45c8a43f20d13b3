/* SPDX-License-Identifier: MIT */
#include "proxyd/judge.h"

/* What a pinned name must fit. */
struct pin_want {
    const struct proxy_policy *policy;
    uint16_t port;
    enum allow_protocol protocol;
};

static bool pin_fits(void *self, const struct name *name)
{
    const struct pin_want *w = self;

    return allow_find_name(&w->policy->allow, name, w->port, w->protocol) >= 0;
}

/* The rule for the name that the cell's DNS gave this address for, or -1. */
static ssize_t find_pinned(const struct proxy_policy *p, const struct dns_cell *dns,
                           const struct endpoint_addr *original, enum allow_protocol protocol,
                           struct name *ret_name, bool *ret_synthetic)
{
    struct pin_want want = {p, original->port, protocol};

    if (!dns || !dns_pin_find(dns, &original->addr, pin_fits, &want, ret_name, ret_synthetic))
        return -1;
    return allow_find_name(&p->allow, ret_name, original->port, protocol);
}

static bool rule_on(const struct allow_rule *r, uint16_t port)
{
    return port >= r->port_lo && port <= r->port_hi;
}

/* Is there a rule for this port that a name in the first bytes can satisfy? */
static bool port_is_peeked(const struct allow_list *l, uint16_t port)
{
    for (size_t i = 0; i < l->n; i++)
        if (rule_on(&l->rules[i], port) && l->rules[i].protocol <= ALLOW_H2C)
            return true;
    return false;
}

static bool port_is_raw(const struct allow_list *l, uint16_t port)
{
    for (size_t i = 0; i < l->n; i++)
        if (rule_on(&l->rules[i], port) && l->rules[i].protocol == ALLOW_TCP)
            return true;
    return false;
}

int judge_raw(const struct proxy_policy *p, const struct dns_cell *dns, const struct endpoint_addr *original,
              struct judgement *ret)
{
    struct judgement j = {.protocol = L7_TCP, .reason = L7_PINNED_ADDRESS_MATCH};
    bool synthetic = false;

    if (!port_is_raw(&p->allow, original->port))
        return JUDGE_MORE;
    j.rule = allow_find_addr(&p->allow, &original->addr, original->port, ALLOW_TCP);
    j.literal = j.rule >= 0;
    if (j.rule < 0) {
        j.rule = find_pinned(p, dns, original, ALLOW_TCP, &j.name, &synthetic);
        j.pinned = j.rule >= 0 && !synthetic;
    }
    j.allow = j.rule >= 0;
    if (!j.allow && port_is_peeked(&p->allow, original->port))
        return JUDGE_MORE;
    if (!j.allow)
        j.reason = L7_PINNED_ADDRESS_MISS;
    *ret = j;
    return JUDGE_DECIDED;
}

void judge_cdn(const struct proxy_policy *p, const struct dns_cell *dns, const struct endpoint_addr *original,
               struct judgement *j)
{
    struct name pinned;
    bool synthetic;

    if (j->allow || j->reason != L7_SNI_ALLOWLIST_MISS || !policy_cdn_listed(p, &j->name))
        return;
    j->rule = find_pinned(p, dns, original, ALLOW_TLS, &pinned, &synthetic);
    if (j->rule < 0)
        return;
    j->allow = j->cdn = true;
    j->reason = L7_SNI_ALLOWLIST_MATCH;
}

static bool judge_cdn_again(const struct proxy_policy *p, const struct dns_cell *dns,
                            const struct endpoint_addr *original, struct judgement *j)
{
    struct name pinned;
    bool synthetic;

    j->rule =
        policy_cdn_listed(p, &j->name) ? find_pinned(p, dns, original, ALLOW_TLS, &pinned, &synthetic) : -1;
    return j->rule >= 0;
}

bool judge_again(const struct proxy_policy *p, const struct dns_cell *dns,
                 const struct endpoint_addr *original, struct judgement *j)
{
    static const enum allow_protocol map[] = {
        [L7_TLS] = ALLOW_TLS,   [L7_HTTP] = ALLOW_HTTP, [L7_H2C] = ALLOW_H2C,
        [L7_QUIC] = ALLOW_QUIC, [L7_TCP] = ALLOW_TCP,   [L7_UDP] = ALLOW_UDP,
    };

    if (j->protocol >= ARRAY_LEN(map) || map[j->protocol] == ALLOW_ANY)
        return false;
    if (j->cdn && allow_find_name(&p->allow, &j->name, original->port, ALLOW_TLS) < 0)
        return judge_cdn_again(p, dns, original, j);
    j->rule = j->literal ? allow_find_addr(&p->allow, &original->addr, original->port, map[j->protocol])
                         : allow_find_name(&p->allow, &j->name, original->port, map[j->protocol]);
    return j->rule >= 0;
}

uint32_t judge_miss(uint32_t protocol)
{
    static const uint32_t reasons[] = {
        [L7_TLS] = L7_SNI_ALLOWLIST_MISS,          [L7_HTTP] = L7_HTTP_HOST_ALLOWLIST_MISS,
        [L7_H2C] = L7_H2_AUTHORITY_ALLOWLIST_MISS, [L7_QUIC] = L7_QUIC_ALLOWLIST_MISS,
        [L7_TCP] = L7_PINNED_ADDRESS_MISS,         [L7_UDP] = L7_PINNED_ADDRESS_MISS,
    };

    return protocol < ARRAY_LEN(reasons) && reasons[protocol] ? reasons[protocol] : L7_UNKNOWN_PROTOCOL;
}
