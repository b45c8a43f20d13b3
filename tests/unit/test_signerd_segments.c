/* SPDX-License-Identifier: MIT */
/* Segments that are closed: by size and by age, compressed, resumed after a crash at every step, pruned; and
 * that a log verifies and is recovered all the same, whole or not. */
#include "tests/unit/signerd_rig.h"

#include <dirent.h>
#include <time.h>

#include "common/evidence/log_pruned.h"
#include "signerd/compress.h"

#define SMALL 40000u /* bytes of a segment: some 25 lines */

/* Runs the loop until closed segments are looked after and nothing is pending. */
static void settle(struct rig *r)
{
    for (unsigned i = 0; !elog_is_settled(r->log) || !elog_is_idle(r->log); i++) {
        assert_true(i < 10000);
        ev_run(r->loop, EVRUN_NOWAIT);
        if (elog_is_settled(r->log) && elog_is_idle(r->log))
            break;
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

static bool exists(const struct rig *r, const char *name)
{
    return faccessat(r->log_dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* How many files have names that end so. */
static unsigned files(const struct rig *r, const char *suffix)
{
    int fd = openat(r->log_dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fdopendir(fd);
    unsigned n = 0;

    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        size_t len = strlen(e->d_name);

        n += len > strlen(suffix) && strcmp(e->d_name + len - strlen(suffix), suffix) == 0;
    }
    closedir(d);
    return n;
}

static void expect_good(const struct rig *r, uint64_t pruned, uint64_t size)
{
    struct log_report report;

    rig_verify(r, &report);
    assert_int_equal(report.verdict, LOG_GOOD);
    assert_int_equal(report.pruned, pruned);
    assert_int_equal(report.pruned + report.lines, size);
}

static uint64_t log_size(const struct rig *r)
{
    uint64_t size;

    (void)elog_head(r->log, &size);
    return size;
}

/* All lines from `from` on, each behind its index: what a reader makes of the directory. */
static void read_all(const struct rig *r, uint64_t from, struct buf *b)
{
    struct log_reader *reader;
    struct log_line l;
    int e;

    buf_clear(b);
    assert_int_equal(log_reader_open(r->log_dir, from, &reader), 0);
    while ((e = log_reader_next(reader, &l)) == LOG_READ_LINE) {
        assert_int_equal(l.index, from);
        from++;
        buf_put_str(b, l.text);
        buf_putc(b, '\n');
    }
    assert_int_equal(e, LOG_READ_END);
    assert_int_equal(b->err, 0);
    log_reader_free(reader);
}

/* Runs of 3 + n events until the log has that many lines. */
static void grow(struct rig *r, uint64_t size)
{
    while (log_size(r) < size)
        rig_run(r, "a", 20);
}

static void test_closed_by_size(void **state)
{
    _cleanup_free_ uint64_t *segments = NULL;
    struct rig r;
    int n;

    (void)state;
    rig_init_fast(&r);
    r.config.segment_bytes = SMALL;
    assert_int_equal(rig_open(&r), 0);
    grow(&r, 600);
    settle(&r);
    n = log_reader_segments(r.log_dir, &segments);
    assert_true(n > 5);
    assert_int_equal(files(&r, ".jsonl"), 1); /* the open one */
    assert_int_equal(files(&r, ".zst"), n - 1);
    assert_int_equal(files(&r, ".tmp"), 1); /* the next checkpoint */
    expect_good(&r, 0, log_size(&r));
    rig_close(&r);
    assert_int_equal(rig_open(&r), 0);
    rig_close(&r);
    rig_done(&r);
}

static void test_closed_by_age(void **state)
{
    struct rig r;

    (void)state;
    rig_init_fast(&r);
    r.config.segment_age_s = 1;
    assert_int_equal(rig_open(&r), 0);
    rig_run(&r, "a", 1);
    rig_run(&r, "b", 1);
    assert_int_equal(files(&r, ".jsonl"), 1);
    rig_close(&r);
    (void)nanosleep(&(struct timespec){.tv_sec = 2, .tv_nsec = 100000000}, NULL);
    assert_int_equal(rig_open(&r), 0); /* which seals log.v1.recovered: the first line's age is known again */
    rig_flush(&r);
    settle(&r);
    assert_true(exists(&r, "00000000000000000000.jsonl.zst"));
    assert_true(exists(&r, "00000000000000000008.jsonl"));
    expect_good(&r, 0, 9);
    rig_done(&r);
}

/* Nothing is said any more: the segment ends all the same, and retention takes it. */
static void test_closed_by_age_without_an_event(void **state)
{
    const struct timespec step = {.tv_nsec = 10000000};
    struct rig r;

    (void)state;
    rig_init_fast(&r);
    r.config.segment_age_s = 1;
    assert_int_equal(rig_open(&r), 0);
    rig_run(&r, "a", 1);
    for (unsigned i = 0; !exists(&r, "00000000000000000000.jsonl.zst"); i++) {
        assert_true(i < 3000);
        ev_run(r.loop, EVRUN_NOWAIT);
        (void)nanosleep(&step, NULL);
    }
    settle(&r);
    assert_true(exists(&r, "00000000000000000004.jsonl"));
    assert_int_equal(files(&r, ".jsonl"), 1);
    expect_good(&r, 0, 4);
    rig_run(&r, "b", 1); /* goes on in the new one */
    expect_good(&r, 0, 8);
    assert_int_equal(files(&r, ".jsonl"), 1);
    rig_close(&r);
    assert_int_equal(rig_open(&r), 0);
    rig_done(&r);
}

/* From every index, whatever form the segments have. */
static void test_mixed_forms_from_every_index(void **state)
{
    _cleanup_(buf_done) struct buf want = {.data = NULL}, got = {.data = NULL};
    _cleanup_free_ uint64_t *segments = NULL;
    const atomic_bool stop = false;
    struct rig r;
    int n;

    (void)state;
    buf_init(&want, 8u << 20);
    buf_init(&got, 8u << 20);
    rig_init_fast(&r);
    assert_int_equal(rig_open(&r), 0);
    grow(&r, 100);
    rig_close(&r);
    r.config.segment_bytes = 300000;
    assert_int_equal(rig_open(&r), 0);
    /* The keeper is slower than this loop, or not: what is left uncompressed is mixed by hand. */
    grow(&r, 900);
    uint64_t size = log_size(&r);
    settle(&r);
    rig_close(&r);
    read_all(&r, 0, &want);
    n = log_reader_segments(r.log_dir, &segments);
    assert_true(n >= 4);
    /* The second one back into its plain form. */
    char zst[LOG_SEGMENT_ZST_MAX], plain[LOG_SEGMENT_NAME_MAX], command[512];
    log_segment_zst_name(segments[1], zst);
    log_segment_name(segments[1], plain);
    (void)snprintf(command, sizeof(command), "cd %s/log && zstd -q -d --rm %s && zstd -q -t *.zst", r.dir,
                   zst);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): the real tool */
    assert_true(exists(&r, plain) && !exists(&r, zst));
    const char *p = (const char *)want.data;
    for (uint64_t from = 0; from < size; from++) {
        read_all(&r, from, &got);
        assert_int_equal(got.len, want.len - (size_t)(p - (const char *)want.data));
        assert_memory_equal(got.data, p, got.len);
        p = (const char *)memchr(p, '\n', got.len) + 1;
    }
    /* And the same bytes as zstdcat's. */
    assert_int_equal(compress_segment(r.log_dir, segments[1], &stop), 0);
    (void)snprintf(
        command, sizeof(command),
        "cd %s/log && { zstdcat *.zst; cat *.jsonl; } >../all && cd .. && test $(wc -c <all) = %zu", r.dir,
        want.len);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c) */
    int all = openat(r.log_dir, "../all", O_RDONLY | O_CLOEXEC);
    buf_clear(&got);
    assert_int_equal(io_read_to_end(all, &got), 0);
    close(all);
    assert_memory_equal(got.data, want.data, want.len);
    rig_done(&r);
}

/* Every state a crash can leave during a compression is one from which the next start goes on. */
static void test_resumed(void **state)
{
    _cleanup_(buf_done) struct buf plain = {.data = NULL}, zst = {.data = NULL}, got = {.data = NULL};
    struct rig r;

    (void)state;
    buf_init(&plain, 1u << 20);
    buf_init(&zst, 1u << 20);
    buf_init(&got, 1u << 20);
    rig_init_fast(&r);
    r.config.segment_bytes = SMALL;
    assert_int_equal(rig_open(&r), 0);
    grow(&r, 60);
    settle(&r);
    rig_close(&r);
    rig_read(&r, RIG_FIRST ".zst", &zst);
    char command[128];
    (void)snprintf(command, sizeof(command), "cd %s/log && zstd -q -d " RIG_FIRST ".zst -o ../plain", r.dir);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c) */
    rig_read(&r, "../plain", &plain);
    struct log_report report;
    for (unsigned step = 0; step < 5; step++) {
        rig_verify(&r, &report);
        assert_int_equal(report.verdict, LOG_GOOD);
        if (step != 3)
            rig_write(&r, RIG_FIRST, plain.data, plain.len);
        switch (step) {
        case 0: /* nothing was begun */
            assert_int_equal(unlinkat(r.log_dir, RIG_FIRST ".zst", 0), 0);
            break;
        case 1: /* half a temporary file */
            assert_int_equal(unlinkat(r.log_dir, RIG_FIRST ".zst", 0), 0);
            rig_write(&r, RIG_FIRST ".zst.tmp", zst.data, zst.len / 2);
            break;
        case 2: /* renamed, and the old one still there */
            break;
        case 3: /* done, and an old temporary file of something else */
            rig_write(&r, "00000000000000000077.jsonl.zst.tmp", "x", 1);
            break;
        default: /* both, but the compressed one is not it: the plain one counts */
            rig_write(&r, RIG_FIRST ".zst", zst.data, zst.len / 2);
        }
        rig_verify(&r, &report);
        assert_int_equal(report.verdict, LOG_GOOD);
        assert_int_equal(rig_open(&r), 0);
        settle(&r);
        rig_close(&r);
        assert_false(exists(&r, RIG_FIRST));
        assert_int_equal(files(&r, ".zst.tmp"), 0);
        buf_clear(&got);
        rig_read(&r, RIG_FIRST ".zst", &got);
        assert_int_equal(got.len, zst.len);
        assert_memory_equal(got.data, zst.data, zst.len);
    }
    rig_done(&r);
}

static void test_damaged_is_located(void **state)
{
    _cleanup_(buf_done) struct buf zst = {.data = NULL};
    struct log_report report;
    struct rig r;

    (void)state;
    buf_init(&zst, 1u << 20);
    rig_init_fast(&r);
    r.config.segment_bytes = SMALL;
    assert_int_equal(rig_open(&r), 0);
    grow(&r, 400);
    settle(&r);
    rig_close(&r);
    rig_read(&r, RIG_FIRST ".zst", &zst);
    for (size_t at = 0; at < zst.len; at += 97) {
        zst.data[at] ^= 4;
        rig_write(&r, RIG_FIRST ".zst", zst.data, zst.len);
        rig_verify(&r, &report);
        assert_true(report.verdict == LOG_BAD_SEGMENT || report.verdict == LOG_BAD_LINE);
        assert_int_equal(report.segment, 0);
        zst.data[at] ^= 4;
    }
    rig_write(&r, RIG_FIRST ".zst", zst.data, zst.len - 1);
    rig_verify(&r, &report);
    assert_int_equal(report.verdict, LOG_BAD_SEGMENT);
    assert_int_equal(report.segment, 0);
    /* signerd does not read there to start. */
    assert_int_equal(rig_open(&r), 0);
    settle(&r);
    rig_close(&r);
    rig_done(&r);
}

/* ---- retention ---- */

static uint64_t first_line(const struct rig *r)
{
    _cleanup_free_ uint64_t *segments = NULL;

    assert_true(log_reader_segments(r->log_dir, &segments) > 1);
    return segments[0];
}

/* A log of some 1500 lines of which the oldest segments are gone. Returns the first line that is left. */
static uint64_t make_pruned(struct rig *r)
{
    rig_init_fast(r);
    r->config.segment_bytes = SMALL;
    r->config.retain_bytes = 5 * SMALL; /* compressed: some 500 lines */
    assert_int_equal(rig_open(r), 0);
    for (unsigned i = 1; i <= 15; i++) {
        grow(r, 100 * i);
        settle(r);
    }
    return first_line(r);
}

static void test_pruned(void **state)
{
    struct rig r;
    uint64_t first, size;

    (void)state;
    first = make_pruned(&r);
    assert_true(first > 512);
    rig_write(&r, "00000000000000000000-0123456789abcdef.sig", "x", 1); /* of a segment that is gone */
    size = log_size(&r);
    expect_good(&r, first, size);
    rig_close(&r);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(rig_open(&r), 0);
        settle(&r);
        size = log_size(&r);
        rig_close(&r);
        expect_good(&r, first_line(&r), size);
    }
    assert_int_equal(files(&r, ".sig"), 0);
    assert_true(exists(&r, "tile/0/000"));
    rig_done(&r);
}

