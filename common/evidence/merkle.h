/* SPDX-License-Identifier: MIT */
/* The Merkle tree of a log: RFC 6962 section 2.1, SHA-256, kept as its frontier (the roots of the perfect
 * subtrees that the size's binary digits name), so appending costs one or two digests and the state is 2 KiB
 * whatever the size. */
#pragma once

#include "common/evidence/digest.h"

#define MERKLE_LEVELS 64

struct merkle {
    uint64_t size; /* leaves so far */
    uint8_t node[MERKLE_LEVELS]
                [DIGEST_LEN]; /* node[k] is meaningful when bit k of size is set: a subtree of 2^k leaves */
};

/* SHA-256(0x00 || entry) */
void merkle_leaf(const void *entry, size_t n, uint8_t ret[static DIGEST_LEN]);

/* SHA-256(0x01 || left || right); ret may be left or right */
void merkle_node(const uint8_t left[static DIGEST_LEN], const uint8_t right[static DIGEST_LEN],
                 uint8_t ret[static DIGEST_LEN]);

void merkle_init(struct merkle *m); /* the empty tree */
void merkle_append(struct merkle *m, const uint8_t leaf[static DIGEST_LEN]);

/* The root at the present size; for the empty tree SHA-256 of nothing. */
void merkle_root(const struct merkle *m, uint8_t ret[static DIGEST_LEN]);

/* The root of exactly n = 2^k hashes of one level (a full tile and the halves of one); n a power of
 * two, 1...256. */
void merkle_perfect(const uint8_t *hashes, size_t n, uint8_t ret[static DIGEST_LEN]);
