/* SPDX-License-Identifier: MIT */
#include "proxyd/l7_event.h"

#include <stdio.h>

#include "proxyd/tls/alert.h"

/* The texts that a record borrows. */
struct texts {
    char original[ADDR_ENDPOINT_MAX], dialed[ADDR_ENDPOINT_MAX], host[ADDR_TEXT_MAX],
        rule[POLICY_RULE_TEXT_MAX];
};

static struct ev_l7 record(const struct judgement *j, const struct endpoint_addr *original,
                           const struct endpoint_addr *dialed, struct texts *t)
{
    struct ev_l7 rec = {
        .action = j->allow ? ACTION_ALLOW : ACTION_DENY,
        .reason_code = j->reason,
        .protocol = j->protocol,
        .port = original->port,
        .original_destination = str_of(addr_endpoint_format(original, t->original)),
    };

    if (j->name.len > 0)
        rec.host = name_str(&j->name);
    else if (j->literal)
        rec.host = str_of(addr_format(&original->addr, t->host));
    if (dialed)
        rec.dialed_address = str_of(addr_endpoint_format(dialed, t->dialed));
    if (j->protocol == L7_TLS && j->has_ech)
        rec.ech = OPT_BOOL(true);
    return rec;
}

int l7_event_allow(struct claims *c, const struct proxy_policy *p, const struct judgement *j,
                   const struct endpoint_addr *original, const struct endpoint_addr *dialed, claims_ack ack,
                   void *data)
{
    struct texts t;
    struct ev_l7 rec = record(j, original, dialed, &t);

    rec.rule = str_of(policy_rule_text(&p->allow.rules[j->rule], t.rule));
    return claims_allow(c, EVENT_L7, &rec, ack, data);
}

void l7_event_deny(struct claims *c, const struct judgement *j, const struct endpoint_addr *original,
                   const struct endpoint_addr *dialed)
{
    struct texts t;
    struct ev_l7 rec = record(j, original, dialed, &t);

    claims_deny(c, EVENT_L7, &rec);
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
