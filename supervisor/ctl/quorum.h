/* SPDX-License-Identifier: MIT */
/* Which witnesses must have cosigned a checkpoint: --witness VKEY, several times, and --quorum N of them. */
#pragma once

#include "common/evidence/cosign.h"

struct quorum {
    size_t n;      /* witnesses asked for */
    unsigned need; /* of them; all unless --quorum said otherwise */
    struct cosigner key[COSIGN_WITNESSES_MAX];
};

/* One --witness: a vkey of signature type 0x04, or a file with one. An exit status; a failure has been told.
 */
int quorum_add(const char *verb, struct quorum *q, const char *witness) MUST_CHECK;

/* --quorum, after all witnesses: NULL means all. An exit status; a failure has been told. */
int quorum_need(const char *verb, struct quorum *q, const char *number) MUST_CHECK;

/* What notes have shown so far. */
struct quorum_seen {
    uint64_t when[COSIGN_WITNESSES_MAX]; /* newest cosignature of each witness; 0: none */
    uint64_t size[COSIGN_WITNESSES_MAX]; /* of the tree it is on */
    bool bad[COSIGN_WITNESSES_MAX];      /* a line of that witness did not verify */
};

/* Looks at one verified note of a tree of that size. 0 or -ENOMEM. */
int quorum_look(const struct quorum *q, struct str note, uint64_t size, struct quorum_seen *seen) MUST_CHECK;

/* Prints a line for every witness and answers whether enough of them signed. */
bool quorum_print(const struct quorum *q, const struct quorum_seen *seen, bool color);
