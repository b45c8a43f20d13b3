/* SPDX-License-Identifier: MIT */
/* The log from claim to acknowledgement: order, numbering, group commit, states, and a directory that
 * verifies. */
#include <signal.h>
#include <sys/wait.h>

#include "tests/unit/signerd_rig.h"

static void test_a_run_verifies(void **state)
{
    struct log_report report;
    struct rig r;

    (void)state;
    rig_init(&r);
    assert_int_equal(rig_open(&r), 0);
    rig_run(&r, "web-1", 5);
    rig_verify(&r, &report);
    assert_int_equal(report.verdict, LOG_GOOD);
    assert_int_equal(report.lines, 8);
    assert_int_equal(report.runs, 1);
    assert_int_equal(report.open_runs, 0);
    assert_int_equal(report.segments, 1);
    assert_int_equal(report.uncovered, 0);
    assert_int_equal(cells_count(r.cells), 0);
    rig_done(&r);
}

static void test_a_new_log_has_a_checkpoint_of_nothing(void **state)
{
    struct log_report report;
    struct rig r;

    (void)state;
    rig_init(&r);
    assert_int_equal(rig_open(&r), 0);
    assert_true(elog_is_idle(r.log));
    rig_verify(&r, &report);
    assert_int_equal(report.verdict, LOG_GOOD);
    assert_int_equal(report.checkpoint.size, 0);
    rig_done(&r);
}

static void test_sequences_follow_arrival(void **state)
{
    struct rig_ack ack[200];
    struct cell *a, *b;
    struct rig r;

    (void)state;
    rig_init(&r);
    assert_int_equal(rig_open(&r), 0);
    a = rig_cell(&r, "a");
    b = rig_cell(&r, "b");
    assert_int_equal(rig_started(&r, a, NULL), 0);
    assert_int_equal(rig_started(&r, b, NULL), 0);
    for (unsigned i = 0; i < ARRAY_LEN(ack); i++) {
        assert_int_equal(rig_l7(&r, i % 3 ? a : b, "example.test", &ack[i]), 0);
        assert_false(ack[i].done); /* never from inside */
        if (i % 50 == 49)
            rig_flush(&r);
    }
    for (unsigned i = 0; i < ARRAY_LEN(ack); i++) {
        assert_true(ack[i].done);
        assert_int_equal(ack[i].err, 0);
        assert_int_equal(ack[i].sequence, i + 2);
    }
    assert_int_equal(a->cellsequence + b->cellsequence, 202);
    rig_done(&r);
}

static void until_acked(struct rig *r, const struct rig_ack *ack)
{
    while (!ack->done)
        ev_run(r->loop, EVRUN_ONCE);
    assert_int_equal(ack->err, 0);
}

static uint64_t head_size(const struct rig *r)
{
    uint64_t size;

    (void)elog_head(r->log, &size);
    return size;
}

/* What the files say while the signer lives. */
static void expect_covered(const struct rig *r, uint64_t covered, uint64_t behind)
{
    struct log_report report;

    rig_verify(r, &report);
    assert_int_equal(report.verdict, LOG_GOOD);
    assert_int_equal(report.checkpoint.size, covered);
    assert_int_equal(report.uncovered, behind);
}

/* A bare line counts by its checkpoint alone. */
static void test_acknowledged_means_checkpointed_in_batch(void **state)
{
    struct rig_ack ack;
    struct rig r;

    (void)state;
    rig_init(&r);
    r.config.seal = SEAL_BATCH;
    assert_int_equal(rig_open(&r), 0);
    assert_int_equal(rig_started(&r, rig_cell(&r, "a"), &ack), 0);
    while (!ack.done) {
        assert_int_equal(head_size(&r), 0);
        ev_run(r.loop, EVRUN_ONCE);
    }
    assert_int_equal(head_size(&r), 1);
    expect_covered(&r, 1, 0);
    rig_done(&r);
}

/* An event with a signature of its own is acknowledged as soon as its line is durable; the checkpoint follows
 * by itself, without another event. */
static void test_the_checkpoint_follows(void **state)
{
    struct rig_ack ack;
    struct rig r;

    (void)state;
    rig_init(&r);
    assert_int_equal(rig_open(&r), 0);
    assert_int_equal(rig_started(&r, rig_cell(&r, "a"), &ack), 0);
    until_acked(&r, &ack);
    assert_int_equal(head_size(&r), 0);
    assert_false(elog_is_idle(r.log));
    expect_covered(&r, 0, 1);
    ev_run(r.loop, 0); /* until it is idle */
    assert_int_equal(head_size(&r), 1);
    expect_covered(&r, 1, 0);
    rig_done(&r);
}

