/* SPDX-License-Identifier: MIT */
/* cellctl's check against a log of our own that somebody changed: the wrong line is named, whatever was done
 * to it. */
#include "tests/unit/signerd_rig.h"

#define LINES 12u
#define BAD   5u /* the line (from 0) most tests change */

struct lines {
    struct buf text;
    size_t start[LINES + 1];
};

/* A log of one run with LINES events, closed, and its lines. */
static void make(struct rig *r, struct lines *l)
{
    rig_init(r);
    assert_int_equal(rig_open(r), 0);
    rig_run(r, "web-1", LINES - 3);
    r->log = elog_free(r->log);
    buf_init(&l->text, 1u << 20);
    rig_read(r, RIG_FIRST, &l->text);
    size_t n = 0;
    l->start[n++] = 0;
    for (size_t i = 0; i < l->text.len; i++)
        if (l->text.data[i] == '\n')
            l->start[n++] = i + 1;
    assert_int_equal(n, LINES + 1);
}

static void unmake(struct rig *r, struct lines *l)
{
    buf_done(&l->text);
    rig_done(r);
}

static void expect_bad_line(const struct rig *r, uint64_t line)
{
    struct log_verify_options o = {.trust.ring = keys_ring(r->keys), .threads = 1};
    struct log_report report;

    assert_int_equal(log_verify(r->log_dir, &o, &report), 0);
    assert_int_equal(report.verdict, LOG_BAD_LINE);
    assert_int_equal(report.line, line);
    assert_int_equal(report.segment_line, line);
    assert_int_equal(report.segment, 0);
    assert_true(report.why[0]);
}

static enum log_verdict verdict(const struct rig *r, struct log_report *report)
{
    struct log_verify_options o = {.trust.ring = keys_ring(r->keys)};

    assert_int_equal(log_verify(r->log_dir, &o, report), 0);
    return report->verdict;
}

static void test_every_byte_of_a_line(void **state)
{
    struct lines l;
    struct rig r;

    (void)state;
    make(&r, &l);
    for (size_t i = l.start[BAD]; i < l.start[BAD + 1]; i++) {
        l.text.data[i] ^= (uint8_t)(1u << i % 7);
        rig_write(&r, RIG_FIRST, l.text.data, l.text.len);
        expect_bad_line(&r, BAD + 1);
        l.text.data[i] ^= (uint8_t)(1u << i % 7);
    }
    unmake(&r, &l);
}

static void test_swapped_lines(void **state)
{
    _cleanup_(buf_done) struct buf b = {.data = NULL};
    struct lines l;
    struct rig r;

    (void)state;
    make(&r, &l);
    buf_init(&b, 1u << 20);
    buf_put(&b, l.text.data, l.start[BAD]);
    buf_put(&b, l.text.data + l.start[BAD + 1], l.start[BAD + 2] - l.start[BAD + 1]);
    buf_put(&b, l.text.data + l.start[BAD], l.start[BAD + 1] - l.start[BAD]);
    buf_put(&b, l.text.data + l.start[BAD + 2], l.text.len - l.start[BAD + 2]);
    rig_write(&r, RIG_FIRST, b.data, b.len);
    expect_bad_line(&r, BAD + 1);
    unmake(&r, &l);
}

static void test_removed_and_repeated_line(void **state)
{
    _cleanup_(buf_done) struct buf b = {.data = NULL};
    struct lines l;
    struct rig r;

    (void)state;
    make(&r, &l);
    buf_init(&b, 1u << 20);
    buf_put(&b, l.text.data, l.start[BAD]);
    buf_put(&b, l.text.data + l.start[BAD + 1], l.text.len - l.start[BAD + 1]);
    rig_write(&r, RIG_FIRST, b.data, b.len);
    expect_bad_line(&r, BAD + 1);
    buf_clear(&b);
    buf_put(&b, l.text.data, l.start[BAD + 1]);
    buf_put(&b, l.text.data + l.start[BAD], l.text.len - l.start[BAD]);
    rig_write(&r, RIG_FIRST, b.data, b.len);
    expect_bad_line(&r, BAD + 2);
    unmake(&r, &l);
}

