/* SPDX-License-Identifier: MIT */
#include "proxyd/quic/initial.h"

#include "proxyd/quic/frames.h"

/* One connection attempt: known by the connection id its first Initial had, which made its keys. */
struct quic_attempt {
    struct quic_cid dcid;
    bool derived[2]; /* v1, v2: the version may change within an attempt (RFC 9368 section 2.3) */
    struct quic_keys keys[2];
    struct crypto_stream stream;
    size_t read; /* bytes of the stream before it are complete hellos */
    uint64_t since_ms;
    enum quic_outcome broken; /* not QUIC_PASS: the answer to everything that still comes */
};

static struct quic_attempt *attempt_free(struct quic_attempt *a)
{
    if (a)
        crypto_stream_done(&a->stream);
    free(a);
    return NULL;
}

void quic_reader_done(struct quic_reader *r)
{
    for (size_t i = 0; i < QUIC_ATTEMPTS_MAX; i++)
        r->attempts[i] = attempt_free(r->attempts[i]);
    *r = (struct quic_reader){0};
}

/* ---- which attempt does a packet belong to ---- */

static ssize_t attempt_open(struct quic_attempt *a, const struct quic_packet *q, uint8_t *frames)
{
    size_t v = q->version == QUIC_V2;

    if (!a->derived[v])
        quic_keys_derive(q->version, &a->dcid, &a->keys[v]);
    a->derived[v] = true;
    return quic_keys_open(&a->keys[v], q, frames);
}

/* The place for one more attempt; one that is too old for any server gives way. */
static struct quic_attempt **place_for(struct quic_reader *r, uint64_t now_ms)
{
    for (size_t i = 0; i < QUIC_ATTEMPTS_MAX; i++) {
        struct quic_attempt **at = &r->attempts[i];
        if (*at && now_ms - (*at)->since_ms > QUIC_ATTEMPT_MS)
            *at = attempt_free(*at);
        if (!*at)
            return at;
    }
    return NULL;
}

/* The header's own connection id opens it: the client has begun anew. */
static struct quic_attempt *attempt_new(struct quic_reader *r, const struct quic_packet *q, uint64_t now_ms,
                                        uint8_t *frames, ssize_t *ret_n)
{
    struct quic_attempt **at = place_for(r, now_ms);
    struct quic_attempt *a = at ? calloc(1, sizeof(*a)) : NULL;

    if (!a)
        return NULL;
    a->dcid = q->dcid;
    a->since_ms = now_ms;
    *ret_n = attempt_open(a, q, frames);
    if (*ret_n < 0)
        return attempt_free(a);
    *at = a;
    return a;
}

static bool any_attempt(const struct quic_reader *r)
{
    for (size_t i = 0; i < QUIC_ATTEMPTS_MAX; i++)
        if (r->attempts[i])
            return true;
    return false;
}

static struct quic_attempt *attempt_of(struct quic_reader *r, const struct quic_packet *q, uint64_t now_ms,
                                       uint8_t *frames, ssize_t *ret_n)
{
    for (size_t i = 0; i < QUIC_ATTEMPTS_MAX; i++) {
        struct quic_attempt *a = r->attempts[i];
        if (a && (*ret_n = attempt_open(a, q, frames)) >= 0)
            return a;
    }
    if (!any_attempt(r) && q->dcid.len < QUIC_FIRST_DCID)
        return NULL;
    return attempt_new(r, q, now_ms, frames, ret_n);
}

/* ---- what does it ask for ---- */

/* What two packets of one datagram come to, or two hellos of one stream. A complete first hello with the
 * begin of another is nobody's: the second one answers a server that has not even seen the first. */
static enum quic_outcome both(enum quic_outcome a, enum quic_outcome b)
{
    if (a >= QUIC_BAD_NAME || b == QUIC_PASS)
        return a;
    if (b >= QUIC_BAD_NAME || a == QUIC_PASS || a == QUIC_MORE)
        return b;
    return QUIC_NOT_QUIC;
}

/* One flow, one name: the first hello decides, every later one must repeat it. */
static enum quic_outcome hello_compare(struct quic_reader *r, const struct client_hello *h, bool nameless)
{
    if (!r->answered) {
        r->answered = true;
        r->nameless = nameless;
        r->hello = *h;
        return nameless ? QUIC_NO_NAME : QUIC_HELLO;
    }
    bool same = nameless == r->nameless && h->has_ech == r->hello.has_ech &&
                (nameless || str_eq(name_str(&h->server_name), name_str(&r->hello.server_name)));
    return same ? QUIC_PASS : QUIC_BAD_NAME;
}

