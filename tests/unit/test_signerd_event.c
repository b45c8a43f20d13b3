/* SPDX-License-Identifier: MIT */
/* Typed fields to JSON: exact bytes, escaping, absence, limits; and the collapsing of refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/evidence/json_check.h"
#include "signerd/event.h"
#include "signerd/refused.h"

static const struct event_stamps stamps = {.cell_id = {"c", 1}, .run_id = {"r", 1}};

static void expect(enum event_type type, const void *rec, const struct event_stamps *s, const char *want)
{
    _cleanup_(buf_done) struct buf b = {.data = NULL};

    buf_init(&b, LIMIT_EVENT_DATA);
    assert_int_equal(event_render(event_row(type), rec, s, &b), 0);
    assert_string_equal(buf_cstr(&b), want);
    assert_true(json_check_object(buf_str(&b)));
}

static void test_scalars_and_absence(void **state)
{
    const struct str argv[] = {STR_LIT("sh"), STR_LIT("-c"), STR_LIT("")};
    struct ev_usage usage = {.cpu_micros = OPT_UINT(UINT64_MAX)};
    struct ev_completed ev = {
        .argv = {argv, 3}, .exit_code = -1, .duration_ms = 0, .signal = OPT_UINT(9), .usage = &usage};

    (void)state;
    expect(EVENT_COMPLETED, &ev, &stamps,
           "{\"cellId\":\"c\",\"specId\":\"c\",\"runId\":\"r\",\"argv\":[\"sh\",\"-c\",\"\"],\"exitCode\":-1,"
           "\"durationMs\":0,\"signal\":9,\"usage\":{\"cpuMicros\":18446744073709551615}}");
    ev.signal.set = false;
    ev.usage = NULL;
    ev.argv_truncated = OPT_BOOL(false);
    ev.argv = (struct strs){argv, 0};
    expect(EVENT_COMPLETED, &ev, &stamps,
           "{\"cellId\":\"c\",\"specId\":\"c\",\"runId\":\"r\",\"argv\":[],\"argvTruncated\":false,"
           "\"exitCode\":-1,"
           "\"durationMs\":0}");
}

static void test_stamps(void **state)
{
    struct ev_residue_removed ev = {.kind = STR_LIT("cgroup"), .name = STR_LIT("x")};
    struct event_stamps all = {STR_LIT("c"), STR_LIT("r"), STR_LIT("sha256:0"), STR_LIT("job"), NULL};

    (void)state;
    expect(EVENT_RESIDUE_REMOVED, &ev, &all,
           "{\"cellId\":\"c\",\"specId\":\"c\",\"runId\":\"r\",\"policyDigest\":\"sha256:0\","
           "\"correlationId\":\"job\","
           "\"kind\":\"cgroup\",\"name\":\"x\"}");
    expect(EVENT_RESIDUE_REMOVED, &ev, &(struct event_stamps){.cell_id = STR_NONE},
           "{\"kind\":\"cgroup\",\"name\":\"x\"}");
}

static void test_lists_and_enums(void **state)
{
    const struct ev_dns_record answers[] = {{STR_LIT("a"), STR_LIT("A"), 60, STR_LIT("192.0.2.1")},
                                            {STR_LIT("a"), STR_LIT("AAAA"), 0, STR_LIT("2001:db8::1")}};
    struct ev_dns_query ev = {.action = ACTION_DENY, .reason_code = DNS_MALFORMED_QUERY};

    (void)state;
    expect(EVENT_DNS_QUERY, &ev, &(struct event_stamps){.cell_id = STR_NONE},
           "{\"action\":\"deny\",\"reasonCode\":\"malformed_query\"}");
    ev.cached = OPT_BOOL(true);
    ev.answers.v = answers;
    ev.answers.n = 2;
    expect(EVENT_DNS_QUERY, &ev, &(struct event_stamps){.cell_id = STR_NONE},
           "{\"action\":\"deny\",\"reasonCode\":\"malformed_query\",\"cached\":true,\"answers\":["
           "{\"name\":\"a\",\"type\":\"A\",\"ttl\":60,\"data\":\"192.0.2.1\"},"
           "{\"name\":\"a\",\"type\":\"AAAA\",\"ttl\":0,\"data\":\"2001:db8::1\"}]}");
}

/* Scalars, lists and objects, at every depth; what is absent stays absent, the stamps stay. */
static void test_redacted(void **state)
{
    const struct str argv[] = {STR_LIT("sh"), STR_LIT("-c")};
    const struct ev_violation v = {STR_LIT("spec.run"), STR_LIT("x"), STR_LIT("m")};
    struct ev_usage usage = {.cpu_micros = OPT_UINT(1)};
    struct ev_completed ev = {.argv = {argv, 2}, .exit_code = 7, .usage = &usage};
    struct ev_rejected rejected = {.violations = {&v, 1}};
    struct ev_claim_refused own = {ROLE_NETD, STR_LIT("x"), STR_NONE, STR_LIT("why"), 1};
    struct redact r = {.n = 0};
    struct event_stamps s = stamps;
    char why[REDACT_WHY_MAX];

    (void)state;
    s.redact = &r;
    expect(EVENT_COMPLETED, &ev, &s,
           "{\"cellId\":\"c\",\"specId\":\"c\",\"runId\":\"r\",\"argv\":[\"sh\",\"-c\"],\"exitCode\":7,"
           "\"durationMs\":0,\"usage\":{\"cpuMicros\":1}}");
    assert_int_equal(redact_parse(&r, STR_LIT("defaults,usage,exitCode,spawnError"), why), REDACT_OK);
    expect(EVENT_COMPLETED, &ev, &s,
           "{\"cellId\":\"c\",\"specId\":\"c\",\"runId\":\"r\",\"argv\":[\"[redacted]\"],"
           "\"exitCode\":\"[redacted]\",\"durationMs\":0,\"usage\":{}}");
    ev.argv.n = 0; /* how much there was is not said either */
    ev.usage = NULL;
    expect(EVENT_COMPLETED, &ev, &s,
           "{\"cellId\":\"c\",\"specId\":\"c\",\"runId\":\"r\",\"argv\":[\"[redacted]\"],"
           "\"exitCode\":\"[redacted]\",\"durationMs\":0}");
    expect(EVENT_REJECTED, &rejected, &s,
           "{\"cellId\":\"c\",\"specId\":\"c\",\"runId\":\"r\",\"violations\":[{\"path\":\"[redacted]\","
           "\"rule\":\"x\",\"message\":\"m\"}]}");
    assert_int_equal(redact_parse(&r, STR_LIT("violations,process"), why), REDACT_OK);
    expect(EVENT_REJECTED, &rejected, &s,
           "{\"cellId\":\"c\",\"specId\":\"c\",\"runId\":\"r\",\"violations\":[\"[redacted]\"]}");
    expect(EVENT_CLAIM_REFUSED, &own, &s, /* signerd's own words */
           "{\"cellId\":\"c\",\"specId\":\"c\",\"runId\":\"r\",\"role\":\"netd\",\"type\":\"x\","
           "\"reason\":\"why\",\"count\":1}");
}

