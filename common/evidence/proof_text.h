/* SPDX-License-Identifier: MIT */
/* Proofs as text: c2sp.org/tlog-proof (one event in a tree) and the body of an add-checkpoint request of
 * c2sp.org/tlog-witness (a tree that continues an older one). Both end in the checkpoint, verbatim. */
#pragma once

#include "common/evidence/checkpoint.h"
#include "common/evidence/proof.h"

#define PROOF_TEXT_HEAD   "c2sp.org/tlog-proof@v1"
#define PROOF_TEXT_MAX    (CHECKPOINT_NOTE_MAX + 16384)
#define PROOF_OLD_MAX     63 /* hashes in an add-checkpoint request (tlog-witness) */
#define PROOF_TEXT_SUFFIX ".tlog-proof"

struct proof_text {
    uint64_t at; /* index of the event; size of the older tree */
    struct proof proof;
    struct str note; /* borrowed */
};

/* Appends the text to b, whose error says when it did not fit. */
void proof_text_put(const struct proof_text *p, struct buf *b);
void proof_text_put_old(const struct proof_text *p, struct buf *b);

/* The exact inverse (an `extra` line is accepted and ignored: nothing signs it). The note is only delimited.
 * 0 or -EBADMSG. */
int proof_text_get(struct str s, struct proof_text *ret) MUST_CHECK;
int proof_text_get_old(struct str s, struct proof_text *ret) MUST_CHECK;
