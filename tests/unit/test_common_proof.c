/* SPDX-License-Identifier: MIT */
/* Proofs against the definitions of RFC 6962 written down as they stand there, for every size up to
 * some hundreds, and the checks against proofs that somebody changed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/evidence/proof.h"

#define SIZE_MAX_TRIED 300u

static uint8_t leaves[SIZE_MAX_TRIED][DIGEST_LEN];

/* ---- RFC 6962 2.1, 2.1.1, 2.1.2, word by word ---- */

static uint64_t naive_k(uint64_t n)
{
    uint64_t k = 1;

    while (2 * k < n)
        k *= 2;
    return k;
}

static void naive_mth(uint64_t from, uint64_t n, uint8_t *ret)
{
    uint8_t left[DIGEST_LEN], right[DIGEST_LEN];

    if (n == 0) {
        digest_sha256("", 0, ret);
        return;
    }
    if (n == 1) {
        memcpy(ret, leaves[from], DIGEST_LEN);
        return;
    }
    naive_mth(from, naive_k(n), left);
    naive_mth(from + naive_k(n), n - naive_k(n), right);
    merkle_node(left, right, ret);
}

static void naive_path(uint64_t m, uint64_t from, uint64_t n, struct proof *p)
{
    uint64_t k = naive_k(n);

    if (n == 1)
        return;
    if (m < k) {
        naive_path(m, from, k, p);
        naive_mth(from + k, n - k, p->hash[p->n++]);
    } else {
        naive_path(m - k, from + k, n - k, p);
        naive_mth(from, k, p->hash[p->n++]);
    }
}

static void naive_subproof(uint64_t m, uint64_t from, uint64_t n, bool b, struct proof *p)
{
    uint64_t k = naive_k(n);

    if (m == n) {
        if (!b)
            naive_mth(from, n, p->hash[p->n++]);
        return;
    }
    if (m <= k) {
        naive_subproof(m, from, k, b, p);
        naive_mth(from + k, n - k, p->hash[p->n++]);
    } else {
        naive_subproof(m - k, from + k, n - k, false, p);
        naive_mth(from, k, p->hash[p->n++]);
    }
}

/* ---- the source: perfect subtrees from the leaves, and nothing else may be asked for ---- */

static int source_hash(void *arg, unsigned level, uint64_t index, uint8_t ret[static DIGEST_LEN])
{
    const uint64_t *size = arg, n = (uint64_t)1 << level;

    assert_true((index + 1) * n <= *size);
    naive_mth(index * n, n, ret);
    return 0;
}

static int source_fails(void *arg, unsigned level, uint64_t index, uint8_t ret[static DIGEST_LEN])
{
    (void)arg;
    (void)level;
    (void)index;
    (void)ret;
    return -EIO;
}

static void same(const struct proof *a, const struct proof *b)
{
    assert_int_equal(a->n, b->n);
    for (size_t i = 0; i < a->n; i++)
        assert_memory_equal(a->hash[i], b->hash[i], DIGEST_LEN);
}

static void test_roots(void **state)
{
    struct merkle m, frontier;
    uint8_t want[DIGEST_LEN], got[DIGEST_LEN];
    uint64_t size;
    struct proof_source s = {source_hash, &size};

    (void)state;
    merkle_init(&m);
    for (size = 0; size <= SIZE_MAX_TRIED; size++) {
        naive_mth(0, size, want);
        assert_int_equal(proof_root(&s, size, got), 0);
        assert_memory_equal(got, want, DIGEST_LEN);
        merkle_root(&m, got);
        assert_memory_equal(got, want, DIGEST_LEN);
        assert_int_equal(proof_frontier(&s, size, &frontier), 0);
        merkle_root(&frontier, got);
        assert_memory_equal(got, want, DIGEST_LEN);
        if (size < SIZE_MAX_TRIED)
            merkle_append(&m, leaves[size]);
    }
}

static void test_inclusion(void **state)
{
    struct proof want, got;
    uint8_t root[DIGEST_LEN];
    uint64_t size;
    struct proof_source s = {source_hash, &size};

    (void)state;
    for (size = 1; size <= SIZE_MAX_TRIED; size += size < 70 ? 1 : 23) {
        naive_mth(0, size, root);
        for (uint64_t i = 0; i < size; i++) {
            want.n = 0;
            naive_path(i, 0, size, &want);
            assert_int_equal(proof_inclusion(&s, i, size, &got), 0);
            same(&got, &want);
            assert_true(proof_inclusion_check(leaves[i], i, size, root, &got));
            /* of no other leaf, place or tree */
            assert_false(proof_inclusion_check(leaves[(i + 1) % SIZE_MAX_TRIED], i, size, root, &got));
            for (uint64_t other = 0; other < size && size < 40; other++)
                assert_true(other == i || !proof_inclusion_check(leaves[i], other, size, root, &got));
        }
        assert_int_equal(proof_inclusion(&s, size, size, &got), -ERANGE);
        assert_false(proof_inclusion_check(leaves[0], size, size, root, &got));
    }
    assert_false(proof_inclusion_check(leaves[0], 0, 0, root, &got));
}

