/* SPDX-License-Identifier: MIT */
#include "proxyd/judge.h"

static uint32_t protocol_of(const struct first_bytes *f)
{
    return f->kind == FIRST_TLS ? L7_TLS : f->kind == FIRST_HTTP ? L7_HTTP : L7_UNKNOWN;
}

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

static int judge_tls(const struct proxy_policy *p, const struct endpoint_addr *original,
                     struct first_bytes *f, const uint8_t *bytes, size_t n, struct judgement *ret)
{
    struct client_hello hello;
    ssize_t rule;

    switch (client_hello_read(&f->tls, bytes, n, &hello)) {
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
        return deny(ret, L7_UNKNOWN_PROTOCOL);
    }
}

static int judge_host(const struct proxy_policy *p, const struct endpoint_addr *original,
                      const struct http_host *h, struct judgement *ret)
{
    ssize_t rule = -1;

    ret->name = h->name;
    ret->literal = h->literal.family != AF_UNSPEC;
    if (h->port != 0 && h->port != original->port)
        return deny(ret, L7_NAME_CONFLICT);
    if (!ret->literal)
        rule = allow_find_name(&p->allow, &h->name, original->port, ALLOW_HTTP);
    else if (addr_eq(&h->literal, &original->addr))
        rule = allow_find_addr(&p->allow, &original->addr, original->port, ALLOW_HTTP);
    return rule < 0 ? deny(ret, L7_HTTP_HOST_ALLOWLIST_MISS) : allow(ret, L7_HTTP_HOST_ALLOWLIST_MATCH, rule);
}

static int judge_http(const struct proxy_policy *p, const struct endpoint_addr *original,
                      struct first_bytes *f, const uint8_t *bytes, size_t n, struct judgement *ret)
{
    switch (http_head_read(&f->http, bytes, n, &f->head)) {
    case HTTP_HEAD_MORE:
        return JUDGE_MORE;
    case HTTP_HEAD_DONE:
        break;
    case HTTP_HEAD_NO_HOST:
        return deny(ret, L7_HTTP_HOST_MISSING);
    case HTTP_HEAD_CONFLICT:
        return deny(ret, L7_NAME_CONFLICT);
    default:
        return deny(ret, L7_UNKNOWN_PROTOCOL);
    }
    http_body_init(&f->body, &f->head);
    ssize_t seen = http_body_take(&f->body, bytes + f->head.len, n - f->head.len);
    if (seen < 0) {
        ret->name = f->head.host.name;
        return deny(ret, L7_NAME_CONFLICT);
    }
    f->body_seen = (size_t)seen;
    return judge_host(p, original, &f->head.host, ret);
}

int judge_first_bytes(const struct proxy_policy *p, const struct endpoint_addr *original,
                      struct first_bytes *f, const uint8_t *bytes, size_t n, struct judgement *ret)
{
    if (n == 0)
        return JUDGE_MORE;
    if (f->kind == FIRST_EMPTY)
        f->kind = bytes[0] == 22 ? FIRST_TLS : FIRST_HTTP; /* a TLS handshake record; no method begins so */
    *ret = (struct judgement){.protocol = protocol_of(f), .rule = -1};
    int r = f->kind == FIRST_TLS ? judge_tls(p, original, f, bytes, n, ret)
                                 : judge_http(p, original, f, bytes, n, ret);
    if (r == JUDGE_DECIDED && ret->reason == L7_UNKNOWN_PROTOCOL)
        ret->protocol = L7_UNKNOWN;
    return r;
}

void judge_no_more(const struct first_bytes *f, bool timeout, struct judgement *ret)
{
    *ret = (struct judgement){.protocol = protocol_of(f), .rule = -1};
    deny(ret, timeout ? L7_PEEK_TIMEOUT : L7_UNKNOWN_PROTOCOL);
}
