/* SPDX-License-Identifier: MIT */
/* netd's forked child: what it refuses, how it ends, which rights it needs, and that the kernel has what the
 * digest says. */
#include <linux/capability.h>
#include <sys/syscall.h>
#include <time.h>

#include "proto/limits.h"
#include "tests/unit/netd_attached.h"

static void test_a_second_attach_is_refused(void **state)
{
    (void)state;
    struct attached a = attach(NET_MODE_INTERCEPT);
    struct attached b = {.cell = a.cell};
    run_task(&b, &(struct worker_task){.job = WORKER_ATTACH,
                                       .rules = a.rs,
                                       .with_sockets = true,
                                       .userns = a.cell.userns,
                                       .netns = a.cell.netns,
                                       .counter_sock = -EBADF});
    assert_int_equal(b.r.err, -EEXIST);
    assert_string_equal(b.r.step, "open the flow log"); /* comes first */
    assert_int_equal(b.r.counter_sock, -EBADF);
    b.rs = ruleset_get(NET_MODE_INTERCEPT, false);
    run_task(&b, &(struct worker_task){.job = WORKER_ATTACH,
                                       .rules = b.rs,
                                       .with_sockets = true,
                                       .userns = a.cell.userns,
                                       .netns = a.cell.netns,
                                       .counter_sock = -EBADF});
    assert_int_equal(b.r.err, -EEXIST);
    assert_string_equal(b.r.step, "commit the rules");
    assert_packets(&a, "unmatched", 0); /* the first one still stands */
    detach(&a);
}

static void test_own_namespaces_cannot_be_joined(void **state)
{
    (void)state;
    struct attached a = {.rs = ruleset_of(NET_MODE_INTERCEPT)};
    _cleanup_close_ int user = open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC);
    _cleanup_close_ int net = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    run_task(&a, &(struct worker_task){.job = WORKER_ATTACH,
                                       .rules = a.rs,
                                       .with_sockets = true,
                                       .userns = user,
                                       .netns = net,
                                       .counter_sock = -EBADF});
    assert_true(a.r.err < 0);
    assert_string_equal(a.r.step, "join the user namespace");
}

static void test_a_wrong_table_is_noticed(void **state)
{
    (void)state;
    struct attached a = attach(NET_MODE_NONE), b = a;
    run_task(&b, &(struct worker_task){.job = WORKER_COUNT,
                                       .rules = ruleset_of(NET_MODE_INTERCEPT),
                                       .userns = a.cell.userns,
                                       .netns = -EBADF,
                                       .counter_sock = a.r.counter_sock,
                                       .seq = ++seq});
    assert_int_equal(b.r.err, -EBADMSG);
    detach(&a);
}

static void test_freed_while_it_runs(void **state)
{
    (void)state;
    struct attached a = {.cell = netd_cell_new(), .rs = ruleset_of(NET_MODE_INTERCEPT)};
    struct worker *w = NULL;
    assert_int_equal(worker_start(loop,
                                  &(struct worker_task){.job = WORKER_ATTACH,
                                                        .rules = a.rs,
                                                        .userns = a.cell.userns,
                                                        .netns = a.cell.netns,
                                                        .counter_sock = -EBADF},
                                  own_cookie, on_done, &a, &w),
                     0);
    assert_null(worker_free(w));
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left, not even a dead one */
    assert_int_equal(errno, ECHILD);
    ev_run(loop, EVRUN_NOWAIT);
    assert_false(a.done);
    netd_cell_done(&a.cell);
}

/* Stops the child of this process, if it still runs. */
static void stop_child(void)
{
    char path[64], text[32] = "";
    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && atoi(text) > 0)
        kill((pid_t)atoi(text), SIGSTOP);
}

static void test_a_child_that_hangs_is_killed(void **state)
{
    (void)state;
    for (int try = 0; try < 20; try++) { /* it may be done before it is stopped */
        struct attached a = {.cell = netd_cell_new(), .rs = ruleset_of(NET_MODE_NONE)};
        struct worker *w = NULL;
        const struct worker_task t = {
            .job = WORKER_ATTACH, .rules = a.rs, .userns = a.cell.userns, .netns = a.cell.netns};
        assert_int_equal(worker_start(loop, &t, own_cookie, on_done, &a, &w), 0);
        stop_child();
        ev_tstamp before = ev_time();
        ev_run(loop, 0);
        assert_true(a.done);
        worker_free(w);
        bool late = a.r.err == -ETIMEDOUT;
        if (late)
            assert_in_range((ev_time() - before) * 1000, LIMIT_ATTACH_MS - 100, LIMIT_ATTACH_MS + 1000);
        else
            assert_int_equal(a.r.err, 0);
        detach(&a);
        if (late)
            return;
    }
    fail_msg("no child could be stopped in time");
}

static void test_sockets_of_the_wrong_kind_are_noticed(void **state)
{
    (void)state;
    struct attached a = attach(NET_MODE_INTERCEPT);
    uint64_t cookie = 0;
    assert_int_equal(sockets_netns_cookie(a.r.counter_sock, &cookie), 0);
    for (enum sockets_index i = 0; i < _SOCKETS_MAX; i++) {
        assert_false(sockets_is(a.r.sockets[i], i, cookie + 1));
        assert_false(sockets_is_netfilter(a.r.sockets[i], cookie));
        for (enum sockets_index k = 0; k < _SOCKETS_MAX; k++)
            assert_int_equal(sockets_is(a.r.sockets[i], k, cookie), i == k);
        assert_int_not_equal(fcntl(a.r.sockets[i], F_GETFL) & O_NONBLOCK, 0);
        assert_int_not_equal(fcntl(a.r.sockets[i], F_GETFD) & FD_CLOEXEC, 0);
    }
    assert_true(sockets_is_netfilter(a.r.counter_sock, cookie));
    detach(&a);
}

