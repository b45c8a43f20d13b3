/* SPDX-License-Identifier: MIT */
/* A log after a crash: cut at every byte, with its tiles gone, with files that do not belong, and what must
 * be refused. */
#include "tests/unit/signerd_rig.h"

#include <dirent.h>

#include "common/base/encoding.h"

#include "common/evidence/json_check.h"
#include "common/evidence/log_reader.h"

/* Line `index` of the log as an event; text must outlive it. */
static struct envelope_line event_at(const struct rig *r, uint64_t index, struct buf *text)
{
    struct log_reader *reader;
    struct envelope_line e;
    struct log_line l;

    assert_int_equal(log_reader_open(r->log_dir, index, &reader), 0);
    assert_int_equal(log_reader_next(reader, &l), LOG_READ_LINE);
    buf_clear(text);
    buf_put_str(text, l.text);
    log_reader_free(reader);
    assert_int_equal(envelope_parse(buf_str(text), &e), ENVELOPE_OK);
    return e;
}

static void expect_member(const struct envelope_line *e, const char *name, const char *want)
{
    struct str got;

    assert_int_equal(json_check_member(e->e.data, name, &got), 0);
    if (!str_is(got, want))
        fail_msg("%s is %.*s, not %s", name, (int)got.len, got.p, want);
}

static uint64_t good_lines(const struct rig *r)
{
    struct log_report report;

    rig_verify(r, &report);
    assert_int_equal(report.verdict, LOG_GOOD);
    assert_int_equal(report.uncovered, 0);
    assert_int_equal(report.torn_bytes, 0);
    return report.lines;
}

