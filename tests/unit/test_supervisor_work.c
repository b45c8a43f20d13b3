/* SPDX-License-Identifier: MIT */
/* The parts of `cellctl work` that need no server: the arithmetic of leases, a model of both sides of one,
 * the bytes a server sends, result messages. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

#include "common/base/uuid.h"
#include "supervisor/ctl/work_lease.h"
#include "supervisor/ctl/work_message.h"
#include "supervisor/ctl/work_result.h"
#include "supervisor/ctl/work_streams.h"
#include "supervisor/spec/violation.h"

#define S UINT64_C(1000000)

/* ---- leases ---- */

static void test_lease_is_renewed(void **state)
{
    (void)state;
    struct lease l;
    lease_begin(&l, 30 * S, 100 * S);
    assert_int_equal(l.until_us, 130 * S);
    assert_int_equal(lease_step(&l, 101 * S), LEASE_RENEW); /* at once */
    lease_asked(&l, 101 * S);
    assert_int_equal(lease_step(&l, 101 * S + 1), LEASE_HOLDS);
    lease_confirmed(&l, 101 * S, 102 * S);
    assert_int_equal(l.until_us, 131 * S); /* from when it was asked for, not from its confirmation */
    assert_int_equal(lease_step(&l, 110 * S), LEASE_HOLDS);
    assert_int_equal(lease_step(&l, 111 * S), LEASE_RENEW);
}

static void test_lease_asks_again(void **state)
{
    (void)state;
    struct lease l;
    lease_begin(&l, 6 * S, 100 * S);
    lease_asked(&l, 100 * S);
    assert_int_equal(lease_step(&l, 100 * S + 999999), LEASE_HOLDS);
    assert_int_equal(lease_step(&l, 101 * S), LEASE_RENEW);
    lease_asked(&l, 101 * S);
    lease_confirmed(&l, 100 * S, 101 * S + 1); /* the first one after all: it counts as what it is */
    assert_int_equal(l.until_us, 106 * S);
    lease_confirmed(&l, 101 * S, 101 * S + 2);
    assert_int_equal(l.until_us, 107 * S);
    lease_confirmed(&l, 100 * S, 101 * S + 3); /* never backwards */
    assert_int_equal(l.until_us, 107 * S);
}

static void test_lease_is_lost(void **state)
{
    (void)state;
    struct lease l;
    lease_begin(&l, 10 * S, 100 * S);
    assert_int_equal(lease_margin_us(10 * S), 2 * S);
    assert_int_equal(lease_step(&l, 108 * S - 1), LEASE_RENEW);
    lease_asked(&l, 108 * S - 1);
    assert_int_equal(lease_step(&l, 108 * S), LEASE_LOST);
    lease_confirmed(&l, 108 * S - 1, 108 * S + 1); /* too late: what runs is being ended */
    assert_int_equal(lease_step(&l, 108 * S + 2), LEASE_LOST);
}

/* A confirmation that comes after the end says nothing: the server may have given the job away before it
 * heard the renewal. */
static void test_lease_late_confirmation(void **state)
{
    (void)state;
    struct lease l;
    lease_begin(&l, 10 * S, 100 * S);
    lease_asked(&l, 105 * S);
    lease_confirmed(&l, 105 * S, 110 * S);
    assert_int_equal(l.until_us, 110 * S);
    assert_int_equal(lease_step(&l, 110 * S), LEASE_LOST);
    lease_begin(&l, 10 * S, 100 * S);
    lease_confirmed(&l, 106 * S, 105 * S); /* asked for in the future: nobody did */
    assert_int_equal(l.until_us, 110 * S);
}

static void test_lease_margin(void **state)
{
    (void)state;
    for (uint64_t s = LEASE_MIN_S; s <= LEASE_MAX_S; s++) {
        uint64_t margin = lease_margin_us(s * S);
        assert_true(margin >= 300000 && margin <= 10 * S);
        assert_true(margin + s * S / 3 < s * S); /* there is time for a renewal */
    }
}

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* Both sides with a network between that loses and delays: whenever the server would give the job away, the
 * holder has known for as long as its margin that it must end - or learns it in this very moment. */
