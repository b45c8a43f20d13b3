/* SPDX-License-Identifier: MIT */
/* Reads the first flight of a TLS client up to the END of its ClientHello (RFC 8446 section 4.1.2), however
 * many records (section 5.1) and TCP segments it comes in, to learn the one name the client asked for (RFC
 * 6066 section 3). Nothing is decrypted and nothing is answered here. Whatever two readers could understand
 * differently is refused. */
#pragma once

#include "common/net/name.h"
#include "proto/limits.h"

enum client_hello_outcome {
    CLIENT_HELLO_MORE = 0, /* a good beginning: call again when more bytes are there */
    CLIENT_HELLO_DONE,     /* complete: the out-parameter is filled */
    CLIENT_HELLO_NOT_TLS,  /* not TLS, broken, or not complete within LIMIT_PEEK bytes */
    CLIENT_HELLO_NO_NAME,  /* a complete hello without a server name */
    CLIENT_HELLO_BAD_NAME, /* two names, or one that is not a host name (NUL, IP literal, a byte outside LDH)
                            */
    _CLIENT_HELLO_OUTCOME_MAX,
};

/* How far the records have been walked; all zero at the start. */
struct client_hello_reader {
    size_t next;     /* offset of the next record header that is not walked yet */
    size_t have;     /* handshake bytes in the records before it */
    size_t want;     /* handshake bytes of the whole ClientHello, 0 while its own header is incomplete */
    uint8_t head[4]; /* type and length of the handshake message, which may be spread over records */
};

struct client_hello {
    struct name server_name; /* canonical */
    bool has_alpn;
    bool has_ech; /* encrypted_client_hello (0xfe0d): server_name is then the outer, public name, which is the
                     one dialed */
};

/* p[0..n) is everything received so far; only ever appended to between calls, so that the work is linear in
 * n. Bytes behind the hello's last record (early data) are not looked at. A client_hello_outcome. */
enum client_hello_outcome client_hello_read(struct client_hello_reader *r, const uint8_t *p, size_t n,
                                            struct client_hello *ret);

/* The same for the handshake message alone, without records (QUIC, RFC 9001 section 4.1.3): p[0..n) is what
 * there is of it. MORE; or *ret_len is its length when it is complete. */
enum client_hello_outcome client_hello_message(const uint8_t *p, size_t n, struct client_hello *ret,
                                               size_t *ret_len);
