/* SPDX-License-Identifier: MIT */
/* signerd's log under kill -9 before and after each of its system calls, under every errno a disk answers
 * with at each of them, interrupted, moved and given a clock that jumps. */
#undef _FORTIFY_SOURCE
#include "tests/unit/fault_calls.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "tests/unit/signerd_history.h"

#define KILL_CALLS_MAX 400 /* a life has fewer calls */

/* ---- a life ---- */

/* Two starts, two runs. What cannot be opened is left. */
static void life(struct rig *r)
{
    static const char *const names[] = {"a", "b"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (rig_open(r) < 0) {
            r->log = NULL;
            return;
        }
        history_run(r, names[i]);
        rig_close(r);
    }
}

/* ---- kill -9 ---- */

static int told_fd; /* what the child claimed and heard: its history, for who outlives it */

static void told_watch(struct rig_ack *ack, struct str json)
{
    struct history_entry *e = (struct history_entry *)(void *)ack;

    if (json.p)
        dprintf(told_fd, "C %.*s\n", (int)json.len, json.p);
    else
        dprintf(told_fd, "A %zu %d %llu\n", (size_t)(e - history.e), ack->err,
                (unsigned long long)ack->sequence);
    history_watch(ack, json);
}

static void killed_child(struct rig *r, struct fault_plan plan)
{
    struct journal j;

    rig_watch = told_watch;
    ev_loop_fork(r->loop);
    rig_forked(r);
    faults_record(&j, r->log_dir);
    faults_plan(plan);
    life(r);
    _exit(0);
}

static void told_read(void)
{
    _cleanup_(buf_done) struct buf b = {.data = NULL};

    buf_init(&b, 1u << 20);
    assert_int_equal(lseek(told_fd, 0, SEEK_SET), 0);
    assert_int_equal(io_read_to_end(told_fd, &b), 0);
    char *p = (char *)(uintptr_t)buf_cstr(&b);
    for (char *line; p && (line = strsep(&p, "\n"));) {
        unsigned long long sequence;
        size_t i;
        int err;

        if (line[0] == 'C') {
            history.e[history.n].json = strdup(line + 2);
            history.e[history.n++].submitted = true;
        } else if (sscanf(line, "A %zu %d %llu", &i, &err, &sequence) == 3) {
            assert_true(i < history.n);
            history.e[i].ack = (struct rig_ack){true, err, sequence};
        }
    }
}

