/* SPDX-License-Identifier: MIT */
/* Every way of tampering with a log that somebody could think of, on a small log: each is found, the place is
 * named, looking changes nothing, and signerd neither goes on with it nor makes it look right. */
#include <sys/wait.h>

#include "common/evidence/log_reader.h"
#include "common/evidence/sidecar.h"
#include "tests/unit/signerd_rig.h"

#define TAMPER_FILE (1u << 20)

struct log {
    struct rig r;
    struct buf lines; /* of the only segment */
    size_t start[64], n;
};

static void log_read(struct log *l)
{
    buf_init(&l->lines, TAMPER_FILE);
    rig_read(&l->r, RIG_FIRST, &l->lines);
    l->n = 0;
    for (size_t i = 0; i < l->lines.len; i++)
        if (i == 0 || l->lines.data[i - 1] == '\n')
            l->start[l->n++] = i;
    l->start[l->n] = l->lines.len;
}

/* Two starts, a run with each; or a run and a start. */
static void log_make_of(struct log *l, uint32_t seal, unsigned l7)
{
    *l = (struct log){.n = 0};
    rig_init_fast(&l->r);
    l->r.config.seal = seal;
    assert_int_equal(rig_open(&l->r), 0);
    rig_run(&l->r, "web-1", l7);
    rig_close(&l->r);
    assert_int_equal(rig_open(&l->r), 0);
    if (l7 > 0)
        rig_run(&l->r, "web-2", 1);
    rig_close(&l->r);
    log_read(l);
}

static void log_make(struct log *l, uint32_t seal)
{
    log_make_of(l, seal, 2);
}

static void log_make_small(struct log *l, uint32_t seal)
{
    log_make_of(l, seal, 0);
}

static void log_done(struct log *l)
{
    buf_done(&l->lines);
    rig_done(&l->r);
}

static enum log_verdict judge(const struct log *l, struct log_report *ret)
{
    struct log_verify_options o = {.trust = {.ring = keys_ring(l->r.keys)}};

    assert_int_equal(log_verify(l->r.log_dir, &o, ret), 0);
    assert_true(ret->verdict == LOG_GOOD || ret->why[0]);
    return ret->verdict;
}

static void expect_line(const struct log *l, size_t line, const char *what)
{
    struct log_report report;

    if (judge(l, &report) != LOG_BAD_LINE || report.line != line)
        fail_msg("%s: verdict %d, line %llu, where line %zu is wrong: %s", what, report.verdict,
                 (unsigned long long)report.line, line, report.why);
}

/* signerd does not begin with it, and leaves every byte as it is. */
static void expect_refused(struct log *l, const char *name, const struct buf *bytes)
{
    _cleanup_(buf_done) struct buf after = {.data = NULL};

    if (rig_open(&l->r) != -EBADMSG)
        fail_msg("signerd goes on with it");
    l->r.log = NULL;
    buf_init(&after, TAMPER_FILE);
    rig_read(&l->r, name, &after);
    assert_int_equal(after.len, bytes->len);
    assert_memory_equal(after.data, bytes->data, bytes->len);
}

/* ---- every bit ---- */

static void test_every_bit_of_the_lines(void **state)
{
    struct log l;

    (void)state;
    log_make_small(&l, SEAL_EVENT);
    for (size_t line = 0; line < l.n; line++)
        for (size_t i = l.start[line]; i < l.start[line + 1]; i++) {
            uint8_t bit = (uint8_t)(1u << i % 8);
            char what[64];

            (void)snprintf(what, sizeof(what), "byte %zu, bit %u", i, bit);
            l.lines.data[i] ^= bit;
            rig_write(&l.r, RIG_FIRST, l.lines.data, l.lines.len);
            expect_line(&l, line + 1, what);
            l.lines.data[i] ^= bit;
        }
    log_done(&l);
}

/* The line is found by its own signature where it has one beside it; without, the tree is wrong, and that is
 * found too. */
