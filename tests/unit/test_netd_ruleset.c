/* SPDX-License-Identifier: MIT */
#include "netd/ruleset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
/* after the standard headers it needs */
#include <cmocka.h>

#include "netd/registry.h"

static const enum net_mode modes[] = {NET_MODE_INTERCEPT, NET_MODE_NONE, NET_MODE_ROUTED};

static void test_modes(void **state)
{
    (void)state;
    assert_non_null(ruleset_of(NET_MODE_INTERCEPT));
    assert_non_null(ruleset_of(NET_MODE_NONE));
    assert_non_null(ruleset_of(NET_MODE_ROUTED));
    assert_null(ruleset_of(net_mode_absent));
}

/* Each chain ends in a drop of everything, and rules stand in the order of their chains (the counters rely on
 * it). */
static void test_chains_end_in_a_counted_drop(void **state)
{
    (void)state;
    for (size_t m = 0; m < ARRAY_LEN(modes); m++) {
        const struct ruleset *rs = ruleset_of(modes[m]);
        for (size_t i = 0; i < rs->nrules; i++) {
            const struct ruleset_rule *r = &rs->rules[i];
            bool last = i + 1 == rs->nrules || rs->rules[i + 1].chain != r->chain;
            assert_true(i == 0 || rs->rules[i - 1].chain <= r->chain);
            if (r->chain == RULESET_NEW) /* drops nothing: prerouting goes on */
                continue;
            assert_int_equal(last, r->match[0].kind == RULESET_END);
            if (last) {
                assert_int_equal(r->verdict, RULESET_DROP);
                assert_int_not_equal(r->row, RULESET_UNCOUNTED);
            }
        }
    }
}

/* A row counts rules of one chain and one kind of outcome, and every row has a rule. */
static void test_rows_fit_their_rules(void **state)
{
    (void)state;
    for (size_t m = 0; m < ARRAY_LEN(modes); m++) {
        const struct ruleset *rs = ruleset_of(modes[m]);
        unsigned used[RULESET_ROWS_MAX] = {0};
        for (size_t i = 0; i < rs->nrules; i++) {
            const struct ruleset_rule *r = &rs->rules[i];
            if (r->row == RULESET_UNCOUNTED)
                continue;
            assert_in_range(r->row, 0, rs->nrows - 1);
            bool pass = r->verdict != RULESET_DROP && r->verdict != RULESET_REJECT_RESET &&
                        r->verdict != RULESET_REJECT_PORT;
            assert_int_equal(ruleset_row_action(&rs->rows[r->row]), pass ? ACTION_ALLOW : ACTION_DENY);
            assert_int_equal(rs->rows[r->row].chain, r->chain == RULESET_NEW ? RULESET_PREROUTING : r->chain);
            used[r->row] += r->chain != RULESET_NEW;
        }
        for (size_t i = 0; i < rs->nrows; i++)
            assert_int_not_equal(used[i], 0);
    }
}

static void test_none_accepts_nothing(void **state)
{
    (void)state;
    const struct ruleset *rs = ruleset_of(NET_MODE_NONE);
    for (size_t i = 0; i < rs->nrules; i++)
        assert_int_equal(rs->rules[i].verdict, RULESET_DROP);
}

static void test_comments(void **state)
{
    (void)state;
    const struct ruleset *rs = ruleset_of(NET_MODE_INTERCEPT);
    for (size_t i = 0; i < rs->nrows; i++) {
        struct buf b;
        buf_init(&b, 128);
        ruleset_comment(&rs->rows[i], &b);
        assert_int_equal(ruleset_row_of_comment(rs, buf_str(&b)), i);
        b.len--;
        assert_int_equal(ruleset_row_of_comment(rs, buf_str(&b)), -EBADMSG);
        buf_done(&b);
    }
    assert_int_equal(ruleset_row_of_comment(rs, STR_LIT("")), -EBADMSG);
    assert_int_equal(ruleset_row_of_comment(rs, STR_LIT("flow_proxy_accept")), -EBADMSG);
    assert_int_equal(ruleset_row_of_comment(rs, STR_LIT("flow_default_drop dns")), -EBADMSG);
}

static void test_text_and_digest(void **state)
{
    (void)state;
    uint8_t sum[2][DIGEST_LEN], again[DIGEST_LEN];
    for (size_t m = 0; m < 2; m++) {
        struct buf b;
        buf_init(&b, RULESET_TEXT_MAX);
        ruleset_text(ruleset_of(modes[m]), &b);
        assert_int_equal(b.err, 0);
        digest_sha256(b.data, b.len, again);
        assert_int_equal(ruleset_digest(ruleset_of(modes[m]), sum[m]), 0);
        assert_memory_equal(sum[m], again, DIGEST_LEN);
        buf_done(&b);
    }
    assert_memory_not_equal(sum[0], sum[1], DIGEST_LEN);
}

static void test_registry(void **state)
{
    (void)state;
    struct registry r = {0};
    struct registry_cell *c = NULL, *d = NULL;
    struct str id = STR_LIT("018f0000-0000-7000-8000-000000000000"),
               other = STR_LIT("018f0000-0000-7000-8000-000000000001");
    assert_null(registry_find(&r, id));
    assert_int_equal(registry_add(&r, STR_LIT("018F0000-0000-7000-8000-000000000000"), &c), -EINVAL);
    assert_int_equal(registry_add(&r, STR_LIT(""), &c), -EINVAL);
    assert_int_equal(registry_add(&r, id, &c), 0);
    assert_int_equal(registry_add(&r, id, &d), -EEXIST);
    assert_int_equal(registry_add(&r, other, &d), 0);
    assert_ptr_equal(registry_find(&r, id), c);
    assert_ptr_equal(registry_find(&r, other), d);
    registry_remove(&r, c);
    assert_null(registry_find(&r, id));
    registry_remove(&r, d);
    assert_int_equal(r.n, 0);
}

static void test_registry_is_bounded(void **state)
{
    (void)state;
    struct registry r = {0};
    struct registry_cell *c = NULL;
    char id[LIMIT_RUN_ID + 1];
    for (unsigned i = 0; i <= LIMIT_CELLS; i++) {
        snprintf(id, sizeof(id), "018f0000-0000-7000-8000-%012x", i);
        assert_int_equal(registry_add(&r, str_of(id), &c), i < LIMIT_CELLS ? 0 : -EDQUOT);
    }
    while (r.cells != NULL)
        registry_remove(&r, r.cells);
    assert_int_equal(r.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_modes),
        cmocka_unit_test(test_chains_end_in_a_counted_drop),
        cmocka_unit_test(test_rows_fit_their_rules),
        cmocka_unit_test(test_none_accepts_nothing),
        cmocka_unit_test(test_comments),
        cmocka_unit_test(test_text_and_digest),
        cmocka_unit_test(test_registry),
        cmocka_unit_test(test_registry_is_bounded),
    };
    return digest_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
