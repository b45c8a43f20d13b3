/* SPDX-License-Identifier: MIT */
/* Values of secrets in texts and records: every form is found wherever it lies, nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "common/base/clock.h"
#include "proto/codec.h"
#include "proto/secret_form.h"
#include "proto/secret_record.h"

#define NAME  STR_LIT("npm-token")
#define VALUE "Tr0ub4dor&3+x/Y?z~\xc3\xa9\n\"q\""

static const uint8_t key[SECRET_KEY_LEN] = {1, 2, 3};

static struct secret_marks *marks_of(const char *value)
{
    struct secret_marks *m = NULL;

    assert_int_equal(secret_marks_new(key, 1, LIMIT_SECRET_FORMS, &m), 0);
    assert_int_equal(secret_marks_add_value(m, NAME, str_of(value)), 0);
    secret_marks_seal(m);
    return m;
}

static bool found(const struct secret_marks *m, const char *before, const void *p, size_t n,
                  const char *after)
{
    struct buf b;
    buf_init(&b, LIMIT_CLAIM_BODY);
    buf_puts(&b, before);
    buf_put(&b, p, n);
    buf_puts(&b, after);
    const char *name = secret_marks_find(m, buf_str(&b));
    buf_done(&b);
    if (name)
        assert_string_equal(name, "npm-token");
    return name != NULL;
}

static void test_raw(void **state)
{
    _cleanup_(secret_marks_freep) struct secret_marks *m = marks_of(VALUE);
    const size_t n = strlen(VALUE);

    (void)state;
    assert_true(found(m, "", VALUE, n, ""));
    assert_true(found(m, "https://u:", VALUE, n, "@host/"));
    assert_true(found(m, "", VALUE, n, "x"));
    assert_true(found(m, "TR0UB4DOR", "tr0ub4dor&3+X/y?Z~\xc3\xa9\n\"Q\"", n, "")); /* case does not count */
    assert_false(found(m, "", VALUE, n - 1, ""));
    assert_false(found(m, "", &VALUE[1], n - 1, ""));
    assert_false(found(m, "", "", 0, ""));
    assert_null(secret_marks_find(NULL, STR_LIT(VALUE)));
    assert_null(secret_marks_find(m, STR_NONE));
}

/* libsodium is the oracle for base64 and hex. */
static void test_base64_and_hex(void **state)
{
    static const int variants[] = {sodium_base64_VARIANT_ORIGINAL, sodium_base64_VARIANT_ORIGINAL_NO_PADDING,
                                   sodium_base64_VARIANT_URLSAFE, sodium_base64_VARIANT_URLSAFE_NO_PADDING};
    uint8_t value[64];
    char text[512];

    (void)state;
    for (size_t n = 8; n <= 40; n++) {
        struct secret_marks *m = NULL;

        do
            randombytes_buf(value, n);
        while (memchr(value, 0, n));
        assert_int_equal(secret_marks_new(key, 1, LIMIT_SECRET_FORMS, &m), 0);
        assert_int_equal(secret_marks_add_value(m, NAME, (struct str){(char *)value, n}), 0);
        secret_marks_seal(m);
        for (size_t before = 0; before < 6; before++)
            for (size_t v = 0; v < ARRAY_LEN(variants); v++) {
                uint8_t whole[80];

                randombytes_buf(whole, sizeof(whole));
                memcpy(whole + before, value, n);
                sodium_bin2base64(text, sizeof(text), whole, before + n + (v + before) % 4, variants[v]);
                assert_true(found(m, "data=", text, strlen(text), ""));
            }
        sodium_bin2hex(text, sizeof(text), value, n);
        assert_true(found(m, "0x", text, 2 * n, "00"));
        for (size_t i = 0; text[i]; i++)
            if (text[i] >= 'a')
                text[i] = (char)(text[i] - 'a' + 'A');
        assert_true(found(m, "", text, 2 * n, ""));
        assert_false(found(m, "", text, 2 * n - 1, ""));
        secret_marks_free(m);
    }
}

