/* SPDX-License-Identifier: MIT */
/* The machine stops: after every call that signerd's log makes, with everything the kernel had (kill -9), and
 * with every kind of loss a disk may have of what was not synced. Each of these directories is recovered and
 * held against what was acknowledged. */
#undef _FORTIFY_SOURCE
#include "tests/unit/fault_calls.h"

#include "tests/unit/signerd_history.h"

#ifdef CELLOS_SANITIZE
#include <sanitizer/lsan_interface.h>
#endif

#define CHECKPOINT_NOTE_LEN 600 /* what is longer was lines */

static struct journal journal;
static unsigned cases;

/* Crashes of the recovery itself: the directory of `im` is opened once with a journal, which is then cut. */
static void try_recovery(struct rig *r, struct journal *j, size_t cut, struct rng *g)
{
    uint64_t bytes = history_bytes(r);
    struct journal second;
    char before[sizeof(history_where)];

    faults_record(&second, r->log_dir);
    assert_int_equal(rig_open(r), 0);
    rig_close(r);
    faults_stop();
    memcpy(before, history_where, sizeof(before));
    for (size_t again = 0; again <= second.nops; again++) {
        enum loss loss = (enum loss)rng_below(g, _LOSS_MAX);
        struct image im;
        struct stat st;
        char path[96];

        (void)snprintf(history_where, sizeof(history_where), "%.150s, then recovery call %zu, loss %d",
                       before, again, (int)loss);
        (void)snprintf(path, sizeof(path), "%s/case", r->dir);
        assert_int_equal(fstat(r->log_dir, &st), 0);
        rig_remove(path);
        close(r->log_dir);
        (void)history_case(r);
        journal_image(&second, again, loss, g, &im);
        image_store(&second, &im, r->log_dir);
        image_done(&im);
        if (!r->config.segment_bytes && history_bytes(r) < bytes) /* compressing is getting less */
            fail_msg("%s: what was torn is nowhere any more", history_where);
        history_recover(r, j, cut);
        cases++;
    }
    journal_done(&second);
}

static void try_cut(struct rig *r, size_t cut, enum loss loss, uint64_t seed, bool twice)
{
    history_cut(r, &journal, cut, loss, seed, twice ? try_recovery : NULL);
    cases++;
}

static void try_all(struct rig *r, unsigned seeds)
{
    cases = 0;
    for (size_t cut = 0; cut <= journal.nops; cut++) {
        for (enum loss loss = 0; loss < LOSS_TAIL; loss++)
            try_cut(r, cut, loss, cut, false);
        for (unsigned s = 0; s < seeds; s++) {
            try_cut(r, cut, LOSS_TAIL, cut * 1000 + s, false);
            try_cut(r, cut, LOSS_SOME, cut * 1000 + s, false);
        }
        /* Where lines were under way there is something to recover, and that is interrupted again. */
        for (unsigned s = 0; s < 2 && cut > 0 && journal.op[cut - 1].data.len > CHECKPOINT_NOTE_LEN; s++)
            try_cut(r, cut, LOSS_SOME, cut * 1000 + s, true);
    }
    print_message("%zu calls, %u crashes\n", journal.nops, cases);
}

static void claim(struct rig *r, enum history_what what, struct cell *cell)
{
    assert_int_equal(history_claim(r, what, cell), 0);
}

/* One run: single events, then batches of several. */
static void run(struct rig *r, const char *name, unsigned batch)
{
    struct cell *cell = rig_cell(r, name);

    claim(r, CLAIM_STARTED, cell);
    rig_flush(r);
    for (unsigned i = 0; i < batch; i++)
        claim(r, CLAIM_L7, cell);
    rig_flush(r);
    claim(r, CLAIM_L7, cell);
    claim(r, CLAIM_COMPLETED, cell);
    claim(r, CLAIM_DESTROYED, cell);
    rig_flush(r);
}

