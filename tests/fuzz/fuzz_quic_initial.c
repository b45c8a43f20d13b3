/* SPDX-License-Identifier: MIT */
/* Any datagrams of a QUIC client. The first byte says how they are made: 0, the rest is one datagram; 1,
 * pieces as they are; else frames, around which valid Initial packets are built (their keys are no secret),
 * so that the fuzzer need not find AES-GCM tags. Whatever comes: the name of a flow never changes once it is
 * known, it is canonical, and nothing passes before. */
#include <stdlib.h>

#include "proxyd/quic/initial.h"
#include "tests/unit/quic_packets.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct flow {
    struct quic_reader r;
    struct client_hello hello;
    bool answered;
    uint64_t now;
};

static void take(struct flow *f, const uint8_t *p, size_t n)
{
    struct name again;
    enum quic_outcome o = quic_read(&f->r, p, n, f->now += 1000);

    if ((o == QUIC_PASS && !f->answered) || ((o == QUIC_HELLO || o == QUIC_NO_NAME) && f->answered))
        abort();
    if (f->answered && memcmp(&f->hello, &f->r.hello, sizeof(f->hello)) != 0)
        abort();
    if (o == QUIC_HELLO && (name_parse(name_str(&f->r.hello.server_name), NAME_HOST, &again) != NAME_OK ||
                            !str_eq(name_str(&again), name_str(&f->r.hello.server_name))))
        abort();
    f->answered = f->r.answered;
    f->hello = f->r.hello;
}

/* Bits of how: which connection id, whose keys, the version, a broken type or reserved bits, in the datagram
 * of the packet before. */
static void build(struct buf *b, uint8_t how, const uint8_t *p, size_t n)
{
    static const char *const ids[] = {"8 bytes ", "another id", "", "third one"};
    struct make_packet m = {
        .version = how & 1 ? QUIC_V2 : QUIC_V1,
        .dcid = ids[how >> 1 & 3],
        .key_dcid = ids[how >> 3 & 1],
        .type = (how & 0xe0) == 0xe0 ? 0x20 : 0,
        .reserved = (how & 0xe0) == 0xc0 ? 4 : 0,
        .pad = 24,
    };
    make_initial(b, &m, p, n);
}

static bool piece(struct cursor *c, uint8_t *how, const uint8_t **p, size_t *n)
{
    uint16_t len;

    if (cursor_u8(c, how) < 0 || cursor_be16(c, &len) < 0)
        return false;
    *n = len < cursor_left(c) ? len : cursor_left(c);
    return cursor_bytes(c, *n, p) == 0;
}

static void take_pieces(struct flow *f, struct cursor c, bool raw)
{
    _cleanup_(buf_done) struct buf b = {0};
    const uint8_t *p;
    uint8_t how;
    size_t n;

    buf_init(&b, 1 << 20);
    while (piece(&c, &how, &p, &n)) {
        if (raw) {
            take(f, p, n);
            continue;
        }
        build(&b, how, p, n);
        if ((how & 0x10) != 0 && b.len < 60000) /* the next packet comes in the same datagram */
            continue;
        take(f, b.data, b.len);
        buf_clear(&b);
    }
    if (b.len > 0)
        take(f, b.data, b.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct flow f = {0};

    if (size < 1)
        return 0;
    if (data[0] == 0)
        take(&f, data + 1, size - 1);
    else
        take_pieces(&f, cursor_of(data + 1, size - 1), data[0] == 1);
    quic_reader_done(&f.r);
    return 0;
}
