/* SPDX-License-Identifier: MIT */
/* One flow of a cell from its first datagram to its end. Private to udp*.c. */
#pragma once

#include "proxyd/udp/udp_deny.h"
#include "proxyd/udp/udp_judge.h"
#include "proxyd/udp/udp_out.h"
#include "proxyd/uses.h"

#define UDP_BUCKETS 256u

struct udp {
    struct udp_config cfg;
    int sock, raw4, raw6;
    struct ev_io reader;
    struct udp_denials *denials;
    struct udp_flow **buckets; /* UDP_BUCKETS, from the first flow on */
    size_t nflows;
    uint64_t seed;     /* of the table: the cell must not choose where its flows meet */
    uint32_t overflow; /* of the socket's queue, as far as it was told */
    struct udp_counters count;
    struct uses uses;
};

/* A datagram that waits. */
struct udp_held {
    struct udp_held *next;
    size_t len;
    uint8_t bytes[];
};

struct udp_flow {
    struct udp *u;
    struct udp_flow *next, **at;
    struct endpoint_addr client, original;
    enum {
        FLOW_PEEK, /* its hello is not complete */
        FLOW_OUT,  /* allowed: resolved, claimed */
        FLOW_OPEN, /* relayed */
    } state;
    struct quic_reader *quic; /* NULL: raw */
    struct judgement j;
    struct udp_held *held, **held_end;
    size_t nheld, held_bytes;
    struct udp_out *out;
    int fd;
    struct ev_io io;
    struct ev_timer timer;
    ev_tstamp active; /* when something last passed */
    bool replied, paused;
};

/* ---- udp_flow.c: the table and the judgement ---- */

struct udp_flow *udp_flow_find(const struct udp *u, const struct endpoint_addr *client,
                               const struct endpoint_addr *original);

/* The next flow after f of this one's table, or the first; any but the next may end meanwhile. */
struct udp_flow *udp_flow_next(const struct udp *u, const struct udp_flow *f);

/* The first datagram of a flow, whose destination and port a rule may allow. */
void udp_flow_start(struct udp *u, const struct udp_datagram *d);

/* A further one. The flow may be gone afterwards. */
void udp_flow_take(struct udp_flow *f, const struct udp_datagram *d);

/* Does the policy still allow it? Sets the new rule; false: no. */
bool udp_flow_rejudge(struct udp_flow *f);

/* Denies it, with its event, whatever its state; it is gone. dialed: as udp_deny. */
void udp_flow_deny(struct udp_flow *f, uint32_t reason, const struct endpoint_addr *dialed);

void udp_flow_free(struct udp_flow *f);

/* ---- udp_relay.c: datagrams both ways ---- */

/* fd (taken) is connected: what is held goes out, and from now on everything. */
void udp_relay_start(struct udp_flow *f, int fd);
void udp_relay_stop(struct udp_flow *f);

/* One datagram of an open flow towards its server; f is gone when the cell's bytes are used up. */
void udp_relay_send(struct udp_flow *f, const uint8_t *p, size_t n);

/* Everything held; f may be gone. */
void udp_relay_flush(struct udp_flow *f);
