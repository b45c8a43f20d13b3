/* SPDX-License-Identifier: MIT */
/* A disk without room, for real: a small tmpfs in a mount namespace of the test's own. What is acknowledged
 * is in the log, the log verifies at every moment, and a cell that started gets its end events. */
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <time.h>

#include "signerd/log_internal.h"
#include "tests/unit/signerd_rig.h"

#define DISK "size=6m,mode=0700"

static char mount_point[64];

static bool write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

    if (fd >= 0)
        close(fd);
    return ok;
}

/* Root of a namespace in which a tmpfs may be mounted. */
static bool enter_namespace(void)
{
    char map[64];
    uid_t uid = geteuid();
    gid_t gid = getegid();

    if (unshare(CLONE_NEWNS) < 0) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
            return false;
        (void)snprintf(map, sizeof(map), "0 %u 1", uid);
        if (!write_text("/proc/self/setgroups", "deny") || !write_text("/proc/self/uid_map", map))
            return false;
        (void)snprintf(map, sizeof(map), "0 %u 1", gid);
        if (!write_text("/proc/self/gid_map", map))
            return false;
    }
    return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static int setup(void **state)
{
    (void)state;
    strcpy(mount_point, "/tmp/cellos-test-XXXXXX");
    if (!mkdtemp(mount_point))
        return -1;
    return mount("tmpfs", mount_point, "tmpfs", MS_NOSUID | MS_NODEV, DISK);
}

static int teardown(void **state)
{
    (void)state;
    (void)umount2(mount_point, MNT_DETACH);
    return rmdir(mount_point);
}

/* Takes every block that is free. */
static void fill(void)
{
    static char block[4096];
    char path[96];

    (void)snprintf(path, sizeof(path), "%s/filler", mount_point);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    while (write(fd, block, sizeof(block)) > 0)
        ;
    close(fd);
    struct statvfs v;
    assert_int_equal(statvfs(mount_point, &v), 0);
    assert_int_equal(v.f_bavail, 0);
}

static void make_room(void)
{
    char path[96];

    (void)snprintf(path, sizeof(path), "%s/filler", mount_point);
    assert_int_equal(unlink(path), 0);
}

/* Until the log tries the disk again. */
static void wait_for_probe(void)
{
    struct timespec t = {.tv_sec = ELOG_PROBE_US / 1000000, .tv_nsec = 10000000};

    (void)nanosleep(&t, NULL);
}

static uint64_t good_lines(const struct rig *r)
{
    struct log_report report;

    rig_verify(r, &report);
    assert_int_equal(report.verdict, LOG_GOOD);
    return report.lines;
}

/* Ordinary events until the disk takes no more. The number that were acknowledged. */
static unsigned write_until_full(struct rig *r, struct cell *cell)
{
    for (unsigned n = 0; n < 5000; n++) {
        struct rig_ack ack;
        int e = rig_l7(r, cell, "example.test", &ack);

        if (e == 0) {
            rig_flush(r);
            assert_true(ack.done);
            e = ack.err;
        }
        if (e < 0) {
            assert_int_equal(e, -ENOSPC);
            return n;
        }
    }
    fail_msg("the disk never got full");
    return 0;
}

static void test_end_events_fit_into_the_reserve(void **state)
{
    struct rig_ack completed, gone;
    struct cell *cell;
    struct rig r;

    (void)state;
    rig_init_at(&r, mount_point);
    assert_int_equal(rig_open(&r), 0);
    cell = rig_cell(&r, "a");
    assert_int_equal(rig_started(&r, cell, NULL), 0);
    rig_flush(&r);
    fill();
    uint64_t n = 1 + write_until_full(&r, cell);
    assert_int_equal(r.failed, -ENOSPC);
    assert_int_equal(r.nfailed, 1);
    assert_int_equal(good_lines(&r), n);
    fill(); /* whatever the attempts gave back */
    assert_int_equal(rig_completed(&r, cell, &completed), 0);
    rig_flush(&r);
    assert_int_equal(completed.err, 0);
    assert_int_equal(completed.sequence, n);
    assert_int_equal(good_lines(&r), n + 1);
    fill();
    assert_int_equal(rig_destroyed(&r, cell, &gone), 0);
    rig_flush(&r);
    assert_int_equal(gone.err, 0);
    assert_int_equal(good_lines(&r), n + 2);
    assert_int_equal(cells_count(r.cells), 0);
    assert_int_equal(r.nfailed, 1); /* told once */
    rig_done(&r);
}