static void test_shorter_than_the_checkpoint(void **state)
{
    struct log_report report;
    struct lines l;
    struct rig r;

    (void)state;
    make(&r, &l);
    rig_write(&r, RIG_FIRST, l.text.data, l.start[LINES - 2]);
    assert_int_equal(verdict(&r, &report), LOG_BAD_SHORT);
    assert_int_equal(report.lines, LINES - 2);
    assert_int_equal(report.checkpoint.size, LINES);
    rig_write(&r, RIG_FIRST, l.text.data, l.text.len - 1); /* only the LF is gone */
    expect_bad_line(&r, LINES);
    rig_write(&r, RIG_FIRST, "", 0);
    assert_int_equal(verdict(&r, &report), LOG_BAD_SHORT);
    assert_int_equal(unlinkat(r.log_dir, RIG_FIRST, 0), 0);
    assert_int_equal(verdict(&r, &report), LOG_BAD_SHORT);
    unmake(&r, &l);
}

/* What a crash leaves behind the checkpoint is no fault; what nobody signed is. */
static void test_longer_than_the_checkpoint(void **state)
{
    _cleanup_(buf_done) struct buf old = {.data = NULL};
    struct log_report report;
    struct lines l;
    struct rig r;

    (void)state;
    rig_init(&r);
    buf_init(&old, CHECKPOINT_NOTE_MAX);
    assert_int_equal(rig_open(&r), 0);
    rig_run(&r, "a", 0);
    rig_read(&r, "checkpoint", &old);
    rig_run(&r, "b", 0);
    r.log = elog_free(r.log);
    rig_write(&r, "checkpoint", old.data, old.len);
    assert_int_equal(verdict(&r, &report), LOG_GOOD);
    assert_int_equal(report.lines, 3);
    assert_int_equal(report.uncovered, 3);
    buf_init(&l.text, 1u << 20);
    rig_read(&r, RIG_FIRST, &l.text);
    rig_write(&r, RIG_FIRST, l.text.data, l.text.len - 10);
    assert_int_equal(verdict(&r, &report), LOG_GOOD);
    assert_int_equal(report.uncovered, 2);
    assert_true(report.torn_bytes > 0);
    l.text.data[l.text.len - 100] ^= 1;
    rig_write(&r, RIG_FIRST, l.text.data, l.text.len);
    expect_bad_line(&r, 6);
    unmake(&r, &l);
}

static void test_foreign_key(void **state)
{
    struct log_verify_options o;
    struct log_report report;
    struct lines l;
    struct rig r, other;

    (void)state;
    make(&r, &l);
    rig_init(&other);
    o = (struct log_verify_options){.trust.ring = keys_ring(other.keys)};
    assert_int_equal(log_verify(r.log_dir, &o, &report), 0);
    assert_int_equal(report.verdict, LOG_BAD_CHECKPOINT);

    /* One line signed by another key under the same form, in a log whose checkpoint is ours. */
    struct lines foreign;
    assert_int_equal(rig_open(&other), 0);
    rig_run(&other, "web-1", LINES - 3);
    buf_init(&foreign.text, 1u << 20);
    rig_read(&other, RIG_FIRST, &foreign.text);
    rig_write(&r, RIG_FIRST, foreign.text.data, foreign.text.len);
    expect_bad_line(&r, 1);
    buf_done(&foreign.text);
    rig_done(&other);

    /* Without a key the log's own is believed, and the report says so. */
    rig_write(&r, RIG_FIRST, l.text.data, l.text.len);
    o = (struct log_verify_options){.threads = 0};
    assert_int_equal(log_verify(r.log_dir, &o, &report), 0);
    assert_int_equal(report.verdict, LOG_GOOD);
    assert_true(report.self_declared);
    rig_write(&r, "vkey", "x\n", 2);
    assert_int_equal(log_verify(r.log_dir, &o, &report), 0);
    assert_int_equal(report.verdict, LOG_BAD_KEY);
    unmake(&r, &l);
}

