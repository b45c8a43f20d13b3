/* SPDX-License-Identifier: MIT */
/* One byte chooses a record of the tables, the rest is decoded as it. What is accepted must be readable for
 * msgpack-c and must encode to the very same bytes: one record has one encoding. */
#include <msgpack.h>

#include "tests/unit/proto_records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(cond)                                                                                          \
    do {                                                                                                     \
        if (!(cond))                                                                                         \
            __builtin_trap();                                                                                \
    } while (0)

static void check_oracle(struct str bytes)
{
    msgpack_unpacked u;
    size_t off = 0;
    msgpack_unpacked_init(&u);
    CHECK(msgpack_unpack_next(&u, bytes.p, bytes.len, &off) == MSGPACK_UNPACK_SUCCESS);
    CHECK(off == bytes.len);
    msgpack_unpacked_destroy(&u);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct records all;
    _cleanup_(arena_done) struct arena a = {0};
    _cleanup_(buf_done) struct buf b = {0};

    arena_init(&a, LIMIT_ARENA);
    buf_init(&b, size);
    if (all.n == 0)
        all = records_all();
    if (size == 0)
        return 0;
    const struct schema *s = all.v[data[0] % all.n];
    struct str bytes = {(const char *)data + 1, size - 1};
    void *rec = records_alloc(&a, s->size);
    if (codec_decode_all(s, bytes, &a, rec) < 0)
        return 0;
    CHECK(codec_encode(s, rec, &b) == 0);
    CHECK(str_eq(buf_str(&b), bytes));
    check_oracle(bytes);
    return 0;
}
