/* SPDX-License-Identifier: MIT */
/* Makes one line of the log: builds the CloudEvent itself, computes its digests, signs. It never signs bytes
 * that somebody else framed. */
#pragma once

#include "common/base/clock.h"
#include "common/evidence/envelope.h"
#include "proto/events.h"
#include "signerd/cells.h"
#include "signerd/keys.h"

struct seal {
    struct keys *keys;             /* borrowed */
    bool bare;                     /* seal: batch: lines without a signature of their own */
    char host[LIMIT_HOSTNAME + 1]; /* in source; only [A-Za-z0-9._-] */
    struct buf material, pae;      /* reused */
};

void seal_init(struct seal *s, struct keys *keys, bool bare, const char *host);
void seal_done(struct seal *s);

/* What is fixed when a claim is accepted. */
struct seal_stamp {
    char id[UUID_TEXT_LEN + 1];
    char time[CLOCK_RFC3339_LEN + 1];
};
int seal_stamp_now(struct seal_stamp *ret) MUST_CHECK; /* 0 or -ERANGE (the clock is absurd) */

/* Appends the line with its LF. cell NULL: an event of the log; else cellsequence is its number in the run.
 * leaf: the line's tree hash. 0; -EMSGSIZE; b's error. On failure b is as before. */
int seal_line(struct seal *s, uint32_t role, const struct event_row *row, const struct seal_stamp *stamp,
              const struct cell *cell, uint64_t cellsequence, struct str data, uint64_t sequence,
              struct buf *b, uint8_t ret_leaf[static DIGEST_LEN]) MUST_CHECK;
