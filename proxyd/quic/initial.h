/* SPDX-License-Identifier: MIT */
/* Reads the datagrams a client sends on one flow for the server name in its ClientHello: Initial packets of
 * QUIC v1 (RFC 9000, 9001) and v2 (RFC 9369) are decrypted with their public keys, their CRYPTO frames put
 * together over packets and datagrams, and the hello read by tls/client_hello.h.
 *
 * A flow may see several connection attempts: after Retry or Version Negotiation the client chooses another
 * connection id (RFC 9000 sections 17.2.5.2 and 6.2), and a second ClientHello follows a HelloRetryRequest in
 * the same stream. Every one of them is read, before its datagram may pass, and must ask for the same name:
 * else the first hello would open the way for any other behind the same address. So an Initial packet that
 * cannot be read never passes, nor a long header of a version not known here, at any time of the flow. What
 * the other packets carry is encrypted for the server alone. */
#pragma once

#include "proxyd/quic/crypto_stream.h"
#include "proxyd/quic/keys.h"
#include "proxyd/tls/client_hello.h"

#define QUIC_ATTEMPTS_MAX 8u     /* of one flow ... */
#define QUIC_ATTEMPT_MS   60000u /* ... not counting those that began longer ago than any server waits */
#define QUIC_FIRST_DCID   8u     /* RFC 9000 section 7.2: shorter is no first Initial */

enum quic_outcome {
    QUIC_PASS,     /* nothing new was asked for: may go where the rest went */
    QUIC_MORE,     /* of a hello that is not complete yet: hold it back */
    QUIC_HELLO,    /* completes a hello: the reader's hello is filled */
    QUIC_NO_NAME,  /* completes a hello without a server name */
    QUIC_BAD_NAME, /* a name that is none (CLIENT_HELLO_BAD_NAME), or another one than before, or the same
                      place of the stream with other bytes */
    QUIC_NOT_QUIC, /* nothing that can be read as QUIC v1 or v2; QUIC, but broken; or no memory */
    _QUIC_OUTCOME_MAX,
};

struct quic_attempt;

/* All zero at the start. */
struct quic_reader {
    struct quic_attempt *attempts[QUIC_ATTEMPTS_MAX];
    bool answered; /* a first hello is complete: hello or nameless counts */
    bool nameless;
    struct client_hello hello; /* without a name only has_ech counts */
};

/* One datagram from the client, in the order they came. now_ms: any clock that only goes forward. After
 * BAD_NAME and NOT_QUIC the datagram must not pass, after NO_NAME and HELLO the caller decides, once for the
 * flow. */
enum quic_outcome quic_read(struct quic_reader *r, const uint8_t *p, size_t n, uint64_t now_ms);

/* Is there a hello that is not complete? When not, what was held back may pass. */
bool quic_waits(const struct quic_reader *r);

void quic_reader_done(struct quic_reader *r); /* all zero again */
