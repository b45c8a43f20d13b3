/* SPDX-License-Identifier: MIT */
/* A proof as one self-contained JSON file: what `cellctl prove` and `cellctl consistency -o` write and
 * `cellctl verify` and `consistency --proof` read.
 *
 *   {"cellosProof":1,"seal":"event|batch","line":"<the sealed event>","tlogProof":"<c2sp.org/tlog-proof>",
 *    "vkey":"...","keyset":["...",...]}
 *   {"cellosConsistency":1,"oldCheckpoint":"<note>","addCheckpoint":"<c2sp.org/tlog-witness request>",
 *    "vkey":"...","keyset":["...",...]}
 *
 * vkey and keyset are what the log declares; a verifier that was given a key does not look at them. keyset
 * may be absent. */
#pragma once

#include "common/base/buf.h"

#define PROOF_FILE_MAX    (8u << 20)
#define PROOF_FILE_SUFFIX ".proof.json"

enum proof_file_kind {
    PROOF_FILE_EVENT,
    PROOF_FILE_CONSISTENCY,
};

struct proof_file {
    enum proof_file_kind kind;
    bool batch;        /* EVENT: the leaf is the line without its dssematerial */
    struct buf line;   /* EVENT: the sealed event. CONSISTENCY: the older checkpoint, a note */
    struct buf proof;  /* tlog-proof, or the request */
    struct buf vkey;   /* one line, no LF */
    struct buf keyset; /* lines with LF; empty: absent */
};

void proof_file_init(struct proof_file *f, enum proof_file_kind kind);
void proof_file_done(struct proof_file *f);

/* Appends the JSON and a LF to b. 0 or -ENOMEM, -ENOBUFS. */
int proof_file_put(const struct proof_file *f, struct buf *b) MUST_CHECK;

/* Reads it. 0 with *ret initialised; -EBADMSG; -ENOMEM. */
int proof_file_get(struct str s, struct proof_file *ret) MUST_CHECK;

/* Whether the text, a file's or its beginning, is meant to be such a file. */
bool proof_file_is(struct str s);