static void test_lease_model(void **state)
{
    (void)state;
    uint64_t seed = 4711;
    for (int round = 0; round < 20000; round++) {
        uint64_t length = (2 + next_random(&seed) % 30) * S, now = 1000 * S;
        uint64_t server_until = 0, sent = 0, heard_at = 0, back_at = 0;
        struct lease l;
        uint64_t asked = now;
        now += next_random(&seed) % (length / 3); /* the question waits at the server */
        server_until = now + length;
        now += next_random(&seed) % (length / 2); /* and the job on the wire */
        lease_begin(&l, length, asked);
        bool heard = false, given_away = false;
        for (; now < 1000 * S + 5 * length; now += 50000) {
            if (sent && !heard && now >= heard_at) { /* the server takes whatever comes, also too late */
                heard = true;
                if (!given_away)
                    server_until = heard_at + length;
            }
            given_away = given_away || now >= server_until;
            if (sent && heard && now >= back_at) {
                lease_confirmed(&l, sent, now);
                sent = 0;
            }
            enum lease_step step = lease_step(&l, now);
            if (given_away)
                assert_int_equal(step, LEASE_LOST);
            if (step == LEASE_LOST)
                break;
            if (step == LEASE_RENEW && !sent) {
                lease_asked(&l, now);
                sent = now;
                heard = false;
                heard_at = next_random(&seed) % 4 ? now + next_random(&seed) % 400000
                                                  : now + next_random(&seed) % (2 * length);
                back_at = heard_at + next_random(&seed) % 400000;
            }
        }
    }
}

/* ---- what a server says ---- */

static void test_ack_subject(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t delivered, sequence;
    } good[] = {{"$JS.ACK.Q.cellos-work.1.22.33.1796000000000000000.4", 1, 22},
                {"$JS.ACK.hub.ACC.Q.c.7.8.9.1796000000000000000.0", 7, 8},
                {"$JS.ACK._.ACC.Q.c.7.8.9.1796000000000000000.0.rnd", 7, 8}};
    static const char *const bad[] = {"",
                                      "$JS.ACK",
                                      "$JS.ACK.Q.c.0.22.33.1.4",
                                      "$JS.ACK.Q.c.x.22.33.1.4",
                                      "$JS.ACK.Q.c.1..33.1.4",
                                      "$JS.ACK.Q.c.1.2.3.4.5.6",
                                      "$JS.API.Q.c.1.22.33.1.4",
                                      "a.b.c.d.e.f.g.h.i.j.k.l.m.n"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct work_ack a;
        assert_int_equal(work_message_ack(str_of(good[i].text), &a), 0);
        assert_int_equal(a.delivered, good[i].delivered);
        assert_int_equal(a.sequence, good[i].sequence);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct work_ack a = {1, 2};
        assert_int_equal(work_message_ack(str_of(bad[i]), &a), -EBADMSG);
        assert_true(a.delivered == 1 && a.sequence == 2);
    }
    struct work_ack a;
    assert_int_equal(work_message_ack(STR_NONE, &a), -EBADMSG);
}

static void test_stored(void **state)
{
    (void)state;
    char why[WORK_ANSWER_WHY] = "";
    assert_int_equal(work_message_stored(STR_LIT("{\"stream\":\"R\",\"seq\":5}"), why), 0);
    assert_int_equal(work_message_stored(STR_LIT("{\"stream\":\"R\",\"seq\":5,\"duplicate\":true}"), why), 0);
    assert_int_equal(
        work_message_stored(STR_LIT("{\"error\":{\"code\":503,\"description\":\"full\\u001b[1m\"}}"), why),
        -EREMOTEIO);
    assert_string_equal(why, "full\\x1b[1m");
    assert_int_equal(work_message_stored(STR_LIT("{\"error\":7}"), why), -EREMOTEIO);
    assert_int_equal(work_message_stored(STR_LIT("{}"), why), -EBADMSG);
    assert_int_equal(work_message_stored(STR_LIT("[1]"), why), -EBADMSG);
    assert_int_equal(work_message_stored(STR_LIT(""), why), -EBADMSG);
    assert_int_equal(work_message_stored(STR_NONE, why), -EBADMSG);
}

