/* SPDX-License-Identifier: MIT */
/* cellctl events and report: filters, what counts as a denial, a line's text, the rows of the table, escapes
 * of a page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "supervisor/ctl/events_filter.h"
#include "supervisor/ctl/events_format.h"
#include "supervisor/ctl/events_text.h"
#include "supervisor/ctl/report_out.h"
#include "supervisor/ctl/report_page.h"
#include "supervisor/ctl/report_rows.h"

#define RUN "01a22852-7143-7d70-bb86-1d7ce09d8607"

static struct envelope event(const char *type)
{
    return (struct envelope){
        .id = STR_LIT("01a22852-7143-7001-8000-000000000001"), /* 1795972821315 ms */
        .source = STR_LIT("/cellos/proxyd/host"),
        .type = str_of(type),
        .subject = STR_LIT("urn:cellos:cell:web-1"),
        .time = STR_LIT("2026-11-29T17:20:21Z"),
        .runid = STR_LIT(RUN),
        .data = STR_LIT("{}"),
        .sequence = 3,
        .cellsequence = 4,
    };
}

#define TYPE "dev.cellos.events.cell."
#define MS   1795972821315ull

static bool match(const struct events_filter *f, const char *type, const char *data)
{
    struct envelope e = event(type);
    json_t *d = json_loads(data, 0, NULL);
    bool yes = events_filter_match(f, &e, d);
    json_decref(d);
    return yes;
}

static void test_types(void **state)
{
    struct events_filter f = {.run = NULL};
    const char *bad = NULL;
    (void)state;
    assert_int_equal(events_filter_types(&f, "started,dns_*", &bad), 0);
    assert_int_equal(f.ntypes, 2);
    assert_true(match(&f, TYPE "lifecycle.v1.started", "{}"));
    assert_true(match(&f, TYPE "observability.v1.dns_answer", "{}"));
    assert_false(match(&f, TYPE "lifecycle.v1.destroyed", "{}"));
    assert_int_equal(events_filter_types(&f, "lifecycle.v1.*", &bad), 0);
    assert_true(match(&f, TYPE "lifecycle.v1.destroyed", "{}"));
    assert_int_equal(events_filter_types(&f, TYPE "something.of.tomorrow", &bad), 0);
    assert_true(match(&f, TYPE "something.of.tomorrow", "{}"));
    assert_int_equal(events_filter_types(&f, "startd", &bad), -EINVAL);
    assert_string_equal(bad, "startd");
    assert_string_equal(events_filter_nearest("startd"), "started");
    assert_int_equal(events_filter_types(&f, "x*", &bad), -EINVAL);
    for (int r = 0, i = 0; r == 0; i++) {
        assert_true(i <= (int)EVENTS_TYPES_MAX);
        r = events_filter_types(&f, "started", &bad);
        assert_true(r == 0 || r == -E2BIG);
    }
}

