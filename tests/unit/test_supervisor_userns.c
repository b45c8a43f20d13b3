/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "common/base/io.h"
#include "supervisor/launch/userns.h"
#include "supervisor/launch/zygote.h"
#include "supervisor/launch/zygote_boot.h"

static void subid_rows(void **state)
{
    uint32_t base = 1, count = 2;
    (void)state;

    assert_int_equal(userns_subid_parse(STR_LIT("bob:100000:65536\ncellos:300000:70000\n"), STR_LIT("cellos"),
                                        &base, &count),
                     0);
    assert_int_equal(base, 300000);
    assert_int_equal(count, USERNS_RANGE_IDS); /* cut to what is used */
    assert_int_equal(userns_subid_parse(STR_LIT("cellos:300000:2048"), STR_LIT("cellos"), &base, &count), 0);
    assert_int_equal(count, 2048);
    /* The first good row counts; bad ones are passed over. */
    assert_int_equal(
        userns_subid_parse(STR_LIT("cellos:x:65536\ncellos:0:65536\ncellos:5000:99\ncellos:7000:1024\n"),
                           STR_LIT("cellos"), &base, &count),
        0);
    assert_int_equal(base, 7000);
}

static void subid_nothing(void **state)
{
    static const char *const texts[] = {"",
                                        "\n\n",
                                        "cellos",
                                        "cellos:",
                                        "cellos::",
                                        "cellos:100000",
                                        "cellosx:100000:65536",
                                        "cellos:999:65536",
                                        "cellos:2147483647:65536",
                                        "cellos:-5:65536",
                                        "cellos:100000:65536:1",
                                        "cellos:4294967296:65536"};
    uint32_t base = 77, count = 88;
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_int_equal(userns_subid_parse(str_of(texts[i]), STR_LIT("cellos"), &base, &count), -ENOENT);
    assert_int_equal(base, 77);
    assert_int_equal(count, 88);
}

static void workload_ids(void **state)
{
    struct userns_plan ordinary = {.uid = 1234, .gid = 99, .slot_fd = -EBADF};
    struct userns_plan root = {.uid_base = 5000, .gid_base = 6000, .count = 10, .slot_fd = -EBADF};
    struct userns_workload w = userns_workload(&ordinary, 0);
    (void)state;

    assert_int_equal(w.outer_uid, 0);
    assert_int_equal(w.inner_uid, 1234);
    assert_int_equal(w.inner_gid, 99);
    ordinary.uid = ordinary.gid = 0; /* root of a container without ids to spare */
    w = userns_workload(&ordinary, 0);
    assert_int_equal(w.inner_uid, USERNS_CELL_UID);
    w = userns_workload(&root, 4);
    assert_int_equal(w.outer_uid, 5); /* never U1's 0, which is host root */
    assert_int_equal(w.outer_gid, 5);
    assert_int_equal(w.inner_uid, USERNS_CELL_UID);
}

static void ids_of_a_map(void **state)
{
    static const struct str whole = STR_LIT("         0          0 4294967295\n");
    static const struct str podman =
        STR_LIT("         0       1000          1\n         1     100000      65536\n");
    static const struct str single = STR_LIT("         0       1000          1\n");
    uint32_t base = 0, count = 0;
    (void)state;

    assert_true(userns_has_ids(whole, USERNS_RANGE_BASE, USERNS_RANGE_IDS));
    assert_false(userns_has_ids(podman, USERNS_RANGE_BASE, USERNS_RANGE_IDS));
    assert_true(userns_has_ids(podman, 1, 65536));
    assert_false(userns_has_ids(podman, 2, 65536));
    assert_false(userns_has_ids(podman, 0, 2)); /* not across lines */
    assert_int_equal(userns_spare_ids(podman, &base, &count), 0);
    assert_int_equal(base, 32769);
    assert_int_equal(count, 32768 - USERNS_SLOT_IDS);
    assert_true(userns_has_ids(podman, base, count));
    assert_int_equal(userns_spare_ids(single, &base, &count), -ENOENT);
    assert_int_equal(userns_spare_ids(STR_LIT(""), &base, &count), -ENOENT);
    assert_int_equal(userns_spare_ids(STR_LIT("x y z\n1 2\n"), &base, &count), -ENOENT);
}

