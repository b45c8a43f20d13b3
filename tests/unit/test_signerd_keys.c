/* SPDX-License-Identifier: MIT */
/* The signing key: made once whoever races, private, unreadable in memory between uses. */
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "tests/unit/signerd_rig.h"

#include "common/base/encoding.h"
#include "signerd/key_store.h"

static char dir[64];
static int dirfd;

static int setup(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/cellos-test-XXXXXX");
    log_init("test", LOG_CRIT);
    if (!mkdtemp(dir) || ed25519_init() < 0 || digest_init() < 0)
        return -1;
    dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return dirfd < 0 ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    close(dirfd);
    rig_remove(dir);
    return 0;
}

static void test_made_and_read_again(void **state)
{
    _cleanup_(buf_done) struct buf line = {.data = NULL}, seed = {.data = NULL};
    uint8_t sig[ED25519_SIG_LEN], public[32], secret[64];
    struct keys *a, *b;
    struct stat st;

    (void)state;
    (void)umask(0);
    assert_int_equal(keys_open(dirfd, &a), 0);
    assert_int_equal(keys_open(dirfd, &b), 0);
    assert_memory_equal(keys_vkey(a)->public, keys_vkey(b)->public, 32);
    assert_int_equal(fstatat(dirfd, "signing.key", &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(st.st_mode, S_IFREG | 0600);
    keys_sign(a, "x", 1, sig);
    assert_true(ed25519_verify(keys_vkey(b)->public, "x", 1, sig, sizeof(sig)));
    assert_int_equal(strlen(keys_keyid(a)), 71);

    /* The file is the seed in base64, one line: any other tool can use it. */
    int fd = openat(dirfd, "signing.key", O_RDONLY | O_CLOEXEC);
    buf_init(&line, 100);
    buf_init(&seed, 32);
    assert_int_equal(io_read_to_end(fd, &line), 0);
    close(fd);
    assert_int_equal(line.len, 45);
    assert_int_equal(line.data[44], '\n');
    assert_int_equal(encoding_base64_get((struct str){(const char *)line.data, 44}, &seed), 0);
    ed25519_from_seed(seed.data, public, secret);
    assert_memory_equal(public, keys_vkey(a)->public, 32);
    keys_free(a);
    keys_free(b);
}

static void test_vkey_beside_the_key(void **state)
{
    _cleanup_(buf_done) struct buf text = {.data = NULL};
    struct keys *k;
    struct vkey v;

    (void)state;
    assert_int_equal(keys_open(dirfd, &k), 0);
    int fd = openat(dirfd, "signing.vkey", O_RDONLY | O_CLOEXEC);
    buf_init(&text, 1000);
    assert_int_equal(io_read_to_end(fd, &text), 0);
    close(fd);
    text.len--;
    assert_int_equal(vkey_parse(buf_str(&text), &v), 0);
    assert_memory_equal(v.public, keys_vkey(k)->public, 32);
    keys_free(k);
}

#define RACERS 8

static void test_a_race_has_one_winner(void **state)
{
    uint8_t first[32], other[32];
    int pipes[2];

    (void)state;
    for (unsigned round = 0; round < 10; round++) {
        assert_int_equal(pipe(pipes), 0);
        for (unsigned i = 0; i < RACERS; i++)
            if (fork() == 0) {
                struct keys *k;

                if (keys_open(dirfd, &k) < 0 || write(pipes[1], keys_vkey(k)->public, 32) != 32)
                    _exit(1);
                _exit(0);
            }
        for (unsigned i = 0; i < RACERS; i++) {
            int status;

            assert_true(wait(&status) > 0);
            assert_int_equal(status, 0);
        }
        assert_int_equal(read(pipes[0], first, 32), 32);
        for (unsigned i = 1; i < RACERS; i++) {
            assert_int_equal(read(pipes[0], other, 32), 32);
            assert_memory_equal(first, other, 32);
        }
        close(pipes[0]);
        close(pipes[1]);
        assert_int_equal(unlinkat(dirfd, "signing.key", 0), 0);
        assert_int_equal(unlinkat(dirfd, "signing.vkey", 0), 0);
        assert_int_equal(unlinkat(dirfd, "keyset", 0), 0);
    }
}

static void write_key(const char *text, mode_t mode)
{
    (void)unlinkat(dirfd, "signing.key", 0);
    int fd = openat(dirfd, "signing.key", O_WRONLY | O_CREAT | O_CLOEXEC, mode);

    assert_true(fd >= 0);
    assert_int_equal(io_write_full(fd, text, strlen(text)), 0);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

#define SEED "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

static void test_bad_files_are_refused(void **state)
{
    struct keys *k;

    (void)state;
    write_key(SEED "\n", 0640);
    assert_int_equal(keys_open(dirfd, &k), -EPERM);
    write_key(SEED "\n", 0604);
    assert_int_equal(keys_open(dirfd, &k), -EPERM);
    write_key(SEED, 0600);
    assert_int_equal(keys_open(dirfd, &k), -EBADMSG);
    write_key("", 0600);
    assert_int_equal(keys_open(dirfd, &k), -EBADMSG);
    write_key("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n", 0600);
    assert_int_equal(keys_open(dirfd, &k), -EBADMSG);
    assert_int_equal(unlinkat(dirfd, "signing.key", 0), 0);
    assert_int_equal(symlinkat("/etc/hostname", dirfd, "signing.key"), 0);
    assert_int_equal(keys_open(dirfd, &k), -EPERM);
    assert_int_equal(unlinkat(dirfd, "signing.key", 0), 0);
    assert_int_equal(mkdirat(dirfd, "signing.key", 0700), 0);
    assert_int_equal(keys_open(dirfd, &k), -EPERM);
    assert_int_equal(unlinkat(dirfd, "signing.key", AT_REMOVEDIR), 0);
    write_key(SEED "\n", 0600);
    assert_int_equal(keys_open(dirfd, &k), 0);
    keys_free(k);
}

#ifndef CELLOS_SANITIZE /* its run-time catches the signal itself */
/* struct keys begins with the address of the store, and that with the secret's. */
static void read_secret(struct keys *k)
{
    signal(SIGSEGV, SIG_DFL);
    signal(SIGBUS, SIG_DFL);
    _exit(***(volatile uint8_t ***)k == 0 ? 0 : 1);
}

static bool is_killed(pid_t pid)
{
    int status = 0;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) && (WTERMSIG(status) == SIGSEGV || WTERMSIG(status) == SIGBUS);
}

/* Between signatures the pages with the key cannot even be read by this process. */
static void test_no_access_between_uses(void **state)
{
    (void)state;
    for (unsigned open = 0; open < 2; open++) {
        pid_t pid = fork();

        if (pid == 0) {
            uint8_t sig[ED25519_SIG_LEN];
            struct keys *k;

            if (keys_open(dirfd, &k) < 0)
                _exit(2);
            keys_sign(k, "x", 1, sig);
            if (open)
                keys_sign_begin(k);
            read_secret(k);
        }
        assert_int_equal(is_killed(pid), !open);
    }
}

/* The process that is forked for a token's module has nothing of a key that is open here. */
static void test_a_child_has_no_key(void **state)
{
    struct keys *k;

    (void)state;
    assert_int_equal(keys_open(dirfd, &k), 0);
    keys_sign_begin(k);
    pid_t pid = fork();
    if (pid == 0)
        read_secret(k);
    assert_true(is_killed(pid));
    keys_sign_end(k);
    keys_free(k);
}

/* A key that could be written to a swap device is none. */
static void test_a_key_that_cannot_be_locked(void **state)
{
    (void)state;
    for (unsigned pages = 0; pages < 2; pages++) {
        pid_t pid = fork();
        int status;

        if (pid == 0) {
            const struct rlimit locked = {64 * 4096 * pages, 64 * 4096 * pages};
            struct key_store *s;
            int fd = memfd_create("key", MFD_CLOEXEC);

            /* An ordinary user: root may lock what it likes. */
            if (fd < 0 || setrlimit(RLIMIT_MEMLOCK, &locked) < 0 ||
                (geteuid() == 0 && setresuid(65534, 65534, 65534) < 0))
                _exit(2);
            _exit(key_store_make(fd, &s) < 0 ? 0 : 1);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), pages);
    }
}
#endif

#define WITH_DIR(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_DIR(test_made_and_read_again),         WITH_DIR(test_vkey_beside_the_key),
        WITH_DIR(test_a_race_has_one_winner),       WITH_DIR(test_bad_files_are_refused),
#ifndef CELLOS_SANITIZE
        WITH_DIR(test_no_access_between_uses),      WITH_DIR(test_a_child_has_no_key),
        WITH_DIR(test_a_key_that_cannot_be_locked),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