static void bits_of_bare_lines(bool with_signatures)
{
    struct log_report report;
    char sig[SIDECAR_NAME_MAX];
    struct log l;

    log_make_small(&l, SEAL_BATCH);
    sidecar_name(0, keys_keyid(l.r.keys), sig);
    if (!with_signatures)
        assert_int_equal(unlinkat(l.r.log_dir, sig, 0), 0);
    assert_int_equal(judge(&l, &report), LOG_GOOD);
    assert_int_equal(report.bare, with_signatures ? 0 : l.n);
    for (size_t line = 0; line < l.n; line++)
        for (size_t i = l.start[line]; i < l.start[line + 1]; i++) {
            l.lines.data[i] ^= (uint8_t)(1u << i % 8);
            rig_write(&l.r, RIG_FIRST, l.lines.data, l.lines.len);
            enum log_verdict v = judge(&l, &report);
            if (v != LOG_BAD_LINE && v != LOG_BAD_ROOT)
                fail_msg("byte %zu is not missed", i);
            if (with_signatures && (v != LOG_BAD_LINE || report.line != line + 1))
                fail_msg("byte %zu of line %zu: %s, line %llu", i, line + 1, report.why,
                         (unsigned long long)report.line);
            l.lines.data[i] ^= (uint8_t)(1u << i % 8);
        }
    log_done(&l);
}

static void test_every_bit_of_bare_lines(void **state)
{
    (void)state;
    bits_of_bare_lines(true);
    bits_of_bare_lines(false);
}

static void test_every_bit_of_the_signatures_beside(void **state)
{
    _cleanup_(buf_done) struct buf b = {.data = NULL};
    char name[SIDECAR_NAME_MAX];
    struct log l;

    (void)state;
    log_make_small(&l, SEAL_BATCH);
    buf_init(&b, TAMPER_FILE);
    sidecar_name(0, keys_keyid(l.r.keys), name);
    rig_read(&l.r, name, &b);
    assert_int_equal(b.len, l.n * ED25519_SIG_LEN);
    for (size_t i = 0; i < b.len; i++) {
        b.data[i] ^= (uint8_t)(1u << i % 8);
        rig_write(&l.r, name, b.data, b.len);
        expect_line(&l, i / ED25519_SIG_LEN + 1, "signature");
        b.data[i] ^= (uint8_t)(1u << i % 8);
    }
    log_done(&l);
}

static void test_every_bit_of_the_small_files(void **state)
{
    static const char *const names[] = {"checkpoint", "origin"};
    struct log_report report;
    struct log l;

    (void)state;
    log_make_small(&l, SEAL_EVENT);
    for (size_t k = 0; k < ARRAY_LEN(names); k++) {
        _cleanup_(buf_done) struct buf b = {.data = NULL};

        buf_init(&b, TAMPER_FILE);
        rig_read(&l.r, names[k], &b);
        for (size_t i = 0; i < 8 * b.len; i++) {
            b.data[i / 8] ^= (uint8_t)(1u << i % 8);
            rig_write(&l.r, names[k], b.data, b.len);
            assert_int_equal(judge(&l, &report), LOG_BAD_CHECKPOINT);
            b.data[i / 8] ^= (uint8_t)(1u << i % 8);
        }
        rig_write(&l.r, names[k], b.data, b.len);
    }
    log_done(&l);
}

/* ---- lines ---- */

static void put_line(const struct log *l, struct buf *b, size_t line)
{
    buf_put(b, l->lines.data + l->start[line], l->start[line + 1] - l->start[line]);
}

/* The lines in another order, with or without some of them. */
static void put_lines(const struct log *l, const size_t *order, size_t n)
{
    _cleanup_(buf_done) struct buf b = {.data = NULL};

    buf_init(&b, TAMPER_FILE);
    for (size_t i = 0; i < n; i++)
        put_line(l, &b, order[i]);
    assert_int_equal(b.err, 0);
    rig_write(&l->r, RIG_FIRST, b.data, b.len);
}

/* 0 ... n - 1 with place `at` filled by `with` and moved by one, or without it. */
static size_t order_of(size_t *order, size_t n, size_t at, bool insert, size_t with)
{
    size_t k = 0;

    for (size_t i = 0; i < n; i++) {
        if (i == at && insert)
            order[k++] = with;
        if (i != at || insert)
            order[k++] = i;
    }
    return k;
}