static int open_locks(char *dir)
{
    snprintf(dir, 32, "/tmp/userns-test-XXXXXX");
    assert_non_null(mkdtemp(dir));
    return open(dir, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
}

static void remove_locks(const char *dir, int fd)
{
    for (unsigned i = 0; i < USERNS_SLOTS; i++) {
        char name[32];
        snprintf(name, sizeof(name), "ids-%u", i);
        unlinkat(fd, name, 0);
    }
    close(fd);
    rmdir(dir);
}

static void slots_are_exclusive(void **state)
{
    struct userns_plan a, b, c;
    struct fault f;
    char dir[32];
    int locks = open_locks(dir);
    (void)state;

    assert_int_equal(userns_plan(locks, &a, &f), 0);
    assert_int_equal(userns_plan(locks, &b, &f), 0);
    if (geteuid() != 0) {
        assert_int_equal(a.count, 0);
        assert_int_equal(a.slot_fd, -EBADF);
        assert_int_equal(a.uid, geteuid());
    } else {
        assert_int_equal(a.count, USERNS_SLOT_IDS);
        assert_int_not_equal(a.uid_base, b.uid_base);
        assert_true(a.uid_base >= 1000);
        userns_plan_done(&a);
        assert_int_equal(userns_plan(locks, &c, &f), 0); /* the freed one comes again */
        assert_int_equal(c.uid_base, a.uid_base);
        userns_plan_done(&c);
    }
    userns_plan_done(&a);
    userns_plan_done(&b);
    remove_locks(dir, locks);
}

static void slots_run_out(void **state)
{
    struct userns_plan p[USERNS_SLOTS], more;
    struct fault f = {};
    char dir[32];
    int locks = open_locks(dir);
    size_t n = 0;
    (void)state;

    if (geteuid() == 0) {
        while (n < USERNS_SLOTS && userns_plan(locks, &p[n], &f) == 0)
            n++;
        assert_int_equal(userns_plan(locks, &more, &f), -EUSERS);
        assert_non_null(strstr(f.text, "in use"));
    }
    for (size_t i = 0; i < n; i++)
        userns_plan_done(&p[i]);
    remove_locks(dir, locks);
}

/* In a child: enters U1 and writes its maps to fd. */
static int enter_and_tell(const struct userns_plan *p, int fd)
{
    static const char *const files[] = {"/proc/self/uid_map", "/proc/self/gid_map", "/proc/self/setgroups"};
    struct fault f = {};
    char text[512];

    if (userns_enter(p, &f) < 0) {
        dprintf(fd, "%s", f.text);
        return 1;
    }
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        int in = open(files[i], O_RDONLY | O_CLOEXEC);
        ssize_t n = read(in, text, sizeof(text));
        if (n < 0 || write(fd, text, (size_t)n) != n)
            return 1;
        close(in);
    }
    return getuid() == 0 && getgid() == 0 ? 0 : 1;
}

static void maps_are_written(void **state)
{
    struct userns_plan p;
    struct fault f;
    char dir[32], text[1024] = "", want[64];
    int locks = open_locks(dir), out[2], status;
    pid_t pid;
    (void)state;

    assert_int_equal(userns_plan(locks, &p, &f), 0);
    assert_int_equal(pipe(out), 0);
    pid = fork();
    if (pid == 0)
        _exit(enter_and_tell(&p, out[1]));
    close(out[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(read(out[0], text, sizeof(text) - 1) > 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("%s", text);
    snprintf(want, sizeof(want), "%10u %10u %10u\n", 0U, geteuid(), 1U);
    assert_non_null(strstr(text, want));
    if (p.count > 0) {
        snprintf(want, sizeof(want), "%10u %10u %10u\n", 1U, p.uid_base, p.count);
        assert_non_null(strstr(text, want));
        assert_non_null(strstr(text, "allow"));
    } else {
        assert_non_null(strstr(text, "deny"));
    }
    close(out[0]);
    userns_plan_done(&p);
    remove_locks(dir, locks);
}

static void boot_round_trip(void **state)
{
    struct zygote_boot in = {.parent = 4711,
                             .plan = {1, 2, 3, 4, 5, -EBADF},
                             .forbidden = {{6, 7}, {UINT64_MAX, 9}},
                             .nforbidden = 2};
    struct zygote_boot out;
    struct zygote_args args;
    int argc = 0;
    (void)state;

    zygote_boot_write(&in, &args);
    while (args.argv[argc])
        argc++;
    assert_int_equal(argc, 10);
    assert_string_equal(args.argv[1], ZYGOTE_ARG);
    assert_int_equal(zygote_boot_read(argc, args.argv, &out), 0);
    assert_int_equal(out.parent, 4711);
    assert_int_equal(out.plan.gid_base, 4);
    assert_int_equal(out.plan.count, 5);
    assert_int_equal(out.plan.slot_fd, ZYGOTE_FD_SLOT);
    assert_int_equal(out.nforbidden, 2);
    assert_true(out.forbidden[1].dev == UINT64_MAX && out.forbidden[1].ino == 9);
    assert_int_equal(zygote_boot_read(argc - 3, args.argv, &out), -EINVAL);
    snprintf(args.text[9], sizeof(args.text[9]), "12");
    assert_int_equal(zygote_boot_read(argc, args.argv, &out), -EINVAL);
    snprintf(args.text[9], sizeof(args.text[9]), "12:x");
    assert_int_equal(zygote_boot_read(argc, args.argv, &out), -EINVAL);
    snprintf(args.text[3], sizeof(args.text[3]), "-1");
    assert_int_equal(zygote_boot_read(9, args.argv, &out), -EINVAL);
}

static void fault_sentences(void **state)
{
    struct fault f = {};
    char longish[2000];
    (void)state;

    assert_int_equal(fault_set(&f, -ENOENT, "opening %s", "a\033b"), -ENOENT);
    assert_string_equal(f.text, "opening a\\x1bb: No such file or directory");
    memset(longish, 'x', sizeof(longish) - 1);
    longish[sizeof(longish) - 1] = '\0';
    assert_int_equal(fault_set(&f, -EIO, "%s", longish), -EIO);
    assert_true(strlen(f.text) <= LIMIT_ERROR_TEXT);
    assert_int_equal(fault_set(NULL, -EIO, "x"), -EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(subid_rows),          cmocka_unit_test(subid_nothing),
        cmocka_unit_test(workload_ids),        cmocka_unit_test(ids_of_a_map),
        cmocka_unit_test(slots_are_exclusive), cmocka_unit_test(slots_run_out),
        cmocka_unit_test(maps_are_written),    cmocka_unit_test(boot_round_trip),
        cmocka_unit_test(fault_sentences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
