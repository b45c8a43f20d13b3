/* SPDX-License-Identifier: MIT */
/* The parts of struct afterseal: afterseal.c signs what waits, afterseal_resume.c finds at a start what an
 * earlier process left waiting. */
#pragma once

#include "common/evidence/envelope.h"
#include "common/evidence/log_reader.h"
#include "proto/limits.h"
#include "signerd/afterseal.h"

#define AFTERSEAL_CHUNK 64u /* signatures that are written at once */
#define AFTERSEAL_SYNC                                                                                       \
    (LIMIT_UNSIGNED / 4) /* and that may be lost with the power: the next start makes them */

struct afterseal {
    int dirfd;
    struct keys *keys;
    struct log_reader *reader;
    int fd; /* of the signatures of segment */
    uint64_t segment;
    uint64_t unsynced;           /* signatures written there since the last sync */
    uint64_t next, end;          /* the lines whose leaves wait */
    uint64_t dropped;            /* lines that waited for too long */
    uint8_t (*leaf)[DIGEST_LEN]; /* a ring; of line i at i % cap */
    size_t cap;                  /* a power of two, or 0 */
    uint64_t first; /* of the lines that are prepared: they are of one segment, and are signed together */
    size_t n;
    struct buf material, pae;        /* pae: what is signed, one behind the other */
    size_t pae_end[AFTERSEAL_CHUNK]; /* empty: a line that has its signature already */
    uint8_t sig[AFTERSEAL_CHUNK][ED25519_SIG_LEN];
};

/* Whether the line is one that our key counts for. */
bool afterseal_may_sign(const struct afterseal *a, const struct envelope *e);

/* Takes in what waits in the tree of size lines with that root. Nothing does when it cannot be proven
 * (logged). 0 or -errno. */
int afterseal_resume(struct afterseal *a, uint64_t size, const uint8_t root[static DIGEST_LEN]) MUST_CHECK;
