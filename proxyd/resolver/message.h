/* SPDX-License-Identifier: MIT */
/* A question as it goes to a resolver, and what is looked at in an answer before anybody believes it. Both
 * have nothing of the asker's own bytes: our OPT, our cookie, never a client subnet. */
#pragma once

#include "common/base/buf.h"
#include "proxyd/dns/dns.h"
#include "proxyd/dns/wire.h"

#define DNS_COOKIE_CLIENT     8u /* RFC 7873 section 4 */
#define DNS_COOKIE_SERVER_MIN 8u
#define DNS_COOKIE_SERVER_MAX 32u
#define DNS_PADDING           128u /* RFC 8467 section 4.1: queries are padded to a multiple of it */
#define DNS_BADCOOKIE         23u

struct dns_cookie {
    uint8_t client[DNS_COOKIE_CLIENT];
    uint8_t server[DNS_COOKIE_SERVER_MAX];
    uint8_t server_len; /* 0: not known yet */
};

struct dns_asked {
    uint16_t id;
    struct dns_question q; /* in the case that is sent */
    bool edns;
    uint16_t udp_size; /* offered in OPT */
    bool dnssec;       /* DO and CD: signatures are wanted, checked or not (RFC 4035 section 3.2) */
    const struct dns_cookie *cookie; /* borrowed; NULL: none is sent, none is looked at */
    bool pad;                        /* encrypted transports */
};

/* Random upper and lower case in every letter ("0x20"): one more bit each that a blind forger must guess.
 * 0 or -EIO. */
int dns_case_mix(struct dns_wire_name *name) MUST_CHECK;

/* Appends the message. 0 or the buffer's error. */
int dns_asked_write(struct buf *b, const struct dns_asked *asked) MUST_CHECK;

enum dns_fit {
    DNS_FIT,
    DNS_FIT_STRAY,      /* another id, another question, no response, a cookie that is not ours */
    DNS_FIT_OTHER_CASE, /* fits but for the case of the name: a forger, or a server that folds it */
    DNS_FIT_NO_COOKIE,  /* fits, but this server has answered with a cookie before */
};

struct dns_got {
    uint16_t rcode; /* with the upper bits from OPT */
    bool truncated;
    const uint8_t *server_cookie; /* in the message; NULL: none */
    uint8_t server_cookie_len;
};

/* Does the message answer what was asked? exact_case: the case of the name counts. *ret is filled whenever
 * the id and the question fit. */
enum dns_fit dns_got_read(const uint8_t *msg, size_t n, const struct dns_asked *asked, bool exact_case,
                          struct dns_got *ret);

/* Remembers the server's part for the next question. */
void dns_cookie_learn(struct dns_cookie *cookie, const struct dns_got *got);
