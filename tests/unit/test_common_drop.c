/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "common/base/log.h"
#include "common/priv/audit.h"
#include "common/priv/caps.h"
#include "common/priv/drop.h"
#include "common/priv/seccomp.h"
#include "tests/unit/child.h"

#define NOFILE 700

static const struct role plain = {.name = "plain", .nofile = NOFILE};

static const struct role_syscall thread_rows[] = {SECCOMP_ROWS_THREADS};
static const struct role threads = {
    .name = "threads", .syscalls = thread_rows, .nsyscalls = ARRAY_LEN(thread_rows)};

static const struct role entering = {.name = "entering", .caps[ROLE_SYSTEM] = CAPS_BIT(CAP_SYS_ADMIN)};

static struct drop_report report;

/* Children start with exactly 0, 1, 2. */
static void clean(void)
{
    for (int fd = 3; fd < 1024; fd++)
        close(fd);
    log_init("test", LOG_CRIT); /* the differences that the audit is made to find are not news */
}

/* The value of a line of /proc/self/status. */
static const char *status_of(const char *key)
{
    static char text[8192];
    FILE *f = fopen("/proc/self/status", "re");
    size_t n = strlen(key);

    CHILD_CHECK(f);
    while (fgets(text, sizeof text, f))
        if (strncmp(text, key, n) == 0 && text[n] == ':') {
            fclose(f);
            text[strcspn(text, "\n")] = 0;
            return text + n + 1 + strspn(text + n + 1, " \t");
        }
    _exit(99);
}

static void check_common(void)
{
    struct rlimit l;
    char cwd[16];

    CHILD_CHECK(strcmp(status_of("CapEff"), "0000000000000000") == 0);
    CHILD_CHECK(strcmp(status_of("CapPrm"), "0000000000000000") == 0);
    CHILD_CHECK(strcmp(status_of("CapInh"), "0000000000000000") == 0);
    CHILD_CHECK(strcmp(status_of("CapAmb"), "0000000000000000") == 0);
    CHILD_CHECK(strcmp(status_of("NoNewPrivs"), "1") == 0);
    CHILD_CHECK(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
    CHILD_CHECK(umask(0) == 077);
    CHILD_CHECK(getcwd(cwd, sizeof cwd) && strcmp(cwd, "/") == 0);
    CHILD_CHECK(!environ || !environ[0]);
    CHILD_CHECK(getrlimit(RLIMIT_CORE, &l) == 0 && l.rlim_cur == 0 && l.rlim_max == 0);
    CHILD_CHECK(getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur == NOFILE);
    CHILD_CHECK(getrlimit(RLIMIT_NPROC, &l) == 0 && l.rlim_cur == 0 && l.rlim_max == 0);
}

static void low_nofile(void)
{
    struct rlimit l;

    CHILD_CHECK(getrlimit(RLIMIT_NOFILE, &l) == 0);
    l.rlim_cur = 64;
    CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &l) == 0);
}

static void embedded_root(void)
{
    const gid_t groups[] = {4, 5};

    clean();
    low_nofile();
    CHILD_CHECK(setgroups(2, groups) == 0);
    CHILD_CHECK(drop_privileges(&plain, ROLE_EMBEDDED, &report) == 0);
    CHILD_CHECK(report.groups_cleared && report.bounding_cleared);
    CHILD_CHECK(getuid() == 0 && geteuid() == 0);
    CHILD_CHECK(strcmp(status_of("CapBnd"), "0000000000000000") == 0);
    CHILD_CHECK(getgroups(0, NULL) == 0);
    check_common();
    CHILD_CHECK(audit_drop(&plain, ROLE_EMBEDDED, &report, NULL, 0) == 0);
    /* uid 0 without capabilities is nobody special */
    CHILD_CHECK(setresuid(1, 1, 1) < 0);
    CHILD_CHECK(setgroups(0, NULL) < 0);
    CHILD_CHECK(mknod("/tmp/cellos-drop-test", S_IFCHR | 0600, makedev(1, 3)) < 0 && errno == EPERM);
}

static void test_embedded_root(void **state)
{
    (void)state;
    if (getuid() != 0)
        skip();
    assert_int_equal(child_run(embedded_root), CHILD_OK);
}

static void embedded_ordinary(void)
{
    clean();
    low_nofile();
    child_become_ordinary();
    int groups = getgroups(0, NULL);
    CHILD_CHECK(drop_privileges(&plain, ROLE_EMBEDDED, &report) == 0);
    CHILD_CHECK(!report.groups_cleared && !report.bounding_cleared);
    CHILD_CHECK(getgroups(0, NULL) == groups);
    CHILD_CHECK(setuid(0) < 0);
    check_common();
    CHILD_CHECK(audit_drop(&plain, ROLE_EMBEDDED, &report, NULL, 0) == 0);
    /* no process can be made any more (uid 0 of an initial namespace is exempt from RLIMIT_NPROC) */
    CHILD_CHECK(fork() < 0 && errno == EAGAIN);
}

