/* SPDX-License-Identifier: MIT */
/* How much one role may say of one cell. The clock is the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "signerd/authority.h"
#include "signerd/quota.h"

#define S 1000000000ull

static struct quota_table small(void)
{
    struct quota_table t;

    quota_table_init(&t, &(struct quota_options){.rate = 10, .events = 50, .bytes = 10000});
    return t;
}

static enum quota_verdict say(struct quota *q, const struct quota_table *t, uint32_t role,
                              enum event_type type, uint32_t state, uint64_t now, uint64_t bytes)
{
    const struct quota_event e = {type, state, now};
    enum quota_verdict v = quota_take(q, t, role, &e);

    return v == QUOTA_OK ? quota_charge(q, t, role, &e, bytes) : v;
}

static void test_rate_and_burst(void **state)
{
    const struct quota_table t = small();
    struct quota q = {.due_ns = 0};
    unsigned ok = 0;

    (void)state;
    for (unsigned i = 0; i < 100; i++) /* all in one moment: the burst */
        ok += say(&q, &t, ROLE_PROXYD, EVENT_L7, CELL_STATE_STARTED, 5 * S, 1) == QUOTA_OK;
    assert_int_equal(ok, 10 * LIMIT_QUOTA_BURST_S);
    assert_int_equal(say(&q, &t, ROLE_PROXYD, EVENT_L7, CELL_STATE_STARTED, 5 * S, 1), QUOTA_E_RATE);
    ok = 0;
    for (unsigned i = 0; i < 200; i++) /* one more second, in small steps: the rate */
        ok += say(&q, &t, ROLE_PROXYD, EVENT_L7, CELL_STATE_STARTED, 5 * S + i * (S / 200), 1) == QUOTA_OK;
    assert_in_range(ok, 9, 10);
    /* A clock that does not move, or long silence, gives no more than the burst. */
    q = (struct quota){.due_ns = 0};
    ok = 0;
    for (unsigned i = 0; i < 100; i++)
        ok += say(&q, &t, ROLE_PROXYD, EVENT_L7, CELL_STATE_STARTED, 5000 * S, 1) == QUOTA_OK;
    assert_int_equal(ok, 10 * LIMIT_QUOTA_BURST_S);
}

static void test_totals(void **state)
{
    const struct quota_table t = small();
    struct quota q = {.due_ns = 0}, wide = {.due_ns = 0};
    uint64_t now = S;

    (void)state;
    for (unsigned i = 0; i < 50; i++, now += S)
        assert_int_equal(say(&q, &t, ROLE_PROXYD, EVENT_DNS_QUERY, CELL_STATE_STARTED, now, 1), QUOTA_OK);
    assert_int_equal(say(&q, &t, ROLE_PROXYD, EVENT_DNS_QUERY, CELL_STATE_STARTED, now, 1), QUOTA_E_EVENTS);
    assert_int_equal(say(&wide, &t, ROLE_NETD, EVENT_FLOW, CELL_STATE_STARTED, now, 9999), QUOTA_OK);
    assert_int_equal(say(&wide, &t, ROLE_NETD, EVENT_FLOW, CELL_STATE_STARTED, now, 2), QUOTA_E_BYTES);
    assert_int_equal(say(&wide, &t, ROLE_NETD, EVENT_FLOW, CELL_STATE_STARTED, now, 1), QUOTA_OK);
    assert_int_equal(say(&wide, &t, ROLE_NETD, EVENT_FLOW, CELL_STATE_STARTED, now, 1), QUOTA_E_BYTES);
    assert_int_equal(say(&wide, &t, ROLE_NETD, EVENT_FLOW, CELL_STATE_STARTED, now, UINT64_MAX),
                     QUOTA_E_BYTES);
    assert_string_equal(quota_text(QUOTA_E_BYTES), "quota: more bytes than this role may say of a cell");
}

