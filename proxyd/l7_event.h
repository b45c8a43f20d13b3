/* SPDX-License-Identifier: MIT */
/* The event l7_egress_decision, and what a refused client is told. */
#pragma once

#include "proxyd/claims.h"
#include "proxyd/judge.h"
#include "proxyd/tls/alert.h"

/* One decision, all borrowed for the call. */
struct l7_decision {
    const struct proxy_policy *policy; /* whose rule allows it; NULL for a denial */
    const struct judgement *j;
    const struct endpoint_addr *original;
    const struct endpoint_addr *dialed; /* about to be dialed, or whose dial failed; NULL: none */
    const struct endpoint_addr *proxy;  /* the operator's, where it goes through that; NULL: none */
    const struct ev_process *process;   /* NULL: unknown */
};

/* Claims that the connection is about to be dialed; as claims_allow. */
int l7_claim_allow(struct claims *c, const struct l7_decision *d, claims_ack ack, void *data) MUST_CHECK;

/* Claims the denial. */
void l7_claim_deny(struct claims *c, const struct l7_decision *d);

/* The last words to a client that is denied: a TLS alert, or nothing (0) when it does not speak TLS. (HTTP
 * has its own: http/answer.h.) */
#define L7_REFUSAL_MAX ALERT_LEN
size_t l7_refusal(const struct judgement *j, uint8_t dst[L7_REFUSAL_MAX]);
