/* SPDX-License-Identifier: MIT */
/* Compressed segments: the form a frame may have, the lines it must hold, passing over frames; what is
 * refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>
#include <zstd.h>

#include "common/base/buf.h"
#include "common/base/io.h"
#include "common/evidence/log_reader.h"

static struct buf file;
static ZSTD_CCtx *ctx;

static int setup(void **state)
{
    (void)state;
    buf_init(&file, 64u << 20);
    ctx = ZSTD_createCCtx();
    return ctx ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    buf_done(&file);
    ZSTD_freeCCtx(ctx);
    return 0;
}

static void fresh(void)
{
    buf_clear(&file);
    ZSTD_CCtx_reset(ctx, ZSTD_reset_session_and_parameters);
    ZSTD_CCtx_setParameter(ctx, ZSTD_c_windowLog, ZST_WINDOW_LOG);
    ZSTD_CCtx_setParameter(ctx, ZSTD_c_checksumFlag, 1);
}

/* One more frame with this content. */
static void frame(const void *p, size_t n)
{
    size_t bound = ZSTD_compressBound(n), len;
    uint8_t *to = buf_reserve(&file, bound);

    assert_non_null(to);
    len = ZSTD_compress2(ctx, to, bound, p, n);
    assert_false(ZSTD_isError(len));
    file.len += len;
}

/* One more frame with lines [from, to), each its number. */
static void lines(unsigned from, unsigned to)
{
    struct buf b;

    buf_init(&b, 1u << 20);
    for (unsigned i = from; i < to; i++)
        buf_printf(&b, "%u\n", i);
    frame(b.data, b.len);
    buf_done(&b);
}

/* Reads the file: how it ends, and how many good lines came before. */
static int read_from(uint64_t first, uint64_t from, uint64_t *ret_lines)
{
    int fd = io_memfd_sealed("segment", file.data, file.len), r;
    struct log_reader *reader;
    struct log_line l;

    *ret_lines = 0;
    assert_true(fd >= 0);
    r = log_reader_open_zst(fd, first, from, &reader);
    if (r < 0)
        return r;
    while ((r = log_reader_next(reader, &l)) == LOG_READ_LINE) {
        assert_int_equal(l.index, from + *ret_lines);
        assert_int_equal(l.segment_line, l.index - first + 1);
        ++*ret_lines;
    }
    log_reader_free(reader);
    return r;
}

static void expect(int end, uint64_t first, uint64_t n)
{
    uint64_t have;

    assert_int_equal(read_from(first, first, &have), end);
    assert_int_equal(have, n);
}

/* However much of it came before: it is refused. */
static void expect_damaged(uint64_t first)
{
    uint64_t have;
    int r = read_from(first, first, &have);

    assert_int_equal(r, LOG_READ_DAMAGED);
}

/* Every line of the file that lines(0, n) made is its number, or the file is refused. */
static void expect_damaged_or_same(unsigned n)
{
    int fd = io_memfd_sealed("segment", file.data, file.len), r;
    struct log_reader *reader;
    bool same = true;
    struct log_line l;
    char text[16];

    assert_true(fd >= 0);
    assert_int_equal(log_reader_open_zst(fd, 0, 0, &reader), 0);
    while ((r = log_reader_next(reader, &l)) == LOG_READ_LINE) {
        (void)snprintf(text, sizeof(text), "%u", (unsigned)l.index);
        same &= str_is(l.text, text);
    }
    assert_true(r == LOG_READ_DAMAGED || (r == LOG_READ_END && same && l.index == n));
    log_reader_free(reader);
}

