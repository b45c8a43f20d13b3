/* SPDX-License-Identifier: MIT */
/* The keys' directory over its life: made, rotated, revoked, interrupted; and what that does to a log. */
#include <sys/wait.h>

#include "tests/unit/signerd_rig.h"

#include "common/base/clock.h"
#include "signerd/key_admin_internal.h"
#include "signerd/origin.h"

static int admin_close(struct key_admin *a, int r)
{
    key_store_free(a->old);
    key_store_free(a->fresh);
    key_dir_done(&a->dir);
    free(a);
    return r;
}

static int admin(int keys_dir, struct key_admin_options o)
{
    struct key_admin *a = calloc(1, sizeof(*a));
    int r;

    assert_non_null(a);
    a->o = o;
    r = key_dir_open(keys_dir, &a->dir);
    if (r < 0) {
        free(a);
        return r;
    }
    r = key_admin_prepare(a);
    return admin_close(a, r == 0 ? key_admin_do(a) : r);
}

#define ADMIN(rig, ...) admin((rig)->keys_dir, (struct key_admin_options){__VA_ARGS__})

/* Another process's view: the keys as they are now. */
static int reopen(struct rig *r)
{
    struct keys *k = NULL;
    int e = keys_open(r->keys_dir, &k);

    if (e == 0) {
        keys_free(r->keys);
        r->keys = k;
        origin_find(r->log_dir, r->keys, NULL, r->origin, sizeof(r->origin));
    }
    return e;
}