static void test_embedded_ordinary(void **state)
{
    (void)state;
    assert_int_equal(child_run(embedded_ordinary), CHILD_OK);
}

static void nofile_hard_limit(void)
{
    struct rlimit l = {64, 128};

    clean();
    CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &l) == 0);
    CHILD_CHECK(drop_privileges(&plain, ROLE_EMBEDDED, &report) == 0);
    CHILD_CHECK(getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur == 128 && l.rlim_max == 128);
}

static void thread_role_keeps_nproc(void)
{
    struct rlimit before, after;

    clean();
    child_become_ordinary();
    CHILD_CHECK(getrlimit(RLIMIT_NPROC, &before) == 0);
    CHILD_CHECK(drop_privileges(&threads, ROLE_EMBEDDED, &report) == 0);
    CHILD_CHECK(getrlimit(RLIMIT_NPROC, &after) == 0 && after.rlim_cur == before.rlim_cur);
}

static void test_limits(void **state)
{
    (void)state;
    assert_int_equal(child_run(nofile_hard_limit), CHILD_OK);
    assert_int_equal(child_run(thread_role_keeps_nproc), CHILD_OK);
}

static void missing_capability(void)
{
    const struct role wants = {.name = "wants", .caps[ROLE_EMBEDDED] = CAPS_BIT(CAP_SYS_ADMIN)};

    clean();
    child_become_ordinary();
    CHILD_CHECK(drop_privileges(&wants, ROLE_EMBEDDED, &report) == -EPERM);
}

static void system_as_root(void)
{
    clean();
    CHILD_CHECK(drop_privileges(&plain, ROLE_SYSTEM, &report) == -EPERM);
}

/* As a set-user-ID program would start. */
static void ids_differ(void)
{
    clean();
    CHILD_CHECK(setresuid(CHILD_UID, 0, 0) == 0);
    CHILD_CHECK(drop_privileges(&plain, ROLE_EMBEDDED, &report) == -EPERM);
}

static void test_refusals(void **state)
{
    (void)state;
    assert_int_equal(child_run(missing_capability), CHILD_OK);
    if (getuid() != 0)
        skip();
    assert_int_equal(child_run(system_as_root), CHILD_OK);
    assert_int_equal(child_run(ids_differ), CHILD_OK);
}

/* What systemd does for User=, CapabilityBoundingSet=bound, AmbientCapabilities=CAP_SYS_ADMIN. */
static void as_systemd_does(uint64_t bound)
{
    const uint64_t admin = CAPS_BIT(CAP_SYS_ADMIN);

    clean();
    CHILD_CHECK(caps_bound(bound) == 0);
    CHILD_CHECK(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0);
    child_become_ordinary();
    CHILD_CHECK(caps_set(&(struct caps){admin, admin, admin}) == 0);
    CHILD_CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_ADMIN, 0, 0) == 0);
}

static void system_with_capability(void)
{
    as_systemd_does(CAPS_BIT(CAP_SYS_ADMIN));
    CHILD_CHECK(drop_privileges(&entering, ROLE_SYSTEM, &report) == 0);
    CHILD_CHECK(strcmp(status_of("CapEff"), "0000000000200000") == 0);
    CHILD_CHECK(strcmp(status_of("CapPrm"), "0000000000200000") == 0);
    CHILD_CHECK(strcmp(status_of("CapBnd"), "0000000000200000") == 0);
    CHILD_CHECK(strcmp(status_of("CapInh"), "0000000000000000") == 0);
    CHILD_CHECK(strcmp(status_of("CapAmb"), "0000000000000000") == 0);
    CHILD_CHECK(audit_drop(&entering, ROLE_SYSTEM, &report, NULL, 0) == 0);
    /* the same process is not what the embedded column says, nor what another role's does */
    CHILD_CHECK(audit_drop(&entering, ROLE_EMBEDDED, &report, NULL, 0) == -EPERM);
    CHILD_CHECK(audit_drop(&plain, ROLE_SYSTEM, &report, NULL, 0) == -EPERM);
}

static void system_with_wide_bounding_set(void)
{
    as_systemd_does(caps_known());
    CHILD_CHECK(drop_privileges(&entering, ROLE_SYSTEM, &report) == 0);
    CHILD_CHECK(audit_drop(&entering, ROLE_SYSTEM, &report, NULL, 0) == -EPERM);
}

