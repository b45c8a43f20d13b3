/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "signerd/token_uri.h"

static void test_good(void **state)
{
    struct token_uri u;
    const char *why;

    (void)state;
    assert_int_equal(
        token_uri_parse(STR_LIT("pkcs11:token=My%20token;id=%01%fF;type=private?pin-source=file:///p"
                                "&module-path=/m.so&x-token-dir=/t"),
                        &u, &why),
        0);
    assert_string_equal(u.token, "My token");
    assert_int_equal(u.id_len, 2);
    assert_int_equal(u.id[1], 0xff);
    assert_string_equal(u.pin_file, "/p");
    assert_string_equal(u.module, "/m.so");
    assert_string_equal(u.token_dir, "/t");
}

static void test_bad(void **state)
{
    static const char *const bad[] = {
        "",
        "pkcs11:",
        "PKCS11:token=t;object=o?module-path=/m&pin-source=/p",
        "pkcs11:token=t;object=o?module-path=m&pin-source=/p",
        "pkcs11:token=t;object=o?module-path=/m&pin-source=|cmd",
        "pkcs11:token=t;object=o?module-path=/m",
        "pkcs11:token=t?module-path=/m&pin-source=/p",
        "pkcs11:object=o?module-path=/m&pin-source=/p",
        "pkcs11:token=t;token=u;object=o?module-path=/m&pin-source=/p",
        "pkcs11:token=t;object=o%00?module-path=/m&pin-source=/p",
        "pkcs11:token=t;object=o%4?module-path=/m&pin-source=/p",
        "pkcs11:token=t;object=%?module-path=/m&pin-source=/p",
        "pkcs11:token=t;object=?module-path=/m&pin-source=/p",
        "pkcs11:token=t;object=o;unknown=1?module-path=/m&pin-source=/p",
        "pkcs11:token=t;object=o?module-path=/m&pin-value=1234",
        "pkcs11:token=012345678901234567890123456789012;object=o?module-path=/m&pin-source=/p",
    };
    struct token_uri u;
    const char *why;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        why = NULL;
        if (token_uri_parse(str_of(bad[i]), &u, &why) == 0)
            fail_msg("accepted: %s", bad[i]);
        assert_non_null(why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
