/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <seccomp.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "common/base/io.h"
#include "tests/unit/child.h"

#define FOUR_SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static void sealed_round_trip(void **st)
{
    (void)st;
    static const size_t sizes[] = {0, 1, 4096, 200000};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        _cleanup_free_ uint8_t *in = malloc(sizes[i] + 1);
        assert_non_null(in);
        for (size_t k = 0; k < sizes[i]; k++)
            in[k] = (uint8_t)(k * 31);
        _cleanup_close_ int fd = io_memfd_sealed("test", in, sizes[i]);
        assert_true(fd >= 0);
        assert_int_equal(fcntl(fd, F_GET_SEALS) & FOUR_SEALS, FOUR_SEALS);
        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        assert_int_equal(pwrite(fd, "x", 1, 0), -1);
        assert_int_equal(ftruncate(fd, 1 + (off_t)sizes[i]), -1);
        struct buf b;
        buf_init(&b, sizes[i] + 1);
        buf_putc(&b, '>');
        assert_int_equal(io_memfd_read(fd, sizes[i], &b), 0); /* exactly the limit */
        assert_int_equal(b.len, sizes[i] + 1);
        assert_memory_equal(b.data + 1, in, sizes[i]);
        buf_clear(&b);
        if (sizes[i] > 0) {
            assert_int_equal(io_memfd_read(fd, sizes[i] - 1, &b), -EFBIG);
            assert_int_equal(b.len, 0);
            assert_int_equal(b.err, 0);
            b.max = sizes[i] - 1; /* the buffer's own limit counts as well */
            assert_int_equal(io_memfd_read(fd, sizes[i], &b), -EFBIG);
        }
        buf_done(&b);
    }
}

static void refuses_unsealed(void **st)
{
    (void)st;
    static const int seals[] = {F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE};
    struct buf b;
    buf_init(&b, 100);
    for (size_t i = 0; i < ARRAY_LEN(seals); i++) {
        _cleanup_close_ int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        assert_int_equal(io_write_full(fd, "data", 4), 0);
        assert_int_equal(fcntl(fd, F_ADD_SEALS, FOUR_SEALS & ~seals[i]), 0);
        assert_int_equal(io_memfd_read(fd, 100, &b), -EBADMSG);
    }
    _cleanup_close_ int never = memfd_create("test", MFD_CLOEXEC);
    assert_int_equal(io_memfd_read(never, 100, &b), -EBADMSG);
    assert_int_equal(b.len, 0);
    buf_done(&b);
}

static void refuses_other_kinds(void **st)
{
    (void)st;
    struct buf b;
    buf_init(&b, 100);
    int p[2];
    assert_int_equal(pipe2(p, O_CLOEXEC), 0);
    assert_int_equal(io_memfd_read(p[0], 100, &b), -EBADMSG);
    close(p[0]);
    close(p[1]);
    _cleanup_close_ int file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    assert_int_equal(io_memfd_read(file, 100, &b), -EBADMSG);
    _cleanup_close_ int dir = open("/", O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(io_memfd_read(dir, 100, &b), -EBADMSG);
    assert_int_equal(io_memfd_read(-EBADF, 100, &b), -EBADF);

    /* a properly sealed one, but handed over by a path fd or one that can only write */
    _cleanup_close_ int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(io_write_full(fd, "data", 4), 0);
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    _cleanup_close_ int path_fd = open(path, O_PATH | O_CLOEXEC);
    _cleanup_close_ int write_fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(path_fd >= 0 && write_fd >= 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, FOUR_SEALS), 0);
    assert_int_equal(io_memfd_read(path_fd, 100, &b), -EBADMSG);
    assert_int_equal(io_memfd_read(write_fd, 100, &b), -EBADMSG);
    assert_int_equal(b.len, 0);
    assert_int_equal(io_memfd_read(fd, 100, &b), 0);
    assert_true(str_is(buf_str(&b), "data"));
    buf_done(&b);
}

