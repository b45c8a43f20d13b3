/* SPDX-License-Identifier: MIT */
/* One allowed query on its way: what its two halves (asking.c, handover.c) share. In all of these a query may
 * be gone when they return. */
#pragma once

#include "proxyd/dns/cell.h"

/* A query of this cell, in its list; NULL on ENOMEM. */
struct dns_query *dns_flight_new(struct dns_cell *cell, const struct dns_origin *origin,
                                 const struct dns_ask *ask, const struct dns_key *key);
void dns_flight_free(struct dns_query *q);

/* The asker's answer: the view's reply, or a failure. The query is over, but stays until an acknowledgement
 * that it waits for has come. */
void dns_flight_finish(struct dns_query *q, int error, enum dns_reason_code reason);

/* What dns_resolve_cb calls a failure with this reason. */
int dns_flight_errno(enum dns_reason_code reason);

/* Around a call that gets dns_flight_ack and the query. When it is acknowledged, step goes on: not from
 * inside the call, but perhaps from inside dns_flight_called. A refusal, or none in LIMIT_ACK_MS, is the end.
 */
void dns_flight_call(struct dns_query *q, void (*step)(struct dns_query *));
void dns_flight_called(struct dns_query *q);
void dns_flight_ack(void *data, int result);

/* handover.c */
/* The cell's view of what was found is q->view. 0 or -ENOMEM. */
int dns_handover_view(struct dns_query *q, struct dns_found *found, bool stale) MUST_CHECK;
/* Under the policy as it is now, is this still to be asked, and is q->view one of this policy? When it is not
 * allowed any more the query is over (false). */
bool dns_handover_allowed(struct dns_query *q);
bool dns_handover_seen(struct dns_query *q);
/* q->view is the answer: what it still has to say, then the cell gets it. */
void dns_handover(struct dns_query *q);
