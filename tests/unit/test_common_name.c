/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/cleanup.h"
#include "common/net/name.h"

static void expect(struct str s, enum name_kind kind, int error)
{
    struct name n = {.len = 7, .text = "before"};
    int got = name_parse(s, kind, &n);
    if (got != error)
        fail_msg("%.*s (kind %d): %d (%s) instead of %d", (int)s.len, s.p, (int)kind, got,
                 name_error_text(got), error);
    if (error != NAME_OK)
        assert_string_equal(n.text, "before");
}

static void canonical(void **st)
{
    (void)st;
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"example.org", "example.org"},
        {"EXAMPLE.Org.", "example.org"},
        {"localhost", "localhost"},
        {"a", "a"},
        {"xn--bcher-kva.example", "xn--bcher-kva.example"},
        {"1.2.3.4a", "1.2.3.4a"},
        {"3com.com", "3com.com"},
        {"a--b.c", "a--b.c"},
        {"0xg.0y", "0xg.0y"},
        {"1.in-addr.arpa", "1.in-addr.arpa"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (int kind = NAME_HOST; kind <= NAME_PATTERN; kind++) {
            struct name n;
            assert_int_equal(name_parse(str_of(rows[i].in), (enum name_kind)kind, &n), NAME_OK);
            assert_string_equal(n.text, rows[i].out);
            assert_int_equal(n.len, strlen(rows[i].out));
            assert_true(str_is(name_str(&n), rows[i].out));
        }
}

static void refused_everywhere(void **st)
{
    (void)st;
    static const struct {
        struct str in;
        int error;
    } rows[] = {
        {{NULL, 0}, NAME_E_EMPTY},
        {{"", 0}, NAME_E_EMPTY},
        {{".", 1}, NAME_E_EMPTY},
        {{"..", 2}, NAME_E_LABEL},
        {{".a", 2}, NAME_E_LABEL},
        {{"a..b", 4}, NAME_E_LABEL},
        {{"a..", 3}, NAME_E_LABEL},
        {{"-a.b", 4}, NAME_E_LABEL},
        {{"a-.b", 4}, NAME_E_LABEL},
        {{"a.-", 3}, NAME_E_LABEL},
        {{"a\0b", 3}, NAME_E_CHARACTER},
        {{"good.example\0.evil.example", 26}, NAME_E_CHARACTER},
        {{"\0", 1}, NAME_E_CHARACTER},
        {{"a b", 3}, NAME_E_CHARACTER},
        {{"a\n", 2}, NAME_E_CHARACTER},
        {{"a/b", 3}, NAME_E_CHARACTER},
        {{"a:443", 5}, NAME_E_CHARACTER},
        {{"u@h", 3}, NAME_E_CHARACTER},
        {{"a%2eb", 5}, NAME_E_CHARACTER},
        {{"b\xc3\xbc"
          "cher.example",
          14},
         NAME_E_NOT_ASCII},
        {{"a\x80", 2}, NAME_E_NOT_ASCII},
        {{"\xef\xbc\x8e", 3}, NAME_E_NOT_ASCII}, /* full-width dot */
        {{"::1", 3}, NAME_E_ADDRESS},
        {{"[::1]", 5}, NAME_E_ADDRESS},
        {{"2001:db8::1", 11}, NAME_E_ADDRESS},
        {{"[a]", 3}, NAME_E_CHARACTER},
        {{"[]", 2}, NAME_E_CHARACTER},
        {{"a.*", 3}, NAME_E_WILDCARD},
        {{"a.*.b.c", 7}, NAME_E_WILDCARD},
        {{"a*.b.c", 6}, NAME_E_WILDCARD},
        {{"*a.b.c", 6}, NAME_E_WILDCARD},
        {{"*", 1}, NAME_E_WILDCARD},
        {{"*.", 2}, NAME_E_WILDCARD},
        {{"**.b.c", 6}, NAME_E_WILDCARD},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (int kind = NAME_HOST; kind <= NAME_PATTERN; kind++)
            expect(rows[i].in, (enum name_kind)kind, rows[i].error);
}

/* What inet_aton(3) would read as an IPv4 address is no host; as a query name it is only a name nobody
 * listed. */
static void addresses_in_disguise(void **st)
{
    (void)st;
    static const char *const rows[] = {"1.2.3.4", "1.2.3.4.",    "127.1",      "2130706433",
                                       "0",       "0x7f.1",      "0x7f000001", "0X7F.0x1",
                                       "a.0x",    "a.example.1", "1.2.3.400",  "017700000001"};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        expect(str_of(rows[i]), NAME_HOST, NAME_E_ADDRESS);
        expect(str_of(rows[i]), NAME_PATTERN, NAME_E_ADDRESS);
        expect(str_of(rows[i]), NAME_DNS, NAME_OK);
    }
    expect(STR_LIT("*.2.3.4"), NAME_PATTERN, NAME_E_ADDRESS);
}

