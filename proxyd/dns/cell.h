/* SPDX-License-Identifier: MIT */
/* Inside of the DNS module: one cell, one query on its way. Public contract: dns.h. */
#pragma once

#include <sys/queue.h>

#include "proxyd/dns/answer.h"
#include "proxyd/dns/authority.h"
#include "proxyd/dns/dns.h"
#include "proxyd/dns/pins.h"
#include "proxyd/dns/synthetic.h"
#include "proxyd/dns/tunnel.h"
#include "proxyd/dns/view.h"

struct dns_tcp_conn;
struct dns_resolve;
struct dns_udp_batch;

/* Who asked, and how the answer gets there. All empty: nobody waits any more. */
struct dns_origin {
    enum { DNS_FROM_NOBODY, DNS_FROM_UDP, DNS_FROM_TCP, DNS_FROM_PROXY, DNS_FROM_REFRESH } kind;
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
    struct dns_key key; /* of ask.name */
    bool own;           /* proxyd asks, for a dial */
    bool refresh;       /* nobody asks: the answer the cell has is about to end */
    bool cached;
    bool done; /* answered; only here until the acknowledgement comes */

    bool ack_pending;
    bool calling; /* the call that will be acknowledged is on the stack */
    int ack_result;
    void (*step)(struct dns_query *q); /* goes on from there */
    ev_timer deadline;

    unsigned generation; /* of the policy by which view was made */
    struct dns_lookup *lookup;
    struct dns_view *view;
    const struct dns_resolver *resolver; /* that answered; for the event */
    uint64_t latency_us;
    struct dns_tunnel_mark mark;
};

LIST_HEAD(dns_queries, dns_query);

struct dns_cell {
    struct ev_loop *loop;
    const struct dns_policy *policy;
    unsigned generation; /* of the policy */
    const struct dns_events *events;
    void *self;
    dns_pin_fn pin;
    void *pin_self;

    struct dns_authority *authority;
    struct dns_table views;
    size_t view_bytes;
    struct dns_history *history;
    struct dns_pins *pins;
    struct dns_synthetic *synthetic; /* NULL until the policy says so */
    struct dns_tunnel *tunnel;
    char run_id[LIMIT_RUN_ID + 1];

    struct dns_counters counters;
    struct dns_queries queries;
    struct dns_queries spare; /* memory for the next ones */
    unsigned nspare;
    unsigned in_flight;     /* queries of the cell in the list */
    unsigned own_in_flight; /* proxyd's own, also those nobody waits for any more */
    unsigned refresh_in_flight;
    ev_timer refresh_timer;
    uint64_t refresh_at_us; /* when it is due, while it is active */
    uint64_t now_us;        /* CLOCK_BOOTTIME as of the question that is being taken */
    uint64_t rate_us;       /* when the bucket is empty again (GCRA) */

    uint64_t gap_lost;
    uint64_t gap_since_ms;
    ev_timer gap_timer;

    struct buf out; /* scratch for one reply */
    int udp_fd;
    ev_io udp_io;
    struct dns_udp_batch *batch; /* while datagrams are taken: replies leave together */
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
/* Asks once more for what a view is about, if the policy still allows that. */
void dns_query_refresh(struct dns_cell *cell, const struct dns_view *view);

/* asking.c, handover.c, flight.c: a query that is allowed, from its evidence to its answer. */
/* key is of ask's name and type, mark where the name was counted; all borrowed for the call. -ENOMEM. */
int dns_flight_start(struct dns_cell *cell, const struct dns_origin *origin, const struct dns_ask *ask,
                     const struct dns_key *key, const struct dns_tunnel_mark *mark) MUST_CHECK;
/* A reply without records, or reply's. waited: a query of a connection, counted by dns_tcp_waits. */
void dns_flight_reply(struct dns_cell *cell, const struct dns_origin *origin, const struct dns_ask *ask,
                      uint8_t rcode, const struct dns_reply *reply, bool waited);
/* Nobody waits for queries of this origin any more; they go on for cache and evidence. */
void dns_flight_forget(struct dns_cell *cell, const void *waiting);
/* Everything under way gets SERVFAIL now. */
void dns_flight_fail_all(struct dns_cell *cell);
/* After that: what only waits for an acknowledgement lets go of the answer it had. */
void dns_flight_detach(struct dns_cell *cell);
/* The cell ends: everything is dropped but what an acknowledgement will still come for. */
void dns_flight_drop_all(struct dns_cell *cell);

/* refresh.c */
void dns_refresh_init(struct dns_cell *cell);
void dns_refresh_done(struct dns_cell *cell);
/* The cell uses this view: it may be due some day. */
void dns_refresh_note(struct dns_cell *cell, struct dns_view *view);

/* evidence.c: the events of one query. view: of a cached answer. */
void dns_evidence_query(struct dns_cell *cell, const struct dns_ask *ask, const struct dns_origin *origin,
                        enum dns_reason_code reason, const struct dns_view *view, dns_ack_cb ack, void *data);
/* q->view is the answer; result (may be NULL) is what the lookup said beside it. */
void dns_evidence_answer(struct dns_cell *cell, const struct dns_query *q, enum dns_reason_code reason,
                         dns_ack_cb ack, void *data);
/* No answer that could be shown: it failed, or its signatures did. */
void dns_evidence_failure(struct dns_cell *cell, const struct dns_query *q, enum dns_reason_code reason,
                          const struct dns_lookup_result *result);
/* Drift and rebinding of a view that is new. */
void dns_evidence_view(struct dns_cell *cell, const struct dns_key *key, const struct dns_view *view);
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
