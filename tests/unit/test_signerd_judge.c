/* SPDX-License-Identifier: MIT */
/* Lines come out of the pool in their order and with the judgement they get one by one, whatever the number
 * of threads, and wherever the reading stops. */
#include "tests/unit/signerd_rig.h"

#include "common/evidence/judge.h"

#define LINES 1500u

struct feed {
    const char *text;
    size_t len, pos;
    uint64_t index, stop; /* the line before which the source ends */
    int end;
};

static int feed_next(void *arg, struct log_line *ret)
{
    struct feed *f = arg;
    const char *lf = f->pos < f->len ? memchr(f->text + f->pos, '\n', f->len - f->pos) : NULL;

    if (!lf || f->index == f->stop) {
        *ret = (struct log_line){.index = f->index, .text = STR_LIT("the end")};
        return f->end;
    }
    *ret =
        (struct log_line){.index = f->index++, .text = {f->text + f->pos, (size_t)(lf - (f->text + f->pos))}};
    f->pos = (size_t)(lf + 1 - f->text);
    return LOG_READ_LINE;
}

static struct buf text;
static struct keyring ring;

static void expect(unsigned threads, uint64_t stop, int end)
{
    _cleanup_(judge_freep) struct judge *j = NULL;
    struct feed f = {(const char *)text.data, text.len, 0, 0, stop, end}, again = f;
    struct judge_source s = {.next = feed_next, .arg = &f};
    const struct judged *got;
    uint64_t n = 0;
    int r;

    assert_int_equal(judge_open(&s, &ring, threads, &j), 0);
    while ((r = judge_next(j, &got)) == LOG_READ_LINE) {
        struct log_check_line want;
        struct log_line l;

        assert_int_equal(feed_next(&again, &l), LOG_READ_LINE);
        assert_true(str_eq(got->line.text, l.text));
        assert_int_equal(got->line.index, n++);
        if (n % 97 != 0 && n % 500 != 1)
            continue;
        log_check_alone(l.text, &ring, NULL, &want);
        assert_int_equal(got->check.error, want.error);
        assert_memory_equal(got->check.leaf, want.leaf, DIGEST_LEN);
        assert_int_equal(got->check.error == ENVELOPE_OK, n != 501);
        assert_false(got->bare);
        assert_int_equal(got->sig_error, 0);
    }
    assert_int_equal(r, end);
    assert_int_equal(n, stop < LINES ? stop : LINES);
    assert_true(str_is(got->line.text, "the end"));
    assert_int_equal(judge_next(j, &got), end); /* and stays there */
}

static void test_order(void **state)
{
    static const uint64_t stops[] = {0, 1, 127, 128, 129, 384, 640, 641, LINES};

    (void)state;
    for (unsigned threads = 1; threads <= 8; threads = threads * 2 + 1)
        for (size_t i = 0; i < ARRAY_LEN(stops); i++)
            expect(threads, stops[i], i % 2 ? LOG_READ_END : LOG_READ_TORN);
    expect(0, UINT64_MAX, LOG_READ_TOO_LONG);
}

static void test_error_of_the_source(void **state)
{
    (void)state;
    expect(3, 700, -EIO);
}

/* Nobody reads to the end: the threads are ended all the same. */
static void test_given_up(void **state)
{
    (void)state;
    for (unsigned lines = 0; lines < 400; lines += 57) {
        _cleanup_(judge_freep) struct judge *j = NULL;
        struct feed f = {(const char *)text.data, text.len, 0, 0, UINT64_MAX, LOG_READ_END};
        struct judge_source s = {.next = feed_next, .arg = &f};
        const struct judged *got;

        assert_int_equal(judge_open(&s, &ring, 4, &j), 0);
        for (unsigned i = 0; i < lines; i++)
            assert_int_equal(judge_next(j, &got), LOG_READ_LINE);
    }
}

static int setup(void **state)
{
    struct rig r;
    size_t at = 0;

    (void)state;
    rig_init_fast(&r);
    assert_int_equal(rig_open(&r), 0);
    rig_run(&r, "web-1", LINES - 3);
    r.log = elog_free(r.log);
    buf_init(&text, 16u << 20);
    rig_read(&r, RIG_FIRST, &text);
    ring = *keys_ring(r.keys);
    rig_done(&r);
    for (unsigned i = 0; i < 500; i++) /* line 500, from 0, is damaged */
        at = (size_t)((char *)memchr(text.data + at, '\n', text.len - at) + 1 - (char *)text.data);
    text.data[at + 300] ^= 1;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buf_done(&text);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_error_of_the_source),
        cmocka_unit_test(test_given_up),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
