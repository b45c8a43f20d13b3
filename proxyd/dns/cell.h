/* SPDX-License-Identifier: MIT */
/* Inside of the DNS module: one cell, one query on its way. Public contract: dns.h. */
#pragma once

#include <sys/queue.h>

#include "proxyd/dns/answer.h"
#include "proxyd/dns/cache.h"
#include "proxyd/dns/dns.h"
#include "proxyd/dns/forward.h"

struct dns_tcp_conn;
struct dns_resolve;

/* Who asked, and how the answer gets there. All empty: nobody waits any more. */
struct dns_origin {
    enum { DNS_FROM_NOBODY, DNS_FROM_UDP, DNS_FROM_TCP, DNS_FROM_PROXY } kind;
    union {
        struct {
            struct sockaddr_in6 peer;
            struct in6_pktinfo asked; /* the address that was asked: the answer comes from there */
        } udp;
        struct dns_tcp_conn *tcp;
        struct dns_resolve *proxy;
    };
};

struct dns_query {
    LIST_ENTRY(dns_query) link;
    struct dns_cell *cell; /* NULL: the cell is gone, the struct only waits for its acknowledgement */
    struct dns_origin origin;
    struct dns_ask ask;
    bool own;
    bool ack_pending;
    bool done; /* answered; only here until the acknowledgement comes */
    ev_timer deadline;
    struct dns_forward *forward;
    struct dns_reply *reply; /* to be handed on once its evidence is durable */
    bool cached;
};

struct dns_cell {
    struct ev_loop *loop;
    const struct dns_policy *policy;
    const struct dns_events *events;
    void *self;
    struct dns_cache *cache;
    struct dns_counters counters;
    LIST_HEAD(dns_queries, dns_query) queries;
    unsigned in_flight;     /* queries of the cell in the list */
    unsigned own_in_flight; /* proxyd's own, also those nobody waits for any more */
    uint64_t rate_us;       /* when the bucket is empty again (GCRA) */

    uint64_t gap_lost;
    uint64_t gap_since_ms;
    ev_timer gap_timer;

    struct buf out; /* scratch for one reply */
    int udp_fd;
    ev_io udp_io;
    int tcp_fd;
    ev_io tcp_io;
    ev_timer tcp_pause; /* accepting again after the process ran out of fds */
    unsigned tcp_open;
    LIST_HEAD(dns_tcp_conns, dns_tcp_conn) conns;

    TAILQ_HEAD(dns_resolves, dns_resolve) resolves_waiting;
    struct dns_resolves resolves_active;
    unsigned nwaiting;
    bool ending; /* dns_cell_free is at work: nothing new begins */
    ev_timer resolve_pump;
};

/* query.c: one message from the cell: judged, answered at once or sent on its way. Never fails: what cannot
 * be served is counted. */
void dns_query_take(struct dns_cell *cell, const struct dns_origin *origin, const uint8_t *msg, size_t len);
/* A question of proxyd's own, already canonical. The answer comes by dns_resolve_answer, perhaps before this
 * returns. */
void dns_query_own(struct dns_cell *cell, struct dns_resolve *resolve, const struct name *name,
                   uint16_t qtype);
/* Nobody waits for queries of this origin any more; they go on for cache and evidence. */
void dns_query_forget(struct dns_cell *cell, const void *waiting);
/* The cell ends: everything is dropped but what an acknowledgement will still come for. */
void dns_query_drop_all(struct dns_cell *cell);

/* evidence.c: the events of one query. */
void dns_evidence_query(struct dns_cell *cell, const struct dns_ask *ask, bool own,
                        enum dns_reason_code reason, const struct dns_reply *cached, dns_ack_cb ack,
                        void *data);
void dns_evidence_answer(struct dns_cell *cell, const struct dns_query *q, const struct dns_verdict *v,
                         const struct dns_forward_result *result, dns_ack_cb ack, void *data);
void dns_evidence_limited(struct dns_cell *cell);
void dns_evidence_gap_flush(struct dns_cell *cell);
void dns_evidence_init(struct dns_cell *cell);

/* udp.c */
int dns_udp_init(struct dns_cell *cell, int fd) MUST_CHECK;
void dns_udp_done(struct dns_cell *cell);
void dns_udp_send(struct dns_cell *cell, const struct dns_origin *origin, const struct buf *msg);

/* tcp.c */
int dns_tcp_init(struct dns_cell *cell, int fd) MUST_CHECK;
void dns_tcp_done(struct dns_cell *cell);
/* A query of this connection is answered (msg) or will not be (NULL). waited: it was counted as unanswered.
 */
void dns_tcp_send(struct dns_tcp_conn *conn, const struct buf *msg, bool waited);
void dns_tcp_waits(struct dns_tcp_conn *conn); /* one more query of this connection is under way */

/* resolve.c */
void dns_resolve_init(struct dns_cell *cell);
void dns_resolve_done(struct dns_cell *cell);
/* There may be room for a resolve that waits. */
void dns_resolve_pump(struct dns_cell *cell);
/* One of the questions of a resolve is answered: reply (borrowed) or NULL with the reason and the errno of
 * dns_resolve_cb. */
void dns_resolve_answer(struct dns_resolve *r, uint16_t qtype, int error, enum dns_reason_code reason,
                        const struct dns_reply *reply);
