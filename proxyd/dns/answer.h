/* SPDX-License-Identifier: MIT */
/* Judges what a resolver sent, for one cell: which records belong to the question, and which addresses may be
 * used. */
#pragma once

#include "proxyd/dns/dns.h"
#include "proxyd/dns/rebind.h"
#include "proxyd/dns/reply.h"

/* Records as text for an event; owns the bytes its pointers lead to. All zero is the empty list. */
struct dns_texts {
    size_t n, cap;
    struct dns_answer_text *v;
};

void dns_texts_done(struct dns_texts *t);
/* Adds a record of a message; reason and why as in dns_answer_text. 0 or -ENOMEM. */
int dns_texts_add(struct dns_texts *t, const uint8_t *base, const struct dns_rr *rr, uint32_t ttl,
                  enum dns_reason_code reason, const char *why) MUST_CHECK;

struct dns_verdict {
    enum dns_reason_code reason; /* DNS_ALLOWLIST_MATCH: reply may be handed on; else SERVFAIL is */
    uint8_t rcode;               /* the message's own */
    struct dns_reply *reply;     /* owned; NULL unless it may be handed on */
    struct dns_texts kept;
    struct dns_texts removed;
    bool ech_removed;
    bool hints_removed;
    size_t naddrs; /* addresses in the reply, hints included */
    struct addr *addrs;
    struct dns_novelty *novelty; /* NULL: nothing new */
};

/* The terms on which one cell gets an answer. */
struct dns_terms {
    const struct dns_policy *policy;
    struct dns_history **history; /* NULL: none is kept */
    uint64_t at_us;               /* when it came (CLOCK_BOOTTIME) */
    bool stale;                   /* past its TTL: records get DNS_STALE_TTL_S and none may keep it */
};

/* msg answers q (dns_response_matches) and was asked for name. A broken message, one over the limits, or an
 * error other than NXDOMAIN is DNS_UPSTREAM_FAILURE. When addresses were refused and none is left:
 * DNS_REBIND_REJECTED. A new verdict, or NULL on ENOMEM. */
struct dns_verdict *dns_answer_judge(const struct dns_terms *terms, const struct name *name,
                                     const struct dns_question *q, const uint8_t *msg, size_t len);

struct dns_verdict *dns_verdict_free(struct dns_verdict *v); /* accepts NULL; returns NULL */

/* The addresses of a checked reply, at most max. Returns how many. */
size_t dns_reply_addrs(const struct dns_reply *reply, struct addr *ret, size_t max);

/* Whether the name is on the allow list, and whether the type may be asked. own: proxyd itself asks, for a
 * dial. */
enum dns_reason_code dns_policy_judge(const struct dns_policy *policy, const struct dns_ask *ask, bool own);
bool dns_policy_listed(const struct dns_policy *policy, const struct name *name, bool own);
bool dns_policy_type_allowed(const struct dns_policy *policy, uint16_t qtype);
