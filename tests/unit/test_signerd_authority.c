/* SPDX-License-Identifier: MIT */
/* Who may say what, when; and which runs are known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/cleanup.h"
#include "signerd/authority.h"
#include "signerd/cells.h"

static void test_every_row(void **state)
{
    static const uint32_t states[] = {AUTHORITY_CLOSED, CELL_STATE_OPENED, CELL_STATE_STARTED,
                                      CELL_STATE_ENDED, CELL_STATE_LOG};

    (void)state;
    for (uint64_t type = 0; type <= _EVENT_TYPE_MAX; type++) {
        const struct event_row *row = event_row(type);

        for (uint32_t role = 0; role < 40; role++)
            for (size_t i = 0; i < ARRAY_LEN(states); i++) {
                enum authority_verdict v = authority_judge(role, row, states[i]);

                if (!row)
                    assert_int_equal(v, AUTHORITY_E_TYPE);
                else if (role >= 32 || !(row->roles & 1u << role))
                    assert_int_equal(v, AUTHORITY_E_ROLE);
                else if (states[i] == AUTHORITY_CLOSED)
                    assert_int_equal(v, AUTHORITY_E_CELL);
                else
                    assert_int_equal(v, row->states & states[i] ? AUTHORITY_OK : AUTHORITY_E_STATE);
            }
    }
}

/* The promises of the vocabulary, spelled out: a wrong edit of the table fails here. */
static void test_promises(void **state)
{
    (void)state;
    assert_int_equal(authority_judge(ROLE_PROXYD, event_row(EVENT_STARTED), CELL_STATE_OPENED),
                     AUTHORITY_E_ROLE);
    assert_int_equal(authority_judge(ROLE_NETD, event_row(EVENT_DESTROYED), CELL_STATE_ENDED),
                     AUTHORITY_E_ROLE);
    assert_int_equal(authority_judge(ROLE_SUPERVISOR, event_row(EVENT_L7), CELL_STATE_STARTED),
                     AUTHORITY_E_ROLE);
    assert_int_equal(authority_judge(ROLE_NETD, event_row(EVENT_DNS_QUERY), CELL_STATE_STARTED),
                     AUTHORITY_E_ROLE);
    assert_int_equal(authority_judge(ROLE_PROXYD, event_row(EVENT_L7), CELL_STATE_OPENED), AUTHORITY_E_STATE);
    assert_int_equal(authority_judge(ROLE_PROXYD, event_row(EVENT_L7), CELL_STATE_STARTED), AUTHORITY_OK);
    assert_int_equal(authority_judge(ROLE_SUPERVISOR, event_row(EVENT_STARTED), CELL_STATE_STARTED),
                     AUTHORITY_E_STATE);
    assert_int_equal(authority_judge(ROLE_SUPERVISOR, event_row(EVENT_COMPLETED), CELL_STATE_ENDED),
                     AUTHORITY_E_STATE);
    for (enum role_name role = ROLE_SUPERVISOR; role <= ROLE_PROXYD; role++) {
        assert_int_equal(authority_judge(role, event_row(EVENT_RECOVERED), CELL_STATE_LOG),
                         role == ROLE_SIGNERD ? AUTHORITY_OK : AUTHORITY_E_ROLE);
        assert_int_equal(authority_judge(role, event_row(EVENT_CLAIM_REFUSED), CELL_STATE_STARTED),
                         AUTHORITY_E_ROLE);
    }
}

/* The vocabulary's table, written down a second time: a letter a role (s, n, p, S for signerd), then the
 * states (o opened, s started, e ended, L the log itself). Exports, keysets' and the like come with what
 * makes them. */
