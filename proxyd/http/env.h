/* SPDX-License-Identifier: MIT */
/* What an HTTP session needs from the cell it belongs to. The functions are the gate's (session.c names
 * them); tests of the state machines put their own in their place. */
#pragma once

#include "common/base/cleanup.h"
#include "proxyd/http/head.h"
#include "proxyd/quota.h"
#include "proxyd/upstream.h"

#define HTTP_SCRATCH 65536u

struct http_env {
    struct gate *gate; /* the functions' first argument */
    struct ev_loop *loop;
    uint8_t *scratch; /* HTTP_SCRATCH bytes; never holds anything between two events */

    /* Judges by the policy as it is now: is a request to this host, over this protocol (L7_HTTP or L7_H2C),
     * on a connection to original, allowed? ret is filled in full. */
    void (*judge)(struct gate *g, const struct endpoint_addr *original, const struct http_host *host,
                  uint32_t protocol, struct judgement *ret);

    /* upstream.h */
    int (*open)(struct gate *g, const struct upstream_want *want, upstream_done done, void *self,
                struct upstream **ret);
    int (*again)(struct gate *g, const struct upstream_want *want, const struct endpoint_addr *dialed,
                 upstream_done done, void *self, struct upstream **ret);
    void (*cancel)(struct upstream *u);

    /* Counts and claims the denial want->j; result: what was tried, or NULL. */
    void (*deny)(struct gate *g, const struct upstream_want *want, const struct upstream_result *result);

    /* quota.h */
    bool (*count)(struct gate *g, enum quota_direction d, uint64_t n);
    double (*wait)(struct gate *g);
};