static void test_percent_and_json(void **state)
{
    static const char *const forms[] = {"Tr0ub4dor%263%2Bx%2FY%3Fz~%C3%A9%0A%22q%22",
                                        "tr0ub4dor%263%2bx%2fy%3fz~%c3%a9%0a%22q%22",
                                        "{\"password\":\"Tr0ub4dor&3+x/Y?z~\xc3\xa9\\n\\\"q\\\"\"}"};
    _cleanup_(secret_marks_freep) struct secret_marks *m = marks_of(VALUE);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++)
        assert_true(found(m, "/get?token=", forms[i], strlen(forms[i]), "&a=b"));
    assert_false(found(m, "", "Tr0ub4dor%263%2Bx", 17, ""));
}

/* Below LIMIT_SECRET_SEARCHED bytes: a whole text only. */
static void test_short_values(void **state)
{
    static const char *const values[] = {"1", "abc", "1234567"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        _cleanup_(secret_marks_freep) struct secret_marks *m = marks_of(values[i]);

        assert_int_equal(secret_marks_count(m), 1);
        assert_true(found(m, "", values[i], strlen(values[i]), ""));
        assert_false(found(m, "x", values[i], strlen(values[i]), ""));
        assert_false(found(m, "", values[i], strlen(values[i]), " "));
    }
    _cleanup_(secret_marks_freep) struct secret_marks *m = marks_of("12345678");
    assert_true(found(m, "x", "12345678", 8, " "));
}

static size_t nforms;

static int count_form(void *arg, const uint8_t *p, size_t n)
{
    (void)arg;
    assert_non_null(p);
    assert_true(n > 0);
    nforms++;
    return 0;
}

static void test_forms_are_bounded(void **state)
{
    static char value[LIMIT_SECRET_VALUE];
    struct secret_marks *m = NULL;

    (void)state;
    nforms = 0;
    assert_int_equal(secret_forms(STR_LIT(VALUE), count_form, NULL), 0);
    assert_true(nforms <= LIMIT_SECRET_FORMS);
    memset(value, '\x01', sizeof(value)); /* six bytes each in JSON: longer than any event */
    assert_int_equal(secret_marks_new(key, 1, LIMIT_SECRET_FORMS, &m), 0);
    assert_int_equal(secret_marks_add_value(m, NAME, (struct str){value, sizeof(value)}), 0);
    secret_marks_seal(m);
    assert_true(found(m, "", value, sizeof(value), "x"));
    assert_int_equal(secret_marks_add_name(m, NAME), -ENOBUFS);
    secret_marks_free(m);
    assert_int_equal(secret_marks_new(key, LIMIT_SECRETS + 1, 1, &m), -EINVAL);
    assert_int_equal(secret_marks_new(key, 1, LIMIT_SECRET_MARKS + 1, &m), -EINVAL);
    assert_int_equal(secret_marks_new(key, 1, 1, &m), 0);
    assert_int_equal(secret_marks_add_value(m, NAME, STR_LIT("")), -EINVAL);
    assert_int_equal(secret_marks_add_value(m, NAME, STR_LIT(VALUE)), -ENOBUFS); /* more forms than room */
    secret_marks_free(m);
}

/* What the supervisor sends is what signerd finds with: marks copied one by one, in any order, under the same
 * key; under another key nothing is found. */
