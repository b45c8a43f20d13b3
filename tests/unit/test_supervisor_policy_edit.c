/* SPDX-License-Identifier: MIT */
/* Live changes of a policy, as documents. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "supervisor/spec/policy.h"
#include "supervisor/spec/policy_edit.h"

#define RULES_MAX 8

static const struct policy_egress rules[] = {
    {STR_LIT("a.test"), 443, 443, EGRESS_ANY},
    {STR_LIT("a.test"), 80, 80, EGRESS_HTTP},
    {STR_LIT("10.0.0.0/8"), 22, 22, EGRESS_TCP},
    {STR_LIT("*.b.test"), 8000, 8100, EGRESS_TLS},
};
static const struct str names[] = {STR_LIT("a.test"), STR_LIT("*.b.test"), STR_LIT("only.dns.test")};
static const struct policy_resolver resolvers[] = {
    {.resolver_id = STR_LIT("r"), .protocol = RESOLVER_DO53_UDP, .endpoint = STR_LIT("192.0.2.1:53")}};
static const struct policy_quota quota = {.max_connections = 5};

static struct policy policy_now(void)
{
    struct policy p = {.evidence = EVIDENCE_STRICT,
                       .mode = NET_MODE_INTERCEPT,
                       .answer_mode = ANSWER_REAL,
                       .quota = &quota,
                       .query_types = spec_query_types_default,
                       .dns_names = {names, ARRAY_LEN(names)}};
    p.egress.v = rules;
    p.egress.n = ARRAY_LEN(rules);
    p.resolvers.v = resolvers;
    p.resolvers.n = 1;
    return p;
}

/* Words with blanks between. */
static struct strs words(char *text, struct str v[RULES_MAX])
{
    size_t n = 0;
    for (char *save = NULL, *w = strtok_r(text, " ", &save); w; w = strtok_r(NULL, " ", &save))
        v[n++] = str_of(w);
    return (struct strs){v, n};
}

static void append(char *dst, size_t cap, struct str s)
{
    size_t n = strlen(dst);
    (void)snprintf(dst + n, cap - n, "%s%.*s", n ? " " : "", (int)s.len, s.p);
}

static const struct {
    const char *remove, *add;
    int code;
    const char *rules, *names, *removed, *added; /* or the reason in rules */
} rows[] = {
    {"", "", POLICY_EDIT_NOTHING, NULL, NULL, NULL, NULL},
    {"", "a.test a.test:80/http", POLICY_EDIT_NOTHING, NULL, NULL, NULL, NULL},
    {"", "C.test.:22/tcp", POLICY_EDIT_OK,
     "a.test:443/any a.test:80/http 10.0.0.0/8:22/tcp *.b.test:8000-8100/tls c.test:22/tcp",
     "a.test *.b.test only.dns.test c.test", "", "c.test:22/tcp"},
    {"", "only.dns.test c.test c.test", POLICY_EDIT_OK,
     "a.test:443/any a.test:80/http 10.0.0.0/8:22/tcp *.b.test:8000-8100/tls only.dns.test:443/any "
     "c.test:443/any",
     "a.test *.b.test only.dns.test c.test", "", "only.dns.test:443/any c.test:443/any"},
    {"a.test:443/any", "", POLICY_EDIT_OK, "a.test:80/http 10.0.0.0/8:22/tcp *.b.test:8000-8100/tls",
     "a.test *.b.test only.dns.test", "a.test:443/any", ""}, /* another rule still names it */
    {"a.test a.test:80/http", "", POLICY_EDIT_OK, "10.0.0.0/8:22/tcp *.b.test:8000-8100/tls",
     "*.b.test only.dns.test", "a.test:443/any a.test:80/http", ""},
    {"*.b.test:8000-8100/tls 10.0.0.0/8:22/tcp a.test a.test:80/http", "", POLICY_EDIT_OK, "",
     "only.dns.test", "*.b.test:8000-8100/tls 10.0.0.0/8:22/tcp a.test:443/any a.test:80/http", ""},
    {"a.test", "[2001:db8::1]:443", POLICY_EDIT_OK,
     "a.test:80/http 10.0.0.0/8:22/tcp *.b.test:8000-8100/tls [2001:db8::1]:443/any",
     "a.test *.b.test only.dns.test", "a.test:443/any", "[2001:db8::1]:443/any"},
    {"a.test:22", "", POLICY_EDIT_REFUSED,
     "a.test:22: no such rule; `cellctl policy` without --add and --remove shows them", NULL, NULL, NULL},
    {"only.dns.test", "", POLICY_EDIT_REFUSED,
     "only.dns.test: no such rule; `cellctl policy` without --add and --remove shows them", NULL, NULL, NULL},
    {"", "*.co.uk", POLICY_EDIT_REFUSED, "*.co.uk: must not have a wildcard right below a public suffix",
     NULL, NULL, NULL},
    {"", "169.254.169.254:80/http", POLICY_EDIT_REFUSED,
     "169.254.169.254:80/http: is of the class \"metadata\", which no spec can allow", NULL, NULL, NULL},
    {"", "a.test/ssh", POLICY_EDIT_REFUSED,
     "a.test/ssh: must be one of tls, https, http, h2c, quic, tcp, udp", NULL, NULL, NULL},
};

