/* SPDX-License-Identifier: MIT */
/* Hashes out of the directory that signerd wrote, whatever is left of its tiles, against the tree of its
 * lines. */
#include "tests/unit/signerd_rig.h"

#include "common/evidence/log_reader.h"
#include "common/evidence/tile_reader.h"

#define LINES 700u

struct truth {
    uint8_t leaf[LINES][DIGEST_LEN];
    uint8_t root[LINES + 1][DIGEST_LEN];
};

static struct truth truth;

static void make(struct rig *r)
{
    _cleanup_(log_reader_freep) struct log_reader *reader = NULL;
    struct merkle m;
    struct log_line l;

    rig_init_fast(r);
    assert_int_equal(rig_open(r), 0);
    rig_run(r, "web-1", LINES - 3);
    r->log = elog_free(r->log);
    merkle_init(&m);
    merkle_root(&m, truth.root[0]);
    assert_int_equal(log_reader_open(r->log_dir, 0, &reader), 0);
    for (size_t i = 0; i < LINES; i++) {
        assert_int_equal(log_reader_next(reader, &l), LOG_READ_LINE);
        merkle_leaf(l.text.p, l.text.len, truth.leaf[i]);
        merkle_append(&m, truth.leaf[i]);
        merkle_root(&m, truth.root[i + 1]);
    }
}

static void expect_all(const struct rig *r, enum tile_reader_from from)
{
    for (uint64_t size = 1; size <= LINES; size += size == 1 ? 1 : 53) {
        _cleanup_(tile_reader_freep) struct tile_reader *t = NULL;
        struct proof_source s;
        uint8_t root[DIGEST_LEN];
        struct proof p;

        assert_int_equal(tile_reader_open(r->log_dir, size, from, &t), 0);
        s = tile_reader_source(t);
        assert_int_equal(proof_root(&s, size, root), 0);
        assert_memory_equal(root, truth.root[size], DIGEST_LEN);
        for (uint64_t i = 0; i < size; i += 1 + size / 7) {
            assert_int_equal(proof_inclusion(&s, i, size, &p), 0);
            assert_true(proof_inclusion_check(truth.leaf[i], i, size, truth.root[size], &p));
            assert_int_equal(proof_consistency(&s, i, size, &p), 0);
            assert_true(proof_consistency_check(i, truth.root[i], size, truth.root[size], &p));
        }
        assert_int_equal(s.hash(s.arg, 0, size, root), -ERANGE);
        assert_int_equal(s.hash(s.arg, 63, 0, root), -ERANGE);
    }
}

static void test_as_written(void **state)
{
    struct rig r;

    (void)state;
    make(&r);
    assert_int_equal(faccessat(r.log_dir, "tile/0/001", F_OK, 0), 0);
    expect_all(&r, TILE_READER_TILES);
    expect_all(&r, TILE_READER_LINES);
    rig_done(&r);
}

static void test_tiles_missing_or_cut(void **state)
{
    static const char *const files[] = {"tile/0/000", "tile/0/001", "tile/1/000.p/2", "tile/0/002.p/188"};
    struct rig r;

    (void)state;
    make(&r);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        if (i % 2)
            assert_int_equal(unlinkat(r.log_dir, files[i], 0), 0);
        else
            rig_write(&r, files[i], "cut", 3);
        expect_all(&r, TILE_READER_TILES);
    }
    assert_int_equal(unlinkat(r.log_dir, RIG_FIRST, 0), 0); /* and neither lines */
    _cleanup_(tile_reader_freep) struct tile_reader *t = NULL;
    uint8_t root[DIGEST_LEN];
    assert_int_equal(tile_reader_open(r.log_dir, LINES, TILE_READER_TILES, &t), 0);
    struct proof_source s = tile_reader_source(t);
    assert_int_equal(proof_root(&s, LINES, root), -ENOENT);
    rig_done(&r);
}

/* A partial tile is taken from the full one, or from a wider one, when that is what there is. */
static void test_partial_from_wider(void **state)
{
    uint8_t tile[TILE_BYTES], root[DIGEST_LEN];
    struct rig r;

    (void)state;
    make(&r);
    assert_int_equal(unlinkat(r.log_dir, RIG_FIRST, 0), 0);
    for (uint64_t size = 513; size <= LINES; size++) {
        _cleanup_(tile_reader_freep) struct tile_reader *t = NULL;
        unsigned width;

        assert_int_equal(tile_reader_open(r.log_dir, size, TILE_READER_TILES, &t), 0);
        struct proof_source s = tile_reader_source(t);
        assert_int_equal(proof_root(&s, size, root), 0);
        assert_memory_equal(root, truth.root[size], DIGEST_LEN);
        assert_int_equal(tile_reader_tile(t, 0, 2, tile, &width), 0);
        assert_int_equal(width, size - 512);
        assert_memory_equal(tile, truth.leaf[512], (size_t)width * DIGEST_LEN);
        assert_int_equal(tile_reader_tile(t, 0, 3, tile, &width), -ERANGE);
        assert_int_equal(tile_reader_tile(t, 2, 0, tile, &width), -ERANGE);
    }
    rig_done(&r);
}

/* A tile with other hashes leads to another root, which the signed one shows; the lines alone do not. */
static void test_wrong_tile_is_not_believed_for_long(void **state)
{
    _cleanup_(tile_reader_freep) struct tile_reader *t = NULL, *lines = NULL;
    uint8_t root[DIGEST_LEN], wrong[TILE_BYTES] = {7};
    struct rig r;

    (void)state;
    make(&r);
    rig_write(&r, "tile/0/000", wrong, sizeof(wrong));
    assert_int_equal(tile_reader_open(r.log_dir, LINES, TILE_READER_TILES, &t), 0);
    struct proof_source s = tile_reader_source(t);
    assert_int_equal(proof_root(&s, 200, root), 0);
    assert_memory_not_equal(root, truth.root[200], DIGEST_LEN);
    assert_int_equal(tile_reader_open(r.log_dir, LINES, TILE_READER_LINES, &lines), 0);
    s = tile_reader_source(lines);
    assert_int_equal(proof_root(&s, 200, root), 0);
    assert_memory_equal(root, truth.root[200], DIGEST_LEN);
    rig_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_written),
        cmocka_unit_test(test_tiles_missing_or_cut),
        cmocka_unit_test(test_partial_from_wider),
        cmocka_unit_test(test_wrong_tile_is_not_believed_for_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
