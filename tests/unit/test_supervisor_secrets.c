/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "supervisor/secrets/names.h"
#include "supervisor/secrets/store.h"

/* An environment like the kernel's: writable strings, NULL at the end. */
struct environment {
    char text[8][LIMIT_SECRET_VALUE + 256];
    char *v[9];
    size_t n;
};

static struct environment env;
static char dir[] = "/tmp/cellos-test-secrets-XXXXXX";

static void add(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void add(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(env.text[env.n], sizeof(env.text[0]), fmt, ap);
    va_end(ap);
    env.v[env.n] = env.text[env.n];
    env.v[++env.n] = NULL;
}

static void write_file(const char *name, const void *p, size_t n)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, p, n), n);
    close(fd);
}

static int setup(void **state)
{
    (void)state;
    memset(&env, 0, sizeof(env));
    return 0;
}

static int group_setup(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int group_teardown(void **state)
{
    (void)state;
    static const char *const names[] = {"plain", "lines", "none", "big", "max", "nul", "link", "fifo"};
    char path[128];
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        (void)unlink(path);
    }
    return rmdir(dir);
}

static void value_is(struct secrets *s, const char *name, const char *want)
{
    char text[SECRETS_TEXT_MAX] = "";
    struct str v;
    assert_int_equal(secrets_resolve(s, str_of(name), &v, text), SECRETS_OK);
    assert_int_equal(v.len, strlen(want));
    assert_memory_equal(v.p, want, v.len);
}

static void fails(struct secrets *s, const char *name, enum secrets_outcome outcome, const char *want)
{
    char text[SECRETS_TEXT_MAX] = "";
    struct str v = STR_NONE;
    assert_int_equal(secrets_resolve(s, str_of(name), &v, text), outcome);
    assert_string_equal(text, want);
    assert_null(v.p);
}

static void test_env(void **state)
{
    (void)state;
    struct secrets *s = NULL;
    add("HOME=/root");
    add("CELLOS_SECRET_NPM_TOKEN=hunter2\n");
    add("CELLOS_SECRETS=no");
    add("CELLOS_SECRET_A=");
    add("PATH=/bin");
    assert_int_equal(secrets_load(env.v, &s), 0);
    assert_string_equal(env.v[0], "HOME=/root");
    assert_string_equal(env.v[1], "CELLOS_SECRETS=no");
    assert_string_equal(env.v[2], "PATH=/bin");
    assert_null(env.v[3]);
    for (size_t i = 0; i < sizeof("CELLOS_SECRET_NPM_TOKEN=hunter2"); i++)
        assert_int_equal(env.text[1][i], 0); /* overwritten in place */
    value_is(s, "npm-token", "hunter2\n");   /* only files lose a newline */
    value_is(s, "Npm_Token", "hunter2\n");
    fails(s, "A", SECRETS_UNUSABLE, "CELLOS_SECRET_A is empty: give it a value");
    fails(s, "other", SECRETS_MISSING,
          "secret \"other\" is not available: set CELLOS_SECRET_OTHER, or CELLOS_SECRET_FILE_OTHER to the "
          "path of a file");
    assert_int_equal(secrets_fds(s, NULL, 0), 0);
    secrets_free(s);
}

static void test_file(void **state)
{
    (void)state;
    struct secrets *s = NULL;
    int fds[4];
    write_file("plain", "value", 5);
    write_file("lines", "a\nb\n\n", 5);
    write_file("none", "\n", 1);
    add("CELLOS_SECRET_FILE_PLAIN=%s/plain", dir);
    add("CELLOS_SECRET_FILE_LINES=%s/lines", dir);
    add("CELLOS_SECRET_FILE_NONE=%s/none", dir);
    add("CELLOS_SECRET_FILE_GONE=%s/gone", dir);
    assert_int_equal(secrets_load(env.v, &s), 0);
    assert_null(env.v[0]);
    assert_int_equal(secrets_fds(s, fds, ARRAY_LEN(fds)), 3);
    for (size_t i = 0; i < 3; i++)
        assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
    value_is(s, "plain", "value");
    value_is(s, "plain", "value");  /* again, from the start */
    value_is(s, "lines", "a\nb\n"); /* one newline only */
    fails(s, "none", SECRETS_UNUSABLE, "CELLOS_SECRET_FILE_NONE is empty: give it a value");
    fails(s, "gone", SECRETS_UNUSABLE,
          "CELLOS_SECRET_FILE_GONE names a file that cannot be read: No such file or directory");
    secrets_free(s);
    assert_int_equal(fcntl(fds[0], F_GETFD), -1);
}

