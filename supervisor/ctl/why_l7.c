/* SPDX-License-Identifier: MIT */
/* Denied connections and requests. */
#include <stdio.h>

#include "proto/words.h"
#include "supervisor/ctl/why.h"

struct l7 {
    const json_t *data;
    const char *host; /* "" = none was proven */
    unsigned port;
    struct endpoint_addr to; /* where the cell wanted to go; family AF_UNSPEC when the event has none */
    char addr[ADDR_TEXT_MAX];
    const char *guess; /* the name whose DNS answer had that address, else the address */
};

typedef void advise_fn(const struct l7 *l, struct why_finding *f);

static void advise_tls(const struct l7 *l, struct why_finding *f)
{
    why_advise_rule(f, l->host, l->port, "tls");
}

static void advise_http(const struct l7 *l, struct why_finding *f)
{
    why_advise_rule(f, l->host, l->port, "http");
}

static void advise_h2c(const struct l7 *l, struct why_finding *f)
{
    why_advise_rule(f, l->host, l->port, "h2c");
}

static void advise_quic(const struct l7 *l, struct why_finding *f)
{
    why_advise_rule(f, l->host[0] ? l->host : l->guess, l->port, "quic");
}

static bool is_udp(const struct l7 *l)
{
    return strcmp(why_text(l->data, "protocol"), "udp") == 0 ||
           strcmp(why_text(l->data, "protocol"), "quic") == 0;
}

/* No name was proven: only a raw rule helps. */
static void advise_raw(const struct l7 *l, struct why_finding *f)
{
    why_advise_rule(f, l->guess, l->port, is_udp(l) ? "udp" : "tcp");
}

/* A rule for the address itself is good for TLS without a name; one for a name is not. */
static void advise_nameless_tls(const struct l7 *l, struct why_finding *f)
{
    why_advise_rule(f, l->guess, l->port, l->guess == l->addr ? "tls" : "tcp");
}

static void advise_port(const struct l7 *l, struct why_finding *f)
{
    if (is_udp(l))
        advise_raw(l, f);
    else
        why_advise_rule(f, l->guess, l->port, NULL);
}

static void advise_destination(const struct l7 *l, struct why_finding *f)
{
    struct endpoint_addr dialed;
    char text[ADDR_TEXT_MAX];
    const char *address = why_text(l->data, "dialedAddress");
    bool has = addr_endpoint_parse(str_of(address), 0, &dialed) == 0;
    const struct addr *a = has ? &dialed.addr : &l->to.addr;
    const char *never = a->family == AF_UNSPEC ? NULL : why_never_address(a);
    if (never)
        (void)snprintf(f->never, sizeof(f->never), "%s", never);
    else if (l->host[0] && has)
        why_advise_answer(f, l->host, addr_format(&dialed.addr, text));
    else if (l->host[0])
        (void)snprintf(f->never, sizeof(f->never),
                       "none of its addresses may be dialed: see the DNS answers of %.200s", l->host);
    else if (a->family != AF_UNSPEC)
        advise_raw(l, f);
}

static void advise_quota(const struct l7 *l, struct why_finding *f)
{
    (void)l;
    (void)snprintf(f->never, sizeof(f->never),
                   "a quota is used up: raise spec.authority.egressQuota (--max-connections, --max-bytes, "
                   "--max-rate), and the operator's network.quota if that is the smaller one");
}

