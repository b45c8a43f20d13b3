/* SPDX-License-Identifier: MIT */
#include "proxyd/l7_event.h"

#include <stdio.h>

#include "proxyd/tls/alert.h"

/* The texts that a record borrows. */
struct texts {
    char original[ADDR_ENDPOINT_MAX], dialed[ADDR_ENDPOINT_MAX], proxy[ADDR_ENDPOINT_MAX],
        host[ADDR_TEXT_MAX], rule[POLICY_RULE_TEXT_MAX];
};

static struct ev_l7 record(const struct l7_decision *d, struct texts *t)
{
    const struct judgement *j = d->j;
    struct ev_l7 rec = {
        .action = j->allow ? ACTION_ALLOW : ACTION_DENY,
        .reason_code = j->reason,
        .protocol = j->protocol,
        .port = d->original->port,
        .original_destination = str_of(addr_endpoint_format(d->original, t->original)),
        .process = d->process,
    };

    if (j->name.len > 0)
        rec.host = name_str(&j->name);
    else if (j->literal)
        rec.host = str_of(addr_format(&d->original->addr, t->host));
    if (d->dialed)
        rec.dialed_address = str_of(addr_endpoint_format(d->dialed, t->dialed));
    if (d->proxy)
        rec.upstream_proxy = str_of(addr_endpoint_format(d->proxy, t->proxy));
    if ((j->protocol == L7_TLS || j->protocol == L7_QUIC) && j->has_ech)
        rec.ech = OPT_BOOL(true);
    if (j->cdn)
        rec.cdn = OPT_BOOL(true);
    if (j->allow)
        rec.rule = str_of(policy_rule_text(&d->policy->allow.rules[j->rule], t->rule));
    return rec;
}

int l7_claim_allow(struct claims *c, const struct l7_decision *d, claims_ack ack, void *data)
{
    struct texts t;
    struct ev_l7 rec = record(d, &t);

    return claims_allow(c, EVENT_L7, &rec, ack, data);
}

void l7_claim_deny(struct claims *c, const struct l7_decision *d)
{
    struct texts t;
    struct judgement j = *d->j;
    struct l7_decision denied = *d;

    j.allow = false;
    denied.j = &j;
    struct ev_l7 rec = record(&denied, &t);
    claims_deny(c, EVENT_L7, &rec);
}

int l7_event_allow(struct claims *c, const struct proxy_policy *p, const struct judgement *j,
                   const struct endpoint_addr *original, const struct endpoint_addr *dialed, claims_ack ack,
                   void *data)
{
    const struct l7_decision d = {.policy = p, .j = j, .original = original, .dialed = dialed};

    return l7_claim_allow(c, &d, ack, data);
}

void l7_event_deny(struct claims *c, const struct judgement *j, const struct endpoint_addr *original,
                   const struct endpoint_addr *dialed)
{
    const struct l7_decision d = {.j = j, .original = original, .dialed = dialed};

    l7_claim_deny(c, &d);
}

/* One sentence for the person behind the client. */
static const char *reason_sentence(uint32_t reason)
{
    switch (reason) {
    case L7_HTTP_HOST_ALLOWLIST_MISS:
        return "no egress rule allows it";
    case L7_HTTP_HOST_MISSING:
        return "the request names no host";
    case L7_NAME_CONFLICT:
        return "the request can be read in two ways";
    case L7_DESTINATION_DENIED:
        return "the name is allowed, but its addresses are not; responseIpAllowlist (--allow-answer HOST:IP) "
               "lists "
               "exceptions";
    case L7_UPSTREAM_UNREACHABLE:
        return "the server cannot be reached";
    case L7_QUOTA:
        return "the decision could not be recorded";
    default:
        return "not allowed";
    }
}

static size_t http_refusal(const struct judgement *j, const struct endpoint_addr *original,
                           uint8_t dst[L7_REFUSAL_MAX])
{
    char body[512], addr[ADDR_TEXT_MAX];
    const char *status = j->reason == L7_UPSTREAM_UNREACHABLE ? "502 Bad Gateway"
                         : j->reason == L7_QUOTA              ? "503 Service Unavailable"
                                                              : "403 Forbidden";
    const char *host = j->name.len > 0 ? j->name.text : addr_format(&original->addr, addr);

    int n = snprintf(body, sizeof(body), "%s: http to %s port %u: %s\n",
                     enum_text(&enum_l7_reason, j->reason), host, original->port, reason_sentence(j->reason));
    int m = snprintf(
        (char *)dst, L7_REFUSAL_MAX,
        "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
        status, n, body);
    return m > 0 && m < L7_REFUSAL_MAX ? (size_t)m : 0;
}

size_t l7_refusal(const struct judgement *j, const struct endpoint_addr *original,
                  uint8_t dst[L7_REFUSAL_MAX])
{
    if (j->protocol == L7_HTTP)
        return http_refusal(j, original, dst);
    if (j->protocol != L7_TLS)
        return 0;
    bool name =
        j->reason == L7_SNI_ALLOWLIST_MISS || j->reason == L7_SNI_MISSING || j->reason == L7_NAME_CONFLICT;
    bool fault = j->reason == L7_UPSTREAM_UNREACHABLE || j->reason == L7_QUOTA;
    alert_record(name ? ALERT_UNRECOGNIZED_NAME : fault ? ALERT_INTERNAL_ERROR : ALERT_ACCESS_DENIED, dst);
    return ALERT_LEN;
}