/* More than a pipe holds: the writer must come back for the rest. */
static void whole_pipe(void **st)
{
    (void)st;
    enum { SIZE = 300000 };
    int p[2];
    assert_int_equal(pipe2(p, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _cleanup_free_ char *out = malloc(SIZE);
        if (!out)
            _exit(2);
        memset(out, 'z', SIZE);
        close(p[0]);
        _exit(io_write_full(p[1], out, SIZE) == 0 ? 0 : 1);
    }
    close(p[1]);
    struct buf b;
    buf_init(&b, SIZE);
    assert_int_equal(io_read_to_end(p[0], &b), 0); /* exactly the limit */
    assert_int_equal(b.len, SIZE);
    assert_int_equal(b.data[SIZE - 1], 'z');
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    buf_done(&b);
    close(p[0]);
}

static void read_limit_and_errors(void **st)
{
    (void)st;
    _cleanup_close_ int fd = memfd_create("test", MFD_CLOEXEC);
    assert_int_equal(io_write_full(fd, "123456", 6), 0);
    struct buf b;
    buf_init(&b, 5);
    lseek(fd, 0, SEEK_SET);
    assert_int_equal(io_read_to_end(fd, &b), -EFBIG);
    buf_done(&b);
    buf_init(&b, 6);
    lseek(fd, 0, SEEK_SET);
    assert_int_equal(io_read_to_end(fd, &b), 0);
    assert_true(str_is(buf_str(&b), "123456"));
    assert_int_equal(io_read_to_end(-EBADF, &b), -EBADF);
    buf_done(&b);
    _cleanup_close_ int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_int_equal(io_write_full(full, "x", 1), -ENOSPC);
    assert_int_equal(io_write_full(-EBADF, "x", 1), -EBADF);
    assert_int_equal(io_write_full(full, NULL, 0), 0);
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* In the child: fds 20...29 are open; 22, 25 and 28 are to stay. */
static int close_in_child(void)
{
    for (int fd = 20; fd < 30; fd++)
        if (dup2(2, fd) != fd)
            return 1;
    const int keep[] = {28, 22, -EBADF, 25, 25, 3};
    if (io_close_from(20, keep, ARRAY_LEN(keep)) != 0)
        return 2;
    for (int fd = 20; fd < 30; fd++)
        if (is_open(fd) != (fd == 22 || fd == 25 || fd == 28))
            return 3;
    if (!is_open(2))
        return 4;
    const int edge[] = {22};
    if (io_close_from(22, edge, 1) != 0 || !is_open(22) || is_open(25))
        return 5;
    if (io_close_from(22, NULL, 0) != 0 || is_open(22))
        return 6;
    return io_close_from(-1, NULL, 0) == -EINVAL ? 0 : 7;
}

static void close_from(void **st)
{
    (void)st;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(close_in_child());
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int beneath_dir;

static int beneath(const char *path, int flags, unsigned mode)
{
    int fd = io_open_beneath(beneath_dir, path, flags, mode);

    if (fd >= 0)
        close(fd);
    return fd < 0 ? fd : 0;
}

static void beneath_all(void)
{
    struct stat sb;
    int made = io_open_beneath(beneath_dir, "sub/file", O_CREAT | O_EXCL | O_WRONLY, 0600);

    CHILD_CHECK(made >= 0);
    CHILD_CHECK(fcntl(made, F_GETFD) & FD_CLOEXEC);
    CHILD_CHECK(fstat(made, &sb) == 0 && (sb.st_mode & 0777) == 0600);
    CHILD_CHECK(write(made, "x", 1) == 1);
    CHILD_CHECK(beneath("sub/file", O_CREAT | O_EXCL | O_WRONLY, 0600) == -EEXIST);
    CHILD_CHECK(beneath("sub/file", O_RDONLY, 0777) == 0); /* mode without O_CREAT: ignored */
    CHILD_CHECK(beneath("sub//deeper/../deeper", O_RDONLY, 0) == -EXDEV);
    CHILD_CHECK(beneath("sub//./deeper/", O_RDONLY | O_DIRECTORY, 0) == 0);
    CHILD_CHECK(beneath("sub/deeper", O_RDONLY | O_DIRECTORY, 0) == 0);
    CHILD_CHECK(beneath("sub/deeper/none", O_RDONLY, 0) == -ENOENT);
    CHILD_CHECK(beneath("sub", O_RDONLY | O_DIRECTORY, 0) == 0);
    CHILD_CHECK(beneath("..sub", O_RDONLY, 0) == -ENOENT); /* a name like any */
    CHILD_CHECK(beneath("sub/file", O_RDONLY | O_DIRECTORY, 0) == -ENOTDIR);
    CHILD_CHECK(beneath("sub/file/x", O_RDONLY, 0) == -ENOTDIR);

    CHILD_CHECK(beneath("link/file", O_RDONLY, 0) == -ELOOP);
    CHILD_CHECK(beneath("link", O_RDONLY | O_DIRECTORY, 0) == -ELOOP);
    CHILD_CHECK(beneath("sub/back/file", O_RDONLY, 0) == -ELOOP);
    CHILD_CHECK(beneath("out", O_RDONLY, 0) == -ELOOP);
    CHILD_CHECK(beneath("..", O_RDONLY, 0) == -EXDEV);
    CHILD_CHECK(beneath("sub/../../x", O_RDONLY, 0) == -EXDEV);
    CHILD_CHECK(beneath("/etc/passwd", O_RDONLY, 0) == -EXDEV);
    CHILD_CHECK(beneath("none", O_RDONLY, 0) == -ENOENT);
    CHILD_CHECK(beneath("", O_RDONLY, 0) == -ENOENT);
    CHILD_CHECK(unlinkat(beneath_dir, "sub/file", 0) == 0);
}

static void beneath_without_openat2(void)
{
    scmp_filter_ctx c = seccomp_init(SCMP_ACT_ALLOW);

    CHILD_CHECK(c && seccomp_rule_add(c, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(openat2), 0) == 0);
    CHILD_CHECK(seccomp_load(c) == 0);
    seccomp_release(c);
    CHILD_CHECK(syscall(SYS_openat2, -1, "", NULL, (size_t)0) < 0 && errno == ENOSYS);
    int before = child_open_fds();
    beneath_all();
    CHILD_CHECK(child_open_fds() == before + 1); /* the file that was made */
}

/* The same answers with openat2(2) and without. */
static void open_beneath(void **st)
{
    char dir[] = "/tmp/test_io_XXXXXX";

    (void)st;
    assert_non_null(mkdtemp(dir));
    beneath_dir = open(dir, O_DIRECTORY | O_PATH | O_CLOEXEC);
    assert_int_equal(mkdirat(beneath_dir, "sub", 0700), 0);
    assert_int_equal(mkdirat(beneath_dir, "sub/deeper", 0700), 0);
    assert_int_equal(symlinkat("sub", beneath_dir, "link"), 0);
    assert_int_equal(symlinkat("../sub", beneath_dir, "sub/back"), 0);
    assert_int_equal(symlinkat("/etc/passwd", beneath_dir, "out"), 0);

    assert_int_equal(child_run(beneath_all), CHILD_OK);
    assert_int_equal(child_run(beneath_without_openat2), CHILD_OK);

    assert_int_equal(unlinkat(beneath_dir, "sub/back", 0), 0);
    assert_int_equal(unlinkat(beneath_dir, "sub/deeper", AT_REMOVEDIR), 0);
    assert_int_equal(unlinkat(beneath_dir, "sub", AT_REMOVEDIR), 0);
    assert_int_equal(unlinkat(beneath_dir, "link", 0), 0);
    assert_int_equal(unlinkat(beneath_dir, "out", 0), 0);
    assert_int_equal(rmdir(dir), 0);
    close(beneath_dir);
}

static void never_wait(void **st)
{
    (void)st;
    for (int flags = 0; flags <= O_CLOEXEC; flags += O_CLOEXEC) {
        int pair[2];
        assert_int_equal(pipe2(pair, flags), 0);
        _cleanup_close_ int other = fcntl(pair[1], F_DUPFD_CLOEXEC, 0);
        assert_int_equal(io_never_wait(pair[1]), 0);
        assert_true(fcntl(pair[1], F_GETFL) & O_NONBLOCK);
        assert_false(fcntl(other, F_GETFL) & O_NONBLOCK);
        assert_int_equal(fcntl(pair[1], F_GETFD) & FD_CLOEXEC, flags ? FD_CLOEXEC : 0);
        close(pair[0]);
        close(pair[1]);
        assert_int_equal(io_never_wait(pair[1]), -EBADF);
    }
    _cleanup_close_ int file = io_memfd_sealed("file", "x", 1);
    assert_int_equal(io_never_wait(file), -EOPNOTSUPP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sealed_round_trip),     cmocka_unit_test(refuses_unsealed),
        cmocka_unit_test(refuses_other_kinds),   cmocka_unit_test(whole_pipe),
        cmocka_unit_test(read_limit_and_errors), cmocka_unit_test(close_from),
        cmocka_unit_test(open_beneath),          cmocka_unit_test(never_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
