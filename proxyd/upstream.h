/* SPDX-License-Identifier: MIT */
/* The way out of an allowed decision: the process behind it, the addresses of its name, its event, and, once
 * that is durable, the connection: dialed by proxyd from its own network namespace, address after address
 * (happy eyeballs, RFC 8305), or through the operator's proxy where there is one. */
#pragma once

#include "proto/events.h"
#include "proxyd/judge.h"

struct gate;
struct upstream;

struct upstream_want {
    struct judgement j;            /* allow is true; copied */
    struct endpoint_addr original; /* where the client connected to */
    struct endpoint_addr client;   /* the client's own end: names the process */
};

struct upstream_result {
    uint32_t reason; /* 0: allowed and, for upstream_open, connected; else the enum l7_reason of the denial */
    int fd; /* upstream_open: the connection, non-blocking, TCP_NODELAY; the receiver's. Else -EBADF */
    bool has_dialed;
    struct endpoint_addr dialed; /* what fd is connected to; on a denial the last address that was tried */
    bool has_process;
    uint32_t pid; /* of the process that made the client's socket, as the cell sees it */
    char exe[LIMIT_EXE + 1];
};

/* Called exactly once, never from inside upstream_open or upstream_again, not after upstream_cancel; the
 * handle is gone when it is called. A denial is not claimed here: the receiver does it (gate_deny, denial.h).
 */
typedef void (*upstream_done)(void *self, const struct upstream_result *result);

/* Resolves, claims and dials. 0, or -ENOMEM, -EDQUOT (too many under way for this cell). */
int upstream_open(struct gate *g, const struct upstream_want *want, upstream_done done, void *self,
                  struct upstream **ret) MUST_CHECK;

/* One more decision on a connection that is there already (another request on it): claims the event with
 * `dialed` and calls done when it is durable; nothing is resolved or dialed. Denied with
 * l7_destination_denied when the policy no longer permits that address. Errors as upstream_open. */
int upstream_again(struct gate *g, const struct upstream_want *want, const struct endpoint_addr *dialed,
                   upstream_done done, void *self, struct upstream **ret) MUST_CHECK;

/* Forgets it; NULL-safe. */
void upstream_cancel(struct upstream *u);

/* The gate has another policy: what it does not allow any more ends as a denial, from inside. How many. */
uint64_t upstream_policy_changed(struct gate *g);
