/* SPDX-License-Identifier: MIT */
/* Which names may be redacted, and which fields of events a name stands for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proto/redact.h"

static const struct field *field(const struct schema *s, const char *name)
{
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->fields[i].name, name) == 0)
            return &s->fields[i];
    fail_msg("%s has no field %s", s->name, name);
    return NULL;
}

static void test_defaults(void **state)
{
    static struct redact r;
    char why[REDACT_WHY_MAX];

    (void)state;
    assert_false(redact_has(NULL, field(&schema_ev_completed, "argv")));
    assert_false(redact_has(&r, field(&schema_ev_completed, "argv")));
    assert_int_equal(redact_parse(&r, STR_LIT("defaults"), why), REDACT_OK);
    assert_int_equal(r.n, 3);
    assert_true(redact_has(&r, field(&schema_ev_completed, "argv")));
    assert_true(redact_has(&r, field(&schema_ev_violation, "path"))); /* at every depth */
    assert_true(redact_has(&r, field(&schema_ev_destroyed, "reason")));
    assert_false(redact_has(&r, field(&schema_ev_completed, "exitCode")));
    assert_false(redact_has(&r, field(&schema_ev_completed, "argvDigest"))); /* by name, not by meaning */
    assert_false(redact_has(&r, field(&schema_ev_claim_refused, "reason"))); /* signerd's own words */
    assert_int_equal(redact_parse(&r, STR_LIT("argv,defaults,host,host"), why), REDACT_OK);
    assert_int_equal(r.n, 4);
    assert_true(redact_has(&r, field(&schema_ev_l7, "host")));
    assert_true(redact_has(&r, field(&schema_ev_egress, "host")));
}

static void test_refused(void **state)
{
    static const char *const rows[][2] = {
        {"cellId",
         "\"cellId\" cannot be redacted: it repeats the signed subject, and verification compares the two"},
        {"specId", "cannot be redacted"},
        {"runId", "cannot be redacted"},
        {"policyDigest", "cannot be redacted"},
        {"correlationId", "cannot be redacted"},
        {"keysetId", "cannot be redacted"},
        {"issuerKid", "cannot be redacted"},
        {"redacted", "cannot be redacted"},
        {"sequence", "an evidence bundle names its events by it"},
        {"type", "cannot be redacted"},
        {"action", "it is what was decided"},
        {"outcome", "it is how the run ended"},
        {"lost", "what was left out is always counted"},
        {"previousSize", "only events of the log itself have it, and verification reads them"},
        {"previousRoot", "only events of the log itself"},
        {"argvv", "no event has a field \"argvv\": did you mean \"argv\"?"},
        {"queryNam", "did you mean \"queryName\"?"},
        {"Argv", "did you mean \"argv\"?"},
        {"somethingElseEntirely", "no event has a field \"somethingElseEntirely\""},
        {"", "no event has a field \"\""},
        {"argv,", "no event has a field \"\""},
        {"argv path", "no event has a field \"argv path\""},
        {"a\x1b[31m", "no event has a field \"a\\x1b[31m\""},
        {"argv,path,hots", "did you mean \"host\"?"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct redact r = {.n = 0};
        char why[REDACT_WHY_MAX] = "";

        assert_int_equal(redact_parse(&r, str_of(rows[i][0]), why), REDACT_REFUSED);
        if (!strstr(why, rows[i][1]))
            fail_msg("%s: %s", rows[i][0], why);
    }
}

static void test_every_name_and_the_limit(void **state)
{
    static struct redact r;
    char why[REDACT_WHY_MAX];
    bool full = false;

    (void)state;
    /* Every name of the tables is either taken or refused with a reason; the table of fields never fills. */
    for (uint64_t type = 1; type < _EVENT_TYPE_MAX; type++) {
        const struct schema *s = event_row(type)->data;

        for (size_t i = 0; i < s->n; i++) {
            size_t before = r.n;

            why[0] = '\0';
            if (redact_add(&r, str_of(s->fields[i].name), why) == REDACT_OK) {
                if (event_row(type)->roles != 1u << ROLE_SIGNERD)
                    assert_true(redact_has(&r, &s->fields[i]));
            } else {
                assert_true(why[0] != '\0');
                assert_int_equal(r.n, before);
                full |= strstr(why, "more than") != NULL;
            }
        }
    }
    assert_true(full);
    assert_int_equal(r.n, LIMIT_REDACT_NAMES);
    assert_true(r.nslots < REDACT_SLOTS / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_every_name_and_the_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
