/* SPDX-License-Identifier: MIT */
#include "common/evidence/proof.h"

/* The exponent of the largest power of two below n, as RFC 6962 splits n >= 2 leaves. */
static unsigned proof_split(uint64_t n)
{
    return 63 - (unsigned)__builtin_clzll(n - 1);
}

/* MTH of the leaves from (inclusive) to to (exclusive). from is a multiple of every power of two that
 * to - from has as a digit: the recursion of RFC 6962 makes no others. */
static int proof_range(const struct proof_source *s, uint64_t from, uint64_t to,
                       uint8_t ret[static DIGEST_LEN])
{
    uint8_t node[DIGEST_LEN];
    uint64_t at = to;
    bool have = false;

    for (unsigned level = 0; level < 64 && at > from; level++) {
        if (!((to - from) >> level & 1))
            continue;
        at -= (uint64_t)1 << level;
        int r = s->hash(s->arg, level, at >> level, have ? node : ret);
        if (r < 0)
            return r;
        if (have)
            merkle_node(node, ret, ret);
        have = true;
    }
    if (!have)
        digest_sha256(NULL, 0, ret);
    return 0;
}

int proof_root(const struct proof_source *s, uint64_t size, uint8_t ret[static DIGEST_LEN])
{
    uint8_t root[DIGEST_LEN];
    int r = proof_range(s, 0, size, root);

    if (r == 0)
        memcpy(ret, root, DIGEST_LEN);
    return r;
}

int proof_frontier(const struct proof_source *s, uint64_t size, struct merkle *ret)
{
    struct merkle m = {.size = size};
    uint64_t at = 0;

    for (unsigned level = MERKLE_LEVELS; level-- > 0;) {
        if (!(size >> level & 1))
            continue;
        int r = s->hash(s->arg, level, at >> level, m.node[level]);
        if (r < 0)
            return r;
        at += (uint64_t)1 << level;
    }
    *ret = m;
    return 0;
}

/* The subtrees that the recursion leaves aside on its way down, outermost first. */
struct proof_walk {
    size_t n;
    uint64_t from[PROOF_HASHES_MAX], to[PROOF_HASHES_MAX];
};

static void proof_aside(struct proof_walk *w, uint64_t from, uint64_t to)
{
    w->from[w->n] = from;
    w->to[w->n++] = to;
}

/* Proofs list them innermost first. */
static int proof_collect(const struct proof_source *s, const struct proof_walk *w, struct proof *ret)
{
    struct proof p = {.n = 0};

    for (size_t i = w->n; i-- > 0; p.n++) {
        int r = proof_range(s, w->from[i], w->to[i], p.hash[p.n]);

        if (r < 0)
            return r;
    }
    *ret = p;
    return 0;
}

int proof_inclusion(const struct proof_source *s, uint64_t index, uint64_t size, struct proof *ret)
{
    struct proof_walk w = {.n = 0};
    uint64_t from = 0, to = size;

    if (index >= size)
        return -ERANGE;
    while (to - from > 1) {
        uint64_t middle = from + ((uint64_t)1 << proof_split(to - from));

        if (index < middle) {
            proof_aside(&w, middle, to);
            to = middle;
        } else {
            proof_aside(&w, from, middle);
            from = middle;
        }
    }
    return proof_collect(s, &w, ret);
}

int proof_consistency(const struct proof_source *s, uint64_t old, uint64_t size, struct proof *ret)
{
    struct proof_walk w = {.n = 0};
    uint64_t from = 0, to = size;

    if (old > size)
        return -ERANGE;
    if (old == 0 || old == size) {
        *ret = (struct proof){.n = 0};
        return 0;
    }
    while (to != old) {
        uint64_t middle = from + ((uint64_t)1 << proof_split(to - from));

        if (old <= middle) {
            proof_aside(&w, middle, to);
            to = middle;
        } else {
            proof_aside(&w, from, middle);
            from = middle;
        }
    }
    if (from > 0) /* else the old tree is that subtree, whose root the verifier has */
        proof_aside(&w, from, to);
    return proof_collect(s, &w, ret);
}

bool proof_inclusion_check(const uint8_t leaf[static DIGEST_LEN], uint64_t index, uint64_t size,
                           const uint8_t root[static DIGEST_LEN], const struct proof *p)
{
    uint64_t fn = index, sn = size - 1;
    uint8_t r[DIGEST_LEN];

    if (index >= size || p->n > PROOF_HASHES_MAX)
        return false;
    memcpy(r, leaf, DIGEST_LEN);
    for (size_t i = 0; i < p->n; i++) {
        if (sn == 0)
            return false;
        if ((fn & 1) || fn == sn) {
            merkle_node(p->hash[i], r, r);
            while (!(fn & 1) && fn != 0) {
                fn >>= 1;
                sn >>= 1;
            }
        } else {
            merkle_node(r, p->hash[i], r);
        }
        fn >>= 1;
        sn >>= 1;
    }
    return sn == 0 && memcmp(r, root, DIGEST_LEN) == 0;
}

/* RFC 9162 2.1.4.2 for 0 < old < size: fr grows to the old root, sr to the new one. */
static bool proof_consistency_walk(uint64_t old, const uint8_t *old_root, uint64_t size, const uint8_t *root,
                                   const struct proof *p)
{
    /* A power of two is a subtree of the new tree as it stands, and the proof leaves it out. */
    const uint8_t *first = (old & (old - 1)) == 0 ? old_root : p->hash[0];
    size_t i = first == old_root ? 0 : 1;
    uint64_t fn = old - 1, sn = size - 1;
    uint8_t fr[DIGEST_LEN], sr[DIGEST_LEN];

    if (p->n < i + (i == 0 ? 1 : 0))
        return false;
    for (; fn & 1; fn >>= 1)
        sn >>= 1;
    memcpy(fr, first, DIGEST_LEN);
    memcpy(sr, first, DIGEST_LEN);
    for (; i < p->n; i++) {
        if (sn == 0)
            return false;
        if ((fn & 1) || fn == sn) {
            merkle_node(p->hash[i], fr, fr);
            merkle_node(p->hash[i], sr, sr);
            while (!(fn & 1) && fn != 0) {
                fn >>= 1;
                sn >>= 1;
            }
        } else {
            merkle_node(sr, p->hash[i], sr);
        }
        fn >>= 1;
        sn >>= 1;
    }
    return sn == 0 && memcmp(fr, old_root, DIGEST_LEN) == 0 && memcmp(sr, root, DIGEST_LEN) == 0;
}

bool proof_consistency_check(uint64_t old, const uint8_t old_root[static DIGEST_LEN], uint64_t size,
                             const uint8_t root[static DIGEST_LEN], const struct proof *p)
{
    uint8_t empty[DIGEST_LEN];

    if (old > size || p->n > PROOF_HASHES_MAX)
        return false;
    digest_sha256(NULL, 0, empty);
    if ((size == 0 && memcmp(root, empty, DIGEST_LEN) != 0) ||
        (old == 0 && memcmp(old_root, empty, DIGEST_LEN) != 0))
        return false;
    if (old == size)
        return p->n == 0 && memcmp(old_root, root, DIGEST_LEN) == 0;
    if (old == 0)
        return p->n == 0;
    return proof_consistency_walk(old, old_root, size, root, p);
}