static bool has(const struct rig *r, const char *name)
{
    return faccessat(r->keys_dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void read_keys(const struct rig *r, const char *name, struct buf *b)
{
    int fd = openat(r->keys_dir, name, O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    buf_clear(b);
    assert_int_equal(io_read_to_end(fd, b), 0);
    close(fd);
}

static void write_keys(const struct rig *r, const char *name, const struct buf *b)
{
    int fd = openat(r->keys_dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(io_write_full(fd, b->data, b->len), 0);
    close(fd);
}

static enum log_verdict verify(const struct rig *r, struct str keyset, struct log_report *report)
{
    struct log_verify_options o = {.trust.keyset = keyset, .threads = 1};

    assert_int_equal(log_verify(r->log_dir, &o, report), 0);
    return report->verdict;
}

static void test_an_older_directory_gets_a_keyset(void **state)
{
    struct rig r;

    (void)state;
    rig_init_fast(&r);
    assert_int_equal(unlinkat(r.keys_dir, "keyset", 0), 0);
    uint8_t before[32];
    memcpy(before, keys_vkey(r.keys)->public, 32);
    assert_int_equal(reopen(&r), 0);
    assert_memory_equal(before, keys_vkey(r.keys)->public, 32);
    assert_true(has(&r, "keyset"));
    assert_int_equal(keys_newest(r.keys)->version, 1);
    assert_int_equal(keys_newest(r.keys)->key[0].k.not_before_s, 0); /* it vouches for the logs it signed */
    rig_done(&r);
}

static void test_rotation_destroys_the_old_secret(void **state)
{
    _cleanup_(buf_done) struct buf old = {.data = NULL}, new = {.data = NULL};
    struct rig r;

    (void)state;
    rig_init_fast(&r);
    buf_init(&old, 4096);
    buf_init(&new, 4096);
    read_keys(&r, "signing.key", &old);
    int held = openat(r.keys_dir, "signing.key", O_RDONLY | O_CLOEXEC);
    assert_int_equal(ADMIN(&r, .verb = "rotate", .grace_s = 60), 0);
    read_keys(&r, "signing.key", &new);
    assert_false(str_eq(buf_str(&old), buf_str(&new)));
    buf_clear(&old);
    assert_int_equal(io_read_to_end(held, &old), 0); /* the file itself, whose name is gone */
    close(held);
    for (size_t i = 0; i < old.len; i++)
        assert_int_equal(old.data[i], 0);
    assert_int_equal(reopen(&r), 0);
    const struct keyset *k = keys_newest(r.keys);
    assert_int_equal(k->version, 2);
    assert_int_equal(k->key[0].state, KEYSET_RETIRED);
    assert_int_equal(k->key[0].k.not_after_s, k->created_s + 60);
    assert_int_equal(k->key[1].state, KEYSET_ACTIVE);
    rig_done(&r);
}

/* Steps of a rotation that never came to its end, one after the other. */
static void test_a_crash_between_the_steps(void **state)
{
    _cleanup_(buf_done) struct buf standby = {.data = NULL}, old = {.data = NULL}, keyset = {.data = NULL};
    char name[32];
    struct rig r;

    (void)state;
    rig_init_fast(&r);
    buf_init(&standby, 4096);
    buf_init(&old, 4096);
    buf_init(&keyset, KEYSET_FILE_MAX);
    read_keys(&r, "signing.key", &old);
    assert_int_equal(ADMIN(&r, .verb = "new", .standby = true), 0);
    assert_int_equal(reopen(&r), 0);
    (void)snprintf(name, sizeof(name), "%.16s.key", keys_newest(r.keys)->key[1].k.keyid + 7);
    read_keys(&r, name, &standby);
    assert_int_equal(ADMIN(&r, .verb = "rotate"), 0);
    read_keys(&r, "keyset", &keyset);
    assert_false(has(&r, name));

    /* The keyset was durable, the key not yet in its place; then also with the old one already overwritten.
     */
    write_keys(&r, "signing.key", &old);
    write_keys(&r, name, &standby);
    assert_int_equal(reopen(&r), 0);
    assert_string_equal(keys_keyid(r.keys), keys_newest(r.keys)->key[1].k.keyid);
    assert_false(has(&r, name));
    memset(old.data, 0, old.len);
    write_keys(&r, "signing.key", &old);
    write_keys(&r, name, &standby);
    assert_int_equal(reopen(&r), 0);
    assert_int_equal(unlinkat(r.keys_dir, "signing.key", 0), 0);
    write_keys(&r, name, &standby);
    assert_int_equal(reopen(&r), 0);

    /* A key that no keyset got to name is removed by the next change, and never used. */
    write_keys(&r, "00112233445566aa.key", &standby);
    write_keys(&r, "new.key.tmp", &standby);
    assert_int_equal(ADMIN(&r, .verb = "rotate"), 0);
    assert_false(has(&r, "00112233445566aa.key"));
    assert_false(has(&r, "new.key.tmp"));
    assert_int_equal(reopen(&r), 0);
    rig_done(&r);
}

static void test_what_is_refused(void **state)
{
    struct rig r;

    (void)state;
    rig_init_fast(&r);
    assert_int_equal(ADMIN(&r, .verb = "new"), -EEXIST);
    assert_int_equal(ADMIN(&r, .verb = "revoke", .id = "12"), -EINVAL);
    assert_int_equal(ADMIN(&r, .verb = "revoke", .id = "zzzz"), -EINVAL);
    const char *id = keys_keyid(r.keys) + 7;
    assert_int_equal(ADMIN(&r, .verb = "revoke", .id = id, .at_s = clock_realtime_ms() / 1000 + 100),
                     -EINVAL);
    assert_int_equal(ADMIN(&r, .verb = "rotate", .key = "file"), -EINVAL);
    assert_int_equal(ADMIN(&r, .verb = "rotate", .new_key = "credential:none"), -ENOKEY);
    assert_int_equal(ADMIN(&r, .verb = "rotate", .new_key = "pkcs11:token=x"), -EINVAL);
    assert_int_equal(keys_newest(r.keys)->version, 1);

    /* A key that is not the active one, and no key at all. */
    _cleanup_(buf_done) struct buf seed = {.data = NULL};
    buf_init(&seed, 100);
    buf_puts(&seed, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n");
    write_keys(&r, "signing.key", &seed);
    assert_int_equal(reopen(&r), -EKEYREJECTED);
    assert_int_equal(ADMIN(&r, .verb = "rotate"), -EKEYREJECTED);
    assert_int_equal(unlinkat(r.keys_dir, "signing.key", 0), 0);
    assert_int_equal(reopen(&r), -ENOKEY);
    assert_int_equal(ADMIN(&r, .verb = "new", .standby = true), -ENOKEY);
    rig_done(&r);
}

/* The active key is lost: the standby key alone can take over. */
static void test_a_standby_key_takes_over(void **state)
{
    struct rig r;

    (void)state;
    rig_init_fast(&r);
    assert_int_equal(ADMIN(&r, .verb = "new", .standby = true, .valid_for_s = 1000), 0);
    assert_int_equal(unlinkat(r.keys_dir, "signing.key", 0), 0);
    assert_int_equal(reopen(&r), -ENOKEY);
    assert_int_equal(ADMIN(&r, .verb = "revoke", .id = keys_keyid(r.keys) + 7, .reason = "lost"), 0);
    assert_int_equal(reopen(&r), 0);
    const struct keyset *k = keys_newest(r.keys);
    assert_int_equal(k->key[0].state, KEYSET_REVOKED);
    assert_string_equal(k->key[0].reason, "lost");
    assert_int_equal(k->key[1].state, KEYSET_ACTIVE);
    assert_int_equal(k->nsigs, 1);
    rig_done(&r);
}

static void test_an_expired_key_does_not_start(void **state)
{
    struct rig r;
    struct rig_ack ack;

    (void)state;
    rig_init_fast(&r);
    assert_int_equal(ADMIN(&r, .verb = "rotate", .valid_for_s = 1), 0);
    assert_int_equal(reopen(&r), 0);
    assert_int_equal(rig_open(&r), 0);
    struct cell *cell = rig_cell(&r, "web-1");
    while (keys_count_at(r.keys, clock_realtime_ms() / 1000))
        usleep(20000);
    /* While it runs: nothing is signed any more, and the log says that it takes no more. */
    assert_int_equal(rig_started(&r, cell, &ack), -EIO);
    ev_run(r.loop, 0);
    assert_int_equal(r.failed, -EKEYEXPIRED);
    r.log = elog_free(r.log);
    assert_int_equal(reopen(&r), -EKEYEXPIRED);
    assert_int_equal(ADMIN(&r, .verb = "rotate"), 0); /* the remedy */
    assert_int_equal(reopen(&r), 0);
    rig_done(&r);
}

/* ---- a log over several keys ---- */

static void test_a_log_goes_on_under_a_new_key(void **state)
{
    _cleanup_(buf_done) struct buf first = {.data = NULL}, lines = {.data = NULL}, note = {.data = NULL};
    struct log_report report;
    struct rig r;

    (void)state;
    rig_init_fast(&r);
    buf_init(&first, KEYSET_FILE_MAX);
    buf_init(&lines, 1u << 20);
    buf_init(&note, CHECKPOINT_NOTE_MAX);
    read_keys(&r, "keyset", &first);
    assert_int_equal(rig_open(&r), 0);
    rig_run(&r, "a", 2);
    rig_close(&r);
    char origin[sizeof(r.origin)];
    strcpy(origin, r.origin);
    assert_int_equal(ADMIN(&r, .verb = "rotate"), 0);
    assert_int_equal(reopen(&r), 0);
    assert_string_equal(r.origin, origin);
    assert_int_equal(rig_open(&r), 0);
    rig_run(&r, "b", 2);
    rig_close(&r);
    rig_read(&r, RIG_FIRST, &lines);
    assert_non_null(strstr(buf_cstr(&lines), "log.v1.keyset_changed"));
    assert_int_not_equal(faccessat(r.log_dir, "keyset.due", F_OK, AT_SYMLINK_NOFOLLOW), 0);

    /* By its own word, by the first keyset, by the newest, by either key. */
    assert_int_equal(verify(&r, STR_NONE, &report), LOG_GOOD);
    assert_true(report.self_declared);
    assert_int_equal(verify(&r, buf_str(&first), &report), LOG_GOOD);
    assert_false(report.self_declared);
    assert_int_equal(verify(&r, keys_keyset(r.keys), &report), LOG_GOOD);
    struct log_verify_options o = {.trust.key = &keys_newest(r.keys)->key[0].k.vkey};
    assert_int_equal(log_verify(r.log_dir, &o, &report), 0);
    assert_int_equal(report.verdict, LOG_GOOD);
    o.trust.key = keys_vkey(r.keys);
    assert_int_equal(log_verify(r.log_dir, &o, &report), 0);
    assert_int_equal(report.verdict, LOG_GOOD);

    /* An older keyset in the place of the newer one. */
    rig_write(&r, "keyset", first.data, first.len);
    assert_int_not_equal(verify(&r, STR_NONE, &report), LOG_GOOD);
    assert_int_not_equal(verify(&r, buf_str(&first), &report), LOG_GOOD);
    assert_int_equal(verify(&r, keys_keyset(r.keys), &report), LOG_GOOD);

    /* And signerd with an older keyset than the log's. */
    rig_write(&r, "keyset", keys_keyset(r.keys).p, keys_keyset(r.keys).len);
    keys_free(r.keys);
    r.keys = NULL;
    assert_int_equal(unlinkat(r.keys_dir, "keyset", 0), 0);
    assert_int_equal(keys_open(r.keys_dir, &r.keys), 0); /* the new key begins a keyset of its own */
    assert_int_equal(rig_open(&r), -EBADMSG);
    rig_done(&r);
}

/* A log from before there were keysets, and one whose keyset_changed was lost in a crash. */
static void test_the_event_is_made_up_for(void **state)
{
    _cleanup_(buf_done) struct buf lines = {.data = NULL};
    struct log_report report;
    struct rig r;

    (void)state;
    rig_init_fast(&r);
    buf_init(&lines, 1u << 20);
    assert_int_equal(rig_open(&r), 0);
    rig_run(&r, "a", 2);
    rig_close(&r);
    assert_int_equal(unlinkat(r.log_dir, "keyset", 0), 0);
    assert_int_equal(rig_open(&r), 0);
    rig_close(&r);
    rig_write(&r, "keyset.due", "\n", 1);
    assert_int_equal(rig_open(&r), 0);
    rig_close(&r);
    rig_read(&r, RIG_FIRST, &lines);
    unsigned n = 0;
    for (const char *p = buf_cstr(&lines); (p = strstr(p, "keyset_changed")); p++)
        n++;
    assert_int_equal(n, 2);
    assert_int_equal(verify(&r, keys_keyset(r.keys), &report), LOG_GOOD);
    rig_done(&r);
}

/* What was signed before the revocation stays good, to the second; what comes after does not, although the
 * log has it and every signature verifies. */
static void test_revoked_keys_fail_only_afterwards(void **state)
{
    struct log_report report;
    struct rig r;

    (void)state;
    rig_init_fast(&r);
    assert_int_equal(ADMIN(&r, .verb = "new", .standby = true), 0);
    assert_int_equal(reopen(&r), 0);
    assert_int_equal(rig_open(&r), 0);
    rig_run(&r, "a", 2);
    uint64_t lines = 5, at = clock_realtime_ms() / 1000 + 1;
    while (clock_realtime_ms() / 1000 < at)
        usleep(10000);
    rig_run(&r, "b", 2); /* at, or later */
    rig_close(&r);
    assert_int_equal(verify(&r, keys_keyset(r.keys), &report), LOG_GOOD);
    assert_int_equal(ADMIN(&r, .verb = "revoke", .id = keys_keyid(r.keys) + 7, .at_s = at), 0);
    assert_int_equal(reopen(&r), 0);
    assert_int_equal(verify(&r, keys_keyset(r.keys), &report), LOG_BAD_LINE);
    assert_int_equal(report.line, lines + 1);

    /* Earlier still: nothing of it is good. Not later again. */
    assert_int_equal(ADMIN(&r, .verb = "revoke", .id = keys_newest(r.keys)->key[0].k.keyid, .at_s = at + 0),
                     -EEXIST);
    assert_int_equal(ADMIN(&r, .verb = "revoke", .id = keys_newest(r.keys)->key[0].k.keyid, .at_s = 1), 0);
    assert_int_equal(reopen(&r), 0);
    assert_int_equal(verify(&r, keys_keyset(r.keys), &report), LOG_BAD_LINE);
    assert_int_equal(report.line, 1);
    rig_done(&r);
}

/* Runs and changes at the same time: whoever comes gets a whole keyset with the key that is active. */
static void test_races(void **state)
{
    struct rig r;

    (void)state;
    rig_init_fast(&r);
    for (unsigned i = 0; i < 6; i++)
        if (fork() == 0) {
            struct keys *k = NULL;
            int e = i % 2 ? keys_open(r.keys_dir, &k) : ADMIN(&r, .verb = "rotate");

            _exit(e == 0 ? 0 : 1);
        }
    for (unsigned i = 0; i < 6; i++) {
        int status;

        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    assert_int_equal(reopen(&r), 0);
    assert_int_equal(keys_newest(r.keys)->version, 4);
    rig_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_older_directory_gets_a_keyset),
        cmocka_unit_test(test_rotation_destroys_the_old_secret),
        cmocka_unit_test(test_a_crash_between_the_steps),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_a_standby_key_takes_over),
        cmocka_unit_test(test_an_expired_key_does_not_start),
        cmocka_unit_test(test_a_log_goes_on_under_a_new_key),
        cmocka_unit_test(test_the_event_is_made_up_for),
        cmocka_unit_test(test_revoked_keys_fail_only_afterwards),
        cmocka_unit_test(test_races),
    };

    (void)umask(077);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
