/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "supervisor/cgroup_internal.h"

static void mount_is_found(void **state)
{
    char path[64] = "?";
    (void)state;

    assert_int_equal(
        cgroup_find_mount(
            STR_LIT("22 27 0:21 / /proc rw,relatime - proc proc rw\n"
                    "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
                    "41 31 0:38 / /sys/fs/cgroup/unified rw shared:9 master:1 - cgroup2 cgroup2 rw\n"),
            path, sizeof(path)),
        0);
    assert_string_equal(path, "/sys/fs/cgroup/unified");
    /* A part of the tree, as in a container, is not its top; a broken line is none. */
    assert_int_equal(
        cgroup_find_mount(STR_LIT("41 31 0:38 /docker/1 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"), path,
                          sizeof(path)),
        -EOPNOTSUPP);
    assert_int_equal(
        cgroup_find_mount(STR_LIT("41 31 0:38 / /sys/fs/cgroup rw cgroup2 cgroup2"), path, sizeof(path)),
        -EOPNOTSUPP);
    assert_int_equal(cgroup_find_mount(STR_LIT(""), path, sizeof(path)), -EOPNOTSUPP);
    assert_int_equal(cgroup_find_mount(STR_LIT("1 1 0:1 / /much/too/long rw - cgroup2 x rw\n"), path, 4),
                     -EOPNOTSUPP);
}

static void own_is_found(void **state)
{
    char path[64] = "?";
    (void)state;

    assert_int_equal(
        cgroup_find_own(STR_LIT("9:name=systemd:/\n0::/user.slice/a.scope\n"), path, sizeof(path)), 0);
    assert_string_equal(path, "/user.slice/a.scope");
    assert_int_equal(cgroup_find_own(STR_LIT("0::/\n"), path, sizeof(path)), 0);
    assert_string_equal(path, "/");
    assert_int_equal(cgroup_find_own(STR_LIT("9:name=systemd:/\n10::/x\n"), path, sizeof(path)), -EOPNOTSUPP);
    assert_int_equal(cgroup_find_own(STR_LIT("0::"), path, sizeof(path)), -EOPNOTSUPP);
}

static void missing_controllers(void **state)
{
    struct cgroup c = {.controllers = 5}; /* cpu, pids */
    struct cgroup_limits l = {
        .cpu_quota_us = OPT_UINT(1000), .cpu_period_us = 100000, .pids_max = OPT_UINT(3)};
    const struct cgroup_limits none = {.cpu_period_us = 100000};
    (void)state;

    assert_null(cgroup_missing(&c, &l));
    assert_string_equal(cgroup_missing(NULL, &l), "cpu");
    l.memory_max_bytes = OPT_UINT(1);
    assert_string_equal(cgroup_missing(&c, &l), "memory");
    assert_null(cgroup_missing(NULL, &none));
    assert_string_equal(cgroup_describe(NULL), "none");
}

static pid_t sleeper(struct cgroup_cell *cell)
{
    char text[16];
    pid_t pid = fork();

    if (pid == 0) {
        pause();
        _exit(0);
    }
    snprintf(text, sizeof(text), "%d", (int)pid);
    assert_int_equal(cgroup_write(cgroup_cell_dirfd(cell), "cgroup.procs", text), 0);
    return pid;
}

static void life_of_a_leaf(struct cgroup *c)
{
    const struct cgroup_limits none = {.cpu_period_us = 100000};
    struct cgroup_cell *cell = NULL, *again = NULL;
    struct ev_usage usage;
    int status;
    pid_t pid;

    assert_int_equal(cgroup_cell_new(c, "../x", &none, &cell), -EINVAL);
    assert_int_equal(cgroup_cell_new(c, ".", &none, &cell), -EINVAL);
    assert_int_equal(cgroup_cell_new(c, "", &none, &cell), -EINVAL);
    assert_int_equal(cgroup_cell_new(c, "0189-a", &none, &cell), 0);
    assert_int_equal(cgroup_cell_new(c, "0189-a", &none, &again), -EEXIST);
    assert_int_equal(cgroup_cell_populated(cell), 0);
    pid = sleeper(cell);
    assert_int_equal(cgroup_cell_populated(cell), 1);
    assert_int_equal(cgroup_cell_remove(cell), -EBUSY);
    cgroup_cell_usage(cell, &usage);
    assert_true(usage.cpu_micros.set);
    assert_int_equal(cgroup_cell_kill(cell), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WTERMSIG(status), SIGKILL);
    assert_int_equal(cgroup_cell_remove(cell), 0);
    assert_int_equal(cgroup_cell_remove(cell), 0);
    assert_null(cgroup_cell_free(cell));
    assert_null(cgroup_cell_free(NULL));
}