static const struct row {
    uint32_t reason;
    const char *words;
    advise_fn *advise; /* NULL: never says why there is none */
    const char *never;
} rows[] = {
    {L7_SNI_ALLOWLIST_MISS, "no rule lists this TLS server name for this port", advise_tls, NULL},
    {L7_SNI_MISSING, "the TLS hello names no server, so no rule for a name can apply", advise_nameless_tls,
     NULL},
    {L7_HTTP_HOST_ALLOWLIST_MISS, "no rule lists this HTTP host for this port", advise_http, NULL},
    {L7_HTTP_HOST_MISSING, "the HTTP request names no host, so no rule for a name can apply", advise_raw,
     NULL},
    {L7_H2_AUTHORITY_ALLOWLIST_MISS, "no rule lists this HTTP/2 authority for this port", advise_h2c, NULL},
    {L7_H2_AUTHORITY_MISSING, "the HTTP/2 request has no :authority", NULL,
     "a request that does not say what it is for is never forwarded"},
    {L7_H2_UNPARSEABLE_HEADERS, "the HTTP/2 frames or headers break RFC 9113 or RFC 7541", NULL,
     "what cannot be read cannot be judged"},
    {L7_UNKNOWN_PROTOCOL, "the first bytes are neither TLS nor HTTP, so no name is proven", advise_raw, NULL},
    {L7_PEEK_TIMEOUT,
     "the client waited for the server to speak first (SSH, SMTP, MySQL do): no name is proven", advise_raw,
     NULL},
    {L7_NAME_CONFLICT, "two different names in one hello or request", NULL,
     "a request that could be read in two ways is never forwarded: this is a client that is broken, or that "
     "tries to get around the rules"},
    {L7_DESTINATION_DENIED, "the name or port is allowed, but not this address", advise_destination, NULL},
    {L7_PORT_DENIED, "no rule has this port", advise_port, NULL},
    {L7_UPSTREAM_UNREACHABLE, "allowed, but the server could not be reached", NULL,
     "no rule is missing: the server, the way there or the operator's upstream proxy did not answer"},
    {L7_QUIC_ALLOWLIST_MISS, "no rule with protocol quic lists this name for this port", advise_quic, NULL},
    {L7_PINNED_ADDRESS_MISS,
     "no raw rule covers this address: none of the cell's DNS answers for an allowed name had it", advise_raw,
     NULL},
    {L7_QUOTA, "a quota of this cell is used up", advise_quota, NULL},
};

static const struct row *find(uint32_t reason)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].reason == reason)
            return &rows[i];
    return NULL;
}

static void say_what(const struct l7 *l, struct why_finding *f)
{
    const char *protocol = why_text(l->data, "protocol");
    const char *name = strcmp(protocol, "unknown") == 0 ? "connection" : protocol;
    const char *to = why_text(l->data, "originalDestination");
    if (l->host[0])
        (void)snprintf(f->what, sizeof(f->what), "%s to %s:%u", name, l->host, l->port);
    else if (l->guess != l->addr)
        (void)snprintf(f->what, sizeof(f->what), "%s to %s (an address of %s)", name, to, l->guess);
    else
        (void)snprintf(f->what, sizeof(f->what), "%s to %s", name, to);
}

void why_see_l7(struct why_report *w, const json_t *data, struct str time)
{
    const char *code = why_text(data, "reasonCode");
    struct l7 l = {.data = data, .host = why_text(data, "host")};
    struct why_finding f = {
        .kind = "l7", .by = "proxyd", .code = code, .count = 1, .process = json_object_get(data, "process")};
    if (strcmp(why_text(data, "action"), "deny") != 0)
        return;
    l.port = (unsigned)json_integer_value(json_object_get(data, "port"));
    if (addr_endpoint_parse(str_of(why_text(data, "originalDestination")), 0, &l.to) == 0)
        (void)addr_format(&l.to.addr, l.addr);
    const char *known = json_string_value(json_object_get(w->names, l.addr));
    l.guess = known ? known : l.addr;
    const struct row *r = find(enum_value(&enum_l7_reason, str_of(code)));
    say_what(&l, &f);
    (void)snprintf(f.reason, sizeof(f.reason), "%s%s", r ? r->words : "refused",
                   json_is_true(json_object_get(data, "ech"))
                       ? " (the client hid the real name by ECH: this is the outer one)"
                       : "");
    struct addr literal;
    bool is_literal = addr_parse(str_of(l.host), &literal) == 0;
    const char *cannot = is_literal ? why_never_address(&literal) : NULL;
    if (!cannot && !l.host[0] && l.to.addr.family != AF_UNSPEC)
        cannot = why_never_address(&l.to.addr);
    if (cannot)
        (void)snprintf(f.never, sizeof(f.never), "%s", cannot);
    else if (r && r->advise)
        r->advise(&l, &f);
    else
        (void)snprintf(f.never, sizeof(f.never), "%s", r ? r->never : "this version knows no rule for it");
    why_add(w, &f, time);
}
