/* SPDX-License-Identifier: MIT */
/* The same tables for the single-threaded helpers that have no event loop (zygote, cell init, netd's forked
 * child): blocking sends and receives on one line. */
#pragma once

#include "proto/iface.h"

struct line {
    int sock; /* borrowed */
    const struct iface *iface;
    uint32_t side;      /* FROM_CLIENT or FROM_SERVER: which side we are */
    uint32_t role;      /* ours */
    uint32_t peer_role; /* theirs */
    uint32_t state;     /* LINE_* */
    uint64_t next_seq;
    uint64_t once; /* rows with MSG_ONCE already received: bit of the row's index */
};

/* A received message with everything it points into. Reusable; line_msg_done closes fds that were not taken.
 */
struct line_msg {
    struct msg msg;
    struct frame frame;
    struct arena arena;
};

void line_msg_init(struct line_msg *m);
void line_msg_done(struct line_msg *m);

/* Both hellos, at most LIMIT_HELLO_MS each way. 0 or a negative errno (-EPROTO: another interface, version or
 * role). Sets state LINE_READY. */
int line_hello(struct line *l, struct line_msg *m) MUST_CHECK;

/* Waits for the next message. 0; 1 when the peer closed; negative errno (the peer broke the protocol, I/O).
 * timeout_ms -1 = for ever; -EAGAIN when it runs out. */
int line_recv(struct line *l, struct line_msg *m, int timeout_ms) MUST_CHECK;

/* Sends a note (seq 0 picks the next one) or the answer to seq. Waits for room in the peer's queue, at most
 * LIMIT_HELLO_MS. 0 or a negative errno. */
int line_send(struct line *l, uint32_t id, uint64_t seq, const void *rec, const int *fds,
              size_t nfds) MUST_CHECK;
int line_fail(struct line *l, uint64_t seq, uint32_t fail, const char *text) MUST_CHECK;
