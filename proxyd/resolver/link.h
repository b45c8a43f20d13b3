/* SPDX-License-Identifier: MIT */
/* A byte stream to a resolver: TCP, with TLS over it where asked. It never blocks, bounds what waits to be
 * sent and ends a connection set-up that takes too long. */
#pragma once

#include <ev.h>

#include "common/base/buf.h"
#include "proxyd/resolver/tls.h"

#define DNS_LINK_OPEN_MS 3000u   /* TCP and TLS together */
#define DNS_LINK_NEXT_MS 600u    /* the same, while there is another address to go to */
#define DNS_LINK_OUT_MAX 131072u /* what the server has not taken yet */
#define DNS_LINK_READ    16384u  /* one record of TLS */
#define DNS_LINK_READS   8u      /* of these before other connections have their turn */

struct dns_link;

/* None of them may close or free the link, but closed may. */
struct dns_link_ops {
    void (*open)(struct dns_link *l);
    int (*data)(struct dns_link *l, const uint8_t *p,
                size_t n); /* negative errno: the link is closed with it */
    void (*closed)(struct dns_link *l,
                   int error); /* at most once, never from inside a call; not after dns_link_close */
};

struct dns_link {
    struct ev_loop *loop;
    const struct dns_link_ops *ops;
    enum { DNS_LINK_CLOSED, DNS_LINK_CONNECTING, DNS_LINK_HANDSHAKE, DNS_LINK_OPEN } state;
    int fd;
    struct dns_tls *tls; /* NULL: plain TCP */
    SSL *ssl;
    ev_io io;
    ev_timer timer;  /* the end of the set-up, or 0: close with error from the loop */
    int error;       /* of a failure inside a call */
    bool connected;  /* TCP came about */
    bool want_write; /* TLS must write before it can read on */
    struct buf out;
    char why[DNS_TLS_WHY_MAX]; /* of the last failure; "" when the error says all */
};

void dns_link_init(struct dns_link *l, struct ev_loop *loop, const struct dns_link_ops *ops);

/* Starts connecting, for ms at most; what fails at once comes as closed as well. Closed links only. */
void dns_link_connect(struct dns_link *l, const struct endpoint_addr *to, struct dns_tls *tls, unsigned ms);

/* Queues bytes; may be called before it is open. 0, -ENOBUFS when too much waits, -ENOMEM. */
int dns_link_send(struct dns_link *l, const void *p, size_t n) MUST_CHECK;

/* Closes without a call-back; may be connected again. */
void dns_link_close(struct dns_link *l);