/* One batch with both kinds: the ordinary ones are refused, the end events are sealed anew without them. */
static void test_a_mixed_batch(void **state)
{
    struct rig_ack l7[8], completed, gone;
    struct cell *cell;
    struct rig r;

    (void)state;
    rig_init_at(&r, mount_point);
    assert_int_equal(rig_open(&r), 0);
    cell = rig_cell(&r, "a");
    assert_int_equal(rig_started(&r, cell, NULL), 0);
    rig_flush(&r);
    fill();
    /* As many as the slack takes, but one. */
    uint64_t n = 1 + write_until_full(&r, cell);
    make_room();
    wait_for_probe();
    assert_int_equal(rig_l7(&r, cell, "example.test", NULL),
                     0); /* the log notices that there is room again */
    rig_flush(&r);
    n++;
    assert_int_equal(good_lines(&r), n);
    fill();
    for (unsigned i = 0; i < 2000; i++) { /* use up what was allocated ahead */
        struct rig_ack ack;

        if (rig_l7(&r, cell, "example.test", &ack) < 0)
            break;
        if (i % 100 == 99) {
            rig_flush(&r);
            if (ack.err < 0)
                break;
        }
    }
    rig_flush(&r);
    make_room();
    wait_for_probe();
    fill();
    n = good_lines(&r);
    for (unsigned i = 0; i < ARRAY_LEN(l7); i++)
        if (rig_l7(&r, cell, "example.test", &l7[i]) < 0)
            l7[i] = (struct rig_ack){true, -ENOSPC, 0};
    assert_int_equal(rig_completed(&r, cell, &completed), 0);
    assert_int_equal(rig_destroyed(&r, cell, &gone), 0);
    rig_flush(&r);
    for (unsigned i = 0; i < ARRAY_LEN(l7); i++) {
        assert_true(l7[i].done);
        assert_int_equal(l7[i].err, -ENOSPC);
    }
    assert_int_equal(completed.err, 0);
    assert_int_equal(gone.err, 0);
    assert_int_equal(completed.sequence, n);
    assert_int_equal(gone.sequence, n + 1);
    assert_int_equal(good_lines(&r), n + 2);
    rig_done(&r);
}

/* Without room for its end nothing starts; the cell is where it was. */
static void test_started_is_refused_without_a_reserve(void **state)
{
    struct rig_ack ack;
    struct cell *cell;
    struct rig r;

    (void)state;
    rig_init_at(&r, mount_point);
    assert_int_equal(rig_open(&r), 0);
    cell = rig_cell(&r, "a");
    fill();
    assert_int_equal(rig_started(&r, cell, &ack), 0);
    rig_flush(&r);
    assert_int_equal(ack.err, -ENOSPC);
    assert_int_equal(cell->state, CELL_STATE_OPENED);
    assert_int_equal(cell->cellsequence, 0);
    assert_int_equal(good_lines(&r), 0);
    make_room();
    wait_for_probe();
    assert_int_equal(rig_started(&r, cell, &ack), 0);
    rig_flush(&r);
    assert_int_equal(ack.err, 0);
    assert_int_equal(good_lines(&r), 1);
    rig_done(&r);
}

/* Two cells: each has its own reserve, and a reserve is given back with the end of its cell. */
static void test_reserves_add_up(void **state)
{
    struct cell *a, *b;
    struct rig_ack ack;
    struct rig r;

    (void)state;
    rig_init_at(&r, mount_point);
    assert_int_equal(rig_open(&r), 0);
    a = rig_cell(&r, "a");
    b = rig_cell(&r, "b");
    assert_int_equal(rig_started(&r, a, NULL), 0);
    assert_int_equal(rig_started(&r, b, NULL), 0);
    rig_flush(&r);
    fill();
    (void)write_until_full(&r, a);
    assert_int_equal(rig_completed(&r, a, NULL), 0);
    assert_int_equal(rig_completed(&r, b, NULL), 0);
    assert_int_equal(rig_destroyed(&r, a, &ack), 0);
    rig_flush(&r);
    assert_int_equal(ack.err, 0);
    assert_int_equal(rig_destroyed(&r, b, &ack), 0);
    rig_flush(&r);
    assert_int_equal(ack.err, 0);
    (void)good_lines(&r);
    rig_close(&r);
    /* The blocks behind the lines are free again. */
    struct statvfs v;
    assert_int_equal(statvfs(mount_point, &v), 0);
    assert_true(v.f_bavail * v.f_bsize > LIMIT_END_RESERVE);
    rig_done(&r);
}

#define WITH_DISK(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

/* Retention goes on where nothing else does: its events have room of their own. */
static void test_retention_goes_on(void **state)
{
    struct log_report report;
    struct cell *cell;
    struct rig r;

    (void)state;
    rig_init_at(&r, mount_point);
    r.config.segment_bytes = 100000;
    r.config.retain_age_s = 4;
    assert_int_equal(rig_open(&r), 0);
    cell = rig_cell(&r, "a");
    assert_int_equal(rig_started(&r, cell, NULL), 0);
    rig_flush(&r);
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(rig_l7(&r, cell, "example.test", NULL), 0);
        if (i % 20 == 0)
            rig_flush(&r);
    }
    rig_flush(&r);
    while (!elog_is_settled(r.log))
        ev_run(r.loop, EVRUN_ONCE);
    fill();
    (void)write_until_full(&r, cell);
    assert_int_equal(r.failed, -ENOSPC);
    while (!elog_is_settled(r.log))
        ev_run(r.loop, EVRUN_ONCE);
    fill();
    (void)nanosleep(&(struct timespec){.tv_sec = 6}, NULL);
    elog_look_closed(r.log); /* as its timer does once a minute */
    while (!elog_is_settled(r.log) || !elog_is_idle(r.log))
        ev_run(r.loop, EVRUN_ONCE);
    rig_verify(&r, &report);
    assert_true(report.pruned > 0);
    assert_int_equal(report.verdict, LOG_GOOD);
    rig_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_DISK(test_end_events_fit_into_the_reserve),
        WITH_DISK(test_a_mixed_batch),
        WITH_DISK(test_started_is_refused_without_a_reserve),
        WITH_DISK(test_reserves_add_up),
        WITH_DISK(test_retention_goes_on),
    };

    if (!enter_namespace()) {
        printf("SKIP: no namespace in which a small disk could be mounted\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