static void test_copied_marks(void **state)
{
    static const uint8_t other[SECRET_KEY_LEN] = {9};
    _cleanup_(secret_marks_freep) struct secret_marks *m = marks_of(VALUE);

    (void)state;
    for (int same = 0; same < 2; same++) {
        _cleanup_(secret_marks_freep) struct secret_marks *copy = NULL;

        assert_int_equal(secret_marks_new(same ? key : other, 1, secret_marks_count(m), &copy), 0);
        struct secret_mark bad = *secret_marks_at(m, 0);
        assert_int_equal(secret_marks_add(copy, &bad), -EINVAL); /* no such name yet */
        assert_int_equal(secret_marks_add_name(copy, NAME), 0);
        bad.length = 0;
        assert_int_equal(secret_marks_add(copy, &bad), -EINVAL);
        bad.length = LIMIT_CLAIM_BODY + 1;
        assert_int_equal(secret_marks_add(copy, &bad), -EINVAL);
        for (size_t i = secret_marks_count(m); i-- > 0;)
            assert_int_equal(secret_marks_add(copy, secret_marks_at(m, i)), 0);
        assert_int_equal(secret_marks_add(copy, secret_marks_at(m, 0)), -ENOBUFS);
        secret_marks_seal(copy);
        assert_int_equal(found(copy, "a", VALUE, strlen(VALUE), "b"), same);
        assert_int_equal(secret_marks_is(copy, NAME, STR_LIT(VALUE)), same);
        assert_false(secret_marks_is(copy, STR_LIT("other"), STR_LIT(VALUE)));
        assert_false(secret_marks_is(copy, NAME, STR_LIT(VALUE "x")));
    }
}

/* Random texts hold no value; a value put anywhere into them is found. */
static void test_random_texts(void **state)
{
    struct secret_marks *m = NULL;
    char value[24], text[2000];

    (void)state;
    assert_int_equal(secret_marks_new(key, 4, 4 * LIMIT_SECRET_FORMS, &m), 0);
    for (unsigned i = 0; i < 4; i++) {
        (void)snprintf(value, sizeof(value), "secret-%u-%08x", i, randombytes_random());
        assert_int_equal(secret_marks_add_value(m, NAME, str_of(value)), 0);
    }
    secret_marks_seal(m);
    for (unsigned i = 0; i < 300; i++) {
        for (size_t k = 0; k < sizeof(text); k++)
            text[k] = (char)(' ' + randombytes_uniform(90));
        assert_null(secret_marks_find(m, (struct str){text, sizeof(text)}));
        size_t at = randombytes_uniform((uint32_t)(sizeof(text) - strlen(value)));
        memcpy(text + at, value, strlen(value));
        assert_non_null(secret_marks_find(m, (struct str){text, sizeof(text)}));
    }
    secret_marks_free(m);
}

/* ---- records ---- */

static void test_record_path(void **state)
{
    _cleanup_(secret_marks_freep) struct secret_marks *m = marks_of("hunter2-hunter2");
    const struct str argv[] = {STR_LIT("curl"), STR_LIT("-H"), STR_LIT("X: hunter2-hunter2")};
    struct ev_completed ev = {.argv = {argv, 2}, .spawn_error = STR_LIT("no hunter2-HUNTER2 here")};
    const struct ev_violation v[] = {{STR_LIT("a"), STR_LIT("b"), STR_LIT("c")},
                                     {STR_LIT("a"), STR_LIT("b"), STR_LIT("hunter2-hunter2")}};
    struct ev_rejected rejected = {.violations = {v, 2}};
    char path[SECRET_PATH_MAX], why[REDACT_WHY_MAX];
    struct redact r = {.n = 0};

    (void)state;
    assert_string_equal(secret_record_find(m, NULL, &schema_ev_completed, &ev, path), "npm-token");
    assert_string_equal(path, "data.spawnError");
    ev.spawn_error = STR_NONE;
    assert_null(secret_record_find(m, NULL, &schema_ev_completed, &ev, path));
    ev.argv.n = 3;
    assert_non_null(secret_record_find(m, NULL, &schema_ev_completed, &ev, path));
    assert_string_equal(path, "data.argv[2]");
    assert_int_equal(redact_parse(&r, STR_LIT("argv"), why), REDACT_OK);
    assert_null(secret_record_find(m, &r, &schema_ev_completed, &ev, path)); /* it is left out anyway */
    assert_non_null(secret_record_find(m, NULL, &schema_ev_rejected, &rejected, path));
    assert_string_equal(path, "data.violations[1].message");
    assert_null(secret_record_find(NULL, NULL, &schema_ev_completed, &ev, path));
}

