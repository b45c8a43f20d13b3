/* SPDX-License-Identifier: MIT */
#include "proxyd/l7_event.h"

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

size_t l7_refusal(const struct judgement *j, uint8_t dst[L7_REFUSAL_MAX])
{
    bool name =
        j->reason == L7_SNI_ALLOWLIST_MISS || j->reason == L7_SNI_MISSING || j->reason == L7_NAME_CONFLICT;
    bool fault = j->reason == L7_UPSTREAM_UNREACHABLE || j->reason == L7_QUOTA;

    if (j->protocol != L7_TLS)
        return 0;
    alert_record(name ? ALERT_UNRECOGNIZED_NAME : fault ? ALERT_INTERNAL_ERROR : ALERT_ACCESS_DENIED, dst);
    return ALERT_LEN;
}