static void lines_moved(uint32_t seal)
{
    struct log_report report;
    size_t order[80];
    struct log l;

    log_make(&l, seal);
    for (size_t at = 0; at < l.n; at++) {
        put_lines(&l, order, order_of(order, l.n, at, false, 0));
        if (at + 1 < l.n)
            expect_line(&l, at + 1, "removed");
        else
            assert_int_equal(judge(&l, &report), LOG_BAD_SHORT);
        for (size_t with = 0; with < l.n; with++) {
            put_lines(&l, order, order_of(order, l.n, at, true, with));
            expect_line(&l, with == at ? at + 2 : at + 1, "repeated");
        }
        order_of(order, l.n, l.n, false, 0);
        for (size_t other = at + 1; other < l.n; other++) {
            order[at] = other;
            order[other] = at;
            put_lines(&l, order, l.n);
            expect_line(&l, at + 1, "changed places");
            order[other] = other;
        }
    }
    log_done(&l);
}

static void test_lines_removed_repeated_reordered(void **state)
{
    (void)state;
    lines_moved(SEAL_EVENT);
    lines_moved(SEAL_BATCH);
}

/* Wherever the file is cut below the checkpoint: refused, told, and not touched. */
static void test_cut_anywhere(void **state)
{
    struct log_report report;
    struct log l;

    (void)state;
    log_make(&l, SEAL_EVENT);
    for (size_t n = 0; n < l.lines.len; n++) {
        struct buf cut = {.data = l.lines.data, .len = n};

        rig_write(&l.r, RIG_FIRST, l.lines.data, n);
        enum log_verdict v = judge(&l, &report);
        assert_true(v == LOG_BAD_SHORT || v == LOG_BAD_LINE);
        if (n % 97 == 0)
            expect_refused(&l, RIG_FIRST, &cut);
    }
    log_done(&l);
}

/* ---- one file of another log, with the same key ---- */

static void copy_file(const struct log *from, const struct log *to, const char *name)
{
    _cleanup_(buf_done) struct buf b = {.data = NULL};

    buf_init(&b, TAMPER_FILE);
    rig_read(&from->r, name, &b);
    rig_write(&to->r, name, b.data, b.len);
}

/* Another log of the same signer: the same kinds of events, so the same number of lines. */
static void log_make_sibling(struct log *l, const struct log *of, uint32_t seal)
{
    struct rig *r = &l->r;

    *l = (struct log){.n = 0};
    rig_init_fast(r);
    keys_free(r->keys);
    assert_int_equal(keys_open(of->r.keys_dir, &r->keys), 0);
    (void)snprintf(r->origin, sizeof(r->origin), "%s", of->r.origin);
    r->config.seal = seal;
    assert_int_equal(rig_open(r), 0);
    rig_run(r, "web-1", 2);
    rig_close(r);
    assert_int_equal(rig_open(r), 0);
    rig_run(r, "web-2", 1);
    rig_close(r);
    log_read(l);
    assert_int_equal(l->n, of->n);
}

static void files_swapped(uint32_t seal)
{
    struct log_report report;
    struct log a, b;

    log_make(&a, seal);
    log_make_sibling(&b, &a, seal);
    assert_int_equal(judge(&b, &report), LOG_GOOD);
    /* The segment: its lines are good, and not those the checkpoint and the tiles speak of. */
    copy_file(&b, &a, RIG_FIRST);
    expect_line(&a, 1, "segment swapped");
    expect_refused(&a, RIG_FIRST, &b.lines);
    rig_write(&a.r, RIG_FIRST, a.lines.data, a.lines.len);
    assert_int_equal(judge(&a, &report), LOG_GOOD);
    /* The checkpoint, with and without tiles to tell by. */
    copy_file(&b, &a, "checkpoint");
    assert_int_equal(judge(&a, &report), LOG_BAD_ROOT);
    expect_refused(&a, RIG_FIRST, &a.lines);
    log_done(&a);
    log_done(&b);
}

static void test_files_of_another_log(void **state)
{
    (void)state;
    files_swapped(SEAL_EVENT);
    files_swapped(SEAL_BATCH);
}

