/* SPDX-License-Identifier: MIT */
/* cellctl ship without a network: back-off, names, subjects, the files of its state after a crash, logs that
 * grow. */
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "common/base/io.h"
#include "supervisor/ctl/backoff.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/ship.h"
#include "supervisor/ctl/ship_file.h"

static char dir[64];
static struct ship_state state;

static int unlink_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static int setup(void **arg)
{
    int pid = 0;

    (void)arg;
    assert_int_equal(digest_init(), 0);
    strcpy(dir, "/tmp/cellos-test-XXXXXX");
    return mkdtemp(dir) ? ship_state_open(dir, "dest", "nats://x as tenant t", &state, &pid) : -1;
}

static int teardown(void **arg)
{
    (void)arg;
    ship_state_done(&state);
    return nftw(dir, unlink_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void put(int dirfd, const char *name, const char *text)
{
    int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(io_write_full(fd, text, strlen(text)), 0);
    close(fd);
}

static void test_backoff(void **arg)
{
    uint32_t ceiling = BACKOFF_FIRST_MS;
    bool low = false, high = false;

    (void)arg;
    for (unsigned n = 0; n < 11; n++, ceiling *= 2)
        assert_int_equal(backoff_ceiling_ms(n), ceiling);
    assert_int_equal(backoff_ceiling_ms(11), BACKOFF_MAX_MS);
    assert_int_equal(backoff_ceiling_ms(UINT32_MAX), BACKOFF_MAX_MS);
    for (unsigned n = 0; n < 40; n++)
        for (int i = 0; i < 200; i++) {
            uint32_t ms = backoff_ms(n);

            assert_true(ms >= BACKOFF_FIRST_MS / 2 && ms <= backoff_ceiling_ms(n));
            low |= n > 11 && ms < BACKOFF_MAX_MS / 4;
            high |= n > 11 && ms > BACKOFF_MAX_MS / 4 * 3;
        }
    assert_true(low && high); /* full jitter */
}

static void test_tenants(void **arg)
{
    static const char *const good[] = {"default", "a", "A-b_9", "0"};
    static const char *const bad[] = {"",    ".",   "a.b",   "*",        ">",   "a*",    "a>",  " ",  "a b",
                                      "a\t", "a\n", "a\r\n", "\xc3\xa4", "a/b", "a\x7f", "$JS", "a,b"};
    char longest[SHIP_TENANT_MAX + 2];

    (void)arg;
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(ship_tenant_ok(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(ship_tenant_ok(bad[i]));
    memset(longest, 'x', sizeof(longest));
    longest[SHIP_TENANT_MAX + 1] = '\0';
    assert_false(ship_tenant_ok(longest));
    longest[SHIP_TENANT_MAX] = '\0';
    assert_true(ship_tenant_ok(longest));
}

#define LINE_HEAD "{\"specversion\":\"1.0\",\"id\":\"01939c7a-0000-7000-8000-00000000000"
#define LINE_MID  "\",\"source\":\"/cellos/proxyd/h\",\"type\":\""
#define LINE_TAIL(seq)                                                                                       \
    "\",\"time\":\"2026-11-29T12:00:00Z\",\"datacontenttype\":\"application/"                                \
    "json\",\"sequence\":\"0000000000000000000" seq "\",\"data\":{},\"dssematerial\":\"YQ==\"}"
#define LINE(type, seq) LINE_HEAD seq LINE_MID type LINE_TAIL(seq)

static void test_subjects(void **arg)
{
    struct ship_item i = {.checkpoint = false};
    char subject[SHIP_SUBJECT_MAX];

    (void)arg;
    assert_true(ship_item_event(STR_LIT(LINE("dev.cellos.events.cell.lifecycle.v1.started", "7")), &i));
    ship_item_subject(&i, "acme", subject);
    assert_string_equal(subject, "cellos.events.acme.lifecycle.v1.started");
    assert_int_equal(i.index, 7);
    assert_string_equal(i.id, "01939c7a-0000-7000-8000-000000000007");
    assert_true(ship_item_event(STR_LIT(LINE("org.example.else", "7")), &i));
    ship_item_subject(&i, "acme", subject);
    assert_string_equal(subject, "cellos.events.acme.org.example.else");
    i.checkpoint = true;
    ship_item_subject(&i, "acme", subject);
    assert_string_equal(subject, "cellos.checkpoints.acme");
    /* What would be a wildcard, a second word or an empty token. */
    assert_false(ship_item_event(STR_LIT(LINE("dev.cellos.events.cell.a.*", "7")), &i));
    assert_false(ship_item_event(STR_LIT(LINE("dev.cellos.events.cell.>", "7")), &i));
    assert_false(ship_item_event(STR_LIT(LINE("dev.cellos.events.cell.a b", "7")), &i));
    assert_false(ship_item_event(STR_LIT(LINE("dev.cellos.events.cell.a..b", "7")), &i));
    assert_false(ship_item_event(STR_LIT(LINE("dev.cellos.events.cell..a", "7")), &i));
    assert_false(ship_item_event(STR_LIT(LINE("dev.cellos.events.cell.a.", "7")), &i));
    assert_false(ship_item_event(STR_LIT("{}"), &i));
    assert_false(ship_item_event(STR_LIT(""), &i));
}

static void test_names(void **arg)
{
    char name[SHIP_STATE_NAME_MAX + 1], origin[CHECKPOINT_NAME_MAX + 1], other[SHIP_STATE_NAME_MAX + 1];

    (void)arg;
    ship_cursor_name("cellos.local/ab/run-1", name);
    assert_string_equal(name, "cellos.local%2Fab%2Frun-1.cursor");
    ship_cursor_name("../../etc", name);
    assert_string_equal(name, "%2E.%2F..%2Fetc.cursor");
    memset(origin, '/', sizeof(origin));
    origin[CHECKPOINT_NAME_MAX] = '\0';
    ship_cursor_name(origin, name);
    assert_int_equal(strncmp(name, "sha256-", 7), 0);
    assert_int_equal(strlen(name), 7 + 64 + strlen(".cursor"));
    origin[0] = 'x';
    ship_cursor_name(origin, other);
    assert_string_not_equal(name, other);
    ship_dead_name(42, "01939c7a-0000-7000-8000-000000000001", name);
    assert_string_equal(name, "00000000000000000042-01939c7a-0000-7000-8000-000000000001.json");
    ship_dead_name(1, "a/../b", name);
    assert_string_equal(name, "00000000000000000001-a%2F..%2Fb.json");
}

static void test_cursor(void **arg)
{
    struct ship_cursor c = {.origin = "cellos.local/ab", .next = 17, .noted = 12}, got;
    static const char *const broken[] = {
        "",
        "cellos-ship-cursor 2\norigin cellos.local/ab\nnext 1\nnoted 0\n",
        "cellos-ship-cursor 1\n",
        "cellos-ship-cursor 1\norigin cellos.local/other\nnext 1\nnoted 0\n",
        "cellos-ship-cursor 1\norigin cellos.local/ab\nnext 01\nnoted 0\n",
        "cellos-ship-cursor 1\norigin cellos.local/ab\nnext -1\nnoted 0\n",
        "cellos-ship-cursor 1\norigin cellos.local/ab\nnext 99999999999999999999\nnoted 0\n",
        "cellos-ship-cursor 1\norigin cellos.local/ab\nnext 1\nnoted 0",
        "cellos-ship-cursor 1\norigin cellos.local/ab\nnext 1\nnoted 0\nmore 1\n",
    };

    (void)arg;
    assert_int_equal(ship_cursor_load(&state, c.origin, &got), 0);
    assert_int_equal(got.next + got.noted, 0);
    assert_int_equal(ship_cursor_save(&state, &c), 0);
    assert_int_equal(ship_cursor_load(&state, c.origin, &got), 0);
    assert_int_equal(got.next, 17);
    assert_int_equal(got.noted, 12);
    /* A crash before the rename left half a new file beside the old one. */
    put(state.dir, ".new", "cellos-ship-cursor 1\norigin cellos.local/ab\nnext 9");
    assert_int_equal(ship_cursor_load(&state, c.origin, &got), 0);
    assert_int_equal(got.next, 17);
    c.next = 18;
    assert_int_equal(ship_cursor_save(&state, &c), 0);
    assert_int_equal(ship_cursor_load(&state, c.origin, &got), 0);
    assert_int_equal(got.next, 18);
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        put(state.dir, "cellos.local%2Fab.cursor", broken[i]);
        assert_int_equal(ship_cursor_load(&state, c.origin, &got), -EBADMSG);
    }
    assert_int_equal(unlinkat(state.dir, "cellos.local%2Fab.cursor", 0), 0);
    assert_int_equal(mkfifoat(state.dir, "cellos.local%2Fab.cursor", 0600), 0);
    assert_true(ship_cursor_load(&state, c.origin, &got) < 0);
    assert_int_equal(got.next, 18); /* untouched by what failed */
}

static void test_position(void **arg)
{
    struct ship_position p = {.stream = "CELLOS", .created = 5, .sequence = UINT64_MAX}, got;

    (void)arg;
    assert_int_equal(ship_position_load(&state, &got), 0);
    assert_string_equal(got.stream, "");
    assert_int_equal(ship_position_save(&state, &p), 0);
    assert_int_equal(ship_position_load(&state, &got), 0);
    assert_string_equal(got.stream, "CELLOS");
    assert_true(got.created == 5 && got.sequence == UINT64_MAX);
    put(state.dir, "position", "cellos-ship-position 1\nstream \ncreated 1\nsequence 1\n");
    assert_int_equal(ship_position_load(&state, &got), -EBADMSG);
}

static void test_lock(void **arg)
{
    struct ship_state other;
    int status = 0;
    pid_t child;

    (void)arg;
    child = fork(); /* a lock of flock(2) is of the open file: another process opens its own */
    if (child == 0) {
        int pid = 0, r = ship_state_open(dir, "dest", "x", &other, &pid);

        _exit(r == -EBUSY && pid == getppid() ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(ship_state_look(dir, "dest", &other), 0);
    ship_state_done(&other);
    assert_int_equal(ship_state_look(dir, "none", &other), -ENOENT);
}

static void test_dead_letters(void **arg)
{
    struct ship_dead d = {"cellos.local/ab", 9, "id-9", "two\nlines \x1b[31m", STR_LIT("{\"a\":1}")};
    char origin[CHECKPOINT_NAME_MAX + 1];
    _cleanup_(buf_done) struct buf b = {.data = NULL};
    char **names = NULL;
    uint64_t sequence = 0;

    (void)arg;
    buf_init(&b, 4096);
    assert_int_equal(ship_dead_put(&state, &d), 0);
    assert_int_equal(ship_dead_put(&state, &d), 0); /* after a crash it is written again */
    d.sequence = 8;
    d.id = "id-8";
    assert_int_equal(ship_dead_put(&state, &d), 0);
    assert_int_equal(ship_dead_count(&state), 2);
    assert_int_equal(ship_dead_list(&state, &names), 2);
    assert_string_equal(names[0], "00000000000000000008-id-8.json");
    assert_int_equal(ship_dead_load(&state, names[1], &b, origin, &sequence), 0);
    assert_string_equal(origin, "cellos.local/ab");
    assert_int_equal(sequence, 9);
    assert_true(str_is(buf_str(&b), "{\"a\":1}"));
    buf_clear(&b);
    assert_int_equal(ship_file_read(state.dead, "00000000000000000009-id-9.reason", &b), 0);
    assert_non_null(strstr(buf_cstr(&b), "reason two\\x0alines \\x1b[31m\n"));
    assert_int_equal(unlinkat(state.dead, "00000000000000000008-id-8.reason", 0), 0);
    buf_clear(&b);
    assert_int_equal(ship_dead_load(&state, names[0], &b, origin, &sequence), -ENOENT);
    assert_int_equal(ship_dead_remove(&state, 9, "id-9"), 1);
    assert_int_equal(ship_dead_remove(&state, 9, "id-9"), 0);
    assert_int_equal(ship_dead_count(&state), 1);
    free(names[0]);
    free(names[1]);
    free(names);
}

/* A log beside the state, with as many lines as the checkpoint says or not. */
static char log_path[128];
static int log_fd;

static void make_log(void)
{
    (void)snprintf(log_path, sizeof(log_path), "%s/log", dir);
    assert_int_equal(mkdir(log_path, 0700), 0);
    log_fd = open(log_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    put(log_fd, "origin", "cellos.local/ab\n");
}

static void checkpoint(unsigned size)
{
    char text[128];

    (void)snprintf(text, sizeof(text), "cellos.local/ab\n%u\nroot\n\nsig\n", size);
    put(log_fd, "checkpoint.new", text);
    assert_int_equal(renameat(log_fd, "checkpoint.new", log_fd, "checkpoint"), 0);
}

static void expect(struct ship_log *l, bool final, bool is_checkpoint, uint64_t index)
{
    struct ship_item i = {.data = NULL};
    char why[SHIP_WHY_MAX] = "";

    assert_int_equal(ship_log_next(l, true, final, &i, why), SHIP_NEXT_ITEM);
    assert_int_equal(i.checkpoint, is_checkpoint);
    assert_int_equal(i.index, index);
    ship_log_accept(l, &i);
    ship_item_done(&i);
}

static void test_log_grows(void **arg)
{
    struct ship_log *l;
    struct ship_item i;
    char why[SHIP_WHY_MAX] = "";

    (void)arg;
    make_log();
    l = ship_log_new(log_path);
    assert_int_equal(ship_log_look(l, &state, why), SHIP_LOOK_NO_LOG);
    put(log_fd, "00000000000000000000.jsonl",
        LINE("a", "0") "\n" LINE("b", "1") "\n" LINE("c", "2") "\n{\"torn");
    checkpoint(2);
    assert_int_equal(ship_log_look(l, &state, why), SHIP_LOOK_NEW);
    assert_int_equal(ship_log_look(l, &state, why), SHIP_LOOK_SAME);
    expect(l, false, false, 0);
    expect(l, false, false, 1);
    expect(l, false, true, 2);
    assert_int_equal(ship_log_next(l, true, false, &i, why), SHIP_NEXT_NONE);
    checkpoint(3);
    assert_int_equal(ship_log_look(l, &state, why), SHIP_LOOK_NEW);
    expect(l, false, false, 2);
    assert_int_equal(ship_log_next(l, true, false, &i, why),
                     SHIP_NEXT_NONE); /* the gap to the last checkpoint */
    expect(l, true, true, 3);
    put(log_fd, "00000000000000000000.jsonl", LINE("a", "0") "\n" LINE("b", "1") "\n" LINE("c", "2") "\n");
    put(log_fd, "00000000000000000003.jsonl", LINE("d", "3") "\n");
    checkpoint(4);
    assert_int_equal(ship_log_look(l, &state, why), SHIP_LOOK_NEW);
    expect(l, false, false, 3); /* the next segment, also after the torn rest was cut away */
    checkpoint(5);
    assert_int_equal(ship_log_look(l, &state, why), SHIP_LOOK_NEW);
    assert_int_equal(ship_log_next(l, true, false, &i, why),
                     SHIP_NEXT_TAMPERED); /* shorter than its checkpoint */
    checkpoint(3);
    assert_int_equal(ship_log_look(l, &state, why), SHIP_LOOK_TAMPERED);
    assert_non_null(strstr(why, "rolled back"));
    ship_log_free(l);
    close(log_fd);
}

static void test_log_of_another_place(void **arg)
{
    struct ship_log *l;
    struct ship_item i;
    char why[SHIP_WHY_MAX] = "";

    (void)arg;
    make_log();
    put(log_fd, "00000000000000000000.jsonl", LINE("a", "0") "\n" LINE("b", "3") "\n");
    checkpoint(2);
    l = ship_log_new(log_path);
    assert_int_equal(ship_log_look(l, &state, why), SHIP_LOOK_NEW);
    expect(l, false, false, 0);
    assert_int_equal(ship_log_next(l, true, false, &i, why), SHIP_NEXT_TAMPERED);
    ship_log_free(l);
    put(log_fd, "checkpoint", "cellos.local/other\n2\nroot\n\nsig\n");
    l = ship_log_new(log_path);
    assert_int_equal(ship_log_look(l, &state, why), SHIP_LOOK_TAMPERED);
    ship_log_free(l);
    close(log_fd);
}

static void test_skip(void **arg)
{
    struct ship_log *l;
    struct ship_item i = {.index = 1};
    char why[SHIP_WHY_MAX] = "";

    (void)arg;
    make_log();
    put(log_fd, "00000000000000000000.jsonl", LINE("a", "0") "\n" LINE("b", "1") "\n" LINE("c", "2") "\n");
    checkpoint(3);
    l = ship_log_new(log_path);
    assert_int_equal(ship_log_look(l, &state, why), SHIP_LOOK_NEW);
    expect(l, false, false, 0);
    ship_log_skip(l, 2, 0); /* found in the stream */
    assert_true(ship_log_has(l, &i));
    ship_log_skip(l, 1, 0); /* never back */
    assert_int_equal(l->cursor.next, 2);
    expect(l, false, false, 2);
    i = (struct ship_item){.checkpoint = true, .index = 3};
    assert_false(ship_log_has(l, &i));
    ship_log_skip(l, 0, 3);
    assert_true(ship_log_has(l, &i));
    ship_log_free(l);
    close(log_fd);
}

static void test_ids(void **arg)
{
    struct ship_args a = {.to = "nats://a", .tenant = "t"}, b = a;
    char one[SHIP_DESTINATION_MAX + 1], other[SHIP_DESTINATION_MAX + 1];

    (void)arg;
    ship_args_id(&a, one);
    ship_args_id(&b, other);
    assert_string_equal(one, other);
    b.tenant = "u";
    ship_args_id(&b, other);
    assert_string_not_equal(one, other);
    b.id = "here";
    ship_args_id(&b, other);
    assert_string_equal(other, "here");
    assert_true(jetstream_token_ok(one, SHIP_DESTINATION_MAX));
}

static void test_urls(void **arg)
{
    static const char *const good[] = {"nats://h", "nats://h:1", "tls://h:4222,nats://[::1]:4222",
                                       "nats://a,nats://b,nats://c"};
    static const char *const bad[] = {"",           "h:4222",     "nats://",   "nats://u:p@h",
                                      "nats://u@h", "nats://h,",  ",nats://h", "http://h",
                                      "nats://h/x", "nats://h h", "nats://h\n"};
    char why[JETSTREAM_WHY_MAX];

    (void)arg;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct jetstream_options o = {.urls = good[i]};

        assert_int_equal(jetstream_check(&o, why), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct jetstream_options o = {.urls = bad[i]};

        assert_int_equal(jetstream_check(&o, why), -EINVAL);
    }
    assert_int_equal(jetstream_check(&(struct jetstream_options){.urls = "nats://h", .cert = "x"}, why),
                     -EINVAL);
    assert_int_equal(
        jetstream_check(&(struct jetstream_options){.urls = "nats://h", .creds = "x", .user_file = "y"}, why),
        -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backoff),
        cmocka_unit_test(test_tenants),
        cmocka_unit_test(test_subjects),
        cmocka_unit_test_setup_teardown(test_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cursor, setup, teardown),
        cmocka_unit_test_setup_teardown(test_position, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lock, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dead_letters, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log_grows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log_of_another_place, setup, teardown),
        cmocka_unit_test_setup_teardown(test_skip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ids, setup, teardown),
        cmocka_unit_test(test_urls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
