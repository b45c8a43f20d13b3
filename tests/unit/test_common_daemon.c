/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <ev.h>
#include <linux/landlock.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "common/base/cleanup.h"
#include "common/daemon/activation.h"
#include "common/daemon/daemon.h"
#include "common/ipc/frame.h"
#include "common/priv/caps.h"
#include "common/priv/landlock.h"
#include "tests/unit/child.h"

static const struct role_fd role_fds[] = {
    {"peer", ROLE_FD_CHANNEL}, {"state", ROLE_FD_DIR}, {"ctl", ROLE_FD_LISTEN}};
static const struct role_syscall role_rows[] = {{SCMP_SYS(openat), "files below its directory", 0, {}}};
static const struct role role = {
    .name = "testd",
    .fds = role_fds,
    .nfds = ARRAY_LEN(role_fds),
    .syscalls = role_rows,
    .nsyscalls = ARRAY_LEN(role_rows),
    .nofile = 256,
    .help = "  --own X      of its own\n",
};
static const struct role no_fds = {.name = "bare"};

static char *args[16];
static int nargs;

static void set_args(const char *first, ...)
{
    va_list ap;

    nargs = 0;
    args[nargs++] = (char *)(uintptr_t) "testd";
    va_start(ap, first);
    for (const char *s = first; s; s = va_arg(ap, const char *))
        args[nargs++] = (char *)(uintptr_t)s;
    va_end(ap);
    args[nargs] = NULL;
}

static void silence(void)
{
    CHILD_CHECK(dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), 2) == 2);
}

static int peer_end; /* the other end of "peer", far away in the fd table */

/* fd 3: a directory, 4: a channel, 5: a listener, as a service manager lays them out; named in names. */
static void activate(int count, const char *names)
{
    char text[16];
    int s[2], fd;

    for (fd = 3; fd < 1024; fd++)
        close(fd);
    CHILD_CHECK(open("/tmp", O_RDONLY | O_DIRECTORY) == 3);
    CHILD_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s) == 0 && s[0] == 4);
    peer_end = s[1];
    CHILD_CHECK((fd = fcntl(peer_end, F_DUPFD, 100)) == 100);
    close(peer_end);
    peer_end = fd;
    CHILD_CHECK(socket(AF_UNIX, SOCK_SEQPACKET, 0) == 5);
    CHILD_CHECK(bind(5, &(struct sockaddr){.sa_family = AF_UNIX}, sizeof(sa_family_t)) == 0 &&
                listen(5, 1) == 0);
    snprintf(text, sizeof text, "%d", count);
    setenv("LISTEN_FDS", text, 1);
    snprintf(text, sizeof text, "%d", getpid());
    setenv("LISTEN_PID", text, 1);
    if (names)
        setenv("LISTEN_FDNAMES", names, 1);
    else
        unsetenv("LISTEN_FDNAMES");
}

#define NAMES "state:peer:ctl"

static void begins(void)
{
    struct daemon d;

    activate(3, NAMES);
    set_args("--own", "x", "--mode", "embedded", "file", "-v", "--", "-v", "--mode", NULL);
    CHILD_CHECK(daemon_begin(&role, &nargs, args, &d) == 0);
    CHILD_CHECK(d.mode == ROLE_EMBEDDED && d.verbose && d.role == &role);
    CHILD_CHECK(d.fds[0] == 4 && d.fds[1] == 3 && d.fds[2] == 5 && d.fds[3] == -EBADF && d.notify == -EBADF);
    for (int fd = 3; fd <= 5; fd++)
        CHILD_CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
    CHILD_CHECK(fcntl(peer_end, F_GETFD) < 0); /* inherited by mistake: closed */
    CHILD_CHECK(!getenv("LISTEN_FDS") && !getenv("LISTEN_PID") && !getenv("LISTEN_FDNAMES"));
    CHILD_CHECK(nargs == 7 && args[7] == NULL);
    CHILD_CHECK(strcmp(args[1], "--own") == 0 && strcmp(args[2], "x") == 0 && strcmp(args[3], "file") == 0);
    CHILD_CHECK(strcmp(args[4], "--") == 0 && strcmp(args[5], "-v") == 0 && strcmp(args[6], "--mode") == 0);
}

