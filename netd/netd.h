/* SPDX-License-Identifier: MIT */
/* The one object of the daemon: its two lines, its cells, and what it learnt about itself before it was
 * confined. */
#pragma once

#include "netd/netns.h"
#include "netd/registry.h"
#include "proto/signer_client.h"

/* Taken at start, while /proc and OpenSSL's files can still be read. */
struct netd_self {
    struct netns_own own;
    uint64_t cookie; /* of netd's network namespace */
    uid_t owner;     /* the supervisor's uid: whose user namespaces are cells' */
    char digests[_net_mode_max][2][LIMIT_DIGEST + 1]; /* ruleSetDigest by mode, without and with logs; "" when
                                                         there is none */
};

struct netd {
    struct ev_loop *loop; /* not libev's default loop */
    struct endpoint_ops ops;
    struct endpoint *supervisor;
    struct endpoint *proxyd; /* for pins; NULL without one, or when it is gone */
    struct routed *routed;   /* borrowed; NULL: no cell can be routed */
    struct signer_client *signer;
    struct registry registry;
    struct netd_self self;
    uint32_t netlink_seq;
    unsigned flow_readings; /* children that read counters for a flow log */
    bool failed;            /* the supervisor's line broke, rather than ended */
};

/* supervisor: the connected line, of which only the peer's uid is looked at. 0 or -errno (logged). */
int netd_self_read(int supervisor, struct netd_self *ret) MUST_CHECK;

/* Takes both lines, also on failure; says hello on them. 0 or -errno. *ret is freed with netd_free(). */
int netd_new(struct ev_loop *loop, const struct netd_self *self, int supervisor, int signerd,
             struct netd **ret) MUST_CHECK;

/* Forgets all cells: their rules stay in force until their namespaces end. NULL-safe. */
struct netd *netd_free(struct netd *n);
