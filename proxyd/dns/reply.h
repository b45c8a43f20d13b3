/* SPDX-License-Identifier: MIT */
/* Writer of DNS messages, and the form in which a checked answer is kept. */
#pragma once

#include "common/base/buf.h"
#include "proxyd/dns/wire.h"

/* A checked answer: what may be handed to the asker. Shared by the cache and the queries that wait for
 * evidence. */
struct dns_reply {
    unsigned refs;
    uint8_t rcode;
    uint16_t n;
    uint32_t ttl_s; /* how long it may be kept; 0: not at all */
    uint64_t at_us; /* CLOCK_BOOTTIME when it came */
    size_t len;
    uint8_t wire[]; /* n records without compression, readable with dns_rr_read */
};

/* A reply of these records with one reference, or NULL. */
struct dns_reply *dns_reply_new(uint8_t rcode, uint16_t n, uint32_t ttl_s, const struct buf *wire);
struct dns_reply *dns_reply_ref(struct dns_reply *r);
struct dns_reply *dns_reply_unref(struct dns_reply *r); /* accepts NULL; returns NULL */

/* Appends one record in that form; rdata may be compressed against base and is expanded where its type has
 * names that RFC 1035 section 4.1.4 and RFC 3597 section 4 let a sender compress. 0, -EBADMSG, or b's error.
 */
int dns_reply_put_rr(struct buf *b, const uint8_t *base, const struct dns_rr *rr, uint32_t ttl_s) MUST_CHECK;

/* The same with this rdata, which has no names that may be compressed. */
int dns_reply_put_raw(struct buf *b, const struct dns_rr *rr, uint32_t ttl_s, const void *rdata,
                      size_t n) MUST_CHECK;

/* Appends the message that answers ask: reply's records, or none when reply is NULL. TTLs are lowered by the
 * time since it came. A message over max bytes becomes an empty one with TC. 0 or b's error. */
int dns_reply_write(struct buf *b, const struct dns_ask *ask, uint8_t rcode, const struct dns_reply *reply,
                    uint64_t now_us, size_t max) MUST_CHECK;