/* Whatever controllers there are: each limit is either written, and can be read back, or refused by name. */
static void limits(struct cgroup *c)
{
    static const struct {
        const char *name, *file, *text;
        struct cgroup_limits l;
    } rows[] = {
        {"memory",
         "memory.max",
         "16777216\n",
         {.memory_max_bytes = {true, 16777216}, .cpu_period_us = 100000}},
        {"cpu", "cpu.max", "5000 100000\n", {.cpu_quota_us = {true, 5000}, .cpu_period_us = 100000}},
        {"pids", "pids.max", "7\n", {.pids_max = {true, 7}, .cpu_period_us = 100000}},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct cgroup_cell *cell = NULL;
        const char *missing = cgroup_missing(c, &rows[i].l);
        int r = cgroup_cell_new(c, "limited", &rows[i].l, &cell);
        if (missing) {
            assert_string_equal(missing, rows[i].name);
            assert_int_equal(r, -EOPNOTSUPP);
            continue;
        }
        _cleanup_(buf_done) struct buf b = {0};
        assert_int_equal(r, 0);
        assert_int_equal(cgroup_read(cgroup_cell_dirfd(cell), rows[i].file, &b), 0);
        assert_string_equal(buf_cstr(&b), rows[i].text);
        cgroup_cell_free(cell);
    }
}

/* A suite that was killed: what ran there dies, its directory and the leaf in it go and are named once; one
 * that lives stays. */
static void dead_suites_are_swept(struct cgroup *alive)
{
    const struct cgroup_limits none = {.cpu_period_us = 100000};
    struct cgroup *dead = NULL, *next = NULL;
    struct cgroup_cell *cell = NULL;
    char leaf[2 * sizeof(alive->name)];
    const char *name;
    bool named = false;
    int status;

    assert_int_equal(cgroup_open(0, &dead, NULL), 0);
    assert_int_equal(cgroup_cell_new(dead, "left", &none, &cell), 0);
    pid_t pid = sleeper(cell);
    snprintf(leaf, sizeof(leaf), "%s/left", dead->name);
    cgroup_sweep(alive);
    assert_int_equal(faccessat(cgroup_parent_dirfd(alive), leaf, F_OK, 0), 0);
    assert_int_equal(flock(dead->dir, LOCK_UN), 0); /* what death does; the sleeper has a copy of the fd */
    close(dead->dir);
    dead->dir = -EBADF;
    assert_int_equal(cgroup_open(0, &next, NULL), 0);
    cgroup_sweep(next);
    while ((name = cgroup_next_residue(next)))
        named = named || strcmp(name, leaf) == 0;
    assert_true(named);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(faccessat(cgroup_parent_dirfd(alive), dead->name, F_OK, 0), -1);
    assert_int_equal(faccessat(cgroup_parent_dirfd(alive), alive->name, F_OK, 0), 0);
    cgroup_cell_free(cell);
    cgroup_free(dead);
    cgroup_free(next);
    assert_null(cgroup_next_residue(NULL));
}

static void real_tree(void **state)
{
    struct cgroup *c = NULL;
    struct fault f = {};
    int r = cgroup_open(0, &c, &f);
    (void)state;

    if (r == -EOPNOTSUPP) { /* no v2 tree, or none that this user may change: said in a sentence */
        assert_true(strlen(f.text) > 0);
        print_message("no usable cgroup here: %s\n", f.text);
        return;
    }
    assert_int_equal(r, 0);
    print_message("cgroup: %s\n", cgroup_describe(c));
    assert_int_equal(strncmp(cgroup_describe(c), "v2", 2), 0);
    life_of_a_leaf(c);
    limits(c);
    dead_suites_are_swept(c);
    char name[sizeof(c->name)];
    int shared = dup(cgroup_parent_dirfd(c));
    memcpy(name, c->name, sizeof(name));
    assert_null(cgroup_free(c));
    assert_int_equal(faccessat(shared, name, F_OK, 0), -1); /* nothing is left */
    close(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mount_is_found),
        cmocka_unit_test(own_is_found),
        cmocka_unit_test(missing_controllers),
        cmocka_unit_test(real_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