/* ---- the text of the digest is what nft sees ---- */
static int cell_nft(void)
{
    execlp("nft", "nft", "-s", "list", "table", "inet", RULESET_TABLE, (char *)NULL);
    return 1;
}

static void assert_listed(enum net_mode mode, bool logs)
{
    struct attached a = {.cell = netd_cell_new()};
    attach_rules(&a, mode, ruleset_get(mode, logs));
    _cleanup_(buf_done) struct buf want = {0};
    char got[RULESET_TEXT_MAX] = "";
    size_t len = 0;
    int out[2];
    buf_init(&want, RULESET_TEXT_MAX);
    ruleset_text(a.rs, &want);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    fflush(NULL);
    int saved = dup(1);
    dup2(out[1], 1);
    pid_t pid = netd_cell_start(&a.cell, cell_nft);
    dup2(saved, 1);
    close(saved);
    close(out[1]);
    for (ssize_t n; (n = read(out[0], got + len, sizeof(got) - 1 - len)) > 0;)
        len += (size_t)n;
    close(out[0]);
    netd_cell_finish(pid);
    assert_string_equal(got, buf_cstr(&want));
    detach(&a);
}

static void test_nft_lists_the_canonical_text(void **state)
{
    (void)state;
    if (access("/usr/sbin/nft", X_OK) != 0)
        skip();
    setenv("PATH", "/usr/sbin:/usr/bin", 1);
    for (unsigned logs = 0; logs < 2; logs++) {
        assert_listed(NET_MODE_INTERCEPT, logs != 0);
        assert_listed(NET_MODE_NONE, logs != 0);
    }
}

/* ---- the system's netd: another uid than the supervisor's, CAP_SYS_ADMIN and nothing else ---- */
static void keep_only_sys_admin(void)
{
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2] = {{0}};
    const uid_t uid = NETD_TEST_UID + 2;
    d[0].permitted = d[0].effective = 1u << CAP_SYS_ADMIN;
    if (prctl(PR_SET_KEEPCAPS, 1) < 0 || setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 ||
        setresuid(uid, uid, uid) < 0 || syscall(SYS_capset, &h, d) < 0)
        _exit(97);
}

static int system_netd(struct attached *a)
{
    struct worker *w = NULL;
    struct worker_task t = {.job = WORKER_ATTACH,
                            .rules = a->rs,
                            .with_sockets = true,
                            .userns = a->cell.userns,
                            .netns = a->cell.netns};
    struct ev_loop *own = loop = ev_loop_new(EVFLAG_AUTO);
    if (own == NULL || worker_start(own, &t, own_cookie, on_done, a, &w) < 0)
        return 1;
    ev_run(own, 0);
    if (!a->done || a->r.err != 0)
        return 2;
    t = (struct worker_task){.job = WORKER_COUNT,
                             .rules = a->rs,
                             .userns = a->cell.userns,
                             .counter_sock = a->r.counter_sock,
                             .seq = 7};
    if (worker_start(own, &t, own_cookie, on_done, a, &w) < 0)
        return 3;
    ev_run(own, 0);
    return a->r.err != 0 ? 4 : 0;
}

static void test_system_mode_needs_one_capability(void **state)
{
    (void)state;
    int status = 0;
    if (getuid() != 0)
        skip();
    struct attached a = {.cell = netd_cell_new_of(NETD_TEST_UID), .rs = ruleset_of(NET_MODE_INTERCEPT)};
    pid_t pid = fork();
    if (pid == 0) {
        keep_only_sys_admin();
        _exit(system_netd(&a));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    netd_cell_done(&a.cell);
}

/* Not a pass or fail: the figure that a cell's start pays. */
static void test_measure(void **state)
{
    (void)state;
    enum { RUNS = 50 };
    struct timespec t0, t1;
    double attach_us = 0, count_us = 0;
    for (int i = 0; i < RUNS; i++) {
        struct attached a = {.cell = netd_cell_new()};
        clock_gettime(CLOCK_MONOTONIC, &t0);
        attach_mode(&a, NET_MODE_INTERCEPT);
        clock_gettime(CLOCK_MONOTONIC, &t1);
        attach_us += (double)(t1.tv_sec - t0.tv_sec) * 1e6 + (double)(t1.tv_nsec - t0.tv_nsec) / 1e3;
        clock_gettime(CLOCK_MONOTONIC, &t0);
        (void)counted(&a, "sent");
        clock_gettime(CLOCK_MONOTONIC, &t1);
        count_us += (double)(t1.tv_sec - t0.tv_sec) * 1e6 + (double)(t1.tv_nsec - t0.tv_nsec) / 1e3;
        detach(&a);
    }
    print_message("attach %.0f us, count %.0f us (mean of %d)\n", attach_us / RUNS, count_us / RUNS, RUNS);
    assert_true(attach_us / RUNS < LIMIT_ATTACH_MS * 1000.0);
}

static int group(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_second_attach_is_refused),
        cmocka_unit_test(test_own_namespaces_cannot_be_joined),
        cmocka_unit_test(test_a_wrong_table_is_noticed),
        cmocka_unit_test(test_freed_while_it_runs),
        cmocka_unit_test(test_a_child_that_hangs_is_killed),
        cmocka_unit_test(test_sockets_of_the_wrong_kind_are_noticed),
        cmocka_unit_test(test_nft_lists_the_canonical_text),
        cmocka_unit_test(test_system_mode_needs_one_capability),
        cmocka_unit_test(test_measure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return attached_main(group);
}