/* One life, killed; then recovery. False when it survived: it has fewer calls. */
static bool killed_at(struct rig *r, unsigned k, bool after)
{
    unsigned calls = after ? FAULT_CHANGES | FAULT_OPEN : FAULT_ALL; /* a read that is done changes nothing */
    struct fault_plan plan = {.calls = calls, .from = k, .n = 1, .kill = !after, .kill_after = after};
    int before = history_case(r), status;

    (void)snprintf(history_where, sizeof(history_where), "killed %s call %u", after ? "after" : "before", k);
    history_begin();
    told_fd = memfd_create("told", MFD_CLOEXEC);
    assert_true(told_fd >= 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        killed_child(r, plan);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    told_read();
    close(told_fd);
    if (!WIFEXITED(status))
        assert_int_equal(WTERMSIG(status), SIGKILL);
    history_recover(r, NULL, 0);
    history_case_done(r, before);
    return !WIFEXITED(status);
}

static void kill_everywhere(uint32_t seal)
{
    unsigned n = 0;
    struct rig r;

    rig_init_fast(&r);
    r.config.seal = seal;
    history_begin();
    for (unsigned after = 0; after < 2; after++)
        for (unsigned k = 1; killed_at(&r, k, after); k++)
            assert_true(++n < 2 * KILL_CALLS_MAX);
    print_message("%u kills\n", n);
    assert_true(n > 150);
    history_end();
    rig_done(&r);
}

static void test_killed_at_every_call(void **state)
{
    (void)state;
    kill_everywhere(SEAL_EVENT);
    kill_everywhere(SEAL_BATCH);
}

/* ---- errors ---- */

/* A life in which call k, or all from k on, of these fail. False when none did. */
static bool failed_at(struct rig *r, struct fault_plan plan)
{
    int before = history_case(r);
    struct journal j;

    (void)snprintf(history_where, sizeof(history_where), "call %llu%s of %x: %s",
                   (unsigned long long)plan.from, plan.n ? "" : " and on", plan.calls, strerror(plan.err));
    history_begin();
    faults_record(&j, r->log_dir);
    faults_plan(plan);
    life(r);
    bool happened = faults.happened > 0;
    faults_stop();
    journal_done(&j);
    history_recover(r, NULL, 0);
    history_case_done(r, before);
    return happened;
}

static void fail_everywhere(uint32_t seal, unsigned calls, int err, unsigned least)
{
    unsigned n = 0;
    struct rig r;

    rig_init_fast(&r);
    r.config.seal = seal;
    for (unsigned once = 0; once < 2; once++)
        for (unsigned k = 1;
             failed_at(&r, (struct fault_plan){.calls = calls, .from = k, .n = once, .err = err}); k++)
            n++;
    print_message("%u failures\n", n);
    assert_true(n >= least);
    history_end();
    rig_done(&r);
}

static void test_eio_at_every_call(void **state)
{
    (void)state;
    fail_everywhere(SEAL_EVENT, FAULT_ALL, EIO, 150);
    fail_everywhere(SEAL_BATCH, FAULT_ALL, EIO, 150);
}

static void test_enospc_at_every_call(void **state)
{
    (void)state;
    fail_everywhere(SEAL_EVENT, FAULT_CHANGES, ENOSPC, 100);
    fail_everywhere(SEAL_BATCH, FAULT_CHANGES, ENOSPC, 100);
}

static void test_edquot_at_every_call(void **state)
{
    (void)state;
    fail_everywhere(SEAL_EVENT, FAULT_WRITE | FAULT_ALLOCATE | FAULT_RENAME | FAULT_MKDIR, EDQUOT, 50);
}

static void test_read_only_at_every_call(void **state)
{
    (void)state;
    fail_everywhere(SEAL_EVENT, FAULT_CHANGES, EROFS, 100);
}

/* ---- nuisances: nothing may be lost at all ---- */

static void all_acknowledged(void)
{
    for (size_t i = 0; i < history.n; i++)
        if (!history.e[i].ack.done || history.e[i].ack.err)
            fail_msg("%s: event %zu: %d", history_where, i, history.e[i].ack.err);
    assert_true(history.n > 10);
}

static void nuisance(const char *what, struct fault_plan plan)
{
    struct journal j;
    struct rig r;

    (void)snprintf(history_where, sizeof(history_where), "%s", what);
    rig_init_fast(&r);
    history_begin();
    faults_record(&j, r.log_dir);
    faults_plan(plan);
    life(&r);
    faults_stop();
    journal_done(&j);
    all_acknowledged();
    history_recover(&r, NULL, 0);
    history_end();
    rig_done(&r);
}

static void test_interrupted_and_half_done(void **state)
{
    (void)state;
    nuisance("interrupted",
             (struct fault_plan){.calls = FAULT_READ | FAULT_WRITE | FAULT_ALLOCATE, .storm = true});
    nuisance("halves", (struct fault_plan){.halves = true});
    nuisance("halves, interrupted", (struct fault_plan){.calls = FAULT_READ | FAULT_WRITE | FAULT_ALLOCATE,
                                                        .storm = true,
                                                        .halves = true});
}

static void test_no_fallocate(void **state)
{
    (void)state;
    nuisance("no fallocate", (struct fault_plan){.calls = FAULT_ALLOCATE, .from = 1, .err = EOPNOTSUPP});
}

static void test_clock_jumps(void **state)
{
    static const int64_t days[] = {0, -3, 400, -400, 20000, -20000, 1};
    struct rig r;

    (void)state;
    (void)snprintf(history_where, sizeof(history_where), "clock jumps");
    rig_init_fast(&r);
    history_begin();
    for (size_t i = 0; i < ARRAY_LEN(days); i++) {
        struct cell *cell;

        assert_int_equal(rig_open(&r), 0);
        cell = rig_cell(&r, "a");
        history_attempt(&r, CLAIM_STARTED, cell);
        history_attempt(&r, CLAIM_L7, cell);
        fault_clock.day_s = days[i] * 86400;
        history_attempt(&r, CLAIM_L7, cell);
        rig_flush(&r);
        fault_clock.day_s = -days[i] * 86400;
        history_attempt(&r, CLAIM_DESTROYED, cell);
        rig_flush(&r);
        rig_close(&r);
    }
    fault_clock.day_s = 0;
    all_acknowledged();
    history_recover(&r, NULL, 0);
    history_end();
    rig_done(&r);
}

/* ---- two of them, and a directory that is taken away ---- */

static int reach(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

/* A signer on the log of `r` by another way. */
static int second_signer(const struct rig *r, int dirfd)
{
    struct rig other = *r;
    int e;

    other.log_dir = dirfd;
    other.log = NULL;
    assert_int_equal(cells_new(&other.cells), 0);
    e = rig_open(&other);
    close(dirfd);
    if (e == 0)
        rig_close(&other);
    other.cells = cells_free(other.cells);
    return e;
}

static void bind_child(const struct rig *r)
{
    char log[96], other[96];

    (void)snprintf(log, sizeof(log), "%s/log", r->dir);
    (void)snprintf(other, sizeof(other), "%s/other", r->dir);
    ev_loop_fork(r->loop);
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mkdir(other, 0700) < 0 || mount(log, other, NULL, MS_BIND, NULL) < 0)
        _exit(77);
    _exit(second_signer(r, open(other, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) == -EWOULDBLOCK ? 0 : 1);
}

static void test_a_second_signer_is_refused(void **state)
{
    char path[96], link[96];
    int status;
    struct rig r;

    (void)state;
    rig_init_fast(&r);
    (void)snprintf(path, sizeof(path), "%s/log", r.dir);
    (void)snprintf(link, sizeof(link), "%s/link", r.dir);
    assert_int_equal(symlink("log", link), 0);
    assert_int_equal(rig_open(&r), 0);
    assert_int_equal(second_signer(&r, reach(path)), -EWOULDBLOCK);
    assert_int_equal(second_signer(&r, reach(link)), -EWOULDBLOCK);
    assert_int_equal(second_signer(&r, dup(r.log_dir)), -EWOULDBLOCK);
    pid_t pid = fork();
    if (pid == 0)
        bind_child(&r);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        print_message("SKIP: no bind mount here\n");
    else
        assert_int_equal(WEXITSTATUS(status), 0);
    rig_run(&r, "a", 1);
    rig_close(&r);
    assert_int_equal(second_signer(&r, reach(path)), 0);
    rig_done(&r);
}

/* The directory is moved away and another put in its place: the log goes on where it was opened. */
static void test_directory_replaced_under_it(void **state)
{
    char path[96], moved[96];
    struct lines_of lines;
    struct rig r;

    (void)state;
    (void)snprintf(history_where, sizeof(history_where), "directory replaced");
    rig_init_fast(&r);
    history_begin();
    (void)snprintf(path, sizeof(path), "%s/log", r.dir);
    (void)snprintf(moved, sizeof(moved), "%s/moved", r.dir);
    assert_int_equal(rig_open(&r), 0);
    history_run(&r, "a");
    assert_int_equal(rename(path, moved), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    history_run(&r, "b");
    rig_close(&r);
    all_acknowledged();
    int fd = reach(path);
    lines_read(fd, &lines);
    close(fd);
    assert_int_equal(lines.n, 0);
    lines_done(&lines);
    history_recover(&r, NULL, 0); /* log_dir is the one that was moved */
    history_end();
    rig_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed_at_every_call),
        cmocka_unit_test(test_eio_at_every_call),
        cmocka_unit_test(test_enospc_at_every_call),
        cmocka_unit_test(test_edquot_at_every_call),
        cmocka_unit_test(test_read_only_at_every_call),
        cmocka_unit_test(test_interrupted_and_half_done),
        cmocka_unit_test(test_no_fallocate),
        cmocka_unit_test(test_clock_jumps),
        cmocka_unit_test(test_a_second_signer_is_refused),
        cmocka_unit_test(test_directory_replaced_under_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
