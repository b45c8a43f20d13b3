/* SPDX-License-Identifier: MIT */
/* The inside of a gate: for the modules that serve its connections (gate.c, conn.c, conn_out.c, upstream.c,
 * client.c, denial.c and http/session.c), nobody else. */
#pragma once

#include "proxyd/client.h"
#include "proxyd/gate.h"
#include "proxyd/uses.h"

#define GATE_CLIENT_BUCKETS 64 /* for up to LIMIT_TCP_OPEN connections */

struct conn;
struct denial;
struct upstream;

struct gate {
    struct gate_config cfg;
    int listener;
    struct ev_io accepting;
    struct ev_timer retry; /* after running out of fds or memory */
    struct conn *conns;
    size_t nconns;
    struct client *clients[GATE_CLIENT_BUCKETS]; /* by the port of their end */
    struct upstream *upstreams;                  /* under way */
    size_t nupstreams;
    struct denial *denials; /* whose events wait for the process */
    size_t ndenials;
    uint64_t allowed, denied;
    bool quota_told; /* that the cell's bytes are used up */
    struct uses uses;
};
