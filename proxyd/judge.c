/* SPDX-License-Identifier: MIT */
#include "proxyd/judge.h"

static int deny(struct judgement *ret, uint32_t reason)
{
    ret->allow = false;
    ret->reason = reason;
    return JUDGE_DECIDED;
}

static int allow(struct judgement *ret, uint32_t reason, ssize_t rule)
{
    ret->allow = true;
    ret->reason = reason;
    ret->rule = rule;
    return JUDGE_DECIDED;
}

int judge_destination(const struct proxy_policy *p, const struct endpoint_addr *original,
                      const struct addr *from, struct judgement *ret)
{
    enum addr_class class = addr_classify(&original->addr);

    *ret = (struct judgement){.protocol = L7_UNKNOWN, .rule = -1};
    /* A connection to the cell's own address comes from that address. Loopback without a server there is
     * fine: it is judged by name like everything else. */
    bool own = class != ADDR_LOOPBACK && addr_eq(&original->addr, from);
    if (own || class == ADDR_MULTICAST || class == ADDR_UNSPECIFIED)
        return deny(ret, L7_DESTINATION_DENIED);
    return allow_has_port(&p->allow, original->port) ? JUDGE_MORE : deny(ret, L7_PORT_DENIED);
}

int judge_tls(const struct proxy_policy *p, const struct endpoint_addr *original,
              struct client_hello_reader *r, const uint8_t *bytes, size_t n, struct judgement *ret)
{
    struct client_hello hello;
    ssize_t rule;

    *ret = (struct judgement){.protocol = L7_TLS, .rule = -1};
    switch (client_hello_read(r, bytes, n, &hello)) {
    case CLIENT_HELLO_MORE:
        return JUDGE_MORE;
    case CLIENT_HELLO_DONE:
        ret->name = hello.server_name;
        ret->has_ech = hello.has_ech;
        rule = allow_find_name(&p->allow, &ret->name, original->port, ALLOW_TLS);
        return rule < 0 ? deny(ret, L7_SNI_ALLOWLIST_MISS) : allow(ret, L7_SNI_ALLOWLIST_MATCH, rule);
    case CLIENT_HELLO_NO_NAME:
        /* Clients send no name for a literal (RFC 6066 section 3): only a rule for that very address can
         * allow it. */
        rule = allow_find_addr(&p->allow, &original->addr, original->port, ALLOW_TLS);
        ret->literal = rule >= 0;
        return rule < 0 ? deny(ret, L7_SNI_MISSING) : allow(ret, L7_PINNED_ADDRESS_MATCH, rule);
    case CLIENT_HELLO_BAD_NAME:
        return deny(ret, L7_NAME_CONFLICT);
    default:
        ret->protocol = L7_UNKNOWN;
        return deny(ret, L7_UNKNOWN_PROTOCOL);
    }
}

void judge_no_more(bool any, bool timeout, struct judgement *ret)
{
    *ret = (struct judgement){.protocol = any ? L7_TLS : L7_UNKNOWN, .rule = -1};
    deny(ret, timeout ? L7_PEEK_TIMEOUT : L7_UNKNOWN_PROTOCOL);
}
