/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <linux/landlock.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "common/base/cleanup.h"
#include "common/priv/landlock.h"
#include "tests/unit/child.h"

#define READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define MAKE (LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_WRITE_FILE)

static char dir[] = "/tmp/cellos-landlock-XXXXXX";
static int ro = -EBADF, rw = -EBADF; /* directories below dir */
static int server = -EBADF, abstract = -EBADF;
static struct sockaddr_in server_addr = {.sin_family = AF_INET};
static struct sockaddr_un abstract_addr;
static socklen_t abstract_len = sizeof abstract_addr;
static unsigned keep;

static void put(int at, const char *name)
{
    int fd = openat(at, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
    assert_true(fd >= 0);
    close(fd);
}

static int setup(void **state)
{
    socklen_t n = sizeof server_addr;
    int top;

    (void)state;
    umask(0);
    assert_non_null(mkdtemp(dir));
    chmod(dir, 0777);
    top = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    mkdirat(top, "ro", 0777);
    mkdirat(top, "rw", 0777);
    ro = openat(top, "ro", O_PATH | O_DIRECTORY | O_CLOEXEC);
    rw = openat(top, "rw", O_PATH | O_DIRECTORY | O_CLOEXEC);
    close(top);
    put(ro, "file");
    put(rw, "file");
    server_addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server, (struct sockaddr *)&server_addr, n), 0);
    assert_int_equal(listen(server, 4), 0);
    assert_int_equal(getsockname(server, (struct sockaddr *)&server_addr, &n), 0);
    abstract = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    abstract_addr.sun_family = AF_UNIX; /* autobind: an abstract address (unix(7)) */
    assert_int_equal(bind(abstract, (struct sockaddr *)&abstract_addr, sizeof(sa_family_t)), 0);
    assert_int_equal(listen(abstract, 4), 0);
    assert_int_equal(getsockname(abstract, (struct sockaddr *)&abstract_addr, &abstract_len), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlinkat(ro, "file", 0);
    unlinkat(rw, "file", 0);
    unlinkat(rw, "new", 0);
    close(ro);
    close(rw);
    close(server);
    close(abstract);
    char sub[64];
    snprintf(sub, sizeof sub, "%s/ro", dir);
    rmdir(sub);
    snprintf(sub, sizeof sub, "%s/rw", dir);
    rmdir(sub);
    return rmdir(dir);
}

static int confine(void)
{
    const struct role_path paths[] = {{ro, READ}, {rw, READ | MAKE | LANDLOCK_ACCESS_FS_TRUNCATE}};
    int r;

    child_become_ordinary();
    CHILD_CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    r = landlock_confine(paths, ARRAY_LEN(paths), keep);
    CHILD_CHECK(r == landlock_abi());
    return r;
}

static bool opens(int at, const char *path, int flags)
{
    int fd = openat(at, path, flags | O_CLOEXEC, 0666);

    if (fd < 0)
        CHILD_CHECK(errno == EACCES);
    cleanup_closep(&fd);
    return fd >= 0;
}