static void test_not_a_plain_file(void **state)
{
    (void)state;
    struct secrets *s = NULL;
    char path[128], target[128];
    write_file("plain", "value", 5);
    (void)snprintf(path, sizeof(path), "%s/link", dir);
    (void)snprintf(target, sizeof(target), "%s/plain", dir);
    assert_int_equal(symlink(target, path), 0);
    (void)snprintf(path, sizeof(path), "%s/fifo", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    add("CELLOS_SECRET_FILE_LINK=%s/link", dir);
    add("CELLOS_SECRET_FILE_FIFO=%s/fifo", dir);
    add("CELLOS_SECRET_FILE_DIR=%s", dir);
    assert_int_equal(secrets_load(env.v, &s), 0); /* does not wait for a writer of the FIFO */
    fails(s, "link", SECRETS_UNUSABLE,
          "CELLOS_SECRET_FILE_LINK must name the file itself, not a symbolic link");
    fails(s, "fifo", SECRETS_UNUSABLE, "CELLOS_SECRET_FILE_FIFO must name a regular file");
    fails(s, "dir", SECRETS_UNUSABLE, "CELLOS_SECRET_FILE_DIR must name a regular file");
    secrets_free(s);
}

static void test_limits(void **state)
{
    (void)state;
    static char big[LIMIT_SECRET_VALUE + 8];
    struct secrets *s = NULL;
    struct str v;
    char text[SECRETS_TEXT_MAX];
    memset(big, 'x', sizeof(big));
    big[LIMIT_SECRET_VALUE] = '\n';
    write_file("max", big, LIMIT_SECRET_VALUE + 1);
    big[LIMIT_SECRET_VALUE] = 'x';
    write_file("big", big, LIMIT_SECRET_VALUE + 1);
    write_file("nul", "a\0b", 3);
    add("CELLOS_SECRET_FILE_MAX=%s/max", dir);
    add("CELLOS_SECRET_FILE_BIG=%s/big", dir);
    add("CELLOS_SECRET_FILE_NUL=%s/nul", dir);
    add("CELLOS_SECRET_LONG=%.*s", (int)LIMIT_SECRET_VALUE + 1, big);
    add("CELLOS_SECRET_FITS=%.*s", (int)LIMIT_SECRET_VALUE, big);
    assert_int_equal(secrets_load(env.v, &s), 0);
    assert_int_equal(secrets_resolve(s, STR_LIT("max"), &v, text), SECRETS_OK);
    assert_int_equal(v.len, LIMIT_SECRET_VALUE);
    assert_int_equal(secrets_resolve(s, STR_LIT("fits"), &v, text), SECRETS_OK);
    assert_int_equal(v.len, LIMIT_SECRET_VALUE);
    fails(s, "big", SECRETS_UNUSABLE, "CELLOS_SECRET_FILE_BIG is too long: a secret has at most 32768 bytes");
    fails(s, "long", SECRETS_UNUSABLE, "CELLOS_SECRET_LONG is too long: a secret has at most 32768 bytes");
    fails(s, "nul", SECRETS_UNUSABLE,
          "CELLOS_SECRET_FILE_NUL contains NUL, which no environment variable can hold");
    secrets_free(s);
}

static void test_both(void **state)
{
    (void)state;
    struct secrets *s = NULL;
    write_file("plain", "value", 5);
    add("CELLOS_SECRET_FILE_X=%s/plain", dir);
    add("CELLOS_SECRET_X=value");
    assert_int_equal(secrets_load(env.v, &s), 0);
    fails(s, "x", SECRETS_UNUSABLE, "CELLOS_SECRET_X and CELLOS_SECRET_FILE_X are both set: set only one");
    secrets_free(s);
}

static void test_forget(void **state)
{
    (void)state;
    struct secrets *s = NULL;
    struct str v;
    char text[SECRETS_TEXT_MAX];
    write_file("plain", "value", 5);
    add("CELLOS_SECRET_FILE_X=%s/plain", dir);
    assert_int_equal(secrets_load(env.v, &s), 0);
    assert_int_equal(secrets_resolve(s, STR_LIT("x"), &v, text), SECRETS_OK);
    secrets_forget(s);
    assert_memory_equal(v.p, "\0\0\0\0\0", 5);
    secrets_free(s);
    secrets_forget(NULL);
    assert_null(secrets_free(NULL));
}

/* Over the limits nothing is kept, and the environment is clean all the same. */
static void test_too_many(void **state)
{
    (void)state;
    static char text[SECRETS_STORE_MAX + 1][32];
    static char *v[SECRETS_STORE_MAX + 2];
    struct secrets *s = NULL;
    for (size_t i = 0; i <= SECRETS_STORE_MAX; i++) {
        (void)snprintf(text[i], sizeof(text[i]), "CELLOS_SECRET_N%zu=%zu", i, i);
        v[i] = text[i];
    }
    v[SECRETS_STORE_MAX + 1] = NULL;
    assert_int_equal(secrets_load(v, &s), -ENOBUFS);
    assert_null(s);
    assert_null(v[0]);
}

static void test_names(void **state)
{
    (void)state;
    char text[SECRET_VARIABLE_MAX];
    assert_string_equal(secret_broker_variable(SECRET_ENV_PREFIX, STR_LIT("npm-Token_1"), text),
                        "CELLOS_SECRET_NPM_TOKEN_1");
    assert_string_equal(secret_broker_variable(SECRET_FILE_PREFIX, STR_LIT("a"), text),
                        "CELLOS_SECRET_FILE_A");
    assert_string_equal(secret_workload_variable(STR_LIT("npm-Token_1"), text), "npm_Token_1");
    assert_true(secret_names_collide(STR_LIT("a-b"), STR_LIT("A_B")));
    assert_false(secret_names_collide(STR_LIT("ab"), STR_LIT("a")));
    assert_true(secret_name_reserved(STR_LIT("PATH")));
    assert_true(secret_name_reserved(STR_LIT("CELLOS-X")));
    assert_true(secret_name_reserved(STR_LIT("File_x")));
    assert_false(secret_name_reserved(STR_LIT("path")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_env, setup),      cmocka_unit_test_setup(test_file, setup),
        cmocka_unit_test_setup(test_limits, setup),   cmocka_unit_test_setup(test_not_a_plain_file, setup),
        cmocka_unit_test_setup(test_both, setup),     cmocka_unit_test_setup(test_forget, setup),
        cmocka_unit_test_setup(test_too_many, setup), cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
