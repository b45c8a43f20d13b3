/* SPDX-License-Identifier: MIT */
#include "proxyd/quic/frames.h"

#include "proxyd/quic/packet.h"

enum { PADDING = 0x00, PING = 0x01, ACK = 0x02, ACK_ECN = 0x03, CRYPTO = 0x06, CONNECTION_CLOSE = 0x1c };

static int skip_varints(struct cursor *c, uint64_t n)
{
    uint64_t v;

    for (; n > 0; n--)
        if (quic_varint(c, &v) < 0)
            return -EBADMSG;
    return 0;
}

/* RFC 9000 section 19.3. The loop ends with the bytes, whatever the count says. */
static int skip_ack(struct cursor *c, bool ecn)
{
    uint64_t ranges;

    if (skip_varints(c, 2) < 0 || quic_varint(c, &ranges) < 0 || skip_varints(c, 1) < 0)
        return -EBADMSG;
    if (ranges > cursor_left(c) / 2)
        return -EBADMSG;
    return skip_varints(c, 2 * ranges + (ecn ? 3 : 0));
}

/* RFC 9000 section 19.19: error, frame type, reason. */
static int skip_close(struct cursor *c)
{
    uint64_t reason;

    if (skip_varints(c, 2) < 0 || quic_varint(c, &reason) < 0 || reason > cursor_left(c))
        return -EBADMSG;
    return cursor_skip(c, (size_t)reason);
}

static int take_crypto(struct cursor *c, struct crypto_stream *s)
{
    uint64_t offset, len;
    const uint8_t *p;

    if (quic_varint(c, &offset) < 0 || quic_varint(c, &len) < 0 || len > cursor_left(c) ||
        cursor_bytes(c, (size_t)len, &p) < 0)
        return -EBADMSG;
    return crypto_stream_put(s, offset, p, (size_t)len);
}

static int frame(struct cursor *c, struct crypto_stream *s)
{
    uint64_t type;

    if (quic_varint(c, &type) < 0)
        return -EBADMSG;
    switch (type) {
    case PADDING:
    case PING:
        return 0;
    case ACK:
    case ACK_ECN:
        return skip_ack(c, type == ACK_ECN);
    case CRYPTO:
        return take_crypto(c, s);
    case CONNECTION_CLOSE:
        return skip_close(c);
    default:
        return -EBADMSG;
    }
}

int quic_frames_read(const uint8_t *p, size_t n, struct crypto_stream *s)
{
    struct cursor c = cursor_of(p, n);

    if (n == 0)
        return -EBADMSG;
    while (cursor_left(&c) > 0) {
        int r = frame(&c, s);
        if (r < 0)
            return r;
    }
    return 0;
}
