/* SPDX-License-Identifier: MIT */
/* The order of judgement (decisions 25) as pure functions: destination, port, first bytes (protocol and
 * name), allow list. No I/O. */
#pragma once

#include "proxyd/http/body.h"
#include "proxyd/policy.h"
#include "proxyd/tls/client_hello.h"

/* What is decided about one connection, as far as it is known. */
struct judgement {
    bool allow;
    uint32_t reason;   /* enum l7_reason */
    uint32_t protocol; /* enum l7_protocol */
    ssize_t rule;      /* index of the egress rule that allows it, or -1 */
    struct name name;  /* what the client asked for; len == 0: nothing, or the literal */
    bool literal;      /* the original address itself is what is dialed, no name */
    bool has_ech;
};

/* The first bytes of a connection while they come in; all zero at the start. */
struct first_bytes {
    enum { FIRST_EMPTY, FIRST_TLS, FIRST_HTTP } kind;
    struct client_hello_reader tls;
    struct http_head_reader http;
    struct http_head head; /* HTTP, once decided */
    struct http_body body; /* ... and what of its body is still to come behind the bytes seen so far */
    size_t body_seen;      /* bytes behind the head that belong to the request */
};

enum { JUDGE_MORE = 0, JUDGE_DECIDED = 1 };

/* Before a byte is read: the destination and the port. from is the client's own address. JUDGE_MORE: go on
 * reading. */
int judge_destination(const struct proxy_policy *p, const struct endpoint_addr *original,
                      const struct addr *from, struct judgement *ret);

/* After each read: bytes[0..n) is everything so far, only appended to between calls. */
int judge_first_bytes(const struct proxy_policy *p, const struct endpoint_addr *original,
                      struct first_bytes *f, const uint8_t *bytes, size_t n, struct judgement *ret);

/* Nothing more came: the peer closed (timeout false) or was silent. */
void judge_no_more(const struct first_bytes *f, bool timeout, struct judgement *ret);