static void test_runs_cells_times(void **state)
{
    static const struct {
        struct events_filter f;
        bool want;
    } cases[] = {
        {{.run = RUN}, true},
        {{.run = "1d7ce09d8607"}, true},
        {{.run = "run-1d7ce09d8607"}, true},
        {{.run = "607"}, false},
        {{.run = "web-1"}, true},
        {{.run = "web"}, false},
        {{.cell = "web-1"}, true},
        {{.cell = "web-*"}, true},
        {{.cell = "db"}, false},
        {{.since_ms = MS}, true},
        {{.since_ms = MS + 1}, false},
        {{.until_ms = MS}, true},
        {{.until_ms = MS - 1}, false},
        {{.cell = "web-1", .run = RUN, .since_ms = MS, .until_ms = MS}, true},
        {{.cell = "db", .run = RUN}, false},
        {{.deny = true}, true},
        {{.deny = true, .cell = "db"}, false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (match(&cases[i].f, TYPE "observability.v1.dns_query", "{\"action\":\"deny\"}") != cases[i].want)
            fail_msg("case %zu", i);
}

static void test_denials(void **state)
{
    static const struct {
        const char *suffix, *data;
        bool denial, allowed;
    } cases[] = {
        {"observability.v1.dns_query", "{\"action\":\"deny\"}", true, false},
        {"observability.v1.dns_query", "{\"action\":\"allow\"}", false, true},
        {"observability.v1.dns_answer", "{\"removed\":[{\"data\":\"10.0.0.1\"}]}", true, false},
        {"observability.v1.dns_answer", "{\"removed\":[]}", false, false},
        {"observability.v1.network_flow_decision", "{\"action\":\"deny\",\"packets\":0}", false, false},
        {"observability.v1.network_flow_decision", "{\"action\":\"deny\",\"packets\":2}", true, false},
        {"observability.v1.network_flow_decision",
         "{\"action\":\"allow\",\"packets\":1,\"destination\":\"192.0.2.1:22\",\"reasonCode\":\"flow_rule_"
         "accept\"}",
         false, true},
        {"observability.v1.network_flow_decision",
         "{\"action\":\"allow\",\"packets\":1,\"destination\":\"192.0.2.1:22\",\"reasonCode\":\"flow_proxy_"
         "accept\"}",
         false, false},
        {"observability.v1.syscall_denied", "{\"syscall\":\"bpf\",\"count\":1}", true, false},
        {"log.v1.claim_refused", "{}", true, false},
        {"lifecycle.v1.started", "{}", false, false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_t *d = json_loads(cases[i].data, 0, NULL);
        assert_non_null(d);
        if (report_is_denial(str_of(cases[i].suffix), d) != cases[i].denial ||
            report_is_allowed(str_of(cases[i].suffix), d) != cases[i].allowed)
            fail_msg("case %zu: %s", i, cases[i].data);
        json_decref(d);
    }
    assert_false(report_is_denial(STR_LIT("observability.v1.dns_query"), NULL));
}

/* ---- text ---- */

static const char *text(struct buf *b)
{
    const char *s = buf_cstr(b);
    return s ? s : "";
}

static void test_shortening(void **state)
{
    static const struct {
        const char *in;
        unsigned columns;
        const char *want;
    } cases[] = {
        {"abc", 8, "abc"},
        {"abcdefgh", 8, "abcdefgh"},
        {"abcdefghijklmnop", 8, "abcd...p"},
        {"abcdefghijklmnopqrstuvwxyz", 12, "abcdef...xyz"},
        {"\x1b[31m", 20, "\\x1b[31m"},
        {"b\xc3\xbc"
         "cher-b\xc3\xbc"
         "cher",
         8,
         "b\xc3\xbc"
         "ch...r"},
        {"\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e", 9,
         "\xe6\x97\xa5\xe6\x9c\xac...\xe8\xaa\x9e"},
        {"", 8, ""},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf b;
        buf_init(&b, 4096);
        events_text_short(&b, str_of(cases[i].in), cases[i].columns);
        if (strcmp(text(&b), cases[i].want) != 0)
            fail_msg("case %zu: %s, not %s", i, text(&b), cases[i].want);
        buf_done(&b);
    }
}

static void test_lines(void **state)
{
    struct events_format f = {.width = 100};
    struct envelope e = event(TYPE "observability.v1.dns_query"), end = event(TYPE "lifecycle.v1.destroyed");
    json_t *d = json_pack("{s:s, s:s, s:s}", "queryName", "evil.test", "action", "deny", "reasonCode",
                          "dns_allowlist_miss");
    json_t *over = json_pack("{s:s, s:s}", "outcome", "failed", "terminalState", "forced");
    struct buf b;
    (void)state;
    buf_init(&b, EVENTS_LINE_MAX);
    end.id = STR_LIT("01a22852-752b-7001-8000-000000000001"); /* a second later */
    assert_int_equal(events_format_see(&f, &e, d), 0);
    events_format_line(&f, &e, d, &b);
    assert_false(events_format_end(&f, &e, d, &b));
    assert_string_equal(text(&b), "run " RUN "  cell web-1  2026-11-29T17:20:21Z\n"
                                  "   +0.000s  proxyd     dns_query             deny  queryName=evil.test "
                                  "reasonCode=dns_allowlist_miss\n");
    buf_clear(&b);
    assert_int_equal(events_format_see(&f, &end, over), 0);
    assert_true(events_format_end(&f, &end, over, &b));
    assert_string_equal(text(&b), "         =  failed after 1.000 s, teardown forced, 0 allowed, 1 denied\n");
    assert_int_equal(f.n, 0);
    buf_done(&b);
    events_format_done(&f);
    json_decref(d);
    json_decref(over);
}

/* ---- the report ---- */

static void test_rows(void **state)
{
    json_t *d = json_loads("{\"action\":\"deny\",\"reasonCode\":\"l7_port_denied\",\"protocol\":\"tls\","
                           "\"host\":\"a.test\",\"port\":9,\"originalDestination\":\"[2001:db8::1]:9\","
                           "\"process\":{\"pid\":7,\"exe\":\"/usr/bin/curl\"}}",
                           0, NULL);
    json_t *row =
        report_row(STR_LIT("observability.v1.l7_egress_decision"), d, STR_LIT("2026-11-29T17:20:21Z"), 42);
    static const char *const want[REPORT_COLUMNS] = {"2026-11-29T17:20:21Z",
                                                     "deny",
                                                     "connection",
                                                     "a.test",
                                                     "9",
                                                     "tls",
                                                     "[2001:db8::1]:9",
                                                     "",
                                                     "l7_port_denied",
                                                     "/usr/bin/curl (pid 7)",
                                                     "1"};
    (void)state;
    assert_non_null(row);
    for (size_t i = 0; i < REPORT_COLUMNS; i++)
        assert_string_equal(json_string_value(json_object_get(row, report_columns[i])), want[i]);
    assert_string_equal(json_string_value(json_object_get(row, "sequence")), "42");
    assert_null(report_row(STR_LIT("lifecycle.v1.started"), d, STR_LIT("x"), 1));
    json_decref(row);
    json_decref(d);
}

static void put(void (*fn)(FILE *f), const char *want)
{
    char *got = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&got, &n);
    assert_non_null(f);
    fn(f);
    (void)fclose(f);
    assert_string_equal(got, want);
    free(got);
}

static void put_text(FILE *f)
{
    report_put_text(f, "<a href=\"x\">&'\r\x01\n\t\xc3\xbc");
}

static void put_quoted(FILE *f)
{
    report_put_quoted(f, STR_LIT("</script><!--\"\\\n\xc3\xbc"));
}

static void put_json(FILE *f)
{
    json_t *v = json_pack("{s:s}", "<!--", "</script>");
    assert_int_equal(report_put_json(f, v), 0);
    json_decref(v);
}

static void test_escapes(void **state)
{
    (void)state;
    put(put_text, "&#60;a href=&#34;x&#34;&#62;&#38;&#39;&#13;&#1;\n\t\xc3\xbc");
    put(put_quoted, "\\u003c/script>\\u003c!--\\\"\\\\\\u000a\xc3\xbc");
    put(put_json, "{\"\\u003c!--\":\"\\u003c/script>\"}");
}

/* Nothing in the page's own script may end the element it stands in, or load anything. */
static void test_page(void **state)
{
    struct str js = report_page_js(), css = report_page_css(), html = report_page_html();
    static const char *const never[] = {"</script", "<!--",    "innerHTML",     "eval(",
                                        "fetch(",   "import(", "XMLHttpRequest"};
    (void)state;
    assert_true(js.len > 20000 && css.len > 2000 && html.len > 200);
    for (size_t i = 0; i < ARRAY_LEN(never); i++) {
        const char *at = memmem(js.p, js.len, never[i], strlen(never[i]));
        /* dom.js says in a comment that there is none */
        if (at && !(strcmp(never[i], "innerHTML") == 0 && strncmp(at, "innerHTML in this page", 22) == 0))
            fail_msg("%s in the script", never[i]);
    }
    assert_null(memmem(css.p, css.len, "url(", 4));
    assert_null(memmem(css.p, css.len, "</style", 7));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),   cmocka_unit_test(test_runs_cells_times),
        cmocka_unit_test(test_denials), cmocka_unit_test(test_shortening),
        cmocka_unit_test(test_lines),   cmocka_unit_test(test_rows),
        cmocka_unit_test(test_escapes), cmocka_unit_test(test_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
