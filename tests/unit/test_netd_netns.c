/* SPDX-License-Identifier: MIT */
#include "netd/netns.h"

#include "tests/unit/netd_cell.h"

static struct netns_own own;

static void test_accepts_a_cell(void **state)
{
    (void)state;
    struct netd_cell c = netd_cell_new();
    assert_int_equal(netns_check(&own, c.userns, c.netns, getuid()), NETNS_OK);
    netd_cell_done(&c);
}

static void test_refuses_other_kinds_of_fd(void **state)
{
    (void)state;
    struct netd_cell c = netd_cell_new();
    int pair[2];
    int file = open("/proc/self/status", O_RDONLY | O_CLOEXEC),
        dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    const int other[] = {file, dir, pair[0]};
    for (size_t i = 0; i < ARRAY_LEN(other); i++) {
        assert_int_equal(netns_check(&own, other[i], c.netns, getuid()), NETNS_E_NOT_NAMESPACE);
        assert_int_equal(netns_check(&own, c.userns, other[i], getuid()), NETNS_E_NOT_NAMESPACE);
    }
    assert_int_equal(netns_check(&own, -1, c.netns, getuid()), -EBADF);
    close(file);
    close(dir);
    close(pair[0]);
    close(pair[1]);
    netd_cell_done(&c);
}

static void test_refuses_other_types(void **state)
{
    (void)state;
    struct netd_cell c = netd_cell_new();
    _cleanup_close_ int uts = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC);
    assert_int_equal(netns_check(&own, c.netns, c.userns, getuid()), NETNS_E_TYPE); /* swapped */
    assert_int_equal(netns_check(&own, c.userns, c.userns, getuid()), NETNS_E_TYPE);
    assert_int_equal(netns_check(&own, c.userns, uts, getuid()), NETNS_E_TYPE);
    assert_int_equal(netns_check(&own, uts, c.netns, getuid()), NETNS_E_TYPE);
    netd_cell_done(&c);
}

static void test_refuses_its_own(void **state)
{
    (void)state;
    struct netd_cell c = netd_cell_new();
    _cleanup_close_ int net = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    _cleanup_close_ int user = open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC);
    assert_int_equal(netns_check(&own, c.userns, net, getuid()), NETNS_E_OWN);
    assert_int_equal(netns_check(&own, user, c.netns, getuid()), NETNS_E_OWN);
    assert_int_equal(netns_check(&own, user, net, getuid()), NETNS_E_OWN);
    netd_cell_done(&c);
}

static void test_refuses_a_mixed_pair(void **state)
{
    (void)state;
    struct netd_cell a = netd_cell_new(), b = netd_cell_new();
    assert_int_equal(netns_check(&own, a.userns, b.netns, getuid()), NETNS_E_OTHER_OWNER);
    netd_cell_done(&a);
    netd_cell_done(&b);
}

/* A namespace below U1, as a workload might make one if it could. */
static void test_refuses_a_grandchild(void **state)
{
    (void)state;
    int release = -EBADF;
    pid_t pid = netd_cell_holder(getuid(), CLONE_NEWUSER, CLONE_NEWUSER | CLONE_NEWNET, &release);
    struct netd_cell c = {netd_cell_open(pid, "user"), netd_cell_open(pid, "net")};
    netd_cell_release(pid, release);
    assert_int_equal(netns_check(&own, c.userns, c.netns, getuid()), NETNS_E_NOT_CHILD);
    netd_cell_done(&c);
}

static void test_refuses_another_uid(void **state)
{
    (void)state;
    struct netd_cell c = netd_cell_new();
    assert_int_equal(netns_check(&own, c.userns, c.netns, getuid() + 1), NETNS_E_UID);
    netd_cell_done(&c);
    if (getuid() == 0) { /* really made by somebody else */
        c = netd_cell_new_of(NETD_TEST_UID + 1);
        assert_int_equal(netns_check(&own, c.userns, c.netns, 0), NETNS_E_UID);
        assert_int_equal(netns_check(&own, c.userns, c.netns, NETD_TEST_UID + 1), NETNS_OK);
        netd_cell_done(&c);
    }
}

static void test_identity_uses_the_id(void **state)
{
    (void)state;
    struct netns_identity a = {1, 2, 3}, b = a;
    assert_true(netns_same(&a, &b));
    b.id = 4; /* a recycled inode */
    assert_false(netns_same(&a, &b));
    b.id = 0; /* an older kernel */
    assert_true(netns_same(&a, &b));
    b.ino = 9;
    assert_false(netns_same(&a, &b));
}

static void test_every_verdict_has_a_text(void **state)
{
    (void)state;
    for (int v = 0; v < _NETNS_VERDICT_MAX; v++)
        assert_non_null(netns_verdict_text(v));
}

static int group(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepts_a_cell),           cmocka_unit_test(test_refuses_other_kinds_of_fd),
        cmocka_unit_test(test_refuses_other_types),      cmocka_unit_test(test_refuses_its_own),
        cmocka_unit_test(test_refuses_a_mixed_pair),     cmocka_unit_test(test_refuses_a_grandchild),
        cmocka_unit_test(test_refuses_another_uid),      cmocka_unit_test(test_identity_uses_the_id),
        cmocka_unit_test(test_every_verdict_has_a_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return netns_own_read(&own) < 0 ? 1 : netd_cell_main(group);
}
