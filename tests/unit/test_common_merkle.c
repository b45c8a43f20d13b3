/* SPDX-License-Identifier: MIT */
/* The tree against heads computed by an independent script, and the tiles against the tree. */
#include "tests/unit/evidence_fixture.h"

#include "common/evidence/tile.h"

static struct fixture fixture;

static const unsigned sizes[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 255, 256, 257, 300, 511, 512, 513, 600};

static void leaf_of(unsigned i, uint8_t *ret)
{
    char text[32];
    int n = snprintf(text, sizeof(text), "leaf-%u", i);

    merkle_leaf(text, (size_t)n, ret);
}

static void test_reference_leaves(void **state)
{
    static const char *const leaves[] = {
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"};
    _cleanup_(buf_done) struct buf hex = {.data = NULL};
    uint8_t want[DIGEST_LEN], got[DIGEST_LEN], leaf[DIGEST_LEN], bytes[16];
    const char *p = strstr((const char *)fixture.text.data, "\"ct_roots\": [");
    struct merkle m;

    (void)state;
    buf_init(&hex, 128);
    merkle_init(&m);
    for (size_t i = 0; i <= ARRAY_LEN(leaves); i++) {
        p = strchr(p + (i == 0 ? 13 : 0), '"') + 1;
        assert_int_equal(encoding_hex_get((struct str){p, 64}, want, DIGEST_LEN), 0);
        p += 65;
        merkle_root(&m, got);
        assert_memory_equal(got, want, DIGEST_LEN);
        if (i == ARRAY_LEN(leaves))
            break;
        size_t n = strlen(leaves[i]) / 2;
        assert_int_equal(encoding_hex_get(str_of(leaves[i]), bytes, n), 0);
        merkle_leaf(bytes, n, leaf);
        merkle_append(&m, leaf);
    }
}

static void test_roots(void **state)
{
    uint8_t want[DIGEST_LEN], got[DIGEST_LEN], leaf[DIGEST_LEN];
    struct merkle m;
    char name[16];

    (void)state;
    merkle_init(&m);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        while (m.size < sizes[i]) {
            leaf_of((unsigned)m.size, leaf);
            merkle_append(&m, leaf);
        }
        (void)snprintf(name, sizeof(name), "%u", sizes[i]);
        fixture_hex(&fixture, name, want, DIGEST_LEN);
        merkle_root(&m, got);
        assert_memory_equal(got, want, DIGEST_LEN);
    }
}

struct full {
    unsigned n;
    uint8_t hash[4][TILE_BYTES];
    unsigned level[4];
    uint64_t index[4];
};

static void on_full(void *arg, unsigned level, uint64_t index, const uint8_t *data)
{
    struct full *f = arg;

    assert_true(f->n < 4);
    f->level[f->n] = level;
    f->index[f->n] = index;
    memcpy(f->hash[f->n++], data, TILE_BYTES);
}

static void test_tiles(void **state)
{
    static struct full full;
    static struct tiles t;
    uint8_t leaf[DIGEST_LEN], want[DIGEST_LEN], got[DIGEST_LEN];
    struct merkle m, from_tiles;

    (void)state;
    tiles_init(&t);
    merkle_init(&m);
    for (unsigned i = 0; i < 600; i++) {
        leaf_of(i, leaf);
        tiles_append(&t, leaf, on_full, &full);
        merkle_append(&m, leaf);
        tiles_merkle(&t, &from_tiles);
        merkle_root(&m, want);
        merkle_root(&from_tiles, got);
        assert_memory_equal(got, want, DIGEST_LEN);
    }
    assert_int_equal(full.n, 2);
    assert_int_equal(full.level[0], 0);
    assert_int_equal(full.index[0], 0);
    assert_int_equal(full.index[1], 1);
    fixture_hex(&fixture, "tile_0_000", want, DIGEST_LEN);
    digest_sha256(full.hash[0], TILE_BYTES, got);
    assert_memory_equal(got, want, DIGEST_LEN);
    assert_int_equal(t.n[0], 88);
    assert_int_equal(t.n[1], 2);
    fixture_hex(&fixture, "256", want, DIGEST_LEN); /* MTH(D[0:256]) is the first hash of level 1 */
    assert_memory_equal(t.hash[1][0], want, DIGEST_LEN);
}

/* 256^2 leaves fill a tile of level 1 and begin one of level 2. */
static void on_count(void *arg, unsigned level, uint64_t index, const uint8_t *data)
{
    unsigned *n = arg;

    (void)data;
    n[level]++;
    assert_int_equal(index, n[level] - 1);
}

static void test_upper_tiles(void **state)
{
    static struct tiles t;
    uint8_t leaf[DIGEST_LEN], a[DIGEST_LEN], b[DIGEST_LEN];
    unsigned n[TILE_LEVELS] = {0};
    struct merkle m, from_tiles;

    (void)state;
    tiles_init(&t);
    merkle_init(&m);
    for (unsigned i = 0; i < 256 * 256 + 3; i++) {
        leaf_of(i, leaf);
        tiles_append(&t, leaf, on_count, n);
        merkle_append(&m, leaf);
    }
    assert_int_equal(n[0], 256);
    assert_int_equal(n[1], 1);
    assert_int_equal(n[2], 0);
    assert_int_equal(t.n[2], 1);
    tiles_merkle(&t, &from_tiles);
    merkle_root(&m, a);
    merkle_root(&from_tiles, b);
    assert_memory_equal(a, b, DIGEST_LEN);
}

static void test_paths(void **state)
{
    char path[TILE_PATH_MAX];

    (void)state;
    tile_path(0, 0, 0, path);
    assert_string_equal(path, "tile/0/000");
    tile_path(1, 1234067, 256, path);
    assert_string_equal(path, "tile/1/x001/x234/067");
    tile_path(0, 273, 112, path);
    assert_string_equal(path, "tile/0/273.p/112");
    tile_path(7, UINT64_MAX, 255, path);
    assert_string_equal(path, "tile/7/x018/x446/x744/x073/x709/x551/615.p/255");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_leaves), cmocka_unit_test(test_roots), cmocka_unit_test(test_tiles),
        cmocka_unit_test(test_upper_tiles),      cmocka_unit_test(test_paths),
    };

    if (digest_init() < 0 || !fixture_open(&fixture, FIXTURE_FILE)) {
        fprintf(stderr, "%s is missing\n", FIXTURE_FILE);
        return 1;
    }
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    fixture_done(&fixture);
    return r;
}