/* Two logs of one key, spliced at every line. */
static void test_spliced(void **state)
{
    struct log a, b;

    (void)state;
    log_make(&a, SEAL_EVENT);
    log_make_sibling(&b, &a, SEAL_EVENT);
    for (size_t at = 1; at < a.n; at++) {
        _cleanup_(buf_done) struct buf whole = {.data = NULL};
        struct log_report report;

        buf_init(&whole, TAMPER_FILE);
        buf_put(&whole, a.lines.data, a.start[at]);
        buf_put(&whole, b.lines.data + b.start[at], b.lines.len - b.start[at]);
        rig_write(&a.r, RIG_FIRST, whole.data, whole.len);
        assert_int_equal(judge(&a, &report), LOG_BAD_LINE);
        /* By the numbers of its run or the root it seals, at the latest by the tiles. */
        assert_true(report.line > at);
    }
    log_done(&a);
    log_done(&b);
}

/* ---- the signature taken off ---- */

/* A sealed line in the form of seal: batch says the same, and is another leaf. */
static void test_sealed_line_replaced_by_a_bare_one(void **state)
{
    struct log l;

    (void)state;
    log_make(&l, SEAL_EVENT);
    for (size_t line = 0; line < l.n; line++) {
        _cleanup_(buf_done) struct buf b = {.data = NULL};
        const char *text = (const char *)l.lines.data + l.start[line];
        const char *seal = memmem(text, l.start[line + 1] - l.start[line], ",\"dssematerial\"", 15);

        buf_init(&b, TAMPER_FILE);
        buf_put(&b, l.lines.data, l.start[line]);
        buf_put(&b, text, (size_t)(seal - text));
        buf_puts(&b, "}\n");
        buf_put(&b, l.lines.data + l.start[line + 1], l.lines.len - l.start[line + 1]);
        rig_write(&l.r, RIG_FIRST, b.data, b.len);
        expect_line(&l, line + 1, "bare");
        expect_refused(&l, RIG_FIRST, &b);
    }
    log_done(&l);
}

/* ---- the past ---- */

/* Only who kept a checkpoint sees that the end was taken away, whatever was written after that. */
static void test_tail_dropped_and_continued(void **state)
{
    _cleanup_(buf_done) struct buf early = {.data = NULL}, kept = {.data = NULL};
    struct log_verify_options o = {.trust = {.ring = NULL}};
    struct log_report report;
    struct log l;

    (void)state;
    log_make(&l, SEAL_EVENT);
    buf_init(&early, CHECKPOINT_NOTE_MAX);
    buf_init(&kept, CHECKPOINT_NOTE_MAX);
    rig_read(&l.r, "checkpoint", &early);
    assert_int_equal(rig_open(&l.r), 0);
    rig_run(&l.r, "the-deed", 5);
    rig_read(&l.r, "checkpoint", &kept);
    rig_close(&l.r);
    rig_write(&l.r, RIG_FIRST, l.lines.data, l.lines.len);
    rig_write(&l.r, "checkpoint", early.data, early.len);
    assert_int_equal(rig_open(&l.r), 0); /* signerd itself cannot know */
    rig_run(&l.r, "innocent", 9);
    rig_close(&l.r);
    assert_int_equal(judge(&l, &report), LOG_GOOD);
    assert_true(report.lines > l.n + 8);
    o.trust.ring = keys_ring(l.r.keys);
    o.outside_note = buf_str(&kept);
    assert_int_equal(log_verify(l.r.log_dir, &o, &report), 0);
    assert_int_equal(report.verdict, LOG_BAD_OUTSIDE);
    log_done(&l);
}

/* The owner of the key writes another past: every signature is good. */
static void test_past_signed_again(void **state)
{
    _cleanup_(buf_done) struct buf kept = {.data = NULL};
    struct log_verify_options o = {.trust = {.ring = NULL}};
    struct log_report report;
    struct log a, b;

    (void)state;
    log_make(&a, SEAL_EVENT);
    log_make_sibling(&b, &a, SEAL_EVENT);
    buf_init(&kept, CHECKPOINT_NOTE_MAX);
    rig_read(&a.r, "checkpoint", &kept);
    o.trust.ring = keys_ring(a.r.keys);
    o.outside_note = buf_str(&kept);
    assert_int_equal(log_verify(b.r.log_dir, &o, &report), 0);
    assert_int_equal(report.verdict, LOG_BAD_OUTSIDE);
    log_done(&a);
    log_done(&b);
}

