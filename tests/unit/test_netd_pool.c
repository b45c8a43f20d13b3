/* SPDX-License-Identifier: MIT */
#include "netd/routed/pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after the standard headers it needs */
#include <cmocka.h>

#include "netd/routed/routed_policy.h"

static void is(const struct addr *a, const char *text)
{
    char dst[ADDR_TEXT_MAX];
    assert_string_equal(addr_format(a, dst), text);
}

static void test_slots(void **state)
{
    (void)state;
    struct pool p;
    const char *why = NULL;
    assert_int_equal(pool_parse(STR_LIT("100.64.0.0/16,fd00:c0de::/48"), &p, &why), 0);
    assert_int_equal(p.slots, POOL_SLOTS_MAX);
    struct addr a = pool_ipv4(&p, 1), b = pool_ipv6(&p, 1), c = pool_ipv4(&p, 0xfff - 1);
    is(&a, "100.64.0.1");
    is(&b, "fd00:c0de::1");
    is(&c, "100.64.15.254");
    assert_int_equal(pool_parse(STR_LIT("10.0.0.252/30"), &p, &why), 0);
    assert_int_equal(p.slots, 2);
    a = pool_ipv4(&p, 2);
    is(&a, "10.0.0.254");
    assert_int_equal(pool_ipv6(&p, 1).family, AF_UNSPEC);
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",           "10.0.0.0", "10.0.0.1/8", "10.0.0.0/31", "10.0.0.0/8,", "10.0.0.0/8,11.0.0.0/8",
        "fd00::/127", "eth0"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct pool p;
        const char *why = NULL;
        assert_int_equal(pool_parse(str_of(bad[i]), &p, &why), -EINVAL);
        assert_non_null(why);
    }
}

/* Whatever is not global is in the list that wide rules leave out. */
static void test_special_prefixes_hold_all_that_is_not_global(void **state)
{
    (void)state;
    for (unsigned v = 0; v < 1u << 24; v += 37) {
        struct addr a = {.family = AF_INET, .bytes = {(uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v, 7}};
        bool listed = false;
        for (size_t i = 0; i < routed_policy_nspecial; i++)
            listed |= addr_prefix_contains(&routed_policy_special[i], &a);
        if (addr_classify(&a) != ADDR_GLOBAL)
            assert_true(listed);
    }
    for (unsigned v = 0; v < 1u << 20; v++) { /* 2000::/3 */
        struct addr a = {.family = AF_INET6,
                         .bytes = {(uint8_t)(0x20 | v >> 15), (uint8_t)(v >> 7), (uint8_t)(v << 1), 0xb8}};
        bool listed = false;
        for (size_t i = 0; i < routed_policy_nspecial; i++)
            listed |= addr_prefix_contains(&routed_policy_special[i], &a);
        if (addr_classify(&a) != ADDR_GLOBAL)
            assert_true(listed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_slots), cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_special_prefixes_hold_all_that_is_not_global)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