static void kinds(void **st)
{
    (void)st;
    expect(STR_LIT("_dmarc.example.org"), NAME_DNS, NAME_OK);
    expect(STR_LIT("_dmarc.example.org"), NAME_HOST, NAME_E_CHARACTER);
    expect(STR_LIT("_dmarc.example.org"), NAME_PATTERN, NAME_E_CHARACTER);
    expect(STR_LIT("*.example.org"), NAME_PATTERN, NAME_OK);
    expect(STR_LIT("*.example.org."), NAME_PATTERN, NAME_OK);
    expect(STR_LIT("*.example.org"), NAME_HOST, NAME_E_WILDCARD);
    expect(STR_LIT("*.example.org"), NAME_DNS, NAME_E_WILDCARD);
    expect(STR_LIT("*.com"), NAME_PATTERN, NAME_E_WILDCARD);
    expect(STR_LIT("*.com."), NAME_PATTERN, NAME_E_WILDCARD);
    expect(STR_LIT("*..com"), NAME_PATTERN, NAME_E_LABEL);
    expect(STR_LIT("*.*.example.org"), NAME_PATTERN, NAME_E_WILDCARD);
}

static void lengths(void **st)
{
    (void)st;
    char text[300];
    memset(text, 'a', sizeof(text));
    expect((struct str){text, 63}, NAME_HOST, NAME_OK);
    expect((struct str){text, 64}, NAME_HOST, NAME_E_LABEL);
    text[63] = text[127] = text[191] = '.';
    expect((struct str){text, 253}, NAME_HOST, NAME_OK);
    expect((struct str){text, 254}, NAME_HOST, NAME_E_TOO_LONG);
    text[253] = '.'; /* the trailing dot does not count, a second one does */
    expect((struct str){text, 254}, NAME_HOST, NAME_OK);
    text[254] = '.';
    expect((struct str){text, 255}, NAME_HOST, NAME_E_TOO_LONG);
    expect((struct str){text, sizeof(text)}, NAME_HOST, NAME_E_TOO_LONG);
    text[0] = '*';
    text[1] = '.';
    expect((struct str){text, 253}, NAME_PATTERN, NAME_OK);
}

static struct name make(const char *s, enum name_kind kind)
{
    struct name n;
    assert_int_equal(name_parse(str_of(s), kind, &n), NAME_OK);
    return n;
}

static void matching(void **st)
{
    (void)st;
    static const struct {
        const char *pattern, *name;
        bool match;
    } rows[] = {
        {"example.org", "example.org", true},
        {"Example.ORG.", "eXample.org", true},
        {"example.org", "www.example.org", false},
        {"example.org", "example.or", false},
        {"example.org", "example.org.evil.test", false},
        {"*.example.org", "www.example.org", true},
        {"*.example.org", "a.b.c.example.org", true},
        {"*.example.org", "_x.example.org", true},
        {"*.example.org", "example.org", false},
        {"*.example.org", "wwwexample.org", false},
        {"*.example.org", "evil-example.org", false},
        {"*.example.org", "www.example.org.evil.test", false},
        {"*.example.org", "www.example.com", false},
        {"*.example.org", "org", false},
        {"*.a.b", "x.a.b", true},
        {"*.a.b", "a.b", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct name p = make(rows[i].pattern, NAME_PATTERN), n = make(rows[i].name, NAME_DNS);
        if (name_matches(&p, &n) != rows[i].match)
            fail_msg("%s and %s", rows[i].pattern, rows[i].name);
    }
}

static void texts(void **st)
{
    (void)st;
    for (int e = NAME_OK; e < _NAME_E_MAX; e++)
        for (int f = NAME_OK; f < e; f++)
            assert_string_not_equal(name_error_text(e), name_error_text(f));
    assert_string_equal(name_error_text(NAME_E_EMPTY), "must not be empty");
    assert_non_null(strstr(name_error_text(NAME_E_NOT_ASCII), "xn--"));
    assert_non_null(name_error_text(-1));
    assert_non_null(name_error_text(_NAME_E_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(canonical),
        cmocka_unit_test(refused_everywhere),
        cmocka_unit_test(addresses_in_disguise),
        cmocka_unit_test(kinds),
        cmocka_unit_test(lengths),
        cmocka_unit_test(matching),
        cmocka_unit_test(texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
