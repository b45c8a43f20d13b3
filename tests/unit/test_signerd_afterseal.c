/* SPDX-License-Identifier: MIT */
/* seal: batch: the signatures that are made later are those of the lines that were accepted, whatever became
 * of the file meanwhile. */
#include "common/evidence/sidecar.h"
#include "signerd/afterseal.h"
#include "tests/unit/signerd_rig.h"

#define LINES 303 /* a run of 300 and its frame: more than a tile */

static void start(struct rig *r)
{
    rig_init(r);
    r->config.seal = SEAL_BATCH;
    assert_int_equal(rig_open(r), 0);
}

/* has[i]: line i has a signature, and it is that of what stands there. */
static void look(const struct rig *r, bool has[static LINES])
{
    _cleanup_(sidecar_reader_freep) struct sidecar_reader *sigs = NULL;
    _cleanup_(log_reader_freep) struct log_reader *lines = NULL;
    struct log_line line;

    assert_int_equal(log_reader_open(r->log_dir, 0, &lines), 0);
    assert_int_equal(sidecar_reader_new(r->log_dir, &sigs), 0);
    for (size_t i = 0; i < LINES; i++) {
        const struct keyring_key *key;
        uint8_t sig[ED25519_SIG_LEN];
        struct envelope_line parsed;
        int e;

        assert_int_equal(log_reader_next(lines, &line), LOG_READ_LINE);
        assert_int_equal(envelope_parse(line.text, &parsed), ENVELOPE_OK);
        assert_null(parsed.dssematerial.p);
        e = sidecar_read(sigs, &line, keys_ring(r->keys), &key, sig);
        assert_true(e == 0 || e == -ENODATA);
        has[i] = e == 0 && envelope_verify_signature(&parsed.e, key, sig) == ENVELOPE_OK;
    }
}

static size_t count(const bool has[static LINES])
{
    size_t n = 0;

    for (size_t i = 0; i < LINES; i++)
        n += has[i];
    return n;
}

