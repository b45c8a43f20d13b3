/* SPDX-License-Identifier: MIT */
/* What a routed cell may reach, compiled from the policy document: the same rules as in intercept mode, as
 * far as a packet filter can keep them. In the kernel's path no name can be read: a rule for a name means the
 * addresses that the cell's DNS gave for it, any, tls, http, h2c and tcp mean TCP, quic and udp mean UDP. */
#pragma once

#include "common/net/allow.h"
#include "proto/documents.h"

struct routed_answer {
    struct name host; /* NAME_PATTERN */
    struct addr_prefix prefix;
};

struct routed_policy {
    struct allow_list allow; /* index = index of the document's egressRules */
    struct routed_answer *answers;
    size_t nanswers;
    struct addr_prefix metadata[LIMIT_METADATA_PREFIXES];
    size_t nmetadata;
    struct policy_quota quota;
};

/* fd: the sealed memfd; sha256: what it must hash to. 0; -EINVAL when a value breaks a rule of the document
 * or the mode is another one; -errno. Free with routed_policy_free(). */
int routed_policy_read(int fd, struct str sha256, struct routed_policy **ret) MUST_CHECK;
struct routed_policy *routed_policy_free(struct routed_policy *p); /* NULL-safe; returns NULL */

/* May a name's rule lead to this address? Global ones, and what responseIpAllowlist lists for the name;
 * metadata addresses only where the operator lists them as well. */
bool routed_policy_pinnable(const struct routed_policy *p, const struct name *name, const struct addr *a);

/* May an address rule be in force at all? A literal reaches what it names, metadata only as above. A wider
 * prefix is always in force, but never reaches an address that is not global. */
bool routed_policy_reachable(const struct routed_policy *p, const struct allow_rule *rule);

/* One address, not a wider prefix. */
bool routed_policy_is_literal(const struct allow_rule *rule);

/* IPPROTO_TCP or IPPROTO_UDP. */
uint8_t routed_policy_l4(const struct allow_rule *rule);

/* "host:443/tls", as the other events name it; cut at cap. */
void routed_policy_text(const struct allow_rule *rule, char *dst, size_t cap);

/* Prefixes that a wide prefix rule never reaches: everything that addr_classify() does not call global, and a
 * little more. IPv6 outside 2000::/3 is not listed: none of it is global. */
extern const struct addr_prefix routed_policy_special[];
extern const size_t routed_policy_nspecial;