static void test_pruned_by_age(void **state)
{
    struct rig r;

    (void)state;
    rig_init_fast(&r);
    r.config.segment_bytes = SMALL;
    assert_int_equal(rig_open(&r), 0);
    grow(&r, 700);
    settle(&r);
    assert_true(exists(&r, RIG_FIRST ".zst"));
    rig_write(&r, "00000000000000000000-0123456789abcdef.sig", "x", 1);
    rig_close(&r);
    (void)nanosleep(&(struct timespec){.tv_sec = 2, .tv_nsec = 100000000}, NULL);
    r.config.retain_age_s = 1;
    assert_int_equal(rig_open(&r), 0);
    settle(&r);
    assert_false(exists(&r, RIG_FIRST ".zst"));
    assert_false(exists(&r, "00000000000000000000-0123456789abcdef.sig"));
    struct log_report report;
    rig_verify(&r, &report);
    assert_int_equal(report.verdict, LOG_GOOD);
    assert_true(report.pruned >= 400);
    rig_done(&r);
}

/* A crash between the event and the deletion: the same lines are announced again. */
static void test_pruned_twice(void **state)
{
    _cleanup_(buf_done) struct buf zst = {.data = NULL};
    struct rig r;

    (void)state;
    buf_init(&zst, 1u << 20);
    rig_init_fast(&r);
    r.config.segment_bytes = SMALL;
    assert_int_equal(rig_open(&r), 0);
    grow(&r, 600);
    settle(&r);
    rig_close(&r);
    rig_read(&r, RIG_FIRST ".zst", &zst);
    r.config.retain_bytes = 8u << 20; /* compressed, all of it fits */
    assert_int_equal(rig_open(&r), 0);
    settle(&r);
    rig_close(&r);
    assert_true(exists(&r, RIG_FIRST ".zst"));
    r.config.retain_bytes = 1;
    assert_int_equal(rig_open(&r), 0);
    settle(&r);
    uint64_t size = log_size(&r);
    rig_close(&r);
    assert_false(exists(&r, RIG_FIRST ".zst"));
    _cleanup_free_ uint64_t *segments = NULL;
    assert_true(log_reader_segments(r.log_dir, &segments) > 0);
    expect_good(&r, segments[0], size);
    /* As if the last one had not been deleted: more than announced is no fault, less is. */
    rig_write(&r, RIG_FIRST ".zst", zst.data, zst.len);
    struct log_report report;
    rig_verify(&r, &report);
    assert_int_equal(report.verdict, LOG_BAD_SEGMENT); /* the ones between are gone */
    assert_int_equal(unlinkat(r.log_dir, RIG_FIRST ".zst", 0), 0);
    rig_done(&r);
}

