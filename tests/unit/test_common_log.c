/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <seccomp.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "common/base/buf.h"
#include "common/base/io.h"
#include "common/base/log.h"

/* Every test runs in a child of its own, whose stderr is a file that the parent reads: the rate limit and the
 * role are state of a process. */
static void in_child(void (*fn)(int out), struct buf *ret_out)
{
    _cleanup_close_ int out = memfd_create("stderr", MFD_CLOEXEC);
    assert_true(out >= 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(out, STDERR_FILENO);
        unsetenv("JOURNAL_STREAM");
        unsetenv("NO_COLOR");
        fn(out);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(lseek(out, 0, SEEK_SET), 0);
    buf_init(ret_out, 1u << 20);
    assert_int_equal(io_read_to_end(out, ret_out), 0);
    if (status != 0)
        fail_msg("status %d: %s", status, buf_cstr(ret_out));
    assert_non_null(buf_cstr(ret_out));
}

static size_t count(const struct buf *b, const char *needle)
{
    size_t n = 0;
    for (const char *p = (const char *)b->data; (p = strstr(p, needle)); p++)
        n++;
    return n;
}

static void say_plain(int out)
{
    dprintf(out, "%ld\n", (long)getpid());
    log_init("proxyd", LOG_INFO);
    log_info("hello %s", "there");
    log_debug("not shown");
    errno = ENOENT;
    if (log_errno(-EACCES, "cannot open %s", "x") != -EACCES ||
        log_failed(LOG_DEBUG, -EPERM, "hidden") != -EPERM)
        _exit(1);
    if (errno != ENOENT)
        _exit(2);
}

static void plain_lines(void **st)
{
    (void)st;
    struct buf b;
    in_child(say_plain, &b);
    char want[256];
    long pid = strtol((char *)b.data, NULL, 10);
    snprintf(want, sizeof(want),
             "%ld\n"
             "cellos-proxyd[%ld]: info: hello there\n"
             "cellos-proxyd[%ld]: error: cannot open x: Permission denied\n",
             pid, pid, pid);
    assert_string_equal((char *)b.data, want);
    buf_done(&b);
}

static void say_foreign(int out)
{
    (void)out;
    log_init("bad\nrole", LOG_DEBUG);
    log_debug("a\nb\x1b[2J%s", "\xff\\");
    char big[5000];
    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = 0;
    log_warning("%s", big);
    log_errno(-ENOSPC, "%s", big);
    memset(big, 1, 1000); /* grows four times by being escaped */
    log_warning("%s", big);
}

static void foreign_text(void **st)
{
    (void)st;
    struct buf b;
    in_child(say_foreign, &b);
    assert_int_equal(count(&b, "\n"), 4);
    assert_non_null(strstr((char *)b.data, "cellos-bad\\x0arole["));
    assert_non_null(strstr((char *)b.data, "debug: a\\x0ab\\x1b[2J\\xff\\x5c\n"));
    assert_int_equal(count(&b, "xxx...\n"), 1);
    assert_int_equal(count(&b, "xxx...: No space left on device\n"), 1);
    assert_int_equal(count(&b, "\\x01...\n"), 1);
    for (char *line = (char *)b.data, *end; (end = strchr(line, '\n')); line = end + 1)
        assert_in_range(end - line, 10, 1024 + 64);
    buf_done(&b);
}

static void say_much(int out)
{
    (void)out;
    log_init("netd", LOG_INFO);
    for (unsigned i = 0; i < 1000; i++)
        log_info("flood %u", i);
    for (unsigned i = 0; i < 10; i++)
        log_error("important %u", i);
}

static void burst_is_cut(void **st)
{
    (void)st;
    struct buf b;
    in_child(say_much, &b);
    assert_in_range(count(&b, "flood"), 100, 200);
    assert_int_equal(count(&b, "important"), 10); /* kept free for errors */
    buf_done(&b);
}

static void say_after_burst(int out)
{
    (void)out;
    log_init("netd", LOG_INFO);
    for (unsigned i = 0; i < 1000; i++)
        log_info("flood %u", i);
    struct timespec pause = {.tv_nsec = 200000000};
    nanosleep(&pause, NULL);
    log_info("calm");
}

static void burst_is_counted(void **st)
{
    (void)st;
    struct buf b;
    in_child(say_after_burst, &b);
    size_t shown = count(&b, "flood"), said = 0;
    for (const char *p = (const char *)b.data; (p = strstr(p, "warning: ")); p++)
        said += strtoul(p + 9, NULL, 10);
    assert_int_equal(shown + said, 1000);
    assert_true(count(&b, "messages left out\n") >= 1);
    assert_non_null(strstr((char *)b.data, "info: calm\n"));
    buf_done(&b);
}

static void say_to_journal(int out)
{
    struct stat sb;
    char id[64];
    if (fstat(out, &sb) < 0)
        _exit(1);
    snprintf(id, sizeof(id), "%lu:%lu", (unsigned long)sb.st_dev, (unsigned long)sb.st_ino);
    setenv("JOURNAL_STREAM", id, 1);
    log_init("signerd", LOG_INFO);
    log_info("one");
    log_error("two");
    snprintf(id, sizeof(id), "%lu:%lu", (unsigned long)sb.st_dev, (unsigned long)sb.st_ino + 1);
    setenv("JOURNAL_STREAM", id, 1);
    log_init("signerd", LOG_INFO);
    log_info("three");
    setenv("JOURNAL_STREAM", "nonsense", 1);
    log_init("signerd", LOG_INFO);
    log_info("four");
}

static void journal_prefix(void **st)
{
    (void)st;
    struct buf b;
    in_child(say_to_journal, &b);
    static const char start[] = "<6>signerd: one\n<3>signerd: two\ncellos-signerd[";
    assert_true(b.len > sizeof(start));
    assert_memory_equal(b.data, start, sizeof(start) - 1);
    assert_non_null(strstr((char *)b.data, "info: three\n"));
    assert_non_null(strstr((char *)b.data, "info: four\n"));
    buf_done(&b);
}

/* On a terminal, with and without NO_COLOR (an empty one does not count: https://no-color.org). */
static void say_in_colour(int out)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0)
        _exit(1);
    int tty = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (tty < 0 || dup2(tty, STDERR_FILENO) < 0)
        _exit(2);
    log_init("x", LOG_INFO);
    log_error("red");
    setenv("NO_COLOR", "", 1);
    log_init("x", LOG_INFO);
    log_warning("yellow");
    setenv("NO_COLOR", "1", 1);
    log_init("x", LOG_INFO);
    log_error("grey");
    char text[1024];
    for (size_t len = 0, lines = 0; lines < 3;) { /* the kernel hands a terminal's output on in pieces */
        ssize_t n = read(master, text + len, sizeof(text) - len);
        if (n <= 0 || write(out, text + len, (size_t)n) != n)
            _exit(3);
        for (ssize_t i = 0; i < n; i++)
            lines += text[len + (size_t)i] == '\n';
        len += (size_t)n;
    }
}