static void test_names(void **state)
{
    (void)state;
    char long_one[WORK_JOB_MAX + 2], token[WORK_TOKEN_LEN + 1], digest[LIMIT_DIGEST + 1];
    memset(long_one, 'x', sizeof(long_one) - 1);
    long_one[sizeof(long_one) - 1] = '\0';
    assert_true(work_message_job_ok(STR_LIT("nightly/2026-11-29#7")));
    assert_true(work_message_job_ok((struct str){long_one, WORK_JOB_MAX}));
    assert_false(work_message_job_ok(str_of(long_one)));
    assert_false(work_message_job_ok(STR_LIT("")));
    assert_false(work_message_job_ok(STR_LIT("a b")));
    assert_false(work_message_job_ok(STR_LIT("a\x1b")));
    work_message_token("abc", token);
    assert_string_equal(token, "ba7816bf8f01cfea414140de5dae2223");
    work_message_digest(STR_LIT("abc"), digest);
    assert_string_equal(digest, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_true(work_subject_ok("cellos.results.Q-1"));
    assert_false(work_subject_ok("cellos..x"));
    assert_false(work_subject_ok(".x"));
    assert_false(work_subject_ok("x."));
    assert_false(work_subject_ok("x.*"));
    assert_false(work_subject_ok("x.>"));
    assert_false(work_subject_ok("$JS.API"));
    assert_false(work_subject_ok("x\"y"));
    assert_false(work_subject_ok(""));
}

/* ---- results ---- */

static void test_result(void **state)
{
    (void)state;
    struct suite_outcome o = {.result = RUN_EXITED, .exit_code = 3, .l7_denied = 1, .dns_denied = 2};
    struct violations v = {0};
    snprintf(o.checkpoint, sizeof(o.checkpoint), "cellos.local/1/2\n7\nroot\n\nsig\n");
    violations_add(&v, "spec.run", "missing", "is required");
    struct work_result r = {.job = "j\"1",
                            .run_id = "r",
                            .host = "h",
                            .delivery = 2,
                            .outcome = "exited",
                            .reason = "bad \xff byte",
                            .final = true,
                            .ended = &o,
                            .log_path = "/l",
                            .violations = &v};
    char *text = work_result_text(&r);
    assert_non_null(text);
    json_t *j = json_loads(text, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(j, "job")), "j\"1");
    assert_string_equal(json_string_value(json_object_get(j, "reason")), "bad \\xff byte");
    assert_int_equal(json_integer_value(json_object_get(j, "exitCode")), 3);
    assert_int_equal(json_integer_value(json_object_get(j, "denied")), 3);
    assert_true(json_is_true(json_object_get(j, "final")));
    assert_string_equal(json_string_value(json_object_get(j, "checkpoint")), o.checkpoint);
    json_t *log = json_object_get(j, "log");
    assert_string_equal(json_string_value(json_object_get(log, "origin")), "cellos.local/1/2");
    assert_string_equal(json_string_value(json_object_get(log, "path")), "/l");
    assert_int_equal(json_array_size(json_object_get(j, "violations")), 1);
    assert_null(json_object_get(j, "signal"));
    json_decref(j);
    free(text);
    violations_done(&v);
    r = (struct work_result){.job = "j", .outcome = "dead"};
    text = work_result_text(&r);
    assert_non_null(text);
    assert_null(strstr(text, "log"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lease_is_renewed),
        cmocka_unit_test(test_lease_asks_again),
        cmocka_unit_test(test_lease_is_lost),
        cmocka_unit_test(test_lease_late_confirmation),
        cmocka_unit_test(test_lease_margin),
        cmocka_unit_test(test_lease_model),
        cmocka_unit_test(test_ack_subject),
        cmocka_unit_test(test_stored),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_result),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
