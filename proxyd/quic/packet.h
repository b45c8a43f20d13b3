/* SPDX-License-Identifier: MIT */
/* What anybody on the path can read of a QUIC packet (RFC 8999, RFC 9000 section 17, RFC 9369 section 3.2):
 * the form, the version, the connection ids, and, for the versions known here, the type and where the packet
 * ends in its datagram (RFC 9000 section 12.2: several may share one). Nothing is decrypted here. */
#pragma once

#include "common/base/cursor.h"

#define QUIC_V1      0x00000001u /* RFC 9000 */
#define QUIC_V2      0x6b3343cfu /* RFC 9369 */
#define QUIC_CID_MAX 20u         /* of both versions; RFC 8999 allows 255 */

/* A connection id. */
struct quic_cid {
    uint8_t len;
    uint8_t bytes[QUIC_CID_MAX];
};

bool quic_cid_eq(const struct quic_cid *a, const struct quic_cid *b);

enum quic_type {
    QUIC_INITIAL,
    QUIC_0RTT,
    QUIC_HANDSHAKE,
    QUIC_RETRY,
    QUIC_SHORT, /* takes the rest of the datagram */
};

struct quic_packet {
    enum quic_type type;
    uint32_t version;     /* long header */
    struct quic_cid dcid; /* long header */
    const uint8_t *p;     /* the packet from its first byte, borrowed */
    size_t len;
    size_t pn_offset; /* QUIC_INITIAL: where the protected packet number begins */
};

enum {
    QUIC_PACKET_OK = 0,
    QUIC_PACKET_END,     /* the datagram ends here */
    QUIC_PACKET_VERSION, /* a long header of another version: nobody here knows where it ends */
};

/* The next packet of the datagram at *c, which moves behind it. One of the three above, or -EBADMSG. */
int quic_packet_next(struct cursor *c, struct quic_packet *ret) MUST_CHECK;

/* A variable-length integer (RFC 9000 section 16): 0 or -EBADMSG. */
int quic_varint(struct cursor *c, uint64_t *ret) MUST_CHECK;