static void begins_without_fds(void)
{
    struct daemon d;

    unsetenv("LISTEN_FDS");
    unsetenv("NOTIFY_SOCKET");
    set_args("--mode=system", NULL);
    CHILD_CHECK(daemon_begin(&no_fds, &nargs, args, &d) == 0);
    CHILD_CHECK(d.mode == ROLE_SYSTEM && !d.verbose && nargs == 1);
    CHILD_CHECK(daemon_ready(&d) == 0);
}

/* The first file opened must not become standard output. */
static void begins_with_closed_stdio(void)
{
    struct daemon d;

    unsetenv("LISTEN_FDS");
    for (int fd = 0; fd < 1024; fd++)
        close(fd);
    set_args("--mode=embedded", NULL);
    int r = daemon_begin(&no_fds, &nargs, args, &d);
    _exit(r == 0 && open("/dev/null", O_RDONLY | O_CLOEXEC) == 3 ? 0 : 1);
}

static void test_begin(void **state)
{
    (void)state;
    assert_int_equal(child_run(begins), CHILD_OK);
    assert_int_equal(child_run(begins_without_fds), CHILD_OK);
    assert_int_equal(child_run(begins_with_closed_stdio), CHILD_OK);
}

/* What the next child starts with. */
static struct {
    int count;
    const char *names;
    const char *mode;
    void (*spoil)(void);
} start;

static void refused(void)
{
    struct daemon d = {.notify = 12345};

    silence();
    activate(start.count, start.names);
    if (start.spoil)
        start.spoil();
    set_args(start.mode, NULL);
    CHILD_CHECK(daemon_begin(&role, &nargs, args, &d) < 0);
    CHILD_CHECK(d.notify == 12345); /* untouched */
}

static void spoil_pid(void)
{
    setenv("LISTEN_PID", "1", 1);
}

static void spoil_pid_text(void)
{
    char text[16];
    snprintf(text, sizeof text, "0%d", getpid());
    setenv("LISTEN_PID", text, 1);
}

static void spoil_count(void)
{
    setenv("LISTEN_FDS", "2147483647", 1); /* and the first of them is 3 */
}

static void spoil_kind(void)
{
    CHILD_CHECK(dup2(3, 4) == 4);
}

static void spoil_listening(void)
{
    CHILD_CHECK(dup2(4, 5) == 5);
}

static void spoil_closed(void)
{
    close(5);
}