/* A crash between the event and the deletion it announces: the log verifies with the segment still there; the
 * next start announces it again and deletes it. */
static void test_crash_before_deletion(void **state)
{
    _cleanup_(buf_done) struct buf oldest = {.data = NULL};
    char name[LOG_SEGMENT_ZST_MAX];
    uint64_t first, size;
    struct rig r;

    (void)state;
    buf_init(&oldest, 1u << 20);
    first = make_pruned(&r);
    log_segment_zst_name(first, name);
    rig_read(&r, name, &oldest);
    uint64_t end, lines = log_size(&r);
    _cleanup_free_ uint64_t *segments = NULL;
    assert_true(log_reader_segments(r.log_dir, &segments) > 1);
    end = segments[1];
    while (first_line(&r) == first) {
        lines += 10;
        grow(&r, lines);
        settle(&r);
    }
    assert_int_equal(first_line(&r), end); /* one went */
    size = log_size(&r);
    rig_close(&r);
    expect_good(&r, end, size);
    rig_write(&r, name, oldest.data, oldest.len);
    expect_good(&r, first, size);
    r.config.retain_bytes = 4 * SMALL;
    assert_int_equal(rig_open(&r), 0);
    settle(&r);
    size = log_size(&r);
    rig_close(&r);
    assert_false(exists(&r, name));
    assert_true(first_line(&r) >= end);
    expect_good(&r, first_line(&r), size);
    rig_done(&r);
}

