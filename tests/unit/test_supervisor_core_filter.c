/* SPDX-License-Identifier: MIT */
/* The tables as data, and the compiled filters in a child of this test. What they mean inside a cell is
 * tested in test_supervisor_cell_init.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "supervisor/launch/cell_filter.h"

static const struct filter_table *const tables[] = {&core_filter, &baseline_filter, &init_filter};

static void every_entry_has_a_reason(void **state)
{
    (void)state;
    for (size_t t = 0; t < ARRAY_LEN(tables); t++) {
        for (size_t i = 0; i < tables[t]->ngroups; i++) {
            assert_true(strlen(tables[t]->groups[i].why) > 5);
            assert_true(tables[t]->groups[i].n > 0);
        }
        for (size_t i = 0; i < tables[t]->nrows; i++) {
            assert_true(strlen(tables[t]->rows[i].why) > 5);
            assert_in_range(tables[t]->rows[i].nargs, 1, 3);
        }
    }
}

static size_t times_named(const struct filter_table *t, int call)
{
    size_t n = 0;

    for (size_t i = 0; i < t->ngroups; i++)
        for (size_t k = 0; k < t->groups[i].n; k++)
            n += t->groups[i].calls[k] == call;
    return n;
}

/* A call named twice, or named whole beside a narrower row, would silently widen. */
static void no_entry_twice(void **state)
{
    (void)state;
    for (size_t t = 0; t < ARRAY_LEN(tables); t++) {
        for (size_t i = 0; i < tables[t]->ngroups; i++)
            for (size_t k = 0; k < tables[t]->groups[i].n; k++)
                assert_int_equal(times_named(tables[t], tables[t]->groups[i].calls[k]), 1);
        for (size_t i = 0; i < tables[t]->nrows; i++)
            assert_int_equal(times_named(tables[t], tables[t]->rows[i].call), 0);
    }
}

/* An errno from baseline would win over core's notification: the denial would not be reported. */
static void baseline_lets_core_report(void **state)
{
    (void)state;
    for (size_t i = 0; i < core_filter.ngroups; i++)
        for (size_t k = 0; k < core_filter.groups[i].n; k++) {
            int call = core_filter.groups[i].calls[k];
            bool allowed = false;
            if (core_filter.groups[i].action != SCMP_ACT_NOTIFY)
                continue;
            for (size_t b = 0; b < baseline_filter.ngroups; b++)
                for (size_t m = 0; m < baseline_filter.groups[b].n; m++)
                    allowed = allowed || (baseline_filter.groups[b].calls[m] == call &&
                                          baseline_filter.groups[b].action == SCMP_ACT_ALLOW);
            assert_true(allowed);
        }
    for (size_t i = 0; i < core_filter.nrows; i++)
        assert_int_equal(times_named(&baseline_filter, core_filter.rows[i].call), 1);
}

static void answers(void **state)
{
    const uint64_t packet[6] = {AF_PACKET}, inet[6] = {AF_INET, SOCK_RAW},
                   netlink[6] = {AF_NETLINK, SOCK_RAW, 9};
    (void)state;

    assert_int_equal(core_filter_errno(SCMP_SYS(socket), packet), EAFNOSUPPORT);
    assert_int_equal(core_filter_errno(SCMP_SYS(socket), inet), EPERM);
    assert_int_equal(core_filter_errno(SCMP_SYS(socket), netlink), EAFNOSUPPORT);
    assert_int_equal(core_filter_errno(SCMP_SYS(bpf), packet), EPERM);
    assert_string_equal(core_filter_family(AF_VSOCK), "AF_VSOCK");
    assert_null(core_filter_family(-1));
    assert_null(core_filter_family(4000));
}

/* Runs fn under the filter in a child: its exit status. */
static int under(const struct filter_table *t, int (*fn)(void))
{
    struct cell_filter f = {0};
    int status;
    pid_t pid;

    assert_int_equal(cell_filter_build(t, &f), 0);
    pid = fork();
    if (pid == 0) {
        int fd;
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
            _exit(120);
        fd = cell_filter_load(&f, false);
        _exit(fd < 0 ? 121 : fn());
    }
    cell_filter_done(&f);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static int try_mount(void)
{
    return syscall(SYS_mount, "x", "/tmp", "tmpfs", 0, NULL) < 0 ? errno : 0;
}

static int try_unknown(void)
{
    return syscall(9999) < 0 ? errno : 0;
}

static int try_pipe(void)
{
    int p[2];
    return pipe(p) < 0 ? errno : 0;
}

#ifdef __x86_64__
static int try_x32(void)
{
    return syscall(0x40000000 | SYS_getpid) < 0 ? errno : 0;
}

static int try_int80(void)
{
    long r;
    __asm__ volatile("int $0x80" : "=a"(r) : "a"(20) : "memory"); /* getpid of i386 */
    return r > 0 ? 0 : 1;
}
#endif

static void baseline_in_the_kernel(void **state)
{
    (void)state;
    assert_int_equal(WEXITSTATUS(under(&baseline_filter, try_mount)), EPERM);
    assert_int_equal(WEXITSTATUS(under(&baseline_filter, try_unknown)), ENOSYS);
    assert_int_equal(WEXITSTATUS(under(&baseline_filter, try_pipe)), 0);
}

static void foreign_abis_are_killed(void **state)
{
    (void)state;
#ifdef __x86_64__
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        assert_int_equal(WTERMSIG(under(tables[i], try_x32)), SIGSYS);
        assert_int_equal(WTERMSIG(under(tables[i], try_int80)), SIGSYS);
    }
#endif
}

static void init_filter_kills(void **state)
{
    (void)state;
    assert_int_equal(WTERMSIG(under(&init_filter, try_mount)), SIGSYS);
    assert_int_equal(WTERMSIG(under(&init_filter, try_pipe)), SIGSYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_entry_has_a_reason),  cmocka_unit_test(no_entry_twice),
        cmocka_unit_test(baseline_lets_core_report), cmocka_unit_test(answers),
        cmocka_unit_test(baseline_in_the_kernel),    cmocka_unit_test(foreign_abis_are_killed),
        cmocka_unit_test(init_filter_kills),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
