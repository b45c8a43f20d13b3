/* SPDX-License-Identifier: MIT */
/* What of a policy document the cell's DNS works by. */
#include "proxyd/policy.h"

static int compile_names(const struct policy *doc, struct proxy_policy *p)
{
    p->names = calloc(doc->dns_names.n + 1, sizeof(*p->names));
    if (!p->names)
        return -ENOMEM;
    for (size_t i = 0; i < doc->dns_names.n; i++)
        if (name_parse(doc->dns_names.v[i], NAME_PATTERN, &p->names[i]) != NAME_OK)
            return -EINVAL;
    return 0;
}

static int compile_types(const struct policy *doc, struct proxy_policy *p)
{
    p->qtypes = calloc(doc->query_types.n + 1, sizeof(*p->qtypes));
    if (!p->qtypes)
        return -ENOMEM;
    for (size_t i = 0; i < doc->query_types.n; i++)
        if (dns_type_parse(doc->query_types.v[i], &p->qtypes[i]) < 0)
            return -EINVAL;
    return 0;
}

static int compile_answers(const struct policy *doc, struct proxy_policy *p)
{
    p->answers = calloc(doc->answers.n + 1, sizeof(*p->answers));
    if (!p->answers)
        return -ENOMEM;
    for (size_t i = 0; i < doc->answers.n; i++)
        if (name_parse(doc->answers.v[i].host, NAME_PATTERN, &p->answers[i].host) != NAME_OK ||
            addr_prefix_parse(doc->answers.v[i].prefix, &p->answers[i].prefix) < 0)
            return -EINVAL;
    return 0;
}

static int compile_metadata(const struct policy *doc, struct proxy_policy *p)
{
    p->metadata = calloc(doc->metadata.n + 1, sizeof(*p->metadata));
    if (!p->metadata)
        return -ENOMEM;
    for (size_t i = 0; i < doc->metadata.n; i++)
        if (addr_prefix_parse(doc->metadata.v[i], &p->metadata[i]) < 0)
            return -EINVAL;
    return 0;
}

static void set_refresh(const struct policy *doc, struct dns_policy *dns)
{
    dns->per_second = doc->quota ? (uint32_t)doc->quota->max_dns_per_second : 0;
    if (doc->refresh) {
        dns->min_ttl_s = (uint32_t)doc->refresh->min_ttl_s.v;
        dns->max_stale_s = (uint32_t)doc->refresh->max_stale_s.v;
        dns->refresh = doc->refresh->strategy == REFRESH_TTL_HONOR;
    }
    if (doc->rebinding) {
        dns->novel_limited = doc->rebinding->max_novel.set;
        dns->max_novel = (uint32_t)doc->rebinding->max_novel.v;
        dns->reject_rebind = doc->rebinding->reject;
    }
}

int policy_compile_dns(const struct policy *doc, struct proxy_policy *p)
{
    static int (*const parts[])(const struct policy *, struct proxy_policy *) = {
        compile_names, compile_types, policy_compile_resolvers, compile_answers, compile_metadata,
    };

    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        int r = parts[i](doc, p);
        if (r < 0)
            return r;
    }
    p->dns = (struct dns_policy){
        .names = p->names,
        .nnames = doc->dns_names.n,
        .egress = &p->allow,
        .dial_names = p->cdn,
        .ndial_names = p->ncdn,
        .qtypes = p->qtypes,
        .nqtypes = doc->query_types.n,
        .resolvers = p->resolvers,
        .nresolvers = doc->resolvers.n,
        .answer_rules = p->answers,
        .nanswer_rules = doc->answers.n,
        .bootstrap = p->bootstrap,
        .nbootstrap = doc->bootstrap.n,
        .metadata = p->metadata,
        .nmetadata = doc->metadata.n,
        .synthetic = doc->answer_mode == ANSWER_SYNTHETIC,
        .routed = doc->mode == NET_MODE_ROUTED,
    };
    set_refresh(doc, &p->dns);
    return 0;
}

void policy_dns_done(struct proxy_policy *p)
{
    free(p->anchors);
    free(p->names);
    free(p->qtypes);
    free(p->resolvers);
    free(p->answers);
    free(p->metadata);
    free(p->bootstrap);
}
