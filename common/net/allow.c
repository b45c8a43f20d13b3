/* SPDX-License-Identifier: MIT */
#include "common/net/allow.h"

#include "common/base/num.h"

static const char *const protocol_names[] = {
    [ALLOW_ANY] = "any",   [ALLOW_TLS] = "tls", [ALLOW_HTTP] = "http", [ALLOW_H2C] = "h2c",
    [ALLOW_QUIC] = "quic", [ALLOW_TCP] = "tcp", [ALLOW_UDP] = "udp",
};

const char *allow_error_text(int error)
{
    switch (error) {
    case ALLOW_E_URL:
        return "must be a host name or an address, not a URL";
    case ALLOW_E_HOST:
        return "must be a host name, an IP address or a CIDR prefix, without a port";
    case ALLOW_E_PREFIX:
        return "must be an address, or a CIDR prefix with no host bits set, e.g. 192.0.2.0/24";
    case ALLOW_E_MAPPED:
        return "must not be an IPv4-mapped IPv6 address: write the IPv4 address itself";
    case ALLOW_E_PORT:
        return "must be a port from 1 to 65535, or a range such as \"8000-8100\"";
    case ALLOW_E_PORT_RANGE:
        return "must be a range of ports with the lower one first";
    case ALLOW_E_PROTOCOL:
        return "must be one of tls, https, http, h2c, quic, tcp, udp";
    default:
        return name_error_text(error);
    }
}

static bool contains(struct str s, const char *what)
{
    return s.len > 0 && memmem(s.p, s.len, what, strlen(what)) != NULL;
}

/* Prefixes as wide as ::/0 cover ::ffff/96 too, but are meant for what lies beside it. */
static bool mapped(const struct addr_prefix *p)
{
    static const struct addr_prefix block = {
        .addr = {.family = AF_INET6, .bytes = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF}}, .bits = 96};
    return p->bits >= block.bits && addr_prefix_contains(&block, &p->addr);
}

int allow_rule_parse_host(struct str host, struct allow_rule *ret)
{
    struct allow_rule rule = {.port_lo = 1, .port_hi = UINT16_MAX, .protocol = ALLOW_ANY};
    if (contains(host, "://"))
        return ALLOW_E_URL;
    if (contains(host, ":") && host.p[0] == '[' && host.p[host.len - 1] == ']')
        host = (struct str){host.p + 1, host.len - 2};
    if (addr_prefix_parse(host, &rule.prefix) == 0) {
        rule.is_addr = true;
        if (mapped(&rule.prefix))
            return ALLOW_E_MAPPED;
    } else if (contains(host, "/")) {
        return ALLOW_E_PREFIX;
    } else if (contains(host, ":")) {
        return ALLOW_E_HOST;
    } else {
        int e = name_parse(host, NAME_PATTERN, &rule.name);
        if (e != NAME_OK)
            return e;
    }
    *ret = rule;
    return ALLOW_OK;
}

int allow_port_parse(struct str s, uint16_t *ret_lo, uint16_t *ret_hi)
{
    const char *dash = s.len > 0 ? memchr(s.p, '-', s.len) : NULL;
    struct str first = {s.p, dash ? (size_t)(dash - s.p) : s.len};
    uint64_t lo, hi;
    if (num_parse_u64(first, 1, UINT16_MAX, &lo) < 0)
        return ALLOW_E_PORT;
    hi = lo;
    if (dash && num_parse_u64((struct str){dash + 1, s.len - first.len - 1}, 1, UINT16_MAX, &hi) < 0)
        return ALLOW_E_PORT;
    if (hi < lo)
        return ALLOW_E_PORT_RANGE;
    *ret_lo = (uint16_t)lo;
    *ret_hi = (uint16_t)hi;
    return ALLOW_OK;
}

int allow_protocol_parse(struct str s, enum allow_protocol *ret)
{
    if (str_is(s, "https")) {
        *ret = ALLOW_TLS;
        return ALLOW_OK;
    }
    for (unsigned i = ALLOW_TLS; i < _ALLOW_PROTOCOL_MAX; i++)
        if (str_is(s, protocol_names[i])) {
            *ret = (enum allow_protocol)i;
            return ALLOW_OK;
        }
    return ALLOW_E_PROTOCOL;
}

const char *allow_protocol_name(enum allow_protocol p)
{
    return (unsigned)p < _ALLOW_PROTOCOL_MAX ? protocol_names[p] : "unknown";
}

int allow_list_add(struct allow_list *l, const struct allow_rule *rule)
{
    if (l->n >= ALLOW_RULES_MAX)
        return -ENOBUFS;
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 8;
        struct allow_rule *rules = reallocarray(l->rules, cap, sizeof(*rules));
        if (!rules)
            return -ENOMEM;
        l->rules = rules;
        l->cap = cap;
    }
    l->rules[l->n++] = *rule;
    return 0;
}

void allow_list_done(struct allow_list *l)
{
    free(l->rules);
    *l = (struct allow_list){0};
}

static bool rule_covers(const struct allow_rule *rule, uint16_t port, enum allow_protocol proven)
{
    if (port < rule->port_lo || port > rule->port_hi)
        return false;
    if (rule->protocol == ALLOW_ANY)
        return proven == ALLOW_TLS || proven == ALLOW_HTTP || proven == ALLOW_H2C;
    return rule->protocol == proven;
}

ssize_t allow_find_name(const struct allow_list *l, const struct name *name, uint16_t port,
                        enum allow_protocol protocol)
{
    for (size_t i = 0; i < l->n; i++) {
        const struct allow_rule *rule = &l->rules[i];
        if (!rule->is_addr && rule_covers(rule, port, protocol) && name_matches(&rule->name, name))
            return (ssize_t)i;
    }
    return -1;
}

ssize_t allow_find_addr(const struct allow_list *l, const struct addr *addr, uint16_t port,
                        enum allow_protocol protocol)
{
    for (size_t i = 0; i < l->n; i++) {
        const struct allow_rule *rule = &l->rules[i];
        if (rule->is_addr && rule_covers(rule, port, protocol) && addr_prefix_contains(&rule->prefix, addr))
            return (ssize_t)i;
    }
    return -1;
}

bool allow_has_port(const struct allow_list *l, uint16_t port)
{
    for (size_t i = 0; i < l->n; i++) {
        const struct allow_rule *rule = &l->rules[i];
        bool tcp = rule->protocol != ALLOW_QUIC && rule->protocol != ALLOW_UDP;
        if (tcp && port >= rule->port_lo && port <= rule->port_hi)
            return true;
    }
    return false;
}

bool allow_name_listed(const struct allow_list *l, const struct name *name)
{
    for (size_t i = 0; i < l->n; i++)
        if (!l->rules[i].is_addr && name_matches(&l->rules[i].name, name))
            return true;
    return false;
}