/* What an event accounts for is not more than it says. */
static void test_a_segment_taken_away(void **state)
{
    _cleanup_free_ uint64_t *segments = NULL;
    struct log_report report;
    char name[LOG_SEGMENT_ZST_MAX];
    struct rig r;
    uint64_t first;

    (void)state;
    first = make_pruned(&r);
    rig_close(&r);
    assert_true(log_reader_segments(r.log_dir, &segments) > 2);
    assert_int_equal(segments[0], first);
    log_segment_zst_name(first, name);
    assert_int_equal(unlinkat(r.log_dir, name, 0), 0);
    rig_verify(&r, &report);
    assert_int_equal(report.verdict, LOG_BAD_SEGMENT);
    assert_int_equal(report.segment, segments[1]);
    char want[64];
    (void)snprintf(want, sizeof(want), "lines %llu to %llu are missing", (unsigned long long)first + 1,
                   (unsigned long long)segments[1]);
    assert_non_null(strstr(report.why, want));
    rig_done(&r);

    /* Where nothing was ever pruned. */
    rig_init_fast(&r);
    r.config.segment_bytes = SMALL;
    assert_int_equal(rig_open(&r), 0);
    grow(&r, 400);
    settle(&r);
    rig_close(&r);
    assert_int_equal(unlinkat(r.log_dir, RIG_FIRST ".zst", 0), 0);
    rig_verify(&r, &report);
    assert_int_equal(report.verdict, LOG_BAD_SEGMENT);
    assert_non_null(strstr(report.why, "lines 1 to "));
    rig_done(&r);
}

