/* SPDX-License-Identifier: MIT */
/* Frames no honest sibling sends, made from the message tables: whatever a row says, broken one way at a
 * time. The receiver must cut the line for every one of them. */
#pragma once

#include "common/ipc/frame.h"
#include "proto/iface.h"

struct hostile_line {
    const struct iface *iface;
    uint32_t side; /* FROM_*: ours */
    uint32_t role; /* ours */
};

struct hostile {
    struct buf bytes;
    size_t nfds;  /* of /dev/null, to go with it */
    bool instead; /* of our hello: else it follows a good one */
    char what[96];
};

#define HOSTILE_BYTES_MAX (2u * FRAME_MAX)

/* The number of kinds and the name of one ("unknown_id"). */
size_t hostile_kinds(void);
const char *hostile_kind_name(size_t kind);

/* The nth frame that is in order: the hello (0), then the peer's own rows. False = there are no more. */
bool hostile_good(size_t nth, const struct hostile_line *l, struct hostile *h);

/* The nth frame of a kind for this line. False when there are no more. h->bytes: hostile_init() and
 * hostile_done() are the caller's. */
bool hostile_make(size_t kind, size_t nth, const struct hostile_line *l, struct hostile *h);
