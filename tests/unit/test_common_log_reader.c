/* SPDX-License-Identifier: MIT */
/* Segments and lines: order, gaps, torn ends, lengths, foreign files. */
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "common/base/io.h"
#include "common/evidence/log_reader.h"

static char dir[64];
static int dirfd;

static int unlink_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static int setup(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/cellos-test-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return dirfd < 0 ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    close(dirfd);
    return nftw(dir, unlink_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void put(const char *name, const char *text, size_t n)
{
    int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(io_write_full(fd, text, n), 0);
    close(fd);
}

static void segment(uint64_t first, const char *text)
{
    char name[LOG_SEGMENT_NAME_MAX];

    log_segment_name(first, name);
    put(name, text, strlen(text));
}

static void expect(struct log_reader *r, const char *text, uint64_t index, uint64_t seg, uint64_t line,
                   uint64_t offset)
{
    struct log_line l;

    assert_int_equal(log_reader_next(r, &l), LOG_READ_LINE);
    assert_true(str_is(l.text, text));
    assert_int_equal(l.index, index);
    assert_int_equal(l.segment, seg);
    assert_int_equal(l.segment_line, line);
    assert_int_equal(l.offset, offset);
}

static void test_segments_in_order(void **state)
{
    struct log_reader *r;
    struct log_line l;

    (void)state;
    segment(3, "d\n");
    segment(0, "a\nbb\n\n");
    segment(4, "");
    put("00000000000000000009.jsonl.tmp", "x\n", 2);
    put("notes", "x\n", 2);
    assert_int_equal(log_reader_open(dirfd, 0, &r), 0);
    expect(r, "a", 0, 0, 1, 0);
    expect(r, "bb", 1, 0, 2, 2);
    expect(r, "", 2, 0, 3, 5);
    expect(r, "d", 3, 3, 1, 0);
    assert_int_equal(log_reader_next(r, &l), LOG_READ_END);
    assert_int_equal(log_reader_next(r, &l), LOG_READ_END);
    log_reader_free(r);
}

static void test_from_the_middle(void **state)
{
    struct log_reader *r;
    struct log_line l;

    (void)state;
    segment(0, "a\nb\nc\n");
    segment(3, "d\ne\n");
    assert_int_equal(log_reader_open(dirfd, 1, &r), 0);
    expect(r, "b", 1, 0, 2, 2);
    log_reader_free(r);
    assert_int_equal(log_reader_open(dirfd, 4, &r), 0);
    expect(r, "e", 4, 3, 2, 2);
    assert_int_equal(log_reader_next(r, &l), LOG_READ_END);
    log_reader_free(r);
    assert_int_equal(log_reader_open(dirfd, 99, &r), 0);
    assert_int_equal(log_reader_next(r, &l), LOG_READ_END);
    log_reader_free(r);
}

static void test_no_place(void **state)
{
    struct log_reader *r;

    (void)state;
    assert_int_equal(log_reader_open(dirfd, 0, &r), -ENOENT);
    segment(5, "a\n");
    assert_int_equal(log_reader_open(dirfd, 4, &r), -ENOENT);
}

static void test_gap_and_overlap(void **state)
{
    struct log_reader *r;
    struct log_line l;

    (void)state;
    segment(0, "a\nb\n");
    segment(3, "d\n");
    assert_int_equal(log_reader_open(dirfd, 0, &r), 0);
    expect(r, "a", 0, 0, 1, 0);
    expect(r, "b", 1, 0, 2, 2);
    assert_int_equal(log_reader_next(r, &l), LOG_READ_BAD_SEGMENT);
    assert_int_equal(l.segment, 3);
    assert_int_equal(l.index, 2);
    log_reader_free(r);
    segment(0, "a\nb\nc\nd\n");
    assert_int_equal(log_reader_open(dirfd, 0, &r), 0);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(log_reader_next(r, &l), LOG_READ_LINE);
    assert_int_equal(log_reader_next(r, &l), LOG_READ_BAD_SEGMENT);
    log_reader_free(r);
}

static void test_torn_end(void **state)
{
    struct log_reader *r;
    struct log_line l;

    (void)state;
    segment(0, "a\nbcd");
    segment(2, "e\n");
    assert_int_equal(log_reader_open(dirfd, 0, &r), 0);
    expect(r, "a", 0, 0, 1, 0);
    assert_int_equal(log_reader_next(r, &l), LOG_READ_TORN);
    assert_true(str_is(l.text, "bcd"));
    assert_int_equal(l.index, 1);
    assert_int_equal(l.offset, 2);
    log_reader_free(r);
}

static void test_lengths(void **state)
{
    static char text[3 * (LOG_READER_LINE_MAX + 2)];
    struct log_reader *r;
    struct log_line l;

    (void)state;
    memset(text, 'x', sizeof(text));
    text[LOG_READER_LINE_MAX] = '\n';
    text[2 * LOG_READER_LINE_MAX + 1] = '\n';
    put("00000000000000000000.jsonl", text, 2 * (LOG_READER_LINE_MAX + 1));
    assert_int_equal(log_reader_open(dirfd, 0, &r), 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(log_reader_next(r, &l), LOG_READ_LINE);
        assert_int_equal(l.text.len, LOG_READER_LINE_MAX);
    }
    assert_int_equal(log_reader_next(r, &l), LOG_READ_END);
    log_reader_free(r);
    text[LOG_READER_LINE_MAX] = 'x';
    text[LOG_READER_LINE_MAX + 1] = '\n';
    put("00000000000000000000.jsonl", text, LOG_READER_LINE_MAX + 2);
    assert_int_equal(log_reader_open(dirfd, 0, &r), 0);
    assert_int_equal(log_reader_next(r, &l), LOG_READ_TOO_LONG);
    log_reader_free(r);
    memset(text, 'x', sizeof(text)); /* no LF at all, however much */
    put("00000000000000000000.jsonl", text, sizeof(text));
    assert_int_equal(log_reader_open(dirfd, 0, &r), 0);
    assert_int_equal(log_reader_next(r, &l), LOG_READ_TORN);
    assert_int_equal(l.text.len, LOG_READER_LINE_MAX + 1);
    log_reader_free(r);
}

/* Not a file: nothing waits for a FIFO's writer, nothing follows a link out. */
static void test_foreign_files(void **state)
{
    struct log_reader *r;
    struct log_line l;

    (void)state;
    assert_int_equal(mkfifoat(dirfd, "00000000000000000000.jsonl", 0600), 0);
    assert_int_equal(log_reader_open(dirfd, 0, &r), 0);
    assert_int_equal(log_reader_next(r, &l), -EBADMSG);
    log_reader_free(r);
    assert_int_equal(unlinkat(dirfd, "00000000000000000000.jsonl", 0), 0);
    assert_int_equal(symlinkat("/etc/passwd", dirfd, "00000000000000000000.jsonl"), 0);
    assert_int_equal(log_reader_open(dirfd, 0, &r), 0);
    assert_int_equal(log_reader_next(r, &l), -ELOOP);
    log_reader_free(r);
}

#define WITH_DIR(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_DIR(test_segments_in_order), WITH_DIR(test_from_the_middle), WITH_DIR(test_no_place),
        WITH_DIR(test_gap_and_overlap),   WITH_DIR(test_torn_end),        WITH_DIR(test_lengths),
        WITH_DIR(test_foreign_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