/* The tiles of what was pruned are all that is left of it: one bit of any is noticed and the file named, by
 * verify and by a start that needs it; and nothing is written over them. */
static void test_pruned_tiles(void **state)
{
    _cleanup_(buf_done) struct buf tile = {.data = NULL}, again = {.data = NULL};
    struct log_report report;
    char path[TILE_PATH_MAX];
    struct rig r;
    uint64_t first;

    (void)state;
    buf_init(&tile, TILE_BYTES);
    buf_init(&again, TILE_BYTES);
    first = make_pruned(&r);
    rig_close(&r);
    for (uint64_t i = 0; i * TILE_WIDTH < first; i++) {
        tile_path(0, i, 0, path);
        buf_clear(&tile);
        rig_read(&r, path, &tile);
        tile.data[5] ^= 1;
        rig_write(&r, path, tile.data, tile.len);
        rig_verify(&r, &report);
        assert_int_equal(report.verdict, LOG_BAD_TILE);
        assert_non_null(strstr(report.why, path));
        assert_int_equal(rig_open(&r), -EBADMSG);
        buf_clear(&again);
        rig_read(&r, path, &again);
        assert_memory_equal(again.data, tile.data, TILE_BYTES);
        assert_int_equal(unlinkat(r.log_dir, path, 0), 0);
        rig_verify(&r, &report);
        assert_int_not_equal(report.verdict, LOG_GOOD);
        assert_int_equal(rig_open(&r), -EBADMSG);
        assert_false(exists(&r, path));
        tile.data[5] ^= 1;
        rig_write(&r, path, tile.data, tile.len);
    }
    /* The one above them is wrong, and they are right. */
    tile_path(1, 0, (unsigned)((first + TILE_WIDTH - 1) / TILE_WIDTH), path);
    buf_clear(&tile);
    rig_read(&r, path, &tile);
    tile.data[70] ^= 1;
    rig_write(&r, path, tile.data, tile.len);
    rig_verify(&r, &report);
    assert_int_equal(report.verdict, LOG_BAD_TILE);
    assert_non_null(strstr(report.why, path));
    tile.data[70] ^= 1;
    rig_write(&r, path, tile.data, tile.len);
    /* Tiles of lines that are still there are made again. */
    tile_path(0, first / TILE_WIDTH + 1, 0, path);
    assert_int_equal(unlinkat(r.log_dir, path, 0), 0);
    assert_int_equal(rig_open(&r), 0);
    settle(&r);
    uint64_t size = log_size(&r);
    rig_close(&r);
    assert_true(exists(&r, path));
    expect_good(&r, first_line(&r), size);
    rig_done(&r);
}

