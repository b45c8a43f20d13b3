/* SPDX-License-Identifier: MIT */
/* What one cell's traffic may amount to (the policy's quota): connections open at a time, bytes in both
 * directions together, bytes a second. Everything that moves a cell's bytes asks here. */
#pragma once

#include <ev.h>

#include "common/base/cleanup.h"
#include "proto/documents.h"

struct quota;

enum quota_direction { QUOTA_SENT, QUOTA_RECEIVED }; /* by the cell */

/* loop is borrowed. 0 or -ENOMEM. */
int quota_new(struct ev_loop *loop, const struct policy_quota *limits, struct quota **ret) MUST_CHECK;
struct quota *quota_free(struct quota *q); /* NULL-safe; returns NULL */
/* The policy changed; what is counted stays. */
void quota_limits_set(struct quota *q, const struct policy_quota *limits);

/* False: the cell has its maxConnections open. */
bool quota_open(struct quota *q) MUST_CHECK;
void quota_close(struct quota *q);

/* False: maxBytes is used up. */
bool quota_left(const struct quota *q);

/* Counts n bytes that were moved. False: maxBytes is used up, the connection ends with l7_quota. */
bool quota_count(struct quota *q, enum quota_direction d, uint64_t n) MUST_CHECK;
#define QUOTA_WAIT_MAX_S 3600. /* of a rate of 0 */
/* Seconds until more may be moved (token bucket of one second's bytes); 0: now. */
double quota_wait(const struct quota *q);

uint64_t quota_bytes(const struct quota *q, enum quota_direction d);