static void test_checkpoint_missing_broken_or_of_another_log(void **state)
{
    _cleanup_(buf_done) struct buf note = {.data = NULL};
    struct log_report report;
    struct lines l;
    struct rig r;

    (void)state;
    make(&r, &l);
    buf_init(&note, CHECKPOINT_NOTE_MAX);
    rig_read(&r, "checkpoint", &note);
    assert_int_equal(unlinkat(r.log_dir, "checkpoint", 0), 0);
    assert_int_equal(verdict(&r, &report), LOG_BAD_CHECKPOINT);
    note.data[note.len - 20] ^= 1;
    rig_write(&r, "checkpoint", note.data, note.len);
    assert_int_equal(verdict(&r, &report), LOG_BAD_CHECKPOINT);
    note.data[note.len - 20] ^= 1;
    rig_write(&r, "checkpoint", note.data, note.len);
    assert_int_equal(verdict(&r, &report), LOG_GOOD);
    rig_write(&r, "origin", "elsewhere\n", 10);
    assert_int_equal(verdict(&r, &report), LOG_BAD_CHECKPOINT);
    unmake(&r, &l);
}

/* All lines are signed and count up, but the checkpoint signs another history: a signer that forked its log.
 */
static void test_another_tree(void **state)
{
    _cleanup_(buf_done) struct buf note = {.data = NULL};
    struct log_report report;
    struct rig r;

    (void)state;
    rig_init(&r);
    buf_init(&note, CHECKPOINT_NOTE_MAX);
    assert_int_equal(rig_open(&r), 0);
    rig_run(&r, "a", 2);
    rig_read(&r, "checkpoint", &note);
    rig_close(&r);
    close(r.log_dir);
    char path[96];
    (void)snprintf(path, sizeof(path), "%s/log2", r.dir);
    assert_int_equal(mkdir(path, 0700), 0);
    r.log_dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(rig_open(&r), 0);
    rig_run(&r, "a", 2);
    rig_close(&r);
    rig_write(&r, "checkpoint", note.data, note.len);
    assert_int_equal(verdict(&r, &report), LOG_BAD_ROOT);
    rig_done(&r);
}

static void test_outside_checkpoint(void **state)
{
    _cleanup_(buf_done) struct buf early = {.data = NULL}, late = {.data = NULL}, first = {.data = NULL};
    struct log_verify_options o = {.threads = 0};
    struct log_report report;
    struct rig r;

    (void)state;
    rig_init(&r);
    buf_init(&early, CHECKPOINT_NOTE_MAX);
    buf_init(&late, CHECKPOINT_NOTE_MAX);
    buf_init(&first, 1u << 20);
    assert_int_equal(rig_open(&r), 0);
    rig_run(&r, "a", 2);
    rig_read(&r, "checkpoint", &early);
    rig_read(&r, RIG_FIRST, &first);
    rig_run(&r, "b", 2);
    rig_read(&r, "checkpoint", &late);
    r.log = elog_free(r.log);
    o.outside_note = buf_str(&early);
    assert_int_equal(log_verify(r.log_dir, &o, &report), 0);
    assert_int_equal(report.verdict, LOG_GOOD);
    o.outside_note = buf_str(&late);
    assert_int_equal(log_verify(r.log_dir, &o, &report), 0);
    assert_int_equal(report.verdict, LOG_GOOD);
    /* Rolled back to the state of before: good by itself, but not against what was kept elsewhere. */
    rig_write(&r, "checkpoint", early.data, early.len);
    rig_write(&r, RIG_FIRST, first.data, first.len);
    assert_int_equal(log_verify(r.log_dir, &o, &report), 0);
    assert_int_equal(report.verdict, LOG_BAD_OUTSIDE);
    o.outside_note = STR_NONE;
    assert_int_equal(log_verify(r.log_dir, &o, &report), 0);
    assert_int_equal(report.verdict, LOG_GOOD);
    o.outside_note = STR_LIT("nonsense\n");
    assert_int_equal(log_verify(r.log_dir, &o, &report), 0);
    assert_int_equal(report.verdict, LOG_BAD_OUTSIDE);
    rig_done(&r);
}

