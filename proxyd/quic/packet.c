/* SPDX-License-Identifier: MIT */
#include "proxyd/quic/packet.h"

#define FORM_LONG 0x80u
#define TYPE_BITS 0x30u

bool quic_cid_eq(const struct quic_cid *a, const struct quic_cid *b)
{
    return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

int quic_varint(struct cursor *c, uint64_t *ret)
{
    struct cursor at = *c;
    uint8_t first, next;

    if (cursor_u8(&at, &first) < 0)
        return -EBADMSG;
    uint64_t v = first & 0x3fu;
    for (size_t more = ((size_t)1 << (first >> 6)) - 1; more > 0; more--) {
        if (cursor_u8(&at, &next) < 0)
            return -EBADMSG;
        v = v << 8 | next;
    }
    *c = at;
    *ret = v;
    return 0;
}

static int read_cid(struct cursor *c, struct quic_cid *ret)
{
    const uint8_t *bytes;

    if (cursor_u8(c, &ret->len) < 0 || ret->len > QUIC_CID_MAX || cursor_bytes(c, ret->len, &bytes) < 0)
        return -EBADMSG;
    memcpy(ret->bytes, bytes, ret->len);
    return 0;
}

/* RFC 9000 section 17.2 and RFC 9369 section 3.2: the same four types, numbered differently. */
static enum quic_type type_of(uint32_t version, uint8_t first)
{
    static const enum quic_type v1[] = {QUIC_INITIAL, QUIC_0RTT, QUIC_HANDSHAKE, QUIC_RETRY};
    static const enum quic_type v2[] = {QUIC_RETRY, QUIC_INITIAL, QUIC_0RTT, QUIC_HANDSHAKE};

    return (version == QUIC_V1 ? v1 : v2)[(first & TYPE_BITS) >> 4];
}

/* Behind the connection ids: an Initial's token, then the length of the rest. */
static int read_extent(struct cursor *c, struct quic_packet *ret)
{
    uint64_t token, length;

    if (ret->type == QUIC_RETRY) /* takes the rest; no client sends one */
        return cursor_skip(c, cursor_left(c));
    if (ret->type == QUIC_INITIAL &&
        (quic_varint(c, &token) < 0 || token > cursor_left(c) || cursor_skip(c, (size_t)token) < 0))
        return -EBADMSG;
    if (quic_varint(c, &length) < 0 || length > cursor_left(c))
        return -EBADMSG;
    ret->pn_offset = (size_t)(c->p - ret->p);
    return cursor_skip(c, (size_t)length);
}

int quic_packet_next(struct cursor *c, struct quic_packet *ret)
{
    struct quic_packet q = {.type = QUIC_SHORT, .p = c->p};
    struct cursor at = *c;
    struct quic_cid scid;
    uint8_t first;

    if (cursor_left(&at) == 0)
        return QUIC_PACKET_END;
    if (cursor_u8(&at, &first) < 0)
        return -EBADMSG;
    if (first & FORM_LONG) {
        if (cursor_be32(&at, &q.version) < 0)
            return -EBADMSG;
        if (q.version != QUIC_V1 && q.version != QUIC_V2)
            return QUIC_PACKET_VERSION;
        q.type = type_of(q.version, first);
        if (read_cid(&at, &q.dcid) < 0 || read_cid(&at, &scid) < 0 || read_extent(&at, &q) < 0)
            return -EBADMSG;
    } else if (cursor_skip(&at, cursor_left(&at)) < 0) {
        return -EBADMSG;
    }
    q.len = (size_t)(at.p - q.p);
    *c = at;
    *ret = q;
    return QUIC_PACKET_OK;
}