static void test_escaping(void **state)
{
    static const char *const pairs[][2] = {
        {"a\"b\\c/", "\"a\\\"b\\\\c/\""},
        {"\n\t\x1b[31m\x7f", "\"\\u000a\\u0009\\u001b[31m\\u007f\""},
        {"\xc2\x80\xc2\x9f\xc2\xa0",
         "\"\\u0080\\u009f\xc2\xa0\""}, /* C1 is escaped, what follows it is not */
        {"\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xa7", "\"\\u2028\\u2029\xe2\x80\xa7\""},
        {"\xd8\x9c\xd8\x9b", "\"\\u061c\xd8\x9b\""},
        {"\xe2\x80\xae\xe2\x80\xaa\xe2\x80\x8e\xe2\x80\x90", "\"\\u202e\\u202a\\u200e\xe2\x80\x90\""},
        {"\xe2\x81\xa6\xe2\x81\xa9\xe2\x81\xaa", "\"\\u2066\\u2069\xe2\x81\xaa\""},
        {"\xf0\x9f\xa4\xa1", "\"\xf0\x9f\xa4\xa1\""},
        {"", "\"\""},
    };
    _cleanup_(buf_done) struct buf b = {.data = NULL};

    (void)state;
    buf_init(&b, 1024);
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        buf_clear(&b);
        event_put_string(&b, str_of(pairs[i][0]));
        assert_string_equal(buf_cstr(&b), pairs[i][1]);
    }
}