/* Reads the next hello of the stream; more than one is what HelloRetryRequest makes (RFC 8446 section 4.1.4).
 */
static enum quic_outcome hello_next(struct quic_reader *r, struct quic_attempt *a)
{
    struct client_hello h = {0};
    size_t len = 0;

    switch (client_hello_message(a->stream.bytes + a->read, a->stream.contiguous - a->read, &h, &len)) {
    case CLIENT_HELLO_MORE:
        return QUIC_MORE;
    case CLIENT_HELLO_DONE:
        a->read += len;
        return hello_compare(r, &h, false);
    case CLIENT_HELLO_NO_NAME:
        a->read += len;
        return hello_compare(r, &h, true);
    case CLIENT_HELLO_BAD_NAME:
        return QUIC_BAD_NAME;
    default:
        return QUIC_NOT_QUIC;
    }
}

static bool attempt_waits(const struct quic_attempt *a)
{
    return a->read < a->stream.end || a->stream.end == 0;
}

static enum quic_outcome attempt_judge(struct quic_reader *r, struct quic_attempt *a)
{
    enum quic_outcome o = QUIC_PASS;

    if (a->stream.end == 0)
        return QUIC_MORE; /* no CRYPTO frame yet */
    while (attempt_waits(a)) {
        enum quic_outcome next = hello_next(r, a);
        o = both(o, next);
        if (next != QUIC_PASS && next != QUIC_HELLO && next != QUIC_NO_NAME)
            break;
    }
    return o;
}

static enum quic_outcome initial_read(struct quic_reader *r, const struct quic_packet *q, uint64_t now_ms,
                                      struct quic_attempt **attempt)
{
    static uint8_t frames[UINT16_MAX]; /* of one packet, never between two calls; one thread reads */
    ssize_t n = -1;
    struct quic_attempt *a = attempt_of(r, q, now_ms, frames, &n);

    if (!a || n < 0 || (*attempt && *attempt != a))
        return QUIC_NOT_QUIC;
    *attempt = a;
    if (a->broken != QUIC_PASS)
        return a->broken;
    size_t before = a->stream.end;
    int err = quic_frames_read(frames, (size_t)n, &a->stream);
    if (err < 0)
        return a->broken = before > 0 && err == -EBADMSG ? QUIC_BAD_NAME : QUIC_NOT_QUIC;
    enum quic_outcome o = attempt_judge(r, a);
    if (o == QUIC_BAD_NAME || o == QUIC_NOT_QUIC)
        a->broken = o;
    return o;
}

/* ---- datagrams ---- */

bool quic_waits(const struct quic_reader *r)
{
    for (size_t i = 0; i < QUIC_ATTEMPTS_MAX; i++)
        if (r->attempts[i] && r->attempts[i]->broken == QUIC_PASS && attempt_waits(r->attempts[i]))
            return true;
    return false;
}

static enum quic_outcome packets_read(struct quic_reader *r, struct cursor *c, uint64_t now_ms)
{
    struct quic_attempt *attempt = NULL;
    enum quic_outcome o = QUIC_PASS;
    struct quic_cid dcid = {0};
    struct quic_packet q;
    bool first = true;
    int err;

    while ((err = quic_packet_next(c, &q)) == QUIC_PACKET_OK) {
        if (q.type == QUIC_SHORT) /* or zeros that fill the datagram up: the rest is not looked at */
            continue;
        /* RFC 9000 section 12.2: packets that share a datagram share the connection id. */
        if (q.type == QUIC_RETRY || (!first && !quic_cid_eq(&q.dcid, &dcid)))
            return QUIC_NOT_QUIC;
        dcid = q.dcid;
        first = false;
        if (q.type == QUIC_INITIAL)
            o = both(o, initial_read(r, &q, now_ms, &attempt));
    }
    return err == QUIC_PACKET_END ? o : QUIC_NOT_QUIC;
}

enum quic_outcome quic_read(struct quic_reader *r, const uint8_t *p, size_t n, uint64_t now_ms)
{
    struct cursor c = cursor_of(p, n);
    bool was_answered = r->answered;
    enum quic_outcome o = n == 0 ? QUIC_NOT_QUIC : packets_read(r, &c, now_ms);

    if (o != QUIC_PASS || was_answered)
        return o;
    /* Without an Initial before it nothing says that this is QUIC; behind one it waits with it. */
    return any_attempt(r) ? QUIC_MORE : QUIC_NOT_QUIC;
}
