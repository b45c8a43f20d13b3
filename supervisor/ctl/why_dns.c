/* SPDX-License-Identifier: MIT */
/* Refused questions, and answers that were not passed on. */
#include <stdio.h>

#include "proto/words.h"
#include "supervisor/ctl/why.h"

/* Which name an address belongs to, for denials that have only the address. The last answer counts. */
static void learn(struct why_report *w, const json_t *data)
{
    size_t i;
    const json_t *a;
    const char *name = why_text(data, "queryName");
    json_array_foreach(json_object_get(data, "answers"), i, a)
    {
        const char *type = why_text(a, "type"), *address = why_text(a, "data");
        if ((strcmp(type, "A") == 0 || strcmp(type, "AAAA") == 0) && name[0] &&
            (json_object_size(w->names) < WHY_NAMES_MAX || json_object_get(w->names, address)))
            (void)json_object_set_new(w->names, address, json_string(name));
    }
}

static void never(struct why_finding *f, const char *text)
{
    (void)snprintf(f->never, sizeof(f->never), "%s", text);
}

static void explain(const json_t *data, uint32_t reason, struct why_finding *f)
{
    const char *name = why_text(data, "queryName"), *type = why_text(data, "queryType"), *words = "refused";
    switch (reason) {
    case DNS_ALLOWLIST_MISS:
        words = "no rule and no hostnameAllowlist entry lists this name; no resolver saw the question";
        why_advise_rule(f, name, 443, NULL);
        break;
    case DNS_TYPE_DENIED:
        words = "this type of record is not asked for";
        why_advise_entry(f, "spec.authority.dnsAuthority.allowedQueryTypes",
                         json_pack("[s, s, s, s, s]", "A", "AAAA", "CNAME", "HTTPS", type));
        break;
    case DNS_MALFORMED_QUERY:
        words = "the question breaks RFC 1035";
        never(f, "what cannot be read is not answered");
        break;
    case DNS_UPSTREAM_TIMEOUT:
        words = "allowed, but no resolver answered in time";
        never(f, "no rule is missing: the resolver is away; --dns names another one");
        break;
    case DNS_UPSTREAM_FAILURE:
        words = "allowed, but the resolver failed";
        never(f, "no rule is missing: the resolver could not say; --dns names another one");
        break;
    case DNS_DNSSEC_FAILED:
        words = "the answer is not signed as DNSSEC wants it";
        never(f, "a forged answer is never passed on; if the zone is merely not signed, the resolver's "
                 "dnssec.failClosed decides");
        break;
    case DNS_RATE_LIMITED:
        words = "more questions than a cell may ask at a time";
        never(f, "the limit is the suite's own: ask less often");
        break;
    default:
        never(f, "this version knows no rule for it");
        break;
    }
    (void)snprintf(f->reason, sizeof(f->reason), "%s", words);
}

static void see_query(struct why_report *w, const json_t *data, struct str time)
{
    const char *code = why_text(data, "reasonCode");
    uint32_t reason = enum_value(&enum_dns_reason_code, str_of(code));
    struct why_finding f = {.kind = "dns", .by = "proxyd", .code = code, .count = 1};
    if (strcmp(why_text(data, "action"), "deny") != 0)
        return;
    (void)snprintf(f.what, sizeof(f.what), "DNS question %.260s %.16s",
                   why_text(data, "queryName")[0] ? why_text(data, "queryName") : "(unreadable)",
                   why_text(data, "queryType"));
    if (reason == DNS_ALLOWLIST_MISS) /* of whatever type: one name, one rule */
        (void)snprintf(f.what, sizeof(f.what), "DNS question %.260s", why_text(data, "queryName"));
    explain(data, reason, &f);
    why_add(w, &f, time);
}

/* One record that was taken out of an answer. */
static void see_removed(struct why_report *w, const char *name, const json_t *record, struct str time)
{
    const char *code = why_text(record, "reasonCode"), *address = why_text(record, "data");
    struct why_finding f = {.kind = "dns", .by = "proxyd", .code = code, .count = 1};
    struct addr a;
    if (addr_parse(str_of(address), &a) < 0)
        return; /* ECH keys, hints: flagged, not denied */
    const char *cannot = why_never_address(&a);
    (void)snprintf(f.what, sizeof(f.what), "DNS answer %.60s for %.260s", address, name);
    (void)snprintf(f.reason, sizeof(f.reason), "removed from the answer: %.256s", why_text(record, "why"));
    if (cannot)
        never(&f, cannot);
    else if (addr_classify(&a) == ADDR_GLOBAL)
        never(&f, "raise or leave out spec.authority.dnsAuthority.rebindingPolicy.maxNovelIpsPerHostname if "
                  "this name really has so many addresses");
    else
        why_advise_answer(&f, name, address);
    why_add(w, &f, time);
}

static void see_answer(struct why_report *w, const json_t *data, struct str time)
{
    const char *code = why_text(data, "reasonCode"), *name = why_text(data, "queryName");
    uint32_t reason = enum_value(&enum_dns_reason_code, str_of(code));
    size_t i;
    const json_t *record;
    json_array_foreach(json_object_get(data, "removed"), i, record)
    {
        see_removed(w, name, record, time);
    }
    if (reason == DNS_ALLOWLIST_MATCH || reason == DNS_REBIND_REJECTED)
        return;
    struct why_finding f = {.kind = "dns", .by = "proxyd", .code = code, .count = 1};
    (void)snprintf(f.what, sizeof(f.what), "DNS answer for %.260s %.16s", name, why_text(data, "queryType"));
    explain(data, reason, &f);
    why_add(w, &f, time);
}

void why_see_dns(struct why_report *w, struct str suffix, const json_t *data, struct str time)
{
    learn(w, data);
    if (str_is(suffix, "observability.v1.dns_query"))
        see_query(w, data, time);
    else
        see_answer(w, data, time);
}
