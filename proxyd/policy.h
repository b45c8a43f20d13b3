/* SPDX-License-Identifier: MIT */
/* What one cell may reach, compiled from the policy document (proto/documents.h) into the forms that are
 * looked up on every decision. Constant after compilation. */
#pragma once

#include "common/net/allow.h"
#include "proto/documents.h"
#include "proxyd/dns/dns.h"

struct proxy_policy {
    uint32_t evidence;       /* enum evidence */
    uint32_t mode;           /* enum net_mode */
    struct allow_list allow; /* index = index of the document's egressRules */
    struct policy_quota quota;
    uint32_t upstream; /* enum upstream_proxy, or 0: none */
    struct endpoint_addr upstream_addr;
    struct name *cdn; /* the hostnamePatterns of all providers */
    size_t ncdn;
    struct dns_policy dns; /* points at the arrays below */
    struct name *names;
    uint16_t *qtypes;
    struct dns_resolver *resolvers;
    char *anchors; /* the trust anchors' text of all resolvers */
    struct endpoint_addr *bootstrap;
    struct dns_answer_rule *answers;
    struct addr_prefix *metadata;
};

/* 0; -EINVAL when a value breaks a rule that the codec cannot know (host, port range, address, type) or names
 * a protocol that this version does not serve; -ENOMEM. Free with policy_free. */
int policy_compile(const struct policy *doc, struct proxy_policy **ret) MUST_CHECK;
struct proxy_policy *policy_free(struct proxy_policy *p); /* NULL-safe; returns NULL */

/* Part of policy_compile: resolvers and bootstrap (policy_resolvers.c). */
int policy_compile_resolvers(const struct policy *doc, struct proxy_policy *p) MUST_CHECK;

/* The parts of it in policy_dns.c: fill p->dns and the arrays behind it. As policy_compile. */
int policy_compile_dns(const struct policy *doc, struct proxy_policy *p) MUST_CHECK;
void policy_dns_done(struct proxy_policy *p);

/* Is the name one of a cdnAuthority provider's? */
bool policy_cdn_listed(const struct proxy_policy *p, const struct name *name);

/* Has the operator allowed this metadata address? */
bool policy_metadata_listed(const struct proxy_policy *p, const struct addr *addr);

/* Has the spec listed this address for this name (responseIpAllowlist)? */
bool policy_answer_listed(const struct proxy_policy *p, const struct name *name, const struct addr *addr);

/* "host:443/tls" or "192.0.2.0/24:8000-8100/any": how events name an egress rule. Returns dst. */
#define POLICY_RULE_TEXT_MAX 320
const char *policy_rule_text(const struct allow_rule *r, char dst[POLICY_RULE_TEXT_MAX]);