static void test_too_large(void **state)
{
    static char quotes[LIMIT_EVENT_DATA];
    struct str argv = {quotes, 32768};
    struct ev_completed ev = {.argv = {&argv, 1}};
    _cleanup_(buf_done) struct buf b = {.data = NULL}, wide = {.data = NULL};

    (void)state;
    memset(quotes, '\x01', sizeof(quotes)); /* six bytes each once escaped */
    buf_init(&b, LIMIT_EVENT_DATA);
    buf_init(&wide, 1u << 20);
    assert_int_equal(event_render(event_row(EVENT_COMPLETED), &ev, &stamps, &b), -EMSGSIZE);
    assert_int_equal(event_render(event_row(EVENT_COMPLETED), &ev, &stamps, &wide), -EMSGSIZE);
}

static void test_refusals_collapse(void **state)
{
    static struct refused r;
    struct refused_kind *k;

    (void)state;
    k = refused_add(&r, ROLE_PROXYD, EVENT_STARTED, "x", NULL, 1000);
    assert_non_null(k); /* the first at once */
    assert_int_equal(k->count, 1);
    assert_string_equal(refused_type_text(k), "lifecycle.v1.started");
    k->count = 0;
    for (unsigned i = 0; i < 500; i++)
        assert_null(refused_add(&r, ROLE_PROXYD, EVENT_STARTED, "x", NULL, 2000));
    assert_null(refused_due(&r, 3000, false)); /* the second is not over */
    k = refused_due(&r, 1000 + LIMIT_REFUSAL_WINDOW_US, false);
    assert_non_null(k);
    assert_int_equal(k->count, 500);
    k->count = 0;
    assert_null(refused_due(&r, 1001 + 2 * LIMIT_REFUSAL_WINDOW_US, false));
    assert_int_equal(r.n, 0); /* nothing new: forgotten */
}

static void test_refusals_are_bounded(void **state)
{
    static struct refused r;
    uint64_t reported = 0, waiting = 0;
    struct refused_kind *k;

    (void)state;
    for (unsigned i = 0; i < 10000; i++) {
        char run[UUID_TEXT_LEN + 1];

        (void)snprintf(run, sizeof(run), "%u", i);
        k = refused_add(&r, ROLE_PROXYD, EVENT_L7, "x", run, 1000);
        if (k) {
            reported += k->count;
            k->count = 0;
        }
    }
    assert_true(r.n < LIMIT_REFUSAL_KINDS);
    while ((k = refused_due(&r, 2000, true))) {
        assert_string_equal(refused_type_text(k), "various");
        waiting += k->count;
        k->count = 0;
    }
    assert_int_equal(reported + waiting, 10000); /* none is lost from the count */
}

/* One role's flood of refusals leaves the others' as they are, and no count of an event that was lost. */
static void test_refusals_of_a_role_are_its_own(void **state)
{
    static struct refused r;
    struct refused_kind *k, lost;

    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        char run[UUID_TEXT_LEN + 1];

        (void)snprintf(run, sizeof(run), "%u", i);
        (void)refused_add(&r, ROLE_PROXYD, EVENT_L7, "x", run, 1000);
    }
    for (uint32_t role = ROLE_SUPERVISOR; role <= ROLE_NETD; role++) {
        k = refused_add(&r, role, EVENT_FLOW, "y", "run", 1000);
        assert_non_null(k);
        assert_string_equal(refused_type_text(k), "observability.v1.network_flow_decision");
        assert_string_equal(k->run_id, "run");
    }
    k = &r.kind[r.n - 1];
    lost = *k;
    k->count = 0;
    refused_again(&r, &lost, 2000);
    assert_int_equal(k->count, 1);
    lost.count = 5;
    refused_again(&r, &lost, 2000);
    assert_int_equal(k->count, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scalars_and_absence),
        cmocka_unit_test(test_stamps),
        cmocka_unit_test(test_lists_and_enums),
        cmocka_unit_test(test_redacted),
        cmocka_unit_test(test_escaping),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_refusals_collapse),
        cmocka_unit_test(test_refusals_are_bounded),
        cmocka_unit_test(test_refusals_of_a_role_are_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
