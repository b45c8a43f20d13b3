/* SPDX-License-Identifier: MIT */
#include "proxyd/udp/udp_judge.h"

static bool port_covered(const struct proxy_policy *p, uint16_t port, enum allow_protocol protocol)
{
    for (size_t i = 0; i < p->allow.n; i++) {
        const struct allow_rule *rule = &p->allow.rules[i];
        if (rule->protocol == protocol && port >= rule->port_lo && port <= rule->port_hi)
            return true;
    }
    return false;
}

bool udp_judge_quic_port(const struct proxy_policy *p, uint16_t port)
{
    return port_covered(p, port, ALLOW_QUIC);
}

bool udp_judge_raw_port(const struct proxy_policy *p, uint16_t port)
{
    return port_covered(p, port, ALLOW_UDP);
}

static void deny(struct judgement *ret, uint32_t reason)
{
    ret->allow = false;
    ret->reason = reason;
    ret->rule = -1;
}

static void allow(struct judgement *ret, uint32_t reason, ssize_t rule)
{
    ret->allow = true;
    ret->reason = reason;
    ret->rule = rule;
}

bool udp_judge_destination(const struct proxy_policy *p, const struct endpoint_addr *original,
                           const struct addr *from, struct judgement *ret)
{
    int r = judge_destination(p, original, from, ret);

    ret->protocol = L7_UDP;
    if (r == JUDGE_DECIDED && ret->reason == L7_DESTINATION_DENIED)
        return true;
    if (r == JUDGE_MORE || udp_judge_quic_port(p, original->port) || udp_judge_raw_port(p, original->port)) {
        deny(ret, L7_UNKNOWN_PROTOCOL); /* until something says more */
        return false;
    }
    return true;
}

void udp_judge_quic(const struct proxy_policy *p, const struct endpoint_addr *original, enum quic_outcome o,
                    const struct quic_reader *r, struct judgement *ret)
{
    ssize_t rule = -1;

    *ret = (struct judgement){.protocol = L7_QUIC, .rule = -1};
    switch (o) {
    case QUIC_HELLO:
        ret->name = r->hello.server_name;
        ret->has_ech = r->hello.has_ech;
        rule = allow_find_name(&p->allow, &ret->name, original->port, ALLOW_QUIC);
        if (rule < 0)
            deny(ret, L7_QUIC_ALLOWLIST_MISS);
        else
            allow(ret, L7_QUIC_ALLOWLIST_MATCH, rule);
        break;
    case QUIC_NO_NAME: /* no name for a literal (RFC 6066 section 3): as for TLS */
        rule = allow_find_addr(&p->allow, &original->addr, original->port, ALLOW_QUIC);
        ret->literal = rule >= 0;
        if (rule < 0)
            deny(ret, L7_SNI_MISSING);
        else
            allow(ret, L7_PINNED_ADDRESS_MATCH, rule);
        break;
    case QUIC_BAD_NAME:
        deny(ret, L7_NAME_CONFLICT);
        break;
    default:
        ret->protocol = L7_UDP;
        deny(ret, L7_UNKNOWN_PROTOCOL);
    }
}

struct fits {
    const struct proxy_policy *policy;
    uint16_t port;
};

static bool name_fits(void *self, const struct name *name)
{
    const struct fits *f = self;

    return allow_find_name(&f->policy->allow, name, f->port, ALLOW_UDP) >= 0;
}

void udp_judge_raw(const struct proxy_policy *p, const struct dns_cell *dns,
                   const struct endpoint_addr *original, struct judgement *ret)
{
    ssize_t rule = allow_find_addr(&p->allow, &original->addr, original->port, ALLOW_UDP);
    struct fits fits = {p, original->port};
    bool synthetic = false;

    *ret = (struct judgement){.protocol = L7_UDP, .rule = -1};
    if (rule >= 0) {
        ret->literal = true;
        allow(ret, L7_PINNED_ADDRESS_MATCH, rule);
    } else if (!udp_judge_raw_port(p, original->port)) {
        deny(ret, L7_UNKNOWN_PROTOCOL);
    } else if (dns && dns_pin_find(dns, &original->addr, name_fits, &fits, &ret->name, &synthetic)) {
        ret->pinned = !synthetic;
        allow(ret, L7_PINNED_ADDRESS_MATCH,
              allow_find_name(&p->allow, &ret->name, original->port, ALLOW_UDP));
    } else {
        deny(ret, L7_PINNED_ADDRESS_MISS);
    }
}
