/* SPDX-License-Identifier: MIT */
/* Inside of the upstream transports: one resolver with its connections and its health, and one question to
 * it. Public contract: upstream.h, forward.h. */
#pragma once

#include <sys/queue.h>

#include "proxyd/resolver/link.h"
#include "proxyd/resolver/message.h"
#include "proxyd/resolver/upstream.h"

#define DNS_CONNS_MAX     4u     /* connections to one resolver of one authority */
#define DNS_CONN_BUSY     16u    /* unanswered questions of a connection before another one is opened */
#define DNS_CONN_PIPELINE 128u   /* the most unanswered questions of one connection */
#define DNS_CONN_WAITING  1024u  /* questions that wait for room in one; more fail */
#define DNS_CONN_IDLE_MS  10000u /* an unused connection is kept this long (RFC 7766 section 6.2.3) */
#define DNS_HOLD_MIN_MS   250u   /* after a failed handshake, twice as long each time ... */
#define DNS_HOLD_MAX_MS   8000u  /* ... until a question is answered */
#define DNS_UDP_DISTRUST_MS                                                                                  \
    60000u /* a server that folds case or drops cookies is asked over TCP for this long */

#define DNS_LATENCIES      64u  /* the newest ones, for the p95 */
#define DNS_LATENCIES_MIN  8u   /* fewer say nothing */
#define DNS_HEDGE_START_MS 400u /* before there are enough of them */
#define DNS_HEDGE_MIN_MS   30u
#define DNS_HEDGE_MAX_MS   1000u
#define DNS_DOWN_AFTER     3u    /* failures in a row that push a resolver behind the others */
#define DNS_DOWN_MIN_MS    1000u /* for this long at first, twice as long each time */
#define DNS_DOWN_MAX_MS    60000u

struct dns_conn;
struct dns_try;
struct dns_validator;
struct dns_bootstrap;

TAILQ_HEAD(dns_tries, dns_try);
LIST_HEAD(dns_conns, dns_conn);

struct dns_health {
    unsigned failures; /* in a row */
    uint64_t down_ms;  /* how long it was pushed back the last time */
    uint64_t down_until_us;
    uint32_t latency_us[DNS_LATENCIES];
    unsigned nlatencies; /* ever; the newest is at (nlatencies - 1) % DNS_LATENCIES */
};

struct dns_server {
    struct dns_upstreams *all;
    struct dns_resolver conf;
    char *anchors; /* owned copy behind conf.trust_anchors */
    struct dns_health health;
    struct dns_cookie cookie;
    uint64_t udp_distrust_until_us;
    struct dns_tls tls;
    struct dns_conns conns;
    unsigned nconns;
    struct dns_tries waiting; /* for room in a connection */
    unsigned nwaiting;
    struct dns_bootstrap *bootstrap; /* doh by name */
    struct addr good;                /* of the newest connection that came about */
    struct dns_validator *validator; /* made at the first question that is to be validated */
    int validator_error;             /* it cannot be made, ever */
    uint64_t held_until_us;          /* no new connection before; questions fail with held_error */
    unsigned hold_ms;
    int held_error;
    char why[DNS_TLS_WHY_MAX]; /* of the newest failed connection */
};

struct dns_upstreams {
    struct ev_loop *loop;
    size_t nbootstrap;
    struct endpoint_addr bootstrap[LIMIT_RESOLVERS];
    size_t n;
    struct dns_server v[]; /* most authorities have one or two */
};

/* ---- health.c ---- */

void dns_health_ok(struct dns_health *h, uint64_t latency_us);
/* True when this failure pushes the resolver back. */
bool dns_health_failed(struct dns_health *h, uint64_t now_us);
/* Somebody else was faster: latency_us is how long it had not answered. Counts as a failure. */
bool dns_health_lost(struct dns_health *h, uint64_t latency_us, uint64_t now_us);
/* The p95 of the newest latencies within its bounds, in milliseconds: time to ask somebody else as well. */
unsigned dns_health_hedge_ms(const struct dns_health *h);
/* Those that are well in the order of the policy, then those that are pushed back. Returns how many. */
size_t dns_health_order(struct dns_upstreams *all, uint64_t now_us, struct dns_server *ret[LIMIT_RESOLVERS]);

/* ---- try.c: one question to one resolver, by its transport ---- */

struct dns_try_result {
    int error; /* 0: msg answers the question; else a negative errno, -ETIMEDOUT among them */
    const uint8_t *msg;
    size_t len;
    enum dnssec_status dnssec;
    const char *why; /* of an error, or of dnssec; NULL: nothing more to say */
};

typedef void (*dns_try_cb)(void *data, const struct dns_try_result *result);

struct dns_try {
    struct dns_server *server;
    struct dns_asked asked;
    struct dns_counters *counters;
    dns_try_cb cb;
    void *data;
    ev_timer timer; /* the end of the try */
    ev_timer later; /* 0: goes wrong from the loop, not from inside a call */
    int error;      /* with which */
    const char *why;
    uint64_t start_us;

    enum { DNS_TRY_NONE, DNS_TRY_UDP, DNS_TRY_WAITING, DNS_TRY_CONN } on;
    int fd; /* UDP */
    ev_io io;
    unsigned strays;
    bool bad_cookie; /* asked again with the server's new cookie already */

    TAILQ_ENTRY(dns_try) link; /* of a connection or of those waiting */
    struct dns_conn *conn;
    uint64_t seen; /* answers of the connection when this was sent */
    bool sent;     /* on this connection */
    bool moved;    /* the connection broke once; not a second time */

    /* doh */
    int32_t stream; /* 0: none */
    unsigned status;
    bool is_message; /* by its content type */
    bool ended;
    uint32_t h2_error;
    size_t header_bytes;
    struct buf body; /* of the request until it is sent, then of the response */
};

/* Sends at once. dnssec: signatures are wanted (the validator's own questions). cb is called exactly once,
 * never from inside this call, and frees the try, or the owner does so earlier. 0 or -ENOMEM. */
int dns_try_new(struct dns_server *server, const struct dns_question *q, bool dnssec, unsigned timeout_ms,
                struct dns_counters *counters, dns_try_cb cb, void *data, struct dns_try **ret) MUST_CHECK;
struct dns_try *dns_try_free(struct dns_try *t); /* accepts NULL; returns NULL */

/* For the transports. */
void dns_try_answered(struct dns_try *t, const uint8_t *msg,
                      size_t len);                                  /* an answer that fits; t may be gone */
void dns_try_failed(struct dns_try *t, int error, const char *why); /* t may be gone */
void dns_try_again(struct dns_try *t, bool without_edns, bool tcp); /* the same question once more */
int dns_try_udp(struct dns_try *t) MUST_CHECK;                      /* udp.c's counterpart: upstream_udp.c */
void dns_try_udp_stop(struct dns_try *t);

/* ---- conn.c: connections of a resolver ---- */

/* Gives t to a connection. What goes wrong comes as dns_try_failed from the loop. */
void dns_conn_take(struct dns_try *t);
void dns_conn_drop(struct dns_try *t); /* t wants no answer any more */
void dns_conn_close_all(struct dns_server *s);