static void test_begin_refuses(void **state)
{
    static const char good[] = "--mode=embedded";
    static const struct {
        int count;
        const char *names, *mode;
        void (*spoil)(void);
    } cases[] = {
        {2, NAMES, good, NULL},
        {2, "state:peer", good, NULL},
        {4, "state:peer:ctl:more", good, NULL},
        {3, "state:peer", good, NULL},
        {3, "state:peer:ctl:", good, NULL},
        {3, "state:peer:ctl:more", good, NULL},
        {3, "state:peer:other", good, NULL},
        {3, "state:peer:peer", good, NULL},
        {3, "state:peer:ct", good, NULL},
        {3, "peer:state:ctl", good, NULL}, /* kinds do not fit */
        {3, "", good, NULL},
        {3, NULL, good, NULL},
        {0, NAMES, good, NULL},
        {-1, NAMES, good, NULL},
        {3, NAMES, good, spoil_pid},
        {3, NAMES, good, spoil_pid_text},
        {3, NAMES, good, spoil_count},
        {3, NAMES, good, spoil_kind},
        {3, NAMES, good, spoil_listening},
        {3, NAMES, good, spoil_closed},
        {3, NAMES, NULL, NULL},
        {3, NAMES, "--mode", NULL},
        {3, NAMES, "--mode=", NULL},
        {3, NAMES, "--mode=System", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        start.count = cases[i].count;
        start.names = cases[i].names;
        start.mode = cases[i].mode;
        start.spoil = cases[i].spoil;
        if (child_run(refused) != CHILD_OK)
            fail_msg("case %zu was not refused", i);
    }
}

static int out[2];

static void prints(void)
{
    struct daemon d;

    CHILD_CHECK(dup2(out[1], 1) == 1);
    set_args(start.mode, NULL);
    (void)!daemon_begin(&role, &nargs, args, &d);
    _exit(99); /* it should have ended */
}

static void prints_text(const char *option, const char *text)
{
    char got[4096] = "";

    assert_int_equal(pipe(out), 0);
    start.mode = option;
    assert_int_equal(child_run(prints), CHILD_OK);
    close(out[1]);
    assert_true(read(out[0], got, sizeof got - 1) > 0);
    close(out[0]);
    assert_non_null(strstr(got, text));
}

static void test_version_and_help(void **state)
{
    (void)state;
    prints_text("--version", "cellos-testd " CELLOS_VERSION "\n");
    prints_text("--help", "Usage: cellos-testd");
    prints_text("--help", role.help);
}

static void begin_here(struct daemon *d)
{
    activate(3, NAMES);
    set_args("--mode=embedded", NULL);
    CHILD_CHECK(daemon_begin(&role, &nargs, args, d) == 0);
}

static void confines(void)
{
    struct daemon d;
    struct role_path paths[1];
    int keep[1], fd;
    struct ev_loop *loop;

    child_become_ordinary();
    begin_here(&d);
    loop = ev_loop_new(EVFLAG_NOENV);
    CHILD_CHECK(loop);
    keep[0] = ev_backend(loop) == EVBACKEND_EPOLL ? 6 : -1;
    paths[0] = (struct role_path){d.fds[1], LANDLOCK_ACCESS_FS_READ_DIR};
    CHILD_CHECK(daemon_confine(&d, keep, 1, paths, 1) == 0);
    CHILD_CHECK(!environ || !environ[0]);
    fd = openat(d.fds[1], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHILD_CHECK(fd >= 0); /* below its path */
    /* Its own file system right, and nothing else. */
    int etc = openat(AT_FDCWD, "/etc/passwd", O_RDONLY | O_CLOEXEC);
    CHILD_CHECK(etc == -1 && errno == EACCES);
    ev_run(loop, EVRUN_NOWAIT);
    CHILD_CHECK(daemon_ready(&d) == 0);
    syscall(SYS_ptrace, 0, 0, 0, 0);
}

static void test_confine(void **state)
{
    (void)state;
    if (landlock_abi() == 0)
        skip();
    assert_int_equal(child_run(confines), CHILD_KILLED(SIGSYS));
}

static void confine_with_extra_fd(void)
{
    struct daemon d;

    silence();
    child_become_ordinary();
    begin_here(&d);
    CHILD_CHECK(open("/dev/null", O_RDONLY | O_CLOEXEC) == 6);
    CHILD_CHECK(daemon_confine(&d, NULL, 0, NULL, 0) == -EPERM);
}

static void confine_with_exchanged_fd(void)
{
    struct daemon d;

    silence();
    child_become_ordinary();
    begin_here(&d);
    CHILD_CHECK(dup2(3, 4) == 4);
    CHILD_CHECK(daemon_confine(&d, NULL, 0, NULL, 0) == -EPERM);
}

static void confine_with_bad_table(void)
{
    static const struct role_syscall rows[] = {{SCMP_SYS(mmap), "wide", 0, {}}};
    const struct role wide = {.name = "wide", .syscalls = rows, .nsyscalls = 1};
    struct daemon d;

    silence();
    child_become_ordinary();
    unsetenv("LISTEN_FDS");
    set_args("--mode=embedded", NULL);
    CHILD_CHECK(daemon_begin(&wide, &nargs, args, &d) == 0);
    CHILD_CHECK(daemon_confine(&d, NULL, 0, NULL, 0) == -EINVAL);
}

static void confine_as_root_in_system_mode(void)
{
    struct daemon d;

    silence();
    unsetenv("LISTEN_FDS");
    unsetenv("NOTIFY_SOCKET");
    set_args("--mode=system", NULL);
    CHILD_CHECK(daemon_begin(&no_fds, &nargs, args, &d) == 0);
    CHILD_CHECK(daemon_confine(&d, NULL, 0, NULL, 0) == -EPERM);
}

static void test_confine_refuses(void **state)
{
    (void)state;
    assert_int_equal(child_run(confine_with_extra_fd), CHILD_OK);
    assert_int_equal(child_run(confine_with_exchanged_fd), CHILD_OK);
    assert_int_equal(child_run(confine_with_bad_table), CHILD_OK);
    if (getuid() == 0)
        assert_int_equal(child_run(confine_as_root_in_system_mode), CHILD_OK);
}

static struct sockaddr_un notify_addr = {.sun_family = AF_UNIX};

/* As under systemd: User=, CapabilityBoundingSet= empty, NOTIFY_SOCKET. */
static void notifies(void)
{
    struct daemon d;

    unsetenv("LISTEN_FDS");
    setenv("NOTIFY_SOCKET", notify_addr.sun_path, 1);
    CHILD_CHECK(caps_bound(0) == 0);
    child_become_ordinary();
    set_args("--mode=system", NULL);
    CHILD_CHECK(daemon_begin(&no_fds, &nargs, args, &d) == 0 && d.notify >= 0);
    CHILD_CHECK(daemon_confine(&d, NULL, 0, NULL, 0) == 0);
    CHILD_CHECK(daemon_ready(&d) == 0 && d.notify == -EBADF);
    CHILD_CHECK(daemon_ready(&d) == 0); /* once only */
}

static void notify_refused(void)
{
    struct daemon d;

    silence();
    unsetenv("LISTEN_FDS");
    set_args("--mode=system", NULL);
    setenv("NOTIFY_SOCKET", "vsock:2:1", 1);
    CHILD_CHECK(daemon_begin(&no_fds, &nargs, args, &d) == -EAFNOSUPPORT);
    set_args("--mode=system", NULL);
    setenv("NOTIFY_SOCKET", "/nonexistent/notify", 1);
    CHILD_CHECK(daemon_begin(&no_fds, &nargs, args, &d) == -ENOENT);
}

static void test_notify(void **state)
{
    char got[64] = "";
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    (void)state;
    if (getuid() != 0) { /* only root can take the bounding set away */
        close(fd);
        skip();
    }
    snprintf(notify_addr.sun_path, sizeof notify_addr.sun_path, "/tmp/cellos-notify-%d", getpid());
    assert_int_equal(bind(fd, (struct sockaddr *)&notify_addr, sizeof notify_addr), 0);
    chmod(notify_addr.sun_path, 0666);
    assert_int_equal(child_run(notifies), CHILD_OK);
    unlink(notify_addr.sun_path);
    assert_int_equal(recv(fd, got, sizeof got - 1, MSG_DONTWAIT), 7);
    assert_string_equal(got, "READY=1");
    assert_int_equal(recv(fd, got, sizeof got, MSG_DONTWAIT), -1);
    close(fd);
    assert_int_equal(child_run(notify_refused), CHILD_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_begin),
        cmocka_unit_test(test_begin_refuses),
        cmocka_unit_test(test_version_and_help),
        cmocka_unit_test(test_confine),
        cmocka_unit_test(test_confine_refuses),
        cmocka_unit_test(test_notify),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