/* From the empty directory on: laid out, used, ended, started again. */
static void life(uint32_t seal, uint64_t segment_bytes, unsigned seeds)
{
    struct rig r;

    rig_init_fast(&r);
    r.config.seal = seal;
    r.config.segment_bytes = segment_bytes;
    history_begin();
    history_record(&journal, r.log_dir);
    assert_int_equal(rig_open(&r), 0);
    run(&r, "a", 3);
    rig_close(&r);
    assert_int_equal(rig_open(&r), 0);
    run(&r, "b", 2);
    for (unsigned i = 0; segment_bytes && !elog_is_settled(r.log) && i < 1000; i++) {
        ev_run(r.loop, EVRUN_NOWAIT);
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    rig_close(&r);
    faults_stop();
    try_all(&r, seeds);
    journal_done(&journal);
    history_end();
    rig_done(&r);
}

static void test_life(void **state)
{
    (void)state;
    life(SEAL_EVENT, 0, 3);
    assert_true(cases > 1000);
}

static void test_life_sealed_by_batch(void **state)
{
    (void)state;
    life(SEAL_BATCH, 0, 2);
}

/* Segments that hold a few lines, and are compressed while the next one grows. */
static void test_life_in_small_segments(void **state)
{
    (void)state;
    life(SEAL_EVENT, 4000, 1);
    life(SEAL_BATCH, 4000, 1);
}

/* The disk is full for a while: undone batches, the reserve, the spare checkpoint that changes places. */
static void full_disk(uint32_t seal)
{
    static const struct fault_plan full[] = {
        /* no bytes for the lines; lines, but none for their checkpoint: taken back, if it comes first; no
           blocks */
        {.calls = FAULT_WRITE, .from = 1, .err = ENOSPC},
        {.calls = FAULT_RENAME, .from = 1, .err = ENOSPC},
        {.calls = FAULT_WRITE | FAULT_ALLOCATE, .from = 2, .err = ENOSPC},
        {.calls = FAULT_ALLOCATE, .from = 1, .err = ENOSPC},
    };
    struct cell *cell;
    struct rig r;

    rig_init_fast(&r);
    r.config.seal = seal;
    history_begin();
    assert_int_equal(rig_open(&r), 0);
    run(&r, "a", 2);
    rig_close(&r);
    history_record(&journal, r.log_dir);
    assert_int_equal(rig_open(&r), 0);
    cell = rig_cell(&r, "b");
    claim(&r, CLAIM_STARTED, cell);
    rig_flush(&r);
    claim(&r, CLAIM_L7, cell);
    rig_flush(&r);
    for (size_t i = 0; i < ARRAY_LEN(full); i++) {
        faults_plan(full[i]);
        fault_clock.boot_s += 2; /* the log tries again */
        claim(&r, CLAIM_L7, cell);
        claim(&r, CLAIM_L7, cell);
        rig_flush(&r);
        /* A line with its own signature may have room where its checkpoint, which comes later, has none. */
        if (seal == SEAL_BATCH || i == 0)
            assert_int_equal(history.e[history.n - 1].ack.err, -ENOSPC);
        assert_int_equal(r.failed, -ENOSPC);
    }
    faults_plan((struct fault_plan){
        .calls = FAULT_ALLOCATE | FAULT_OPEN, .from = 1, .err = ENOSPC, .creates_only = true});
    (void)history_claim(&r, CLAIM_L7, cell);
    claim(&r, CLAIM_COMPLETED, cell);
    rig_flush(&r);
    claim(&r, CLAIM_DESTROYED, cell);
    rig_flush(&r);
    assert_int_equal(r.failed, -ENOSPC);
    assert_int_equal(history.e[history.n - 1].ack.err, 0);
    rig_close(&r);
    faults_stop();
    try_all(&r, 3);
    journal_done(&journal);
    history_end();
    rig_done(&r);
}

static void test_full_disk(void **state)
{
    (void)state;
    full_disk(SEAL_EVENT);
    full_disk(SEAL_BATCH);
}

/* Over the edge of a tile and of a segment's last batch. */
static void test_full_tile(void **state)
{
    struct rig r;

    (void)state;
    rig_init_fast(&r);
    history_begin();
    assert_int_equal(rig_open(&r), 0);
    run(&r, "a", 247); /* 251 lines */
    rig_close(&r);
    history_record(&journal, r.log_dir);
    assert_int_equal(rig_open(&r), 0);
    run(&r, "b", 3);
    rig_close(&r);
    faults_stop();
    cases = 0;
    for (size_t cut = 0; cut <= journal.nops; cut++) {
        struct rng g = {.s = cut};

        try_cut(&r, cut, (enum loss)rng_below(&g, _LOSS_MAX), cut, false);
    }
    print_message("%zu calls, %u crashes\n", journal.nops, cases);
    journal_done(&journal);
    history_end();
    rig_done(&r);
}

/* The last batch, cut at each of its bytes, with the checkpoint before it. */
static void test_every_byte_of_the_last_batch(void **state)
{
    struct lines_of whole;
    struct image im;
    struct cell *cell;
    struct rig r;

    (void)state;
    rig_init_fast(&r);
    history_begin();
    history_record(&journal, r.log_dir);
    assert_int_equal(rig_open(&r), 0);
    cell = rig_cell(&r, "a");
    claim(&r, CLAIM_STARTED, cell);
    rig_flush(&r);
    claim(&r, CLAIM_L7, cell);
    claim(&r, CLAIM_COMPLETED, cell);
    rig_flush(&r);
    lines_read(r.log_dir, &whole);
    rig_close(&r);
    faults_stop();
    size_t write = 0; /* the call that appends the lines */
    while (journal.op[write].kind != JOURNAL_WRITE ||
           journal.op[write].data.len < whole.text.len - whole.start[1])
        assert_true(++write < journal.nops);
    struct buf *data = &journal.op[write].data;
    const size_t len = data->len;
    for (size_t n = 0; n <= len; n++) {
        struct rng g = {.s = n};

        (void)snprintf(history_where, sizeof(history_where), "%zu of the last %zu bytes", n, len);
        data->len = n;
        journal_image(&journal, write + 1, LOSS_NONE, &g, &im);
        int before = history_case(&r);
        image_store(&journal, &im, r.log_dir);
        image_done(&im);
        history_recover(&r, &journal, write + 1);
        history_case_done(&r, before);
    }
    print_message("%zu bytes\n", len);
    data->len = len;
    lines_done(&whole);
    journal_done(&journal);
    history_end();
    rig_done(&r);
}

/* The disk refuses a sync and then forgets what it was to store, as disks do: a later sync that succeeds says
 * nothing about it. signerd ends and is started again on the same kernel, goes on, and then the power is
 * gone. */
static void test_failed_sync_is_not_believed_later(void **state)
{
    struct rig r;

    (void)state;
    rig_init_fast(&r);
    cases = 0;
    for (unsigned k = 1, happened = 1; happened; k++) {
        int before = history_case(&r);

        history_begin();
        history_record(&journal, r.log_dir);
        faults_plan((struct fault_plan){.calls = FAULT_SYNC, .from = k, .n = 1, .err = EIO});
        if (rig_open(&r) == 0) {
            history_run(&r, "a");
            rig_close(&r);
        }
        happened = faults.happened > 0;
        faults_plan((struct fault_plan){.calls = 0});
        size_t from = journal.nops;
        assert_int_equal(rig_open(&r), 0);
        history_run(&r, "b");
        rig_close(&r);
        faults_stop();
        history_case_done(&r, before);
        for (size_t cut = from; cut <= journal.nops; cut += 3) {
            try_cut(&r, cut, LOSS_ALL, k, false);
            try_cut(&r, cut, LOSS_SOME, k * 1000 + cut, false);
        }
        journal_done(&journal);
    }
    print_message("%u crashes\n", cases);
    history_end();
    rig_done(&r);
}

/* Thousands of machines that stop have left nothing in memory: asked after each test, so that the report has
 * its name. */
static int no_leak(void **state)
{
    (void)state;
#ifdef CELLOS_SANITIZE
    return __lsan_do_recoverable_leak_check() ? -1 : 0;
#else
    return 0;
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_life, no_leak),
        cmocka_unit_test_teardown(test_life_sealed_by_batch, no_leak),
        cmocka_unit_test_teardown(test_life_in_small_segments, no_leak),
        cmocka_unit_test_teardown(test_full_disk, no_leak),
        cmocka_unit_test_teardown(test_full_tile, no_leak),
        cmocka_unit_test_teardown(test_failed_sync_is_not_believed_later, no_leak),
        cmocka_unit_test_teardown(test_every_byte_of_the_last_batch, no_leak),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
