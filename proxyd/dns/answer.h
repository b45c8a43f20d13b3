/* SPDX-License-Identifier: MIT */
/* Judges what a resolver sent: which records belong to the question, and which addresses may be used. */
#pragma once

#include "proxyd/dns/dns.h"
#include "proxyd/dns/reply.h"

/* Records as text for an event; owns the bytes its pointers lead to. */
struct dns_texts {
    size_t n;
    struct dns_answer_text v[DNS_ANSWERS_MAX];
    char name[DNS_ANSWERS_MAX][DNS_NAME_TEXT_MAX];
    char type[DNS_ANSWERS_MAX][DNS_TYPE_TEXT_MAX];
    char data[DNS_ANSWERS_MAX][DNS_NAME_TEXT_MAX];
};

struct dns_verdict {
    enum dns_reason_code reason; /* DNS_ALLOWLIST_MATCH: reply may be handed on; else SERVFAIL is */
    uint8_t rcode;               /* the message's own */
    struct dns_reply *reply;     /* owned; NULL unless it may be handed on */
    struct dns_texts kept;
    struct dns_texts removed;
};

/* msg answers q (dns_response_matches) and was asked for the policy's name. A broken message, one over the
 * limits, or an error other than NXDOMAIN is DNS_UPSTREAM_FAILURE. When addresses were refused and
 * none is left: DNS_REBIND_REJECTED. A new verdict, or NULL on ENOMEM. */
struct dns_verdict *dns_answer_judge(const struct dns_policy *policy, const struct name *name,
                                     const struct dns_question *q, const uint8_t *msg, size_t len);

struct dns_verdict *dns_verdict_free(struct dns_verdict *v); /* accepts NULL; returns NULL */

/* The records of a checked reply as text (for a cached answer). */
void dns_reply_texts(const struct dns_reply *reply, struct dns_texts *ret);

/* The addresses of a checked reply, at most max. Returns how many. */
size_t dns_reply_addrs(const struct dns_reply *reply, struct addr *ret, size_t max);

/* Whether the name is on the allow list, and whether the type may be asked. own: proxyd itself asks, for a
 * dial. */
enum dns_reason_code dns_policy_judge(const struct dns_policy *policy, const struct dns_ask *ask, bool own);
bool dns_policy_type_allowed(const struct dns_policy *policy, uint16_t qtype);