static void colours(void **st)
{
    (void)st;
    struct buf b;
    in_child(say_in_colour, &b);
    assert_non_null(strstr((char *)b.data, ": \033[31merror\033[0m: red"));
    assert_non_null(strstr((char *)b.data, ": \033[33mwarning\033[0m: yellow"));
    assert_non_null(strstr((char *)b.data, ": error: grey"));
    buf_done(&b);
}

/* A daemon logs with no more than this once its filter is on. */
static void say_confined(int out)
{
    (void)out;
    log_init("signerd", LOG_INFO);
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
    static const int calls[] = {SCMP_SYS(write),  SCMP_SYS(poll),          SCMP_SYS(ppoll),
                                SCMP_SYS(getpid), SCMP_SYS(clock_gettime), SCMP_SYS(exit_group)};
    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        if (seccomp_rule_add(ctx, SCMP_ACT_ALLOW, calls[i], 0) < 0)
            _exit(1);
    if (seccomp_load(ctx) < 0)
        _exit(2);
    log_info("from inside %d", 1);
    log_errno(-EPERM, "refused");
    for (unsigned i = 0; i < 300; i++)
        log_info("flood");
    syscall(SYS_exit_group, 0); /* not _exit(): a sanitizer does more there than the filter allows */
}

static void works_confined(void **st)
{
    (void)st;
    struct buf b;
    in_child(say_confined, &b);
    assert_non_null(strstr((char *)b.data, "info: from inside 1\n"));
    assert_non_null(strstr((char *)b.data, "error: refused: Operation not permitted\n"));
    buf_done(&b);
}

static int fill_with = -EBADF; /* what poll() below writes into */

static void fill(int fd)
{
    static const char junk[4096];
    while (write(fd, junk, sizeof(junk)) > 0)
        ;
    while (write(fd, junk, 1) > 0)
        ;
}

/* Somebody else is quicker: what could be written into a moment ago is full when the caller goes on.
 * NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): the C library's names are reserved */
int poll(struct pollfd *fds, nfds_t n, int ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
    int r = ppoll(fds, n, ms < 0 ? NULL : &t, NULL);
    if (fill_with >= 0)
        fill(fill_with);
    return r;
}

static void say_into_a_full_pipe(int out)
{
    char page[4096], text[8192];
    int pair[2], flags = fcntl(STDERR_FILENO, F_GETFL);
    alarm(30); /* it would wait for ever */
    if (io_never_wait(STDERR_FILENO) != -EOPNOTSUPP || fcntl(STDERR_FILENO, F_GETFL) != flags)
        _exit(1);
    if (pipe2(pair, O_CLOEXEC) < 0 || dup2(pair[1], STDERR_FILENO) < 0)
        _exit(2);
    int other = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (other < 0 || io_never_wait(STDERR_FILENO) < 0 || fcntl(pair[1], F_GETFL) & O_NONBLOCK)
        _exit(3);
    fill(other);
    if (read(pair[0], page, sizeof(page)) != sizeof(page)) /* room for one line */
        _exit(4);
    log_init("netd", LOG_INFO);
    fill_with = other;
    log_error("nobody waits to say this");
    fill_with = -EBADF;
    if (fcntl(pair[0], F_SETFL, O_NONBLOCK) < 0)
        _exit(5);
    while (read(pair[0], page, sizeof(page)) > 0)
        ;
    log_error("this is heard");
    ssize_t n = read(pair[0], text, sizeof(text));
    if (n <= 0 || write(out, text, (size_t)n) != n)
        _exit(6);
}

static void full_pipe_holds_nobody(void **st)
{
    (void)st;
    struct buf b;
    in_child(say_into_a_full_pipe, &b);
    assert_int_equal(count(&b, "nobody waits"), 0);
    assert_int_equal(count(&b, "warning: 1 messages left out\n"), 1);
    assert_int_equal(count(&b, "error: this is heard\n"), 1);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_lines),    cmocka_unit_test(foreign_text),
        cmocka_unit_test(burst_is_cut),   cmocka_unit_test(burst_is_counted),
        cmocka_unit_test(journal_prefix), cmocka_unit_test(colours),
        cmocka_unit_test(works_confined), cmocka_unit_test(full_pipe_holds_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
