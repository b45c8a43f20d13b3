/* SPDX-License-Identifier: MIT */
/* Inside of conn.c, framed.c and doh.c: one connection to a resolver and the questions on it. */
#pragma once

#include <nghttp2/nghttp2.h>

#include "proxyd/resolver/server.h"

#define DNS_CONN_STALLED_MS                                                                                  \
    1000u                   /* unanswered for this long, and nothing else answered: a dead connection        \
                             */
#define DNS_CONN_STALLED 3u /* so many questions given up in a row without one answer: the same */

/* How questions travel on a connection. */
struct dns_conn_ops {
    int (*open)(struct dns_conn *c);                             /* before the first question; may be NULL */
    int (*send)(struct dns_conn *c, struct dns_try *t);          /* 0 or -errno: this question fails */
    void (*cancel)(struct dns_conn *c, struct dns_try *t);       /* its answer is not wanted any more */
    int (*data)(struct dns_conn *c, const uint8_t *p, size_t n); /* -errno: the connection ends */
    void (*done)(struct dns_conn *c);
};

struct dns_conn {
    LIST_ENTRY(dns_conn) link;
    struct dns_server *server;
    const struct dns_conn_ops *ops;
    struct dns_link l;
    struct dns_tries tries;
    unsigned ntries;
    unsigned max;      /* questions it takes at a time */
    uint64_t answers;  /* so far */
    unsigned given_up; /* in a row, without an answer between them */
    bool retired;      /* takes no more questions and ends with its last one */
    ev_timer idle;
    struct endpoint_addr to[LIMIT_DIAL_ADDRS]; /* tried one after the other */
    size_t nto, at;
    struct dns_boot_lookup *lookup; /* doh by name: the addresses are still being looked up */

    struct buf in;      /* framed: what has come of a message, with its length */
    uint16_t next_id;   /* framed */
    unsigned cancelled; /* framed: answers that will still come for nobody */
    unsigned strays;
    nghttp2_session *h2;
    bool in_recv;    /* doh: inside of nghttp2 */
    unsigned nended; /* doh: tries whose stream has ended and that do not know it yet */
};

extern const struct dns_conn_ops dns_framed_ops; /* RFC 1035 section 4.2.2, RFC 7766, RFC 7858 */
extern const struct dns_conn_ops dns_doh_ops;    /* RFC 8484 */

/* For the ops: an answer to t has come (checked), or t failed. The connection stays. */
void dns_conn_answered(struct dns_conn *c, struct dns_try *t, const uint8_t *msg, size_t len);
/* No more new questions; the connection ends with its last one, from the loop. */
void dns_conn_retire(struct dns_conn *c);
