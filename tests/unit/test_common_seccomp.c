/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

#include "common/base/cleanup.h"
#include "common/priv/seccomp.h"
#include "tests/unit/child.h"

static const struct role plain = {.name = "plain"};

static const struct role_syscall thread_rows[] = {SECCOMP_ROWS_THREADS};
static const struct role threads = {
    .name = "threads", .syscalls = thread_rows, .nsyscalls = ARRAY_LEN(thread_rows)};

static const struct role_syscall fork_rows[] = {SECCOMP_ROWS_FORK};
static const struct role forks = {
    .name = "forks", .syscalls = fork_rows, .nsyscalls = ARRAY_LEN(fork_rows), .may_fork = true};

static const struct role_syscall narrow_rows[] = {
    SECCOMP_ROW1(socket, "local sockets", SECCOMP_IS(0, AF_UNIX)),
    SECCOMP_ROW1(ioctl, "for the test", SECCOMP_IS(1, FIONREAD)),
    SECCOMP_ROW(openat, "for the test"),
};
static const struct role narrow = {
    .name = "narrow", .syscalls = narrow_rows, .nsyscalls = ARRAY_LEN(narrow_rows)};

/* The role and the act of the child that runs now. */
static const struct role *the_role;
static void (*the_act)(void);

static void confined(void)
{
    child_become_ordinary();
    CHILD_CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHILD_CHECK(seccomp_confine(the_role) == 0);
    the_act();
}

static int run(const struct role *role, void (*act)(void))
{
    the_role = role;
    the_act = act;
    return child_run(confined);
}

#define DIES(role, act)  assert_int_equal(run(&(role), act), CHILD_KILLED(SIGSYS))
#define LIVES(role, act) assert_int_equal(run(&(role), act), CHILD_OK)

static void act_daily_life(void)
{
    struct timespec ts;
    struct timeval tv;
    int s[2] = {-EBADF, -EBADF};
    void *big = malloc(1 << 20);
    int m = memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    CHILD_CHECK(big);
    memset(big, 1, 1 << 20);
    big = realloc(big, 8 << 20);
    CHILD_CHECK(big);
    free(big);
    CHILD_CHECK(clock_gettime(CLOCK_BOOTTIME, &ts) == 0);
    CHILD_CHECK(syscall(SYS_gettimeofday, &tv, NULL) ==
                0); /* what libev's call becomes without a vDSO clock */
    CHILD_CHECK(m >= 0 && write(m, "abc", 3) == 3);
    CHILD_CHECK(fcntl(m, F_ADD_SEALS, F_SEAL_WRITE) == 0);
    CHILD_CHECK(fcntl(m, F_DUPFD_CLOEXEC, 3) >= 0);
    CHILD_CHECK(sysconf(_SC_OPEN_MAX) > 0);
    CHILD_CHECK(mprotect(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 4096, PROT_NONE) ==
                0);
    (void)s;
}

static void act_soft(void)
{
    CHILD_CHECK(syscall(SYS_personality, 0xffffffffUL) == -1 && errno == ENOANO);
    CHILD_CHECK(syscall(SYS_clone3, NULL, 0) == -1 && errno == ENOSYS);
    CHILD_CHECK(open("/etc/passwd", O_RDONLY) == -1 && errno == EACCES);
    CHILD_CHECK(isatty(0) == 0 && errno == ENOTTY);
}

static void act_socket_unix(void)
{
    CHILD_CHECK(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0);
}

