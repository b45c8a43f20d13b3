/* SPDX-License-Identifier: MIT */
/* Inclusion and consistency proofs of the tree of a log (RFC 6962 sections 2.1.1 and 2.1.2), made from any
 * source of subtree hashes and checked as RFC 9162 sections 2.1.3.2 and 2.1.4.2 say. */
#pragma once

#include "common/evidence/merkle.h"

#define PROOF_HASHES_MAX 65 /* a consistency proof of a tree of 2^64 - 1 leaves; of real ones some thirty */

struct proof {
    size_t n;
    uint8_t hash[PROOF_HASHES_MAX][DIGEST_LEN];
};

/* Where hashes come from: the root of the perfect subtree of 2^level leaves that begins with the leaf
 * index * 2^level. Asked only for subtrees that lie whole in the tree. 0 or a negative errno. */
struct proof_source {
    int (*hash)(void *arg, unsigned level, uint64_t index, uint8_t ret[static DIGEST_LEN]);
    void *arg;
};

/* The root of the first size leaves. 0 or the source's error. */
int proof_root(const struct proof_source *s, uint64_t size, uint8_t ret[static DIGEST_LEN]) MUST_CHECK;

/* The frontier of the first size leaves, to go on from. 0 or the source's error. */
int proof_frontier(const struct proof_source *s, uint64_t size, struct merkle *ret) MUST_CHECK;

/* PATH(index, D[size]): the leaf's sibling first. 0; -ERANGE unless index < size; the source's error. */
int proof_inclusion(const struct proof_source *s, uint64_t index, uint64_t size,
                    struct proof *ret) MUST_CHECK;

/* PROOF(old, D[size]); empty for old == size and for old == 0, where nothing is to be proved. 0; -ERANGE
 * unless old <= size; the source's error. */
int proof_consistency(const struct proof_source *s, uint64_t old, uint64_t size,
                      struct proof *ret) MUST_CHECK;

/* Whether the proof leads from this leaf at index to the root of size leaves. */
bool proof_inclusion_check(const uint8_t leaf[static DIGEST_LEN], uint64_t index, uint64_t size,
                           const uint8_t root[static DIGEST_LEN], const struct proof *p);

/* Whether the tree of size leaves with this root begins with the old leaves of the old root. The empty tree
 * must have the root of the empty tree, and equal sizes equal roots. */
bool proof_consistency_check(uint64_t old, const uint8_t old_root[static DIGEST_LEN], uint64_t size,
                             const uint8_t root[static DIGEST_LEN], const struct proof *p);
