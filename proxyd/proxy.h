/* SPDX-License-Identifier: MIT */
/* The one object of the daemon: its two lines and its cells. */
#pragma once

#include "proto/signer_client.h"
#include "proxyd/relay.h"

struct cell;
struct netd_line;

struct proxy {
    struct ev_loop *loop;
    struct endpoint_ops ops;
    struct endpoint *supervisor;
    struct signer_client *signer;
    struct netd_line *netd; /* for routed cells; NULL: they get no answers */
    struct relay_pool pool;
    struct cell *cells;
    size_t ncells;
    bool failed; /* the supervisor's line broke, rather than ended */
};

/* Takes both lines, also on failure; says hello on them. 0 or -errno. *ret is freed with proxy_free(). */
int proxy_new(struct ev_loop *loop, int supervisor, int signerd, struct proxy **ret) MUST_CHECK;

/* Resets every connection of every cell; what is not acknowledged by now is not waited for. NULL-safe;
 * returns NULL. */
struct proxy *proxy_free(struct proxy *p);