/* Whatever was said before, the end is sealed. */
static void test_the_end_is_never_refused(void **state)
{
    struct quota_table t = small();
    struct quota q = {.due_ns = UINT64_MAX / 2, .events = UINT64_MAX, .bytes = UINT64_MAX};
    struct quota netd = q, proxyd = q;

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(say(&q, &t, ROLE_SUPERVISOR, EVENT_STARTED, CELL_STATE_OPENED, S, 49152), QUOTA_OK);
        assert_int_equal(say(&q, &t, ROLE_SUPERVISOR, EVENT_COMPLETED, CELL_STATE_STARTED, S, 49152),
                         QUOTA_OK);
        assert_int_equal(say(&q, &t, ROLE_SUPERVISOR, EVENT_DESTROYED, CELL_STATE_ENDED, S, 49152), QUOTA_OK);
    }
    unsigned ok = 0;
    for (unsigned i = 0; i < 1000; i++)
        ok += say(&q, &t, ROLE_SUPERVISOR, EVENT_SUMMARY, CELL_STATE_ENDED, S, 1) == QUOTA_OK;
    assert_in_range(ok, LIMIT_QUOTA_END_EVENTS / 2, LIMIT_QUOTA_END_EVENTS);
    assert_int_equal(say(&q, &t, ROLE_SUPERVISOR, EVENT_SYSCALL_DENIED, CELL_STATE_STARTED, S, 1),
                     QUOTA_E_RATE);
    /* netd's counters, once nothing runs; a flood while it runs leaves their reserve alone. */
    assert_int_equal(say(&netd, &t, ROLE_NETD, EVENT_FLOW, CELL_STATE_STARTED, S, 1), QUOTA_E_RATE);
    assert_int_equal(say(&netd, &t, ROLE_NETD, EVENT_FLOW, CELL_STATE_ENDED, S, 1), QUOTA_OK);
    assert_int_equal(say(&netd, &t, ROLE_NETD, EVENT_FLOW, CELL_STATE_OPENED, S, 1), QUOTA_OK);
    /* proxyd has nothing to say at the end but what is missing. */
    assert_int_equal(say(&proxyd, &t, ROLE_PROXYD, EVENT_L7, CELL_STATE_ENDED, S, 1), QUOTA_E_RATE);
    ok = 0;
    for (unsigned i = 0; i < 1000; i++)
        ok += say(&proxyd, &t, ROLE_PROXYD, EVENT_GAP, CELL_STATE_ENDED, S, 1) == QUOTA_OK;
    assert_in_range(ok, LIMIT_QUOTA_GAPS_BURST / 2, LIMIT_QUOTA_GAPS_BURST);
}

/* What honest use comes to is far below the defaults; an operator's numbers are the operator's. */
static void test_defaults_and_options(void **state)
{
    struct quota_table t;

    (void)state;
    quota_table_init(&t, NULL);
    assert_true(t.of[ROLE_PROXYD].rate >= 8 * 30000);
    assert_true(t.of[ROLE_PROXYD].rate >= LIMIT_QUOTA_DNS_EVENTS * LIMIT_DNS_PER_SECOND);
    assert_true(t.of[ROLE_NETD].rate >= 10 * LIMIT_FLOWS_PER_SEC);
    for (uint32_t role = ROLE_SUPERVISOR; role <= ROLE_PROXYD; role++) {
        assert_int_equal(t.of[role].events, LIMIT_QUOTA_EVENTS);
        assert_int_equal(t.of[role].bytes, LIMIT_QUOTA_BYTES);
    }
    quota_table_init(&t, &(struct quota_options){.rate = LIMIT_QUOTA_RATE_MAX, .events = 7, .bytes = 9});
    assert_int_equal(t.of[ROLE_PROXYD].rate, LIMIT_QUOTA_RATE_MAX);
    assert_int_equal(t.of[ROLE_SUPERVISOR].events, LIMIT_QUOTA_EVENTS);
    assert_int_equal(t.of[ROLE_NETD].events, 7);
    assert_int_equal(t.of[ROLE_PROXYD].bytes, 9);
    struct quota q = {.due_ns = 0};
    assert_int_equal(say(&q, &t, ROLE_PROXYD, EVENT_L7, CELL_STATE_STARTED, S, 1), QUOTA_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rate_and_burst),
        cmocka_unit_test(test_totals),
        cmocka_unit_test(test_the_end_is_never_refused),
        cmocka_unit_test(test_defaults_and_options),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
