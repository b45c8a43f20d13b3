/* SPDX-License-Identifier: MIT */
#include "proxyd/quic/crypto_stream.h"

#define STEP 1024u

static bool there(const struct crypto_stream *s, size_t i)
{
    return (s->bytes[s->cap + i / 8] >> i % 8 & 1) != 0;
}

static void mark(struct crypto_stream *s, size_t i)
{
    s->bytes[s->cap + i / 8] = (uint8_t)(s->bytes[s->cap + i / 8] | 1u << i % 8);
}

static int grow(struct crypto_stream *s, size_t want)
{
    size_t cap = (want + STEP - 1) / STEP * STEP;

    if (cap <= s->cap)
        return 0;
    uint8_t *bytes = calloc(1, cap + cap / 8);
    if (!bytes)
        return -ENOMEM;
    if (s->cap > 0) {
        memcpy(bytes, s->bytes, s->cap);
        memcpy(bytes + cap, s->bytes + s->cap, s->cap / 8);
    }
    free(s->bytes);
    s->bytes = bytes;
    s->cap = cap;
    return 0;
}

int crypto_stream_put(struct crypto_stream *s, uint64_t offset, const uint8_t *p, size_t n)
{
    if (n > LIMIT_PEEK || offset > LIMIT_PEEK - n)
        return -EBADMSG;
    size_t at = (size_t)offset;
    int r = grow(s, at + n);

    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++) {
        if (there(s, at + i) && s->bytes[at + i] != p[i])
            return -EBADMSG;
        s->bytes[at + i] = p[i];
        mark(s, at + i);
    }
    if (s->end < at + n)
        s->end = at + n;
    while (s->contiguous < s->end && there(s, s->contiguous))
        s->contiguous++;
    return 0;
}

void crypto_stream_done(struct crypto_stream *s)
{
    free(s->bytes);
    *s = (struct crypto_stream){0};
}