static void test_record_mask(void **state)
{
    _cleanup_(secret_marks_freep) struct secret_marks *m = marks_of("hunter2-hunter2");
    const struct str argv[] = {STR_LIT("hunter2-hunter2"), STR_LIT("-H"), STR_LIT("aHVudGVyMi1odW50ZXIy")};
    struct ev_completed ev = {.argv = {argv, 3}, .spawn_error = STR_LIT("hunter2-hunter2!")}, *copy;
    char path[SECRET_PATH_MAX];
    struct arena a;
    struct buf b;

    (void)state;
    arena_init(&a, LIMIT_ARENA);
    buf_init(&b, LIMIT_CLAIM_BODY);
    assert_int_equal(codec_encode(&schema_ev_completed, &ev, &b), 0);
    copy = arena_alloc(&a, sizeof(*copy));
    assert_int_equal(codec_decode_all(&schema_ev_completed, buf_str(&b), &a, copy), 0);
    assert_true(secret_record_mask(m, &schema_ev_completed, copy));
    assert_true(str_is(copy->argv.v[0], "[redacted]") && str_is(copy->argv.v[1], "-H") &&
                str_is(copy->argv.v[2], "[redacted]") && str_is(copy->spawn_error, "[redacted]"));
    assert_false(secret_record_mask(m, &schema_ev_completed, copy));
    assert_null(secret_record_find(m, NULL, &schema_ev_completed, copy, path));
    buf_done(&b);
    arena_done(&a);
}

/* The worst that can come: every secret of its own length, the longest event. Bounded, and said. */
static void test_worst_case(void **state)
{
    static char value[LIMIT_SECRET_VALUE], text[32768];
    struct secret_marks *m = NULL;
    uint64_t us;

    (void)state;
    assert_int_equal(secret_marks_new(key, LIMIT_SECRETS, LIMIT_SECRET_MARKS, &m), 0);
    for (size_t i = 0; i < LIMIT_SECRETS; i++) {
        size_t n = 20 + 16 * i;

        randombytes_buf(value, n);
        assert_int_equal(secret_marks_add_value(m, NAME, (struct str){value, n}), 0);
    }
    secret_marks_seal(m);
    for (unsigned period = 1; period < 100000; period *= 7) { /* repeats itself, and in the end does not */
        for (size_t i = 0; i < sizeof(text); i++)
            text[i] = (char)('a' + (i % period) * 31 % 26 + (period > 100 ? randombytes_uniform(8) : 0));
        us = clock_boottime_us();
        assert_null(secret_marks_find(m, (struct str){text, sizeof(text)}));
        us = clock_boottime_us() - us;
        print_message("%zu marks over %zu bytes, period %u: %llu us\n", secret_marks_count(m), sizeof(text),
                      period, (unsigned long long)us);
    }
    secret_marks_free(m);
    m = marks_of("0123456789abcdef0123456789abcdef");
    us = clock_boottime_us();
    for (unsigned i = 0; i < 1000; i++)
        assert_null(secret_marks_find(m, (struct str){text, 300}));
    print_message("one secret over 300 bytes: %.2f us\n", (double)(clock_boottime_us() - us) / 1000);
    secret_marks_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_raw),
        cmocka_unit_test(test_base64_and_hex),
        cmocka_unit_test(test_percent_and_json),
        cmocka_unit_test(test_short_values),
        cmocka_unit_test(test_forms_are_bounded),
        cmocka_unit_test(test_copied_marks),
        cmocka_unit_test(test_random_texts),
        cmocka_unit_test(test_record_path),
        cmocka_unit_test(test_record_mask),
        cmocka_unit_test(test_worst_case),
    };

    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