/* A line that was changed is not pruned away. */
static void test_changed_lines_stay(void **state)
{
    _cleanup_(buf_done) struct buf zst = {.data = NULL};
    const atomic_bool stop = false;
    char command[256];
    struct rig r;

    (void)state;
    buf_init(&zst, 1u << 20);
    rig_init_fast(&r);
    r.config.segment_bytes = SMALL;
    assert_int_equal(rig_open(&r), 0);
    grow(&r, 700);
    settle(&r);
    rig_close(&r);
    (void)snprintf(
        command, sizeof(command),
        "cd %s/log && zstd -q -d --rm " RIG_FIRST ".zst && sed -i '3s/example/examplf/' " RIG_FIRST, r.dir);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c) */
    assert_int_equal(compress_segment(r.log_dir, 0, &stop), 0);
    r.config.retain_bytes = 1;
    assert_int_equal(rig_open(&r), 0);
    settle(&r);
    rig_close(&r);
    assert_true(exists(&r, RIG_FIRST ".zst"));
    struct log_report report;
    rig_verify(&r, &report);
    assert_int_equal(report.verdict, LOG_BAD_LINE);
    assert_int_equal(report.line, 3);
    rig_done(&r);
}

/* A run that was started in lines that are gone goes on after a restart. */
static void test_run_older_than_the_log(void **state)
{
    struct elog_run run;
    struct cell *cell;
    struct rig r;

    (void)state;
    rig_init_fast(&r);
    r.config.segment_bytes = SMALL;
    r.config.retain_bytes = 2 * SMALL;
    assert_int_equal(rig_open(&r), 0);
    cell = rig_cell(&r, "long");
    assert_int_equal(rig_started(&r, cell, NULL), 0);
    rig_flush(&r);
    for (unsigned i = 0; i < 12; i++) {
        grow(&r, 60 * (i + 1));
        assert_int_equal(rig_l7(&r, cell, "example.test", NULL), 0);
        rig_flush(&r);
        settle(&r);
    }
    assert_false(exists(&r, RIG_FIRST ".zst"));
    assert_int_equal(elog_find_run(r.log, str_of(cell->run_id), 0, &run), 1);
    assert_int_equal(run.cellsequence, 13);
    assert_true(run.started && !run.ended && !run.destroyed);
    struct log_report report;
    rig_verify(&r, &report);
    assert_int_equal(report.verdict, LOG_GOOD);
    rig_done(&r);
}

/* Bare lines: a segment goes with its signatures, and not before all of its lines have theirs. */
static void test_seal_batch(void **state)
{
    _cleanup_free_ uint64_t *segments = NULL;
    struct log_report report;
    struct rig r;
    int n;

    (void)state;
    rig_init_fast(&r);
    r.config.seal = SEAL_BATCH;
    r.config.segment_bytes = SMALL;
    r.config.retain_bytes = SMALL;
    assert_int_equal(rig_open(&r), 0);
    for (unsigned i = 1; i <= 10; i++) {
        grow(&r, 100 * i);
        settle(&r);
        rig_verify(&r, &report);
        assert_int_equal(report.verdict, LOG_GOOD);
    }
    rig_close(&r); /* the last signatures */
    assert_int_equal(rig_open(&r), 0);
    settle(&r);
    rig_close(&r);
    rig_verify(&r, &report);
    assert_int_equal(report.verdict, LOG_GOOD);
    n = log_reader_segments(r.log_dir, &segments);
    assert_true(segments[0] > 256);
    assert_int_equal(files(&r, ".sig"), n);
    assert_int_equal(report.pruned, segments[0]);
    rig_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_closed_by_size),
        cmocka_unit_test(test_closed_by_age),
        cmocka_unit_test(test_closed_by_age_without_an_event),
        cmocka_unit_test(test_mixed_forms_from_every_index),
        cmocka_unit_test(test_resumed),
        cmocka_unit_test(test_damaged_is_located),
        cmocka_unit_test(test_pruned),
        cmocka_unit_test(test_pruned_by_age),
        cmocka_unit_test(test_pruned_twice),
        cmocka_unit_test(test_crash_before_deletion),
        cmocka_unit_test(test_a_segment_taken_away),
        cmocka_unit_test(test_pruned_tiles),
        cmocka_unit_test(test_changed_lines_stay),
        cmocka_unit_test(test_run_older_than_the_log),
        cmocka_unit_test(test_seal_batch),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