/* What stands behind the checkpoint was never acknowledged: a forged line there is not taken in at the next
 * start, in either mode. */
static void forged_behind_the_checkpoint(uint32_t seal)
{
    struct log_report report;
    struct log l, other;

    log_make(&l, seal);
    log_make(&other, seal);
    _cleanup_(buf_done) struct buf b = {.data = NULL};
    buf_init(&b, TAMPER_FILE);
    buf_put(&b, l.lines.data, l.lines.len);
    char *forged = strndup((const char *)other.lines.data + other.start[1], other.start[2] - other.start[1]);
    char *sequence = strstr(forged, "\"sequence\":\"");
    char digits[21];
    (void)snprintf(digits, sizeof(digits), "%020zu", l.n);
    memcpy(sequence + 12, digits, 20);
    buf_puts(&b, forged);
    rig_write(&l.r, RIG_FIRST, b.data, b.len);
    assert_int_equal(rig_open(&l.r), 0);
    rig_close(&l.r);
    assert_int_equal(judge(&l, &report), LOG_GOOD);
    assert_int_equal(report.lines, l.n + 1); /* log.v1.recovered, and not the forged one */
    _cleanup_(buf_done) struct buf after = {.data = NULL};
    buf_init(&after, TAMPER_FILE);
    rig_read(&l.r, RIG_FIRST, &after);
    assert_memory_equal(after.data, l.lines.data, l.lines.len);
    assert_null(memmem(after.data, after.len, forged, strlen(forged)));
    free(forged);
    log_done(&l);
    log_done(&other);
}

static void test_forged_behind_the_checkpoint(void **state)
{
    (void)state;
    forged_behind_the_checkpoint(SEAL_EVENT);
    forged_behind_the_checkpoint(SEAL_BATCH);
}

/* ---- looking changes nothing ---- */

static void hash_dir(int dirfd, uint8_t ret[static DIGEST_LEN])
{
    static const char *const names[] = {RIG_FIRST, "checkpoint", "origin", "vkey", "tile/0/000.p"};

    digest_begin();
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct stat st;

        assert_int_equal(fstatat(dirfd, names[i], &st, 0), 0);
        digest_add(&st.st_mtim, sizeof(st.st_mtim));
        digest_add(&st.st_ctim, sizeof(st.st_ctim));
        digest_add(&st.st_size, sizeof(st.st_size));
        digest_add(&st.st_ino, sizeof(st.st_ino));
    }
    struct stat st;
    assert_int_equal(fstat(dirfd, &st), 0);
    digest_add(&st.st_mtim, sizeof(st.st_mtim));
    digest_end(ret);
}

static void test_verify_never_writes(void **state)
{
    uint8_t before[DIGEST_LEN], after[DIGEST_LEN];
    struct log_report report;
    struct log l;

    (void)state;
    log_make(&l, SEAL_EVENT);
    hash_dir(l.r.log_dir, before);
    assert_int_equal(judge(&l, &report), LOG_GOOD);
    hash_dir(l.r.log_dir, after);
    assert_memory_equal(before, after, DIGEST_LEN);
    l.lines.data[l.start[3] + 100] ^= 1;
    rig_write(&l.r, RIG_FIRST, l.lines.data, l.lines.len);
    hash_dir(l.r.log_dir, before);
    expect_line(&l, 4, "changed");
    hash_dir(l.r.log_dir, after);
    assert_memory_equal(before, after, DIGEST_LEN);
    log_done(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_bit_of_the_lines),
        cmocka_unit_test(test_every_bit_of_bare_lines),
        cmocka_unit_test(test_every_bit_of_the_signatures_beside),
        cmocka_unit_test(test_every_bit_of_the_small_files),
        cmocka_unit_test(test_lines_removed_repeated_reordered),
        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_files_of_another_log),
        cmocka_unit_test(test_spliced),
        cmocka_unit_test(test_sealed_line_replaced_by_a_bare_one),
        cmocka_unit_test(test_tail_dropped_and_continued),
        cmocka_unit_test(test_past_signed_again),
        cmocka_unit_test(test_forged_behind_the_checkpoint),
        cmocka_unit_test(test_verify_never_writes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
