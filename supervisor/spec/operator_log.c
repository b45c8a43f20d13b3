/* SPDX-License-Identifier: MIT */
/* What an operator wants of the log's contents: what is left out, and how much a cell may fill it with. */
#include "supervisor/spec/operator_internal.h"

static void redact_name(struct validate *v, const struct doc_at *at, struct redact *ret)
{
    char why[REDACT_WHY_MAX];
    struct str name;

    if (doc_str(&v->doc, at, LIMIT_REDACT_NAME, &name) && redact_add(ret, name, why) != REDACT_OK)
        doc_complain(&v->doc, at, "redact", "%s", why);
}

void operator_redact(struct validate *v, const struct doc_at *at, struct redact *ret)
{
    size_t n;

    if (json_is_string(at->json)) {
        struct str word;

        if (doc_str(&v->doc, at, LIMIT_REDACT_NAME, &word) && !str_is(word, REDACT_DEFAULTS))
            doc_complain(&v->doc, at, "redact",
                         "must be a list of names of fields, or \"" REDACT_DEFAULTS "\"");
        else
            redact_name(v, at, ret);
        return;
    }
    if (!doc_array(&v->doc, at, 0, LIMIT_REDACT_NAMES, &n))
        return;
    for (size_t i = 0; i < n; i++) {
        struct doc_at e = doc_element(at, i);

        redact_name(v, &e, ret);
    }
}

void operator_log_quota(struct validate *v, const struct doc_at *at, struct operator_log *l)
{
    static const struct doc_key keys[] = {
        {"maxEventsPerSecond", false}, {"maxEvents", false}, {"maxBytes", false}};
    struct doc_at f;

    if (!doc_object(&v->doc, at, keys, ARRAY_LEN(keys)))
        return;
    if (doc_member(at, "maxEventsPerSecond", &f))
        doc_uint(&v->doc, &f, 1, LIMIT_QUOTA_RATE_MAX, &l->quota_rate);
    if (doc_member(at, "maxEvents", &f))
        doc_uint(&v->doc, &f, 1, LIMIT_QUOTA_EVENTS, &l->quota_events);
    if (doc_member(at, "maxBytes", &f))
        doc_uint(&v->doc, &f, 1, LIMIT_QUOTA_BYTES, &l->quota_bytes);
}

uint64_t operator_quota_rate(const struct operator_config *c)
{
    uint64_t dns = c->network.quota.max_dns_per_second.set ? c->network.quota.max_dns_per_second.v : 0;

    if (c->log.quota_rate)
        return c->log.quota_rate;
    return dns * LIMIT_QUOTA_DNS_EVENTS > LIMIT_QUOTA_PROXYD_RATE ? dns * LIMIT_QUOTA_DNS_EVENTS : 0;
}