static void test_system(void **state)
{
    (void)state;
    if (getuid() != 0)
        skip();
    assert_int_equal(child_run(system_with_capability), CHILD_OK);
    assert_int_equal(child_run(system_with_wide_bounding_set), CHILD_OK);
}

static void not_dropped(void)
{
    clean();
    CHILD_CHECK(audit_drop(&plain, ROLE_EMBEDDED, &report, NULL, 0) == -EPERM);
}

static void dropped(void)
{
    clean();
    CHILD_CHECK(drop_privileges(&plain, ROLE_EMBEDDED, &report) == 0);
    CHILD_CHECK(audit_drop(&plain, ROLE_EMBEDDED, &report, NULL, 0) == 0);
}

static void dumpable_again(void)
{
    dropped();
    CHILD_CHECK(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0);
    CHILD_CHECK(audit_drop(&plain, ROLE_EMBEDDED, &report, NULL, 0) == -EPERM);
}

static void extra_fd(void)
{
    dropped();
    CHILD_CHECK(open("/dev/null", O_RDONLY | O_CLOEXEC) == 3);
    CHILD_CHECK(audit_drop(&plain, ROLE_EMBEDDED, &report, NULL, 0) == -EPERM);
    CHILD_CHECK(audit_drop(&plain, ROLE_EMBEDDED, &report, &(struct audit_fd){.fd = 3}, 1) == 0);
    CHILD_CHECK(fcntl(3, F_DUPFD_CLOEXEC, 200) == 200);
    CHILD_CHECK(audit_drop(&plain, ROLE_EMBEDDED, &report, &(struct audit_fd){.fd = 3}, 1) == -EPERM);
}

static void missing_fd(void)
{
    dropped();
    CHILD_CHECK(audit_drop(&plain, ROLE_EMBEDDED, &report, &(struct audit_fd){.fd = 5}, 1) != 0);
    close(0);
    CHILD_CHECK(audit_drop(&plain, ROLE_EMBEDDED, &report, NULL, 0) == -EPERM);
}

static int audit_kind(int fd, enum role_fd_kind kind)
{
    return audit_drop(&plain, ROLE_EMBEDDED, &report, &(struct audit_fd){fd, true, kind}, 1);
}

static void fd_kinds(void)
{
    int s[2];

    dropped();
    CHILD_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s) == 0);
    close(s[1]);
    CHILD_CHECK(audit_kind(3, ROLE_FD_CHANNEL) == 0);
    CHILD_CHECK(audit_kind(3, ROLE_FD_LISTEN) == -EPERM);
    CHILD_CHECK(audit_kind(3, ROLE_FD_DIR) == -EPERM);
    close(3);
    CHILD_CHECK(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC) == 3);
    CHILD_CHECK(audit_kind(3, ROLE_FD_DIR) == 0);
    CHILD_CHECK(audit_kind(3, ROLE_FD_CHANNEL) == -EPERM);
    close(3);
    CHILD_CHECK(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0) == 3);
    CHILD_CHECK(audit_kind(3, ROLE_FD_CHANNEL) == -EPERM); /* not connected */
    CHILD_CHECK(bind(3, &(struct sockaddr){.sa_family = AF_UNIX}, sizeof(sa_family_t)) == 0);
    CHILD_CHECK(listen(3, 1) == 0);
    CHILD_CHECK(audit_kind(3, ROLE_FD_LISTEN) == 0);
    CHILD_CHECK(audit_kind(3, ROLE_FD_CHANNEL) == -EPERM);
}

static void *sleeper(void *arg)
{
    pause();
    return arg;
}

static void second_thread(void)
{
    pthread_t t;

    clean();
    CHILD_CHECK(drop_privileges(&threads, ROLE_EMBEDDED, &report) == 0);
    CHILD_CHECK(audit_drop(&threads, ROLE_EMBEDDED, &report, NULL, 0) == 0);
    CHILD_CHECK(pthread_create(&t, NULL, sleeper, NULL) == 0);
    CHILD_CHECK(audit_drop(&threads, ROLE_EMBEDDED, &report, NULL, 0) == -EPERM);
}

static void test_audit_notices(void **state)
{
    static void (*const cases[])(void) = {
        not_dropped, dropped, dumpable_again, extra_fd, missing_fd, fd_kinds, second_thread,
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (child_run(cases[i]) != CHILD_OK)
            fail_msg("case %zu", i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_embedded_root), cmocka_unit_test(test_embedded_ordinary),
        cmocka_unit_test(test_limits),        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_system),        cmocka_unit_test(test_audit_notices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
