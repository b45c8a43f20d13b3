/* SPDX-License-Identifier: MIT */
/* The resolver as libunbound sees it: a UDP socket on 127.0.0.1. A question is taken only from an address
 * that is the own name of one of libunbound's open sockets in this very process; while that socket is open
 * nobody else can send from there, so no other program on the host can ask anything through it. */
#pragma once

#include "proxyd/resolver/server.h"
#include "proxyd/resolver/ubevent.h"

#define DNS_FEED_MAX 256u /* questions at a time; more are answered SERVFAIL */

struct dns_feed;

/* server and base are borrowed. 0, -ENOMEM, or -errno of the socket. */
int dns_feed_new(struct dns_server *s, const struct ubevent_base *base, struct dns_feed **ret) MUST_CHECK;
struct dns_feed *dns_feed_free(struct dns_feed *f); /* accepts NULL */
uint16_t dns_feed_port(const struct dns_feed *f);