static unsigned torn_files(const struct rig *r)
{
    int fd = openat(r->log_dir, "torn", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    unsigned n = 0;

    if (!d)
        return 0;
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void test_every_start_is_sealed(void **state)
{
    _cleanup_(buf_done) struct buf text = {.data = NULL};
    struct envelope_line e;
    struct rig r;

    (void)state;
    buf_init(&text, 65536);
    rig_init_fast(&r);
    assert_int_equal(rig_open(&r), 0);
    rig_close(&r); /* nothing was in it: nothing to seal */
    assert_int_equal(rig_open(&r), 0);
    rig_run(&r, "a", 0);
    rig_close(&r);
    assert_int_equal(good_lines(&r), 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(rig_open(&r), 0);
        rig_close(&r);
        assert_int_equal(good_lines(&r), 4 + i);
    }
    e = event_at(&r, 3, &text);
    assert_true(str_is(e.e.type, "dev.cellos.events.cell.log.v1.recovered"));
    assert_true(str_is(e.e.source, "/cellos/signerd/test-host"));
    assert_null(e.e.subject.p);
    expect_member(&e, "previousSize", "3");
    expect_member(&e, "bootId", "\"" RIG_BOOT "\"");
    expect_member(&e, "tornBytes", "0");
    assert_int_equal(torn_files(&r), 0);
    rig_done(&r);
}

/* A crash between the lines and their checkpoint: whole good lines stay, the rest goes to torn/. */
static void test_cut_at_every_byte(void **state)
{
    _cleanup_(buf_done) struct buf early = {.data = NULL}, lines = {.data = NULL}, text = {.data = NULL};
    struct rig r;

    (void)state;
    rig_init_fast(&r);
    buf_init(&early, CHECKPOINT_NOTE_MAX);
    buf_init(&lines, 1u << 20);
    buf_init(&text, 65536);
    assert_int_equal(rig_open(&r), 0);
    rig_run(&r, "a", 0);
    rig_read(&r, "checkpoint", &early);
    rig_run(&r, "b", 0);
    rig_read(&r, RIG_FIRST, &lines);
    rig_close(&r);
    size_t start = 0;
    for (unsigned n = 0; n < 3; start++)
        n += lines.data[start] == '\n';
    for (size_t cut = start; cut <= lines.len; cut += cut + 1 < lines.len - 2000 ? 13 : 1) {
        uint64_t whole = 0, last = 0;
        struct envelope_line e;
        char want[32];

        for (size_t i = 0; i < cut; i++)
            if (lines.data[i] == '\n') {
                whole++;
                last = i + 1;
            }
        rig_write(&r, "checkpoint", early.data, early.len);
        rig_write(&r, RIG_FIRST, lines.data, cut);
        assert_int_equal(rig_open(&r), 0);
        rig_close(&r);
        assert_int_equal(good_lines(&r), whole + 1);
        e = event_at(&r, whole, &text);
        (void)snprintf(want, sizeof(want), "%zu", (size_t)(cut - last));
        expect_member(&e, "tornBytes", want);
        assert_int_equal(torn_files(&r), cut > last);
        char path[128];
        (void)snprintf(path, sizeof(path), "%s/log/torn", r.dir);
        rig_remove(path);
    }
    rig_done(&r);
}

/* What is torn is kept as it was. */
static void test_torn_bytes_are_kept(void **state)
{
    _cleanup_(buf_done) struct buf text = {.data = NULL}, torn = {.data = NULL};
    struct rig r;

    (void)state;
    rig_init_fast(&r);
    buf_init(&text, 65536);
    buf_init(&torn, 65536);
    assert_int_equal(rig_open(&r), 0);
    rig_run(&r, "a", 0);
    rig_close(&r);
    int fd = openat(r.log_dir, RIG_FIRST, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(fd, "garbage\nmore\n\0\0", 15), 15);
    off_t at = lseek(fd, 0, SEEK_END) - 15;
    close(fd);
    assert_int_equal(rig_open(&r), 0);
    rig_close(&r);
    assert_int_equal(good_lines(&r), 4);
    char name[96];
    (void)snprintf(name, sizeof(name), "torn/00000000000000000000-%020lld-0", (long long)at);
    rig_read(&r, name, &torn);
    assert_int_equal(torn.len, 15);
    assert_memory_equal(torn.data, "garbage\nmore\n\0\0", 15);
    struct envelope_line e = event_at(&r, 3, &text);
    uint8_t d[DIGEST_LEN];
    _cleanup_(buf_done) struct buf hex = {.data = NULL};
    buf_init(&hex, 256);
    digest_sha256("garbage\nmore\n\0\0", 15, d);
    buf_puts(&hex, "\"sha256:");
    encoding_hex_put(&hex, d, DIGEST_LEN);
    buf_puts(&hex, "\"");
    expect_member(&e, "tornDigest", buf_cstr(&hex));
    rig_done(&r);
}

static void test_below_the_checkpoint_is_refused(void **state)
{
    _cleanup_(buf_done) struct buf lines = {.data = NULL};
    struct rig r;

    (void)state;
    rig_init_fast(&r);
    buf_init(&lines, 1u << 20);
    assert_int_equal(rig_open(&r), 0);
    rig_run(&r, "a", 3);
    rig_read(&r, RIG_FIRST, &lines);
    rig_close(&r);
    for (size_t cut = 0; cut < lines.len; cut += 101) {
        rig_write(&r, RIG_FIRST, lines.data, cut);
        assert_int_equal(rig_open(&r), -EBADMSG);
    }
    rig_write(&r, RIG_FIRST, lines.data, lines.len - 1);
    assert_int_equal(rig_open(&r), -EBADMSG);
    lines.data[lines.len - 3000] ^= 1; /* as long as before, but another tree */
    rig_write(&r, RIG_FIRST, lines.data, lines.len);
    assert_int_equal(rig_open(&r), -EBADMSG);
    lines.data[lines.len - 3000] ^= 1;
    rig_write(&r, RIG_FIRST, lines.data, lines.len);
    assert_int_equal(rig_open(&r), 0);
    rig_done(&r);
}

static void test_checkpoint_gone_or_foreign_is_refused(void **state)
{
    _cleanup_(buf_done) struct buf note = {.data = NULL};
    struct rig r, other;

    (void)state;
    rig_init_fast(&r);
    rig_init_fast(&other);
    buf_init(&note, CHECKPOINT_NOTE_MAX);
    assert_int_equal(rig_open(&r), 0);
    rig_run(&r, "a", 0);
    rig_close(&r);
    rig_read(&r, "checkpoint", &note);
    assert_int_equal(unlinkat(r.log_dir, "checkpoint", 0), 0);
    assert_int_equal(rig_open(&r), -EBADMSG);
    rig_write(&r, "checkpoint", note.data, note.len / 2);
    assert_int_equal(rig_open(&r), -EBADMSG);
    rig_write(&r, "checkpoint", note.data, note.len);
    (void)snprintf(r.origin, sizeof(r.origin), "cellos.local/else");
    assert_int_equal(rig_open(&r), -EBADMSG);
    /* Another signer's key on this log. */
    struct keys *own = r.keys;
    r.keys = other.keys;
    (void)snprintf(r.origin, sizeof(r.origin), "%s", keys_vkey(own)->name);
    assert_int_equal(rig_open(&r), -EBADMSG);
    r.keys = own;
    assert_int_equal(rig_open(&r), 0);
    rig_done(&r);
    rig_done(&other);
}

/* A crash while the new log was laid out: nothing was acknowledged, it is simply begun again. */
static void test_half_laid_out(void **state)
{
    struct rig r;

    (void)state;
    rig_init_fast(&r);
    rig_write(&r, "origin", "x", 1);
    rig_write(&r, "checkpoint.tmp", "x", 1);
    assert_int_equal(rig_open(&r), 0);
    rig_run(&r, "a", 0);
    rig_close(&r);
    assert_int_equal(good_lines(&r), 3);
    rig_done(&r);
}

/* Every size around a full tile, with tiles that are there, gone, or wrong. */
static void test_tiles_are_only_a_cache(void **state)
{
    static const unsigned counts[] = {255, 256, 257, 512, 513};
    char path[128];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(counts); i++)
        for (unsigned how = 0; how < 4; how++) {
            struct rig r;

            rig_init_fast(&r);
            assert_int_equal(rig_open(&r), 0);
            rig_run(&r, "a", counts[i] - 3);
            rig_close(&r);
            (void)snprintf(path, sizeof(path), "%s/log/tile", r.dir);
            if (how == 1)
                rig_remove(path);
            if (how == 2 && counts[i] >= 256)
                rig_write(&r, "tile/0/000", "wrong", 5);
            if (how == 3 && counts[i] >= 256) {
                char zero[TILE_BYTES] = {0};

                rig_write(&r, "tile/0/000", zero, sizeof(zero));
            }
            assert_int_equal(rig_open(&r), 0);
            rig_run(&r, "b", 2);
            rig_close(&r);
            assert_int_equal(good_lines(&r), counts[i] + 6);
            if (counts[i] >= 256) {
                struct stat st;

                assert_int_equal(fstatat(r.log_dir, "tile/0/000", &st, 0), 0);
                assert_int_equal(st.st_size, TILE_BYTES);
            }
            rig_done(&r);
        }
}

/* 256 lines in the tiles, but the last of them not in the log. */
static void test_full_tiles_do_not_hide_a_missing_line(void **state)
{
    _cleanup_(buf_done) struct buf lines = {.data = NULL};
    struct rig r;

    (void)state;
    rig_init_fast(&r);
    buf_init(&lines, 4u << 20);
    assert_int_equal(rig_open(&r), 0);
    rig_run(&r, "a", 253);
    rig_close(&r);
    rig_read(&r, RIG_FIRST, &lines);
    lines.len--;
    while (lines.data[lines.len - 1] != '\n')
        lines.len--;
    rig_write(&r, RIG_FIRST, lines.data, lines.len);
    assert_int_equal(rig_open(&r), -EBADMSG);
    rig_done(&r);
}

static void test_segments(void **state)
{
    _cleanup_(buf_done) struct buf lines = {.data = NULL};
    struct rig r;

    (void)state;
    rig_init_fast(&r);
    buf_init(&lines, 1u << 20);
    assert_int_equal(rig_open(&r), 0);
    rig_run(&r, "a", 0);
    rig_close(&r);
    /* A crash right after a roll-over: an empty segment for the next line. */
    rig_write(&r, "00000000000000000003.jsonl", "", 0);
    assert_int_equal(rig_open(&r), 0);
    rig_run(&r, "b", 0);
    rig_close(&r);
    assert_int_equal(good_lines(&r), 7);
    rig_read(&r, "00000000000000000003.jsonl", &lines);
    assert_true(lines.len > 0);
    /* A segment that belongs to no line. */
    rig_write(&r, "00000000000000000099.jsonl", "x\n", 2);
    assert_int_equal(rig_open(&r), 0);
    rig_close(&r);
    assert_int_equal(good_lines(&r), 8);
    assert_int_equal(faccessat(r.log_dir, "00000000000000000099.jsonl", F_OK, 0), -1);
    assert_int_equal(torn_files(&r), 1);
    rig_done(&r);
}

/* Somebody without the key puts lines of another log of the same key, good and with the right numbers, behind
 * the checkpoint: they are not taken in. Lines of this log, cut off by an older checkpoint, are. */
static void test_lines_of_another_log_are_torn(void **state)
{
    _cleanup_(buf_done) struct buf other = {.data = NULL}, lines = {.data = NULL}, note = {.data = NULL};
    struct cell *cell;
    char path[96];
    struct rig r;

    (void)state;
    rig_init_fast(&r);
    buf_init(&other, 1u << 20);
    buf_init(&lines, 1u << 20);
    buf_init(&note, CHECKPOINT_NOTE_MAX);
    assert_int_equal(rig_open(&r), 0);
    rig_run(&r, "a", 0);
    cell = rig_cell(&r, "other");
    assert_int_equal(rig_started(&r, cell, NULL), 0);
    rig_close(&r);
    rig_read(&r, RIG_FIRST, &other);

    close(r.log_dir);
    (void)snprintf(path, sizeof(path), "%s/second", r.dir);
    assert_int_equal(mkdir(path, 0700), 0);
    r.log_dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(r.log_dir >= 0);
    assert_int_equal(rig_open(&r), 0);
    rig_run(&r, "b", 0);
    rig_read(&r, "checkpoint", &note);
    rig_run(&r, "c", 0);
    rig_close(&r);
    rig_write(&r, "checkpoint", note.data, note.len);
    assert_int_equal(rig_open(&r), 0); /* its own: taken in again */
    rig_close(&r);
    assert_int_equal(good_lines(&r), 7);
    assert_int_equal(torn_files(&r), 0);

    rig_read(&r, RIG_FIRST, &lines);
    rig_write(&r, "checkpoint", note.data, note.len); /* of three lines */
    const char *from = buf_cstr(&other), *to = buf_cstr(&lines);
    for (unsigned i = 0; i < 3; i++) {
        from = strchr(from, '\n') + 1;
        to = strchr(to, '\n') + 1;
    }
    size_t kept = (size_t)(to - (const char *)lines.data);
    lines.len = kept;
    buf_puts(&lines, from);
    rig_write(&r, RIG_FIRST, lines.data, lines.len);
    assert_int_equal(rig_open(&r), 0);
    rig_close(&r);
    assert_int_equal(good_lines(&r), 4); /* and the recovery */
    assert_int_equal(torn_files(&r), 1);
    rig_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_start_is_sealed),
        cmocka_unit_test(test_cut_at_every_byte),
        cmocka_unit_test(test_torn_bytes_are_kept),
        cmocka_unit_test(test_below_the_checkpoint_is_refused),
        cmocka_unit_test(test_checkpoint_gone_or_foreign_is_refused),
        cmocka_unit_test(test_half_laid_out),
        cmocka_unit_test(test_tiles_are_only_a_cache),
        cmocka_unit_test(test_full_tiles_do_not_hide_a_missing_line),
        cmocka_unit_test(test_segments),
        cmocka_unit_test(test_lines_of_another_log_are_torn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