static void files(void)
{
    int etc = open("/etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    CHILD_CHECK(etc >= 0 && opens(etc, "passwd", O_RDONLY));
    confine();
    CHILD_CHECK(opens(ro, "file", O_RDONLY));
    CHILD_CHECK(!opens(ro, "file", O_WRONLY));
    CHILD_CHECK(!opens(ro, "new", O_CREAT | O_WRONLY));
    CHILD_CHECK(opens(rw, "file", O_RDWR | O_TRUNC));
    CHILD_CHECK(opens(rw, "new", O_CREAT | O_WRONLY));
    CHILD_CHECK(mkdirat(rw, "sub", 0700) < 0 && errno == EACCES);
    CHILD_CHECK(!opens(AT_FDCWD, "/etc/passwd", O_RDONLY));
    CHILD_CHECK(!opens(etc, "passwd", O_RDONLY)); /* an fd held before gives no right either */
    CHILD_CHECK(!opens(AT_FDCWD, "/proc/self/status", O_RDONLY));
    CHILD_CHECK(unlinkat(rw, "file", 0) < 0 && errno == EACCES);
}

static void test_files(void **state)
{
    (void)state;
    if (landlock_abi() == 0)
        skip();
    keep = 0;
    assert_int_equal(child_run(files), CHILD_OK);
}

static bool connects(int family, int type, const void *addr, socklen_t n)
{
    int fd = socket(family, type | SOCK_CLOEXEC, 0);
    int r = connect(fd, addr, n);

    CHILD_CHECK(fd >= 0);
    if (r < 0)
        CHILD_CHECK(errno == EACCES || errno == EPERM);
    close(fd);
    return r == 0;
}

static bool binds(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int r = bind(fd, (struct sockaddr *)&a, sizeof a);

    CHILD_CHECK(fd >= 0);
    if (r < 0)
        CHILD_CHECK(errno == EACCES);
    close(fd);
    return r == 0;
}

/* A process started before; it ends when its starter does. */
static pid_t start_sibling(void)
{
    int end[2], ready[2];
    char c;
    pid_t pid;

    CHILD_CHECK(pipe2(end, O_CLOEXEC) == 0 && pipe2(ready, O_CLOEXEC) == 0);
    pid = fork();
    if (pid == 0) {
        close(end[1]);
        child_become_ordinary();
        CHILD_CHECK(write(ready[1], "r", 1) == 1);
        _exit(read(end[0], &c, 1) == 0 ? 0 : 1);
    }
    CHILD_CHECK(pid > 0 && read(ready[0], &c, 1) == 1);
    return pid;
}

static void beyond_files(void)
{
    pid_t sibling = start_sibling();
    int abi = confine();

    CHILD_CHECK(connects(AF_INET, SOCK_STREAM, &server_addr, sizeof server_addr) ==
                (abi < 4 || (keep & LANDLOCK_KEEP_TCP_CONNECT)));
    CHILD_CHECK(binds() == (abi < 4 || (keep & LANDLOCK_KEEP_TCP_BIND)));
    CHILD_CHECK(connects(AF_UNIX, SOCK_SEQPACKET, &abstract_addr, abstract_len) ==
                (abi < 6 || (keep & LANDLOCK_KEEP_ABSTRACT)));
    errno = 0;
    CHILD_CHECK((kill(sibling, SIGKILL) == 0) == (abi < 6 || (keep & LANDLOCK_KEEP_SIGNAL)));
    CHILD_CHECK(errno == 0 || errno == EPERM);
    CHILD_CHECK(kill(getpid(), 0) == 0);
}

static void test_beyond_files(void **state)
{
    static const unsigned keeps[] = {
        0,
        LANDLOCK_KEEP_TCP_BIND,
        LANDLOCK_KEEP_TCP_CONNECT,
        LANDLOCK_KEEP_ABSTRACT,
        LANDLOCK_KEEP_SIGNAL,
        LANDLOCK_KEEP_TCP_BIND | LANDLOCK_KEEP_TCP_CONNECT | LANDLOCK_KEEP_ABSTRACT | LANDLOCK_KEEP_SIGNAL,
    };

    (void)state;
    if (landlock_abi() == 0)
        skip();
    for (size_t i = 0; i < ARRAY_LEN(keeps); i++) {
        keep = keeps[i];
        assert_int_equal(child_run(beyond_files), CHILD_OK);
    }
}

static void dies_confined(void)
{
    int ready[2];
    char c;

    child_become_ordinary();
    CHILD_CHECK(pipe2(ready, O_CLOEXEC) == 0);
    if (fork() == 0) {
        close(ready[0]);
        CHILD_CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0);
        CHILD_CHECK(write(ready[1], "r", 1) == 1);
        alarm(5);
        pause();
    }
    CHILD_CHECK(read(ready[0], &c, 1) == 1);
    confine();
}

/* LANDLOCK_KEEP_SIGNAL also covers what the kernel sends when a parent dies. */
static void test_parent_death_signal(void **state)
{
    int status = -1;

    (void)state;
    if (landlock_abi() < 6)
        skip();
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    keep = LANDLOCK_KEEP_SIGNAL;
    assert_int_equal(child_run(dies_confined), CHILD_OK);
    assert_true(wait(&status) > 0);
    assert_int_equal(status, SIGKILL); /* SIGALRM if the signal had not come */
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0), 0);
}

static void without_no_new_privs(void)
{
    child_become_ordinary();
    CHILD_CHECK(landlock_confine(NULL, 0, 0) == -EPERM);
}

static void bad_path(void)
{
    const struct role_path p = {.fd = 9999, .access = READ};

    child_become_ordinary();
    CHILD_CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHILD_CHECK(landlock_confine(&p, 1, 0) == -EBADF);
}

static void test_failures(void **state)
{
    (void)state;
    if (landlock_abi() == 0)
        skip();
    assert_int_equal(child_run(without_no_new_privs), CHILD_OK);
    assert_int_equal(child_run(bad_path), CHILD_OK);
}

static void test_abi(void **state)
{
    (void)state;
    assert_in_range(landlock_abi(), 0, LANDLOCK_ABI_USED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_beyond_files),
        cmocka_unit_test(test_parent_death_signal),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_abi),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