/* Who hears of the end of a run, or of something about the log, has the checkpoint over it. */
static void test_an_end_is_covered_when_acknowledged(void **state)
{
    struct ev_rejected rejected = {.spec_digest = STR_NONE};
    struct rig_ack ack;
    struct cell *cell;
    struct rig r;

    (void)state;
    rig_init(&r);
    assert_int_equal(rig_open(&r), 0);
    cell = rig_cell(&r, "a");
    assert_int_equal(rig_started(&r, cell, NULL), 0);
    assert_int_equal(rig_completed(&r, cell, &ack), 0);
    until_acked(&r, &ack);
    assert_int_equal(head_size(&r), 0);
    assert_int_equal(rig_destroyed(&r, cell, &ack), 0);
    until_acked(&r, &ack);
    assert_int_equal(head_size(&r), 3);
    assert_int_equal(rig_submit(&r, ROLE_SUPERVISOR, EVENT_REJECTED, rig_cell(&r, "b"), &rejected, &ack), 0);
    until_acked(&r, &ack);
    assert_int_equal(head_size(&r), 4);
    rig_close(&r);
    assert_int_equal(rig_open(&r), 0); /* log.v1.recovered */
    while (head_size(&r) < 5)
        ev_run(r.loop, EVRUN_ONCE);
    rig_done(&r);
}

/* kill -9 between the acknowledgement and the checkpoint: the next start takes the line in. Without kill, the
 * end of the process writes the checkpoint. */
static void test_acknowledged_is_kept_without_checkpoint(void **state)
{
    struct rig_ack ack;
    struct rig r;

    (void)state;
    rig_init(&r);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        rig_forked(&r);
        if (rig_open(&r) < 0 || rig_started(&r, rig_cell(&r, "a"), &ack) < 0)
            _exit(1);
        while (!ack.done)
            ev_run(r.loop, EVRUN_ONCE);
        if (head_size(&r) == 0)
            (void)raise(SIGKILL);
        _exit(2);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, SIGKILL);
    expect_covered(&r, 0, 1);
    assert_int_equal(rig_open(&r), 0);
    expect_covered(&r, 1, 0);
    assert_int_equal(rig_started(&r, rig_cell(&r, "b"), &ack), 0);
    until_acked(&r, &ack);
    r.log = elog_free(r.log); /* not flushed before */
    expect_covered(&r, 3, 0);
    rig_done(&r);
}

static void test_states_move_with_accepted_events(void **state)
{
    struct cell *cell;
    struct rig r;

    (void)state;
    rig_init(&r);
    assert_int_equal(rig_open(&r), 0);
    cell = rig_cell(&r, "a");
    assert_int_equal(cell->state, CELL_STATE_OPENED);
    assert_int_equal(rig_started(&r, cell, NULL), 0);
    assert_int_equal(cell->state, CELL_STATE_STARTED);
    assert_int_equal(rig_completed(&r, cell, NULL), 0);
    assert_int_equal(cell->state, CELL_STATE_ENDED);
    assert_int_equal(rig_destroyed(&r, cell, NULL), 0);
    assert_int_equal(cell->state, AUTHORITY_CLOSED);
    assert_int_equal(cells_count(r.cells), 1); /* until it is durable */
    rig_flush(&r);
    assert_int_equal(cells_count(r.cells), 0);
    rig_done(&r);
}

static void test_a_second_signer_is_refused(void **state)
{
    struct elog *second = NULL;
    struct rig r;

    (void)state;
    rig_init(&r);
    assert_int_equal(rig_open(&r), 0);
    struct elog_config cfg = {.loop = r.loop,
                              .dirfd = r.log_dir,
                              .keys = r.keys,
                              .cells = r.cells,
                              .host = "h",
                              .boot_id = RIG_BOOT,
                              .origin = r.origin,
                              .failed = rig_on_failed,
                              .idle = rig_on_idle,
                              .self = &r};
    assert_int_equal(elog_open(&cfg, &second), -EWOULDBLOCK);
    rig_done(&r);
}

