/* SPDX-License-Identifier: MIT */
/* One connection of a cell, from its accept to its end. Private to gate.c and conn.c. */
#pragma once

#include "proxyd/dial.h"
#include "proxyd/farewell.h"
#include "proxyd/gate.h"
#include "proxyd/judge.h"

/* While other addresses of the name are left, one attempt may not use up the time of all. */
#define CONN_ATTEMPT_MS 3000u

struct gate {
    struct gate_config cfg;
    int listener;
    struct ev_io accepting;
    struct ev_timer retry; /* after running out of fds or memory */
    struct conn *conns;
    size_t nconns;
    uint64_t allowed, denied, *rule_uses;
};

struct conn {
    struct gate *g;
    struct conn *next, **at;
    int client, upstream;
    struct endpoint_addr original;

    struct ev_io reader; /* until judged */
    struct ev_timer timer;
    struct buf seen; /* what was read from the client so far */
    struct first_bytes first;
    struct judgement j;

    struct dns_resolve *resolving;
    struct addr addrs[LIMIT_DIAL_ADDRS]; /* permitted ones, in the order they are tried */
    size_t naddrs, tried;
    bool counted; /* as an allowed connection */
    bool refused; /* a second request on this connection was reported */
    struct claims_ticket ticket;
    ev_tstamp dial_until;
    struct dial dial;
    struct relay *relay;
    struct farewell farewell;
};

/* Takes fd, judges its destination and goes on from there. On failure (no memory, no addresses) fd is closed.
 */
void conn_start(struct gate *g, int fd);

/* Ends it at once; the client gets a reset. */
void conn_abort(struct conn *c);

/* ---- between conn.c (what the client says) and conn_out.c (where it leads) ---- */

/* The judgement allows it: resolve, claim, dial, relay. */
void conn_go(struct conn *c);

/* Denies it, with its event and the last words, whatever was under way. dialed: as l7_event_deny. */
void conn_deny(struct conn *c, uint32_t reason, const struct endpoint_addr *dialed);

/* The end of stream in both directions; what the client still sends is drained. */
void conn_finish(struct conn *c, const void *last, size_t n);

void conn_free(struct conn *c);

/* Stops whatever conn_go has under way. */
void conn_out_stop(struct conn *c);