static void check(size_t i, const struct policy_edit *e)
{
    char got[4][512] = {"", "", "", ""}, text[POLICY_RULE_TEXT_MAX];
    for (size_t k = 0; k < e->next->doc.egress.n; k++)
        append(got[0], sizeof(got[0]), str_of(policy_rule_text(&e->next->doc.egress.v[k], text)));
    for (size_t k = 0; k < e->next->doc.dns_names.n; k++)
        append(got[1], sizeof(got[1]), e->next->doc.dns_names.v[k]);
    for (size_t k = 0; k < e->removed.n; k++)
        append(got[2], sizeof(got[2]), e->removed.v[k]);
    for (size_t k = 0; k < e->added.n; k++)
        append(got[3], sizeof(got[3]), e->added.v[k]);
    assert_string_equal(got[0], rows[i].rules);
    assert_string_equal(got[1], rows[i].names);
    assert_string_equal(got[2], rows[i].removed);
    assert_string_equal(got[3], rows[i].added);
    assert_int_equal(e->next->doc.quota->max_connections, 5); /* what is not changed stays */
    assert_int_equal(e->next->doc.resolvers.n, 1);
}

static void test_edits(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct policy now = policy_now();
        struct policy_edit e = {0};
        struct str av[RULES_MAX], rv[RULES_MAX];
        struct arena a;
        char why[POLICY_EDIT_WHY_MAX] = "";
        char *add = strdup(rows[i].add), *remove = strdup(rows[i].remove);
        assert_true(add && remove);
        struct strs added = words(add, av), removed = words(remove, rv);
        arena_init(&a, LIMIT_ARENA);
        int r = policy_edit(&now, NULL, &added, &removed, &a, &e, why);
        if (r != rows[i].code)
            print_error("row %zu: %d %s\n", i, r, why);
        assert_int_equal(r, rows[i].code);
        if (r == POLICY_EDIT_OK)
            check(i, &e);
        else if (r == POLICY_EDIT_REFUSED)
            assert_string_equal(why, rows[i].rules);
        policy_live_free(e.next);
        arena_done(&a);
        free(add);
        free(remove);
    }
}

/* A changed policy can be changed again, and says so by its digest. */
static void test_chain(void **state)
{
    (void)state;
    struct policy now = policy_now();
    struct policy_edit one, two;
    struct str rule = STR_LIT("c.test:443/any");
    struct strs some = {&rule, 1}, none = {NULL, 0};
    struct arena a;
    char why[POLICY_EDIT_WHY_MAX];
    arena_init(&a, LIMIT_ARENA);
    assert_int_equal(policy_edit(&now, NULL, &some, &none, &a, &one, why), POLICY_EDIT_OK);
    assert_int_equal(policy_edit(&one.next->doc, NULL, &none, &some, &a, &two, why), POLICY_EDIT_OK);
    assert_int_equal(two.next->doc.egress.n, ARRAY_LEN(rules));
    assert_memory_not_equal(one.next->sha256, two.next->sha256, 32);
    policy_live_free(one.next);
    assert_int_equal(two.next->doc.dns_names.n, ARRAY_LEN(names)); /* nothing is borrowed from the first */
    policy_live_free(two.next);
    arena_done(&a);
}

static void test_limits(void **state)
{
    (void)state;
    static struct policy_egress many[LIMIT_EGRESS_RULES];
    struct policy now = policy_now();
    struct policy_edit e;
    struct str rule = STR_LIT("c.test");
    struct strs some = {&rule, 1}, none = {NULL, 0};
    struct arena a;
    char why[POLICY_EDIT_WHY_MAX];
    for (size_t i = 0; i < LIMIT_EGRESS_RULES; i++)
        many[i] = (struct policy_egress){STR_LIT("a.test"), i + 1, i + 1, EGRESS_ANY};
    now.egress.v = many;
    now.egress.n = LIMIT_EGRESS_RULES;
    arena_init(&a, LIMIT_ARENA);
    assert_int_equal(policy_edit(&now, NULL, &some, &none, &a, &e, why), POLICY_EDIT_REFUSED);
    assert_string_equal(why, "too many rules: at most 1024");
    now = policy_now();
    now.resolvers.n = 0;
    assert_int_equal(policy_edit(&now, NULL, &some, &none, &a, &e, why), POLICY_EDIT_REFUSED);
    assert_string_equal(why, "c.test: the cell has no resolver: no name can be added");
    arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edits),
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
