/* SPDX-License-Identifier: MIT */
#include "proxyd/dns/answer.h"

static const uint16_t default_qtypes[] = {DNS_TYPE_A, DNS_TYPE_AAAA, DNS_TYPE_CNAME, DNS_TYPE_HTTPS};

bool dns_policy_listed(const struct dns_policy *policy, const struct name *name, bool own)
{
    for (size_t i = 0; i < policy->nnames; i++)
        if (name_matches(&policy->names[i], name))
            return true;
    for (size_t i = 0; own && i < policy->ndial_names; i++)
        if (name_matches(&policy->dial_names[i], name))
            return true;
    return own && policy->egress && allow_name_listed(policy->egress, name);
}

bool dns_policy_type_allowed(const struct dns_policy *policy, uint16_t qtype)
{
    const uint16_t *types = policy->nqtypes ? policy->qtypes : default_qtypes;
    size_t n = policy->nqtypes ? policy->nqtypes : ARRAY_LEN(default_qtypes);

    for (size_t i = 0; i < n; i++)
        if (types[i] == qtype)
            return true;
    return false;
}

enum dns_reason_code dns_policy_judge(const struct dns_policy *policy, const struct dns_ask *ask, bool own)
{
    if (!ask->host || !dns_policy_listed(policy, &ask->name, own))
        return DNS_ALLOWLIST_MISS;
    if (ask->q.qclass != DNS_CLASS_IN || !dns_policy_type_allowed(policy, ask->q.qtype))
        return DNS_TYPE_DENIED;
    return DNS_ALLOWLIST_MATCH;
}

bool dns_answer_permitted(const struct dns_policy *policy, const struct name *name, const struct addr *addr)
{
    enum addr_class class = addr_classify(addr);

    if (class == ADDR_GLOBAL)
        return true;
    /* no spec can allow these, only the operator */
    if (class == ADDR_METADATA) {
        for (size_t i = 0; i < policy->nmetadata; i++)
            if (addr_prefix_contains(&policy->metadata[i], addr))
                return true;
        return false;
    }
    for (size_t i = 0; i < policy->nanswer_rules; i++) {
        const struct dns_answer_rule *rule = &policy->answer_rules[i];
        if (name_matches(&rule->host, name) && addr_prefix_contains(&rule->prefix, addr))
            return true;
    }
    return false;
}