/* Another host in line n: a good event, but not the one that was accepted. */
static void change_line(const struct rig *r, size_t n)
{
    char text[1 << 19], name[LOG_SEGMENT_NAME_MAX], *at = text;
    _cleanup_close_ int fd = -EBADF;
    ssize_t len;

    log_segment_name(0, name);
    fd = openat(r->log_dir, name, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    len = pread(fd, text, sizeof(text) - 1, 0);
    assert_true(len > 0);
    text[len] = '\0';
    for (size_t i = 0; i < n; i++)
        at = strchr(at, '\n') + 1;
    at = strstr(at, "example.test");
    assert_non_null(at);
    assert_int_equal(pwrite(fd, "elsewhere.ru", 12, at - text), 12);
}

static void remove_signatures(const struct rig *r)
{
    char name[SIDECAR_NAME_MAX];

    sidecar_name(0, keys_keyid(r->keys), name);
    (void)unlinkat(r->log_dir, name, 0);
}

/* All of a segment's, or their end, or some in the middle. */
static void lose_signatures(const struct rig *r, uint64_t segment, unsigned how)
{
    static const uint8_t hole[10 * ED25519_SIG_LEN];
    char name[SIDECAR_NAME_MAX];
    _cleanup_close_ int fd = -EBADF;

    sidecar_name(segment, keys_keyid(r->keys), name);
    fd = openat(r->log_dir, name, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    if (how == 0)
        assert_int_equal(unlinkat(r->log_dir, name, 0), 0);
    else if (how == 1)
        assert_int_equal(ftruncate(fd, 20 * ED25519_SIG_LEN), 0);
    else
        assert_int_equal(pwrite(fd, hole, sizeof(hole), 7 * ED25519_SIG_LEN), (ssize_t)sizeof(hole));
}

static void test_all_lines_are_signed_in_the_end(void **state)
{
    bool has[LINES];
    struct log_report report;
    struct rig r;

    (void)state;
    start(&r);
    rig_run(&r, "a", 300);
    rig_close(&r);
    look(&r, has);
    assert_int_equal(count(has), LINES);
    rig_verify(&r, &report);
    assert_int_equal(report.verdict, LOG_GOOD);
    rig_done(&r);
}

/* Changed on the disk, perhaps before its turn came: nothing is signed that was not said, and the others are.
 */
static void test_a_changed_line_is_not_signed(void **state)
{
    bool has[LINES];
    struct log_report report;
    struct rig r;

    (void)state;
    start(&r);
    rig_run(&r, "a", 300);
    change_line(&r, 200);
    rig_close(&r);
    look(&r, has);
    assert_false(has[200]);
    assert_int_equal(count(has), LINES - 1);
    rig_verify(&r, &report);
    assert_int_not_equal(report.verdict, LOG_GOOD);
    rig_done(&r);
}

static void test_what_was_left_is_signed_at_the_next_start(void **state)
{
    bool has[LINES];
    struct rig r;

    (void)state;
    start(&r);
    rig_run(&r, "a", 300);
    rig_close(&r);
    remove_signatures(&r);
    look(&r, has);
    assert_int_equal(count(has), 0);
    assert_int_equal(rig_open(&r), 0);
    rig_close(&r);
    look(&r, has);
    assert_int_equal(count(has), LINES);
    rig_done(&r);
}

/* A loss of power takes files of signatures, or their ends, or leaves holes, in any order. */
static void test_what_any_segment_lacks_is_signed(void **state)
{
    for (unsigned lost = 1; lost < 8; lost++) {
        _cleanup_free_ uint64_t *segments = NULL;
        bool has[LINES];
        struct rig r;
        unsigned big = 0;
        int n;

        (void)state;
        rig_init(&r);
        r.config.seal = SEAL_BATCH;
        r.config.segment_bytes = 4096;
        assert_int_equal(rig_open(&r), 0);
        for (int i = 0; i < 3; i++)
            rig_run(&r, "a", 98); /* a batch is not divided: a segment each, at least */
        rig_close(&r);
        n = log_reader_segments(r.log_dir, &segments);
        for (int i = 0; i < n; i++) {
            if ((i + 1 < n ? segments[i + 1] : LINES) - segments[i] < 30)
                continue;
            if (lost & 1u << big)
                lose_signatures(&r, segments[i], /* how= */ (lost + big) % 3);
            big++;
        }
        assert_int_equal(big, 3);
        look(&r, has);
        assert_in_range(count(has), 0, LINES - 1);
        assert_int_equal(rig_open(&r), 0);
        rig_close(&r);
        look(&r, has);
        assert_int_equal(count(has), LINES);
        rig_done(&r);
    }
}

/* While nobody ran somebody changed a line: the lines do not lead to the checkpoint, so none of them is
 * signed. */
static void test_what_was_left_is_proven_first(void **state)
{
    bool has[LINES];
    struct rig r;

    (void)state;
    start(&r);
    rig_run(&r, "a", 300);
    rig_close(&r);
    remove_signatures(&r);
    change_line(&r, 20);
    assert_int_equal(rig_open(&r), 0); /* the tiles say what the tree is */
    rig_close(&r);
    look(&r, has);
    assert_false(has[20]);
    rig_done(&r);
}

/* A reader that read ahead while a batch was being written that the disk then did not take: the lines that
 * came in their place are signed all the same. */
static void test_what_was_read_ahead_and_taken_back(void **state)
{
    static char text[1 << 18];
    char name[LOG_SEGMENT_NAME_MAX];
    bool has[LINES];
    struct rig r;

    (void)state;
    start(&r);
    rig_run(&r, "a", 100);
    log_segment_name(0, name);
    int fd = openat(r.log_dir, name, O_RDWR | O_APPEND | O_CLOEXEC);
    assert_true(fd >= 0);
    ssize_t len = pread(fd, text, sizeof(text), 0);
    assert_in_range(len, 1, sizeof(text) - 1);
    assert_int_equal(write(fd, text, (size_t)len), len); /* less than what comes instead */
    close(fd);
    for (unsigned i = 0; i < 1000; i++) /* signs, and reads the whole file */
        ev_run(r.loop, EVRUN_NOWAIT);
    rig_run(&r, "b", LINES - 106);
    for (unsigned i = 0; i < 1000; i++)
        ev_run(r.loop, EVRUN_NOWAIT);
    look(&r, has);
    assert_int_equal(count(has), LINES);
    rig_done(&r);
}

/* Signatures that can never be written: what waits has its limit, and none of it is lost for ever. */
static void test_what_waits_is_bounded(void **state)
{
    static const uint8_t leaf[DIGEST_LEN];
    struct afterseal *a = NULL;
    struct rig r;

    (void)state;
    rig_init(&r);
    assert_int_equal(afterseal_new(r.log_dir, r.keys, 0, leaf, &a), 0);
    for (uint64_t i = 0; i < 3ull * LIMIT_UNSIGNED; i++)
        assert_int_equal(afterseal_add(a, leaf), 0);
    assert_int_equal(afterseal_waiting(a), AFTERSEAL_MAX);
    afterseal_free(a);
    rig_done(&r);
}

/* Signatures of a key that nobody knows, in a file as long as one likes, are none. */
static void test_a_strangers_signatures(void **state)
{
    static const char other[] = "00000000000000000000-0123456789abcdef.sig";
    static uint8_t junk[LINES * ED25519_SIG_LEN];
    bool has[LINES];
    struct rig r;

    (void)state;
    memset(junk, 7, sizeof(junk));
    start(&r);
    rig_run(&r, "a", 300);
    rig_close(&r);
    remove_signatures(&r);
    rig_write(&r, other, junk, sizeof(junk));
    int fd = openat(r.log_dir, other, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)1 << 40), 0);
    close(fd);
    assert_int_equal(rig_open(&r), 0);
    rig_close(&r);
    assert_int_equal(unlinkat(r.log_dir, other, 0), 0);
    look(&r, has);
    assert_int_equal(count(has), LINES);
    rig_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_lines_are_signed_in_the_end),
        cmocka_unit_test(test_a_changed_line_is_not_signed),
        cmocka_unit_test(test_what_was_left_is_signed_at_the_next_start),
        cmocka_unit_test(test_what_any_segment_lacks_is_signed),
        cmocka_unit_test(test_what_was_left_is_proven_first),
        cmocka_unit_test(test_what_was_read_ahead_and_taken_back),
        cmocka_unit_test(test_what_waits_is_bounded),
        cmocka_unit_test(test_a_strangers_signatures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