static void test_consistency(void **state)
{
    struct proof want, got;
    uint8_t root[DIGEST_LEN], old_root[DIGEST_LEN];
    uint64_t size;
    struct proof_source s = {source_hash, &size};

    (void)state;
    for (size = 0; size <= SIZE_MAX_TRIED; size += size < 70 ? 1 : 23) {
        naive_mth(0, size, root);
        for (uint64_t old = 0; old <= size; old++) {
            naive_mth(0, old, old_root);
            want.n = 0;
            if (old > 0)
                naive_subproof(old, 0, size, true, &want);
            assert_int_equal(proof_consistency(&s, old, size, &got), 0);
            same(&got, &want);
            assert_true(proof_consistency_check(old, old_root, size, root, &got));
            for (uint64_t other = 0; other <= size && size < 40; other++)
                assert_true(other == old || !proof_consistency_check(other, old_root, size, root, &got));
            old_root[3] ^= 4;
            assert_false(proof_consistency_check(old, old_root, size, root, &got));
        }
        assert_int_equal(proof_consistency(&s, size + 1, size, &got), -ERANGE);
    }
}

/* Every single bit, a hash more, a hash less, two hashes swapped. */
static void mutations(struct proof p, bool (*check)(const struct proof *p, void *arg), void *arg)
{
    assert_true(check(&p, arg));
    for (size_t i = 0; i < p.n; i++)
        for (unsigned bit = 0; bit < 8 * DIGEST_LEN; bit += 5) {
            p.hash[i][bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_false(check(&p, arg));
            p.hash[i][bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    for (size_t i = 0; i + 1 < p.n; i++) {
        struct proof swapped = p;

        memcpy(swapped.hash[i], p.hash[i + 1], DIGEST_LEN);
        memcpy(swapped.hash[i + 1], p.hash[i], DIGEST_LEN);
        assert_false(check(&swapped, arg));
    }
    memset(p.hash[p.n], 7, DIGEST_LEN);
    p.n++;
    assert_false(check(&p, arg));
    p.n--;
    if (p.n > 0) {
        p.n--;
        assert_false(check(&p, arg));
    }
    p.n = PROOF_HASHES_MAX + 1;
    assert_false(check(&p, arg));
}

struct claim {
    uint64_t a, size;
    uint8_t old_root[DIGEST_LEN], root[DIGEST_LEN];
};

static bool check_inclusion(const struct proof *p, void *arg)
{
    const struct claim *c = arg;

    return proof_inclusion_check(leaves[c->a], c->a, c->size, c->root, p);
}

static bool check_consistency(const struct proof *p, void *arg)
{
    const struct claim *c = arg;

    return proof_consistency_check(c->a, c->old_root, c->size, c->root, p);
}

static void test_mutated(void **state)
{
    static const uint64_t sizes[] = {1, 2, 3, 7, 8, 11, 64, 65, 257, 300};
    struct claim c;
    struct proof p;
    struct proof_source s = {source_hash, &c.size};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        c.size = sizes[i];
        naive_mth(0, c.size, c.root);
        for (c.a = 0; c.a < c.size; c.a += c.size / 9 + 1) {
            naive_mth(0, c.a, c.old_root);
            assert_int_equal(proof_inclusion(&s, c.a, c.size, &p), 0);
            mutations(p, check_inclusion, &c);
            assert_int_equal(proof_consistency(&s, c.a, c.size, &p), 0);
            mutations(p, check_consistency, &c);
        }
    }
}

/* Sizes no log of ours reaches: only the arithmetic. */
static int flat_hash(void *arg, unsigned level, uint64_t index, uint8_t ret[static DIGEST_LEN])
{
    uint8_t *perfect = arg;

    (void)index;
    memcpy(ret, perfect + (size_t)level * DIGEST_LEN, DIGEST_LEN);
    return 0;
}

static void test_greatest(void **state)
{
    static uint8_t perfect[64][DIGEST_LEN];
    struct proof_source s = {flat_hash, perfect};
    uint8_t root[DIGEST_LEN], old_root[DIGEST_LEN];
    struct proof p;

    (void)state;
    merkle_leaf("x", 1, perfect[0]);
    for (size_t i = 1; i < ARRAY_LEN(perfect); i++)
        merkle_node(perfect[i - 1], perfect[i - 1], perfect[i]);
    assert_int_equal(proof_root(&s, UINT64_MAX, root), 0);
    assert_int_equal(proof_inclusion(&s, 0, UINT64_MAX, &p), 0);
    assert_int_equal(p.n, 64);
    assert_true(proof_inclusion_check(perfect[0], 0, UINT64_MAX, root, &p));
    assert_int_equal(proof_inclusion(&s, UINT64_MAX - 1, UINT64_MAX, &p), 0);
    assert_true(proof_inclusion_check(perfect[0], UINT64_MAX - 1, UINT64_MAX, root, &p));
    for (uint64_t old = 1; old < UINT64_MAX / 5; old *= 5) {
        assert_int_equal(proof_root(&s, old, old_root), 0);
        assert_int_equal(proof_consistency(&s, old, UINT64_MAX, &p), 0);
        assert_true(p.n <= PROOF_HASHES_MAX);
        assert_true(proof_consistency_check(old, old_root, UINT64_MAX, root, &p));
    }
}

static void test_source_error(void **state)
{
    struct proof_source s = {source_fails, NULL};
    uint8_t root[DIGEST_LEN] = {1};
    struct proof p = {.n = 77};

    (void)state;
    assert_int_equal(proof_root(&s, 9, root), -EIO);
    assert_int_equal(root[0], 1);
    assert_int_equal(proof_inclusion(&s, 3, 9, &p), -EIO);
    assert_int_equal(proof_consistency(&s, 3, 9, &p), -EIO);
    assert_int_equal(p.n, 77);
}

static int setup(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SIZE_MAX_TRIED; i++)
        merkle_leaf(&i, sizeof(i), leaves[i]);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_roots),   cmocka_unit_test(test_inclusion), cmocka_unit_test(test_consistency),
        cmocka_unit_test(test_mutated), cmocka_unit_test(test_greatest),  cmocka_unit_test(test_source_error),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
