/* SPDX-License-Identifier: MIT */
#include "netd/role.h"

#include <linux/capability.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after the standard headers it needs */
#include <cmocka.h>

#include "common/priv/seccomp.h"

static void test_rows_are_sound(void **state)
{
    (void)state;
    const struct role_syscall *bad = NULL;
    int r = seccomp_check(&role_netd, &bad);
    if (r < 0)
        fail_msg("row %s (%s)", bad ? seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, bad->nr) : "?",
                 bad ? bad->why : "?");
}

static void test_rights(void **state)
{
    (void)state;
    assert_int_equal(role_netd.caps[ROLE_EMBEDDED], 0);
    assert_int_equal(role_netd.caps[ROLE_SYSTEM], 1ull << CAP_SYS_ADMIN);
    assert_true(role_netd.may_fork);
    assert_int_equal(role_netd.nfds, _ROLE_NETD_FDS);
    const int never[] = {SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(open),  SCMP_SYS(openat),
                         SCMP_SYS(ptrace), SCMP_SYS(connect),  SCMP_SYS(mount), SCMP_SYS(unshare),
                         SCMP_SYS(bpf),    SCMP_SYS(kill)};
    for (size_t i = 0; i < ARRAY_LEN(never); i++)
        assert_false(seccomp_lists(&role_netd, never[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows_are_sound), cmocka_unit_test(test_rights)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
