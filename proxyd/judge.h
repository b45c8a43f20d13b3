/* SPDX-License-Identifier: MIT */
/* The order of judgement (decisions 25) as pure functions: destination, port, raw rules, first bytes
 * (protocol and name), allow list. No I/O. judge_pin.c has what asks for the answers that the cell's DNS
 * gave. */
#pragma once

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
    bool pinned;       /* ... or it is, because the cell's DNS gave it for name */
    bool cdn;          /* name is a cdnAuthority pattern's */
    bool has_ech;
};

/* A TLS handshake record begins so (RFC 8446 section 5.1); no HTTP method and no HTTP/2 preface does.
 * Whatever else comes first is left to the HTTP session, which knows what is none. */
#define JUDGE_TLS_FIRST_BYTE 22u

enum { JUDGE_MORE = 0, JUDGE_DECIDED = 1 };

/* Before a byte is read: the destination and the port. from is the client's own address. JUDGE_MORE: go on
 * reading. */
int judge_destination(const struct proxy_policy *p, const struct endpoint_addr *original,
                      const struct addr *from, struct judgement *ret);

/* Still before a byte is read: raw tcp rules, by the address, or by the name that the cell's DNS gave it for.
 * dns may be NULL (no pins). JUDGE_MORE: no raw rule fits, but the port has rules for protocols that prove a
 * name. */
int judge_raw(const struct proxy_policy *p, const struct dns_cell *dns, const struct endpoint_addr *original,
              struct judgement *ret);

/* Makes a TLS denial an allowed connection when its name is a cdnAuthority pattern's and the original address
 * is one that the cell's DNS gave for a name that a rule allows there. */
void judge_cdn(const struct proxy_policy *p, const struct dns_cell *dns, const struct endpoint_addr *original,
               struct judgement *j);

/* The policy has changed: does it still allow this? Sets j->rule, or false. */
bool judge_again(const struct proxy_policy *p, const struct dns_cell *dns,
                 const struct endpoint_addr *original, struct judgement *j);

/* The reason code of "no rule allows it", for a connection that has proven this protocol. */
uint32_t judge_miss(uint32_t protocol);

/* A TLS client, after each read: bytes[0..n) is everything so far, only appended to between calls. r: all
 * zero at the start. */
int judge_tls(const struct proxy_policy *p, const struct endpoint_addr *original,
              struct client_hello_reader *r, const uint8_t *bytes, size_t n, struct judgement *ret);

/* Nothing more came: the peer closed (timeout false) or was silent. any: it had begun, in TLS. */
void judge_no_more(bool any, bool timeout, struct judgement *ret);
