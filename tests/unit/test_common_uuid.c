/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/uuid.h"

#define COUNT   20000u
#define THREADS 4u

static void form_and_time(void **st)
{
    (void)st;
    uint64_t before = clock_realtime_ms();
    char id[UUID_TEXT_LEN + 1];
    uuid_v7(id);
    uint64_t after = clock_realtime_ms();
    assert_int_equal(strlen(id), UUID_TEXT_LEN);
    assert_true(uuid_v7_valid(str_of(id)));
    char hex[13];
    memcpy(hex, id, 8);
    memcpy(hex + 8, id + 9, 4);
    hex[12] = 0;
    uint64_t ms = strtoull(hex, NULL, 16);
    assert_true(ms >= before && ms <= after);
}

static void strictly_grows(void **st)
{
    (void)st;
    char last[UUID_TEXT_LEN + 1], id[UUID_TEXT_LEN + 1];
    uuid_v7(last);
    for (unsigned i = 0; i < COUNT; i++) {
        uuid_v7(id);
        /* the first 18 characters are the time; the random part never decides */
        if (memcmp(id, last, 18) <= 0)
            fail_msg("%s does not come after %s", id, last);
        memcpy(last, id, sizeof(id));
    }
}

static void *make_many(void *arg)
{
    char(*ids)[UUID_TEXT_LEN + 1] = arg;
    for (unsigned i = 0; i < COUNT; i++)
        uuid_v7(ids[i]);
    return NULL;
}

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, UUID_TEXT_LEN);
}

static void unique_over_threads(void **st)
{
    (void)st;
    static char ids[THREADS * COUNT][UUID_TEXT_LEN + 1];
    pthread_t t[THREADS];
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, make_many, ids[i * COUNT]), 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(t[i], NULL), 0);
    for (unsigned i = 0; i < THREADS * COUNT; i++)
        if (i % COUNT > 0 && memcmp(ids[i - 1], ids[i], 18) >= 0)
            fail_msg("went backwards");
    qsort(ids, THREADS * COUNT, sizeof(ids[0]), compare);
    for (unsigned i = 1; i < THREADS * COUNT; i++)
        if (memcmp(ids[i - 1], ids[i], 18) == 0)
            fail_msg("the same time twice: %s", ids[i]);
}

static void validation(void **st)
{
    (void)st;
    static const char good[] = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"; /* RFC 9562 appendix A.6 */
    assert_true(uuid_v7_valid(str_of(good)));
    static const char *const bad[] = {
        "",
        "017F22E2-79B0-7CC3-98C4-DC0C0C07398F",
        "017f22e2-79b0-4cc3-98c4-dc0c0c07398f",
        "017f22e2-79b0-7cc3-c8c4-dc0c0c07398f",
        "017f22e2-79b0-7cc3-78c4-dc0c0c07398f",
        "017f22e279b0-7cc3-98c4-dc0c0c07398f0",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398f0",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398g",
        "{17f22e2-79b0-7cc3-98c4-dc0c0c07398}",
        "017f22e2-79b0-7cc3-98c4_dc0c0c07398f",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (uuid_v7_valid(str_of(bad[i])))
            fail_msg("accepted %s", bad[i]);
    char nul[UUID_TEXT_LEN];
    memcpy(nul, good, sizeof(nul));
    nul[35] = 0;
    assert_false(uuid_v7_valid((struct str){nul, sizeof(nul)}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(form_and_time),
        cmocka_unit_test(strictly_grows),
        cmocka_unit_test(unique_over_threads),
        cmocka_unit_test(validation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
