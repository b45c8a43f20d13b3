/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "common/base/dir.h"
#include "tests/unit/child.h"

static size_t entries(DIR *d)
{
    size_t n = 0;

    while (readdir(d))
        n++;
    return n - 2; /* . and .. */
}

static void test_open_and_take(void **state)
{
    char path[] = "/tmp/test_dir_XXXXXX";
    int before = child_open_fds(), fd, file;
    DIR *d = NULL;

    (void)state;
    assert_non_null(mkdtemp(path));
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(mkdirat(fd, "sub", 0700), 0);
    assert_int_equal(symlinkat("sub", fd, "link"), 0);
    file = openat(fd, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_int_equal(dir_open(fd, ".", &d), 0);
    assert_int_equal(entries(d), 3);
    assert_true(fcntl(dirfd(d), F_GETFD) & FD_CLOEXEC);
    dir_closep(&d);
    assert_int_equal(dir_open(fd, ".", &d), 0); /* fd's own position did not move */
    assert_int_equal(entries(d), 3);
    dir_closep(&d);
    d = NULL;
    assert_int_equal(dir_open(fd, "none", &d), -ENOENT);
    assert_int_equal(dir_open(fd, "link", &d), -ENOTDIR);
    assert_int_equal(dir_open(fd, "file", &d), -ENOTDIR);
    assert_int_equal(dir_take(file, &d), -ENOTDIR); /* closed all the same */
    assert_null(d);
    dir_closep(&d);

    assert_int_equal(unlinkat(fd, "sub", AT_REMOVEDIR), 0);
    assert_int_equal(unlinkat(fd, "link", 0), 0);
    assert_int_equal(unlinkat(fd, "file", 0), 0);
    close(fd);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(child_open_fds(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_open_and_take)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
