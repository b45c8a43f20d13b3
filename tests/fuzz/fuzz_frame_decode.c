/* SPDX-License-Identifier: MIT */
/* Five bytes say who sends what into which line (interface, side, role, state, number of fds), the rest is
 * the frame. What is accepted must be allowed by its row and must encode to the very same bytes. */
#include "proto/iface.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(cond)                                                                                          \
    do {                                                                                                     \
        if (!(cond))                                                                                         \
            __builtin_trap();                                                                                \
    } while (0)

#define HEAD 5

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_(arena_done) struct arena a = {0};
    _cleanup_(buf_done) struct buf b = {0};
    size_t nifaces = 0;
    struct msg m;

    arena_init(&a, LIMIT_ARENA);
    buf_init(&b, size);
    while (iface_all[nifaces])
        nifaces++;
    if (size < HEAD)
        return 0;
    const struct iface *i = iface_all[data[0] % nifaces];
    uint32_t from = data[1] % 2 ? FROM_CLIENT : FROM_SERVER;
    uint32_t role = data[2] % (enum_role_name.n + 1);
    uint32_t state = 1u << data[3] % 5;
    if (iface_decode(i, from, role, state, data + HEAD, size - HEAD, data[4], &a, &m) < 0)
        return 0;
    CHECK(m.row == iface_row(i, m.row->id));
    CHECK((m.row->from & from) && (m.row->roles & 1u << role) && (m.row->states & state));
    CHECK(m.row->nfds == data[4] && size - HEAD <= m.row->max_len);
    CHECK((m.row->id == MSG_HELLO) == (state == LINE_HELLO));
    CHECK(iface_encode(m.row, m.seq, m.rec, &b) == 0);
    CHECK(b.len == size - HEAD && memcmp(b.data, data + HEAD, b.len) == 0);
    return 0;
}