/* Missing first line of a run, though the log's own numbering is whole: only the per-run number shows it. */
static void test_runs_count_from_one(void **state)
{
    struct log_report report;
    struct cell *cell;
    struct rig r;

    (void)state;
    rig_init(&r);
    assert_int_equal(rig_open(&r), 0);
    cell = rig_cell(&r, "a");
    cell->cellsequence = 4;
    assert_int_equal(rig_started(&r, cell, NULL), 0);
    rig_flush(&r);
    assert_int_equal(verdict(&r, &report), LOG_BAD_LINE);
    assert_int_equal(report.line, 1);
    assert_non_null(strstr(report.why, "cellsequence is 5 where 1 is due"));
    rig_done(&r);
}

static void test_segments(void **state)
{
    struct log_report report;
    struct lines l;
    struct rig r;

    (void)state;
    make(&r, &l);
    rig_write(&r, RIG_FIRST, l.text.data, l.start[4]);
    rig_write(&r, "00000000000000000004.jsonl", l.text.data + l.start[4], l.text.len - l.start[4]);
    assert_int_equal(verdict(&r, &report), LOG_GOOD);
    assert_int_equal(report.segments, 2);
    l.text.data[l.start[6] + 100] ^= 1; /* line 7 of the log is line 3 of the second segment */
    rig_write(&r, "00000000000000000004.jsonl", l.text.data + l.start[4], l.text.len - l.start[4]);
    assert_int_equal(verdict(&r, &report), LOG_BAD_LINE);
    assert_int_equal(report.line, 7);
    assert_int_equal(report.segment, 4);
    assert_int_equal(report.segment_line, 3);
    l.text.data[l.start[6] + 100] ^= 1;
    assert_int_equal(unlinkat(r.log_dir, "00000000000000000004.jsonl", 0), 0);
    rig_write(&r, "00000000000000000005.jsonl", l.text.data + l.start[5], l.text.len - l.start[5]);
    assert_int_equal(verdict(&r, &report), LOG_BAD_SEGMENT);
    assert_int_equal(report.segment, 5);
    unmake(&r, &l);
}

static int refuse_l7(void *arg, const struct envelope *e, char why[static LOG_CHECK_WHY_MAX])
{
    (*(unsigned *)arg)++;
    if (!memmem(e->type.p, e->type.len, "l7", 2))
        return 0;
    strcpy(why, "not allowed here");
    return -EBADMSG;
}

static void test_rule_of_the_caller(void **state)
{
    struct log_verify_options o = {.rule = refuse_l7};
    struct log_report report;
    unsigned calls = 0;
    struct lines l;
    struct rig r;

    (void)state;
    make(&r, &l);
    o.arg = &calls;
    assert_int_equal(log_verify(r.log_dir, &o, &report), 0);
    assert_int_equal(report.verdict, LOG_BAD_LINE);
    assert_int_equal(report.line, 2);
    assert_int_equal(calls, 2);
    assert_string_equal(report.why, "not allowed here");
    unmake(&r, &l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_byte_of_a_line),
        cmocka_unit_test(test_swapped_lines),
        cmocka_unit_test(test_removed_and_repeated_line),
        cmocka_unit_test(test_shorter_than_the_checkpoint),
        cmocka_unit_test(test_longer_than_the_checkpoint),
        cmocka_unit_test(test_foreign_key),
        cmocka_unit_test(test_checkpoint_missing_broken_or_of_another_log),
        cmocka_unit_test(test_another_tree),
        cmocka_unit_test(test_outside_checkpoint),
        cmocka_unit_test(test_runs_count_from_one),
        cmocka_unit_test(test_segments),
        cmocka_unit_test(test_rule_of_the_caller),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