static const struct {
    const char *suffix, *roles, *states;
} vocabulary[] = {
    {"lifecycle.v1.started", "s", "o"},
    {"lifecycle.v1.destroyed", "s", "ose"},
    {"lifecycle.v1.rejected", "s", "o"},
    {"command.v1.completed", "s", "s"},
    {"identity.v1.materialized", "s", "os"},
    {"identity.v1.revoked", "s", "ose"},
    {"compliance.v1.summary", "s", "ose"},
    {"observability.v1.network_scope", "s", "o"},
    {"observability.v1.network_enforcement", "n", "o"},
    {"observability.v1.network_flow_decision", "n", "ose"},
    {"observability.v1.dns_query", "p", "se"},
    {"observability.v1.dns_answer", "p", "se"},
    {"observability.v1.l7_egress_decision", "p", "se"},
    {"observability.v1.homeostasis", "s", "se"},
    {"observability.v1.gap", "snpS", "oseL"},
    {"evidence_bundle.v1.emitted", "s", "ose"},
    {"lifecycle.v1.residue_removed", "sn", "ose"},
    {"observability.v1.syscall_denied", "s", "se"},
    {"log.v1.claim_refused", "S", "oseL"},
    {"log.v1.recovered", "S", "L"},
    {"log.v1.pruned", "S", "L"},
    {"log.v1.keyset_changed", "S", "L"},
    {"observability.v1.dns_authority_drift", "p", "se"},
    {"observability.v1.dns_authority_rebind_threshold", "p", "se"},
    {"observability.v1.dns_authority_rebind_rejected", "p", "se"},
    {"observability.v1.dns_authority_dnssec_failed", "p", "se"},
    {"lifecycle.v1.policy_changed", "s", "se"},
};

static bool vocabulary_allows(const char *suffix, uint32_t role, uint32_t state)
{
    static const char roles[] = {
        [ROLE_SUPERVISOR] = 's', [ROLE_NETD] = 'n', [ROLE_PROXYD] = 'p', [ROLE_SIGNERD] = 'S'};
    int s = state == CELL_STATE_OPENED    ? 'o'
            : state == CELL_STATE_STARTED ? 's'
            : state == CELL_STATE_ENDED   ? 'e'
            : state == CELL_STATE_LOG     ? 'L'
                                          : '-';

    for (size_t i = 0; i < ARRAY_LEN(vocabulary); i++)
        if (strcmp(vocabulary[i].suffix, suffix) == 0)
            return role < sizeof(roles) && roles[role] && strchr(vocabulary[i].roles, roles[role]) &&
                   strchr(vocabulary[i].states, s);
    fail_msg("%s is not in the table of this test", suffix);
    return false;
}

static void test_every_triple(void **state)
{
    (void)state;
    assert_int_equal(ARRAY_LEN(vocabulary), _EVENT_TYPE_MAX - 1);
    for (uint64_t type = 1; type < _EVENT_TYPE_MAX; type++)
        for (uint32_t role = 0; role <= ROLE_INIT + 1; role++)
            for (uint32_t st = 0; st <= 16; st = st ? st << 1 : 1) {
                bool ok = authority_judge(role, event_row(type), st) == AUTHORITY_OK;

                if (ok != vocabulary_allows(event_row(type)->suffix, role, st))
                    fail_msg("%s by role %u in state %u: %s", event_row(type)->suffix, role, st,
                             ok ? "allowed" : "refused");
            }
}

static void test_walk(void **state)
{
    uint32_t s = CELL_STATE_OPENED;

    (void)state;
    assert_int_equal(authority_next(EVENT_NETWORK_SCOPE, s), CELL_STATE_OPENED);
    s = authority_next(EVENT_STARTED, s);
    assert_int_equal(s, CELL_STATE_STARTED);
    assert_int_equal(authority_next(EVENT_L7, s), CELL_STATE_STARTED);
    s = authority_next(EVENT_COMPLETED, s);
    assert_int_equal(s, CELL_STATE_ENDED);
    assert_int_equal(authority_next(EVENT_FLOW, s), CELL_STATE_ENDED);
    s = authority_next(EVENT_DESTROYED, s);
    assert_int_equal(s, AUTHORITY_CLOSED);
    for (uint64_t type = 1; type < _EVENT_TYPE_MAX; type++)
        for (uint32_t role = 1; role <= ROLE_INIT; role++)
            assert_int_not_equal(authority_judge(role, event_row(type), s), AUTHORITY_OK);
    assert_true(authority_is_end(EVENT_DESTROYED));
    assert_true(authority_is_end(EVENT_COMPLETED));
    assert_false(authority_is_end(EVENT_L7));
    assert_false(authority_is_end(EVENT_STARTED));
}

#define RUN "0198c0de-0000-7000-8000-000000000001"