static void act_socket_inet(void)
{
    socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static void act_exec_memory(void)
{
    mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void act_make_memory_exec(void)
{
    static char page[8192];
    mprotect((void *)(((uintptr_t)page + 4095) & ~4095UL), 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
}

static void act_execve(void)
{
    execl("/bin/true", "true", (char *)NULL);
}

static void act_fork(void)
{
    pid_t pid = fork();
    siginfo_t info = {0};

    if (pid == 0)
        _exit(7);
    CHILD_CHECK(pid > 0);
    CHILD_CHECK(waitid(P_PID, (id_t)pid, &info, WEXITED) == 0 && info.si_status == 7);
}

static void act_clone_namespace(void)
{
    syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, 0UL);
}

static void act_clone_vm(void)
{
    syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, 0UL);
}

static void *thread_main(void *arg)
{
    *(void **)arg = malloc(100); /* an arena of its own */
    return arg;
}

static void act_thread(void)
{
    void *p = NULL, *end = NULL;
    pthread_t t;

    CHILD_CHECK(pthread_create(&t, NULL, thread_main, &p) == 0);
    CHILD_CHECK(pthread_join(t, &end) == 0 && end == &p && p);
    free(p);
}

static void *thread_forbidden(void *arg)
{
    (void)arg;
    act_socket_inet();
    return NULL;
}

/* The process must end, not only the thread. */
static void act_forbidden_in_thread(void)
{
    pthread_t t;

    CHILD_CHECK(pthread_create(&t, NULL, thread_forbidden, NULL) == 0);
    pthread_join(t, NULL);
}

static void act_kill_parent(void)
{
    kill(getppid(), 0);
}

static void act_tgkill_term(void)
{
    syscall(SYS_tgkill, getpid(), getpid(), SIGTERM);
}

static void act_abort(void)
{
    abort();
}

static void act_fcntl_setown(void)
{
    fcntl(0, F_SETOWN, getpid());
}

static void act_set_limit(void)
{
    syscall(SYS_prlimit64, 0, 7, "0123456789abcdef", NULL);
}

static void act_foreign_limit(void)
{
    char old[16];
    syscall(SYS_prlimit64, getppid(), 7, NULL, old);
}

static void act_setsockopt(void)
{
    int one = 1;
    setsockopt(0, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
}

static void act_getsockopt_ip(void)
{
    int v;
    socklen_t n = sizeof v;
    getsockopt(0, 0 /* SOL_IP */, 1, &v, &n);
}

static void act_fstatat_path(void)
{
    char st[512];
    syscall(SYS_newfstatat, AT_FDCWD, "/", st, 0);
}

static void act_ioctl_tiocsti(void)
{
    ioctl(0, TIOCSTI, "x");
}

static void act_ioctl_fionread(void)
{
    int s[2], n = -1;
    CHILD_CHECK(pipe2(s, O_CLOEXEC) == 0);
    CHILD_CHECK(ioctl(s[0], FIONREAD, &n) == 0 && n == 0);
}

static void act_ptrace(void)
{
    syscall(SYS_ptrace, 0, 0, 0, 0);
}

static void act_seccomp(void)
{
    syscall(SYS_seccomp, 0, 0, NULL);
}

#ifdef __x86_64__
static void act_i386(void)
{
    long r;
    __asm__ volatile("int $0x80" : "=a"(r) : "a"(20) : "memory", "r8", "r9", "r10", "r11"); /* getpid */
}

static void act_x32(void)
{
    syscall(0x40000000 | SYS_getpid);
}
#endif

static void test_allowed(void **state)
{
    (void)state;
    LIVES(plain, act_daily_life);
    LIVES(plain, act_soft);
    LIVES(narrow, act_socket_unix);
    LIVES(forks, act_fork);
    LIVES(threads, act_thread);
    assert_int_equal(run(&plain, act_abort), CHILD_KILLED(SIGABRT));
}

static void test_forbidden(void **state)
{
    static void (*const acts[])(void) = {
        act_socket_unix,   act_socket_inet,   act_exec_memory, act_make_memory_exec, act_execve,
        act_fork,          act_thread,        act_kill_parent, act_tgkill_term,      act_fcntl_setown,
        act_set_limit,     act_foreign_limit, act_setsockopt,  act_getsockopt_ip,    act_fstatat_path,
        act_ioctl_tiocsti, act_ptrace,        act_seccomp,     act_clone_namespace,
#ifdef __x86_64__
        act_i386,          act_x32,
#endif
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(acts); i++)
        if (run(&plain, acts[i]) != CHILD_KILLED(SIGSYS))
            fail_msg("forbidden act %zu was not punished", i);
}

static void test_narrow_rows_stay_narrow(void **state)
{
    (void)state;
    DIES(narrow, act_socket_inet);
    DIES(narrow, act_ioctl_tiocsti);
    DIES(forks, act_clone_namespace);
    DIES(forks, act_clone_vm);
    DIES(forks, act_thread);
    DIES(threads, act_fork);
    DIES(threads, act_clone_namespace);
    DIES(threads, act_forbidden_in_thread);
}

static void act_narrow_and_soft(void)
{
    CHILD_CHECK(open("/", O_RDONLY | O_CLOEXEC) >= 0); /* the role's row replaces the soft refusal */
    CHILD_CHECK(isatty(0) == 0 && errno == ENOTTY);    /* this one is narrow and stays */
}

static void test_role_rows_replace_soft_ones(void **state)
{
    (void)state;
    LIVES(narrow, act_narrow_and_soft);
#ifndef CELLOS_SANITIZE
    DIES(narrow, act_ioctl_fionread); /* pipe2 */
#else
    LIVES(narrow, act_ioctl_fionread);
#endif
}

static void without_no_new_privs(void)
{
    child_become_ordinary();
    CHILD_CHECK(seccomp_confine(&plain) < 0);
}

static void test_needs_no_new_privs(void **state)
{
    (void)state;
    assert_int_equal(child_run(without_no_new_privs), CHILD_OK);
}

static void refused(const struct role_syscall *rows, size_t n, bool may_fork, size_t bad)
{
    struct role role = {.name = "t", .syscalls = rows, .nsyscalls = n, .may_fork = may_fork};
    const struct role_syscall *ret = NULL;

    assert_int_equal(seccomp_check(&role, &ret), -EINVAL);
    assert_ptr_equal(ret, &rows[bad]);
    assert_int_equal(seccomp_confine(&role), -EINVAL); /* and nothing is loaded */
    assert_true(syscall(SYS_personality, 0xffffffffUL) >= 0);
}

#define REFUSED(may_fork, bad, ...)                                                                          \
    do {                                                                                                     \
        const struct role_syscall rows_[] = {__VA_ARGS__};                                                   \
        refused(rows_, ARRAY_LEN(rows_), may_fork, bad);                                                     \
    } while (0)

static void test_check_refuses(void **state)
{
    (void)state;
    /* a shared row narrows these; alone they would undo it */
    REFUSED(false, 0, SECCOMP_ROW(mmap, "wide"));
    REFUSED(false, 0, SECCOMP_ROW(fcntl, "wide"));
    REFUSED(false, 0, SECCOMP_ROW(read, "twice"));
    REFUSED(false, 0,
            SECCOMP_ROW1(read, "narrower than the shared one, so without effect", SECCOMP_IS(0, 1)));
    REFUSED(false, 0, SECCOMP_ROW1(fcntl, "twice", SECCOMP_IS(1, F_GETFL)));
    REFUSED(false, 1, SECCOMP_ROW(socket, "wide"), SECCOMP_ROW1(socket, "n", SECCOMP_IS(0, AF_UNIX)));
    REFUSED(false, 1, SECCOMP_ROW1(socket, "n", SECCOMP_IS(0, AF_UNIX)), SECCOMP_ROW(socket, "wide"));
    REFUSED(false, 1, SECCOMP_ROW(bind, "a"), SECCOMP_ROW(bind, "a"));
    REFUSED(false, 0, SECCOMP_ROW(bind, ""));
    REFUSED(false, 0, SECCOMP_ROW(bind, NULL));
    REFUSED(false, 0, {.nr = __NR_SCMP_ERROR, .why = "no such call"});
    REFUSED(true, 0, SECCOMP_ROW(clone3, "flags behind a pointer"));
    REFUSED(true, 0, SECCOMP_ROW(personality, "the proof"));
    REFUSED(false, 0, SECCOMP_ROW(fork, "may not"));
    REFUSED(false, 0, SECCOMP_ROW(vfork, "may not"));
    REFUSED(false, 0, SECCOMP_ROW(execve, "may not"));
    REFUSED(false, 0, SECCOMP_ROW(clone, "may not"));
    REFUSED(false, 0, SECCOMP_ROW1(clone, "may not", SECCOMP_IS(0, SIGCHLD)));
}

static void test_check_accepts(void **state)
{
    const struct role_syscall rows[] = {
        SECCOMP_ROW1(socket, "n", SECCOMP_IS(0, AF_UNIX)),
        SECCOMP_ROW1(socket, "n", SECCOMP_IS(0, AF_INET)),
        SECCOMP_ROW2(socket, "n", SECCOMP_IS(0, AF_INET6), SECCOMP_IS(1, SOCK_DGRAM)),
        SECCOMP_ROW1(getsockopt, "another level than the shared row", SECCOMP_IS(1, 6)),
    };
    const struct role role = {.name = "t", .syscalls = rows, .nsyscalls = ARRAY_LEN(rows)};

    (void)state;
    assert_int_equal(seccomp_check(&role, NULL), 0);
    assert_int_equal(seccomp_check(&threads, NULL), 0);
    assert_int_equal(seccomp_check(&forks, NULL), 0);
    assert_int_equal(seccomp_check(&plain, NULL), 0);
}

/* The shared rows obey the same rules among themselves. */
static void test_shared_rows(void **state)
{
    size_t n;
    const struct role_syscall *rows = seccomp_shared(&n);

    (void)state;
    assert_true(n > 40);
    for (size_t i = 0; i < n; i++) {
        assert_non_null(rows[i].why);
        assert_true(rows[i].why[0]);
        assert_int_not_equal(rows[i].nr, __NR_SCMP_ERROR);
        for (size_t k = 0; k < i; k++) {
            if (rows[k].nr != rows[i].nr)
                continue;
            assert_true(rows[k].nargs > 0 && rows[i].nargs > 0);
            assert_memory_not_equal(rows[k].args, rows[i].args, sizeof rows[i].args);
        }
    }
}

#ifdef CELLOS_SANITIZE
static void act_overflow(void)
{
    void *(*volatile fill)(void *, int, size_t) = memset; /* or the compiler removes it */
    char *p = malloc(8);

    fill(p, 1, 9);
    free(p);
}

/* A report must come out whole, not be cut off by the filter. */
static void test_sanitizer_reports(void **state)
{
    static char text[1 << 16];
    size_t n = 0;
    ssize_t r;

    (void)state;
    int report[2], err = dup(2), status;
    assert_int_equal(pipe(report), 0);
    dup2(report[1], 2);
    status = run(&plain, act_overflow);
    dup2(err, 2);
    close(err);
    close(report[1]);
    assert_int_not_equal(status, CHILD_KILLED(SIGSYS));
    while ((r = read(report[0], text + n, sizeof text - 1 - n)) > 0)
        n += (size_t)r;
    close(report[0]);
    assert_non_null(strstr(text, "heap-buffer-overflow"));
    assert_non_null(strstr(text, "ABORTING"));
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_allowed),
        cmocka_unit_test(test_forbidden),
        cmocka_unit_test(test_narrow_rows_stay_narrow),
        cmocka_unit_test(test_role_rows_replace_soft_ones),
        cmocka_unit_test(test_needs_no_new_privs),
        cmocka_unit_test(test_check_refuses),
        cmocka_unit_test(test_check_accepts),
        cmocka_unit_test(test_shared_rows),
#ifdef CELLOS_SANITIZE
        cmocka_unit_test(test_sanitizer_reports),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