static void test_good(void **state)
{
    uint64_t n, offset = 0;
    struct log_reader *reader;
    struct log_line l;
    char text[16];

    (void)state;
    fresh();
    lines(100, 256);
    lines(256, 512);
    lines(512, 1024 - 256);
    lines(768, 800);
    expect(LOG_READ_END, 100, 700);
    for (uint64_t from = 100; from < 810; from += from % 7 + 1) {
        assert_int_equal(read_from(100, from, &n), LOG_READ_END);
        assert_int_equal(n, from < 800 ? 800 - from : 0);
    }
    /* The place in the content is right behind passed frames, too. */
    for (unsigned i = 100; i < 700; i++)
        offset += (uint64_t)snprintf(text, sizeof(text), "%u\n", i);
    assert_int_equal(log_reader_open_zst(io_memfd_sealed("s", file.data, file.len), 100, 700, &reader), 0);
    assert_int_equal(log_reader_next(reader, &l), LOG_READ_LINE);
    assert_true(str_is(l.text, "700"));
    assert_int_equal(l.offset, offset);
    log_reader_free(reader);
}

static void test_frames_hold_what_they_must(void **state)
{
    (void)state;
    fresh();
    lines(0, 255);
    lines(255, 300);
    expect_damaged(0);
    fresh();
    lines(0, 257);
    expect_damaged(0);
    fresh();
    frame("a\nb", 3);
    expect_damaged(0);
    fresh();
    frame("", 0);
    expect_damaged(0);
    fresh();
    lines(0, 256);
    frame("", 0);
    expect_damaged(0);
    fresh();
    expect(LOG_READ_END, 0, 0); /* no frame at all: no line, as in an empty plain one */
}

static void test_forms_that_are_refused(void **state)
{
    static const uint8_t skippable[] = {0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 'x'};
    char *big = malloc(3u << 20);
    struct buf keep;

    (void)state;
    assert_non_null(big);
    memset(big, 'x', 3u << 20);
    for (size_t i = 60000; i < 3u << 20; i += 60000)
        big[i] = '\n';
    big[(3u << 20) - 1] = '\n';
    fresh();
    frame(big, 3u << 20);
    expect(LOG_READ_END, 0, (3u << 20) / 60000 + 1);
    fresh();
    ZSTD_CCtx_setParameter(ctx, ZSTD_c_windowLog, 21);
    frame(big, 3u << 20);
    expect_damaged(0);
    fresh();
    ZSTD_CCtx_setParameter(ctx, ZSTD_c_contentSizeFlag, 0);
    lines(0, 10);
    expect_damaged(0);
    fresh();
    buf_put(&file, skippable, sizeof(skippable));
    lines(0, 10);
    expect_damaged(0);
    fresh();
    lines(0, 256);
    buf_put(&file, skippable, sizeof(skippable));
    expect_damaged(0);
    /* A bomb: much content, of one line, or of more lines than a frame may have. */
    free(big);
    big = calloc(1, 2 * ZST_FRAME_MAX);
    assert_non_null(big);
    fresh();
    frame(big, 2 * ZST_FRAME_MAX);
    expect_damaged(0);
    fresh();
    frame(big, ZST_FRAME_MAX);
    uint64_t n;
    assert_int_equal(read_from(0, 0, &n), LOG_READ_TORN); /* that no line is so long is known at once */
    assert_int_equal(n, 0);
    memset(big, '\n', ZST_FRAME_MAX);
    fresh();
    frame(big, ZST_FRAME_MAX);
    expect_damaged(0);
    free(big);
    /* Cut off at every byte: damaged, or (between two frames) just shorter. */
    fresh();
    lines(0, 256);
    size_t between = file.len;
    lines(256, 300);
    buf_init(&keep, 1u << 20);
    buf_put(&keep, file.data, file.len);
    for (size_t cut = 1; cut < keep.len; cut++) {
        file.len = cut;
        if (cut == between)
            expect(LOG_READ_END, 0, 256);
        else
            expect_damaged(0);
    }
    /* A flipped bit: damaged; there are bits that say nothing, such as those that fill up the last byte of a
     * code. */
    for (size_t at = 0; at < keep.len; at++) {
        buf_clear(&file);
        buf_put(&file, keep.data, keep.len);
        file.data[at] ^= 0x40;
        expect_damaged_or_same(300);
    }
    buf_done(&keep);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_frames_hold_what_they_must),
        cmocka_unit_test(test_forms_that_are_refused),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