static void test_cells(void **state)
{
    struct cells_open o = {.run_id = STR_LIT(RUN), .cell_id = STR_LIT("web-1")};
    struct cell *cell;
    struct cells *c;
    bool unsure;

    (void)state;
    assert_int_equal(cells_new(&c), 0);
    assert_null(cells_find(c, STR_LIT(RUN)));
    assert_int_equal(cells_add(c, &o, &cell), 0);
    assert_ptr_equal(cells_find(c, STR_LIT(RUN)), cell);
    assert_string_equal(cell->cell_id, "web-1");
    assert_string_equal(cell->policy_digest, "");
    assert_int_equal(cell->state, CELL_STATE_OPENED);
    assert_int_equal(cells_add(c, &o, &cell), -EEXIST);
    assert_false(cells_was_closed(c, STR_LIT(RUN), &unsure));
    cell->state = AUTHORITY_CLOSED;
    cells_remove(c, cell);
    assert_int_equal(cells_count(c), 0);
    assert_true(cells_was_closed(c, STR_LIT(RUN), &unsure));
    cells_free(c);
}

static void test_bad_ids(void **state)
{
    static const char *const cells_bad[] = {"", ".", "-a", "a/b", "a b", "a..b", "a\"b", "_x"};
    static const char *const runs_bad[] = {"", "0198c0de-0000-4000-8000-000000000001",
                                           "0198C0DE-0000-7000-8000-000000000001"};
    struct cell *cell;
    struct cells *c;
    char longest[LIMIT_CELL_ID + 2];

    (void)state;
    assert_int_equal(cells_new(&c), 0);
    for (size_t i = 0; i < ARRAY_LEN(cells_bad); i++)
        assert_int_equal(
            cells_add(c, &(struct cells_open){STR_LIT(RUN), str_of(cells_bad[i]), STR_NONE, STR_NONE}, &cell),
            -EINVAL);
    for (size_t i = 0; i < ARRAY_LEN(runs_bad); i++)
        assert_int_equal(
            cells_add(c, &(struct cells_open){str_of(runs_bad[i]), STR_LIT("a"), STR_NONE, STR_NONE}, &cell),
            -EINVAL);
    assert_int_equal(
        cells_add(c, &(struct cells_open){STR_LIT(RUN), STR_LIT("a"), STR_LIT("sha256:x"), STR_NONE}, &cell),
        -EINVAL);
    assert_int_equal(
        cells_add(c, &(struct cells_open){STR_LIT(RUN), STR_LIT("a"), STR_NONE, STR_LIT("")}, &cell),
        -EINVAL);
    memset(longest, 'a', sizeof(longest));
    assert_int_equal(
        cells_add(c, &(struct cells_open){STR_LIT(RUN), {longest, LIMIT_CELL_ID + 1}, STR_NONE, STR_NONE},
                  &cell),
        -EINVAL);
    assert_int_equal(
        cells_add(c, &(struct cells_open){STR_LIT(RUN), {longest, LIMIT_CELL_ID}, STR_NONE, STR_NONE}, &cell),
        0);
    cells_free(c);
}

static void test_limit_and_forgetting(void **state)
{
    char run[UUID_TEXT_LEN + 1], first[UUID_TEXT_LEN + 1] = "";
    struct cell *cell;
    struct cells *c;
    bool unsure;

    (void)state;
    assert_int_equal(cells_new(&c), 0);
    for (unsigned i = 0; i < LIMIT_CELLS; i++) {
        uuid_v7(run);
        assert_int_equal(
            cells_add(c, &(struct cells_open){str_of(run), STR_LIT("a"), STR_NONE, STR_NONE}, &cell), 0);
    }
    uuid_v7(run);
    assert_int_equal(cells_add(c, &(struct cells_open){str_of(run), STR_LIT("a"), STR_NONE, STR_NONE}, &cell),
                     -EDQUOT);
    cells_free(c);

    /* Used-up ids fall out of the ring, but never silently. */
    assert_int_equal(cells_new(&c), 0);
    for (unsigned i = 0; i <= LIMIT_CLOSED_RUNS; i++) {
        uuid_v7(run);
        if (i == 0)
            memcpy(first, run, sizeof(first));
        assert_int_equal(
            cells_add(c, &(struct cells_open){str_of(run), STR_LIT("a"), STR_NONE, STR_NONE}, &cell), 0);
        cell->state = AUTHORITY_CLOSED;
        cells_remove(c, cell);
    }
    assert_true(cells_was_closed(c, str_of(run), &unsure));
    assert_false(cells_was_closed(c, str_of(first), &unsure));
    assert_true(unsure);
    cells_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row),
        cmocka_unit_test(test_promises),
        cmocka_unit_test(test_every_triple),
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_cells),
        cmocka_unit_test(test_bad_ids),
        cmocka_unit_test(test_limit_and_forgetting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