static void test_many_events_roll_over_tiles(void **state)
{
    struct log_report report;
    struct stat st;
    struct rig r;

    (void)state;
    rig_init(&r);
    assert_int_equal(rig_open(&r), 0);
    rig_run(&r, "big", 1500);
    rig_close(&r);
    assert_int_equal(fstatat(r.log_dir, "tile/0/004", &st, 0), 0);
    assert_int_equal(st.st_size, TILE_BYTES);
    assert_int_equal(fstatat(r.log_dir, "tile/0/005.p/223", &st, 0), 0); /* 1503 = 5 * 256 + 223 */
    assert_int_equal(fstatat(r.log_dir, "tile/1/000.p/5", &st, 0), 0);
    assert_int_equal(st.st_size, 5 * DIGEST_LEN);
    rig_verify(&r, &report);
    assert_int_equal(report.verdict, LOG_GOOD);
    assert_int_equal(report.lines, 1503);
    rig_done(&r);
}

static void test_files_are_private(void **state)
{
    static const char *const names[] = {"origin", "vkey", "checkpoint", "checkpoint.spare", RIG_FIRST};
    struct stat st;
    struct rig r;

    (void)state;
    (void)umask(0);
    rig_init(&r);
    assert_int_equal(rig_open(&r), 0);
    rig_run(&r, "a", 300);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        assert_int_equal(fstatat(r.log_dir, names[i], &st, AT_SYMLINK_NOFOLLOW), 0);
        assert_int_equal(st.st_mode, S_IFREG | 0600);
    }
    assert_int_equal(fstatat(r.log_dir, "tile/0", &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(st.st_mode, S_IFDIR | 0700);
    rig_done(&r);
}

static void test_a_run_of_before_is_found(void **state)
{
    char run_id[UUID_TEXT_LEN + 1], ended[UUID_TEXT_LEN + 1];
    struct elog_run run;
    struct cell *cell;
    struct rig r;

    (void)state;
    rig_init(&r);
    assert_int_equal(rig_open(&r), 0);
    cell = rig_cell(&r, "a");
    memcpy(run_id, cell->run_id, sizeof(run_id));
    assert_int_equal(rig_started(&r, cell, NULL), 0);
    assert_int_equal(rig_l7(&r, cell, "example.test", NULL), 0);
    cell = rig_cell(&r, "b");
    memcpy(ended, cell->run_id, sizeof(ended));
    assert_int_equal(rig_destroyed(&r, cell, NULL), 0);
    rig_close(&r);

    assert_int_equal(rig_open(&r), 0);
    rig_flush(&r);
    assert_int_equal(elog_find_run(r.log, str_of(run_id), 0, &run), 1);
    assert_int_equal(run.cellsequence, 2);
    assert_true(run.started && !run.ended && !run.destroyed);
    assert_int_equal(elog_find_run(r.log, str_of(ended), 0, &run), 1);
    assert_true(run.destroyed);
    char fresh[UUID_TEXT_LEN + 1];
    uuid_v7(fresh);
    assert_int_equal(elog_find_run(r.log, str_of(fresh), 0, &run), 0);

    /* The supervisor reports the forced end of what it left behind; the numbering goes on. */
    struct cells_open o = {.run_id = str_of(run_id), .cell_id = STR_LIT("a")};
    struct log_report report;
    assert_int_equal(cells_add(r.cells, &o, &cell), 0);
    assert_int_equal(elog_find_run(r.log, str_of(run_id), 0, &run), 1);
    elog_adopt(r.log, cell, &run);
    assert_int_equal(cell->state, CELL_STATE_STARTED);
    assert_int_equal(rig_destroyed(&r, cell, NULL), 0);
    rig_flush(&r);
    rig_verify(&r, &report);
    assert_int_equal(report.verdict, LOG_GOOD);
    assert_int_equal(report.open_runs, 0);
    rig_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_run_verifies),
        cmocka_unit_test(test_a_new_log_has_a_checkpoint_of_nothing),
        cmocka_unit_test(test_sequences_follow_arrival),
        cmocka_unit_test(test_acknowledged_means_checkpointed_in_batch),
        cmocka_unit_test(test_the_checkpoint_follows),
        cmocka_unit_test(test_an_end_is_covered_when_acknowledged),
        cmocka_unit_test(test_acknowledged_is_kept_without_checkpoint),
        cmocka_unit_test(test_states_move_with_accepted_events),
        cmocka_unit_test(test_a_second_signer_is_refused),
        cmocka_unit_test(test_many_events_roll_over_tiles),
        cmocka_unit_test(test_files_are_private),
        cmocka_unit_test(test_a_run_of_before_is_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
