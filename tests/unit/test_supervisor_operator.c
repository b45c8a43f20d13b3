/* SPDX-License-Identifier: MIT */
/* The operator's configuration: good documents, and wrong ones with the exact text of all their violations.
 * Single quotes stand for double quotes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proto/limits.h"
#include "supervisor/spec/operator.h"

#define DOC(spec) "{'apiVersion':'cellos.io/v1','kind':'OperatorConfig','spec':" spec "}"
#define N(m)      DOC("{'network':{" m "}}")
#define AT        "spec.network."
#define POOL      "must be an IPv4 prefix, an IPv6 prefix, or one of each with a comma between"
#define METADATA  "must be 169.254.169.254, fd00:ec2::254, 168.63.129.16 or 100.100.100.200"

static int parse(const char *text, struct operator_config **ret, struct violations *found)
{
    char *document = strdup(text);
    assert_non_null(document);
    for (char *p = document; *p; p++)
        if (*p == '\'')
            *p = '"';
    int r = operator_parse(str_of(document), ret, found);
    memset(document, 'x', strlen(document)); /* the configuration owns its strings */
    free(document);
    return r;
}

static void is(struct str s, const char *want)
{
    assert_non_null(s.p);
    assert_int_equal(s.len, strlen(want));
    assert_memory_equal(s.p, want, s.len);
}

static void test_defaults(void **state)
{
    (void)state;
    struct violations found = {0};
    struct operator_config *c = NULL;
    assert_int_equal(parse(DOC("{}"), &c, &found), OPERATOR_OK);
    assert_int_equal(c->network.evidence, EVIDENCE_STRICT);
    assert_false(c->has_evidence);
    assert_int_equal(c->network.mode, NET_MODE_INTERCEPT);
    assert_null(c->network.upstream);
    assert_false(c->network.quota.max_connections.set);
    assert_int_equal(c->network.metadata.n, 0);
    assert_null(c->ca_file.p);
    assert_int_equal(c->log.redact.n, 0);
    assert_int_equal(c->log.quota_rate, 0);
    assert_int_equal(operator_quota_rate(c), 0);
    operator_free(c);
    violations_done(&found);
}

static void test_log(void **state)
{
    (void)state;
    struct violations found = {0};
    struct operator_config *c = NULL;
    char text[REDACT_TEXT_MAX];
    assert_int_equal(parse(DOC("{'log':{'redact':['argv','host','argv'],'quota':{'maxEventsPerSecond':5,"
                               "'maxEvents':6,'maxBytes':7}}}"),
                           &c, &found),
                     OPERATOR_OK);
    assert_string_equal(redact_format(&c->log.redact, text), "argv,host");
    assert_int_equal(operator_quota_rate(c), 5);
    assert_int_equal(c->log.quota_events, 6);
    assert_int_equal(c->log.quota_bytes, 7);
    c = operator_free(c);
    assert_int_equal(
        parse(DOC("{'log':{'redact':'defaults'},'network':{'quota':{'maxDnsPerSecond':100000}}}"), &c,
              &found),
        OPERATOR_OK);
    assert_string_equal(redact_format(&c->log.redact, text), "argv,path,reason");
    assert_int_equal(operator_quota_rate(c), 100000 * LIMIT_QUOTA_DNS_EVENTS); /* it follows */
    c = operator_free(c);
    violations_done(&found);
}

static void test_full(void **state)
{
    (void)state;
    struct violations found = {0};
    struct operator_config *c = NULL;
    assert_int_equal(
        parse(DOC("{'evidence':'async','network':{'mode':'routed','routedPool':'10.9.0.0/16,FD00:9::/48',"
                  "'upstreamProxy':{'kind':'connect','endpoint':'[::1]:3128'},"
                  "'quota':{'maxConnections':5,'maxBytes':6,'maxBytesPerSecond':7},"
                  "'metadataAddresses':['169.254.169.254','fd00:ec2::254'],'caFile':'/etc/ca.pem'}}"),
              &c, &found),
        OPERATOR_OK);
    assert_int_equal(c->network.evidence, EVIDENCE_ASYNC);
    assert_true(c->has_evidence);
    assert_int_equal(c->network.mode, NET_MODE_ROUTED);
    is(c->routed_pool, "10.9.0.0/16,fd00:9::/48");
    assert_int_equal(c->network.upstream->kind, UPSTREAM_PROXY_CONNECT);
    is(c->network.upstream->endpoint, "[::1]:3128");
    assert_int_equal(c->network.quota.max_connections.v, 5);
    assert_int_equal(c->network.quota.max_bytes_per_second.v, 7);
    assert_int_equal(c->network.metadata.n, 2);
    is(c->ca_file, "/etc/ca.pem");
    operator_free(c);
    violations_done(&found);
}

static const struct {
    const char *document;
    const char *want; /* every violation, one a line */
} rows[] = {
    {"", "document: must not be empty"},
    {"[]", "document: must be an object, not an array"},
    {"{'a':1,'a':2}", "document: line 1, column 10: an object has the same key twice near '\"a\"'"},
    {"{}", "apiVersion: is required\nkind: is required\nspec: is required"},
    {"{'apiVersion':'v2','kind':'ExecutionCell','spec':{}}",
     "apiVersion: must be \"cellos.io/v1\"\nkind: must be \"OperatorConfig\""},
    {DOC("[]"), "spec: must be an object, not an array"},
    {DOC("{'evidnce':'async'}"), "spec.evidnce: unknown key, did you mean \"evidence\"?"},
    {DOC("{'evidence':'none'}"), "spec.evidence: must be one of strict, async, not \"none\""},
    {N("'mode':'bridge'"), AT "mode: must be one of intercept, none, routed, not \"bridge\""},
    {N("'mode':'routed'"), AT "routedPool: is required for the mode \"routed\""},
    {N("'routedPool':'10.0.0.0'"), NULL}, /* one address: netd says whether that is enough */
    {N("'routedPool':'10.0.0.1/8'"), AT "routedPool: " POOL},
    {N("'routedPool':'10.0.0.0/8,10.0.0.0/9'"), AT "routedPool: " POOL},
    {N("'routedPool':'10.0.0.0/8,'"), AT "routedPool: " POOL},
    {N("'routedPool':5"), AT "routedPool: must be a string, not an integer"},
    {N("'upstreamProxy':{'kind':'http','endpoint':'p.test:80'}"),
     AT "upstreamProxy.kind: must be one of connect, socks5, not \"http\"\n" AT
        "upstreamProxy.endpoint: must be IP:PORT or [IPv6]:PORT"},
    {N("'upstreamProxy':{}"),
     AT "upstreamProxy.kind: is required\n" AT "upstreamProxy.endpoint: is required"},
    {N("'quota':{'maxConnections':0}"), AT "quota.maxConnections: must be between 1 and 1024, not 0"},
    {N("'metadataAddresses':['10.0.0.1','169.254.169.254/32',3]"),
     AT "metadataAddresses[0]: " METADATA "\n" AT "metadataAddresses[1]: " METADATA "\n" AT
        "metadataAddresses[2]: must be a string, not an integer"},
    {N("'caFile':'ca.pem'"), AT "caFile: must be an absolute path"},
    {DOC("{'log':{'redact':['argvv','cellId',3]}}"),
     "spec.log.redact[0]: no event has a field \"argvv\": did you mean \"argv\"?\n"
     "spec.log.redact[1]: \"cellId\" cannot be redacted: it repeats the signed subject, and verification "
     "compares "
     "the two\n"
     "spec.log.redact[2]: must be a string, not an integer"},
    {DOC("{'log':{'redact':'argv'}}"), "spec.log.redact: must be a list of names of fields, or \"defaults\""},
    {DOC("{'log':{'redact':{}}}"), "spec.log.redact: must be an array, not an object"},
    {DOC("{'log':{'quota':{'maxEvents':0,'rate':1}}}"),
     "spec.log.quota.rate: unknown key\nspec.log.quota.maxEvents: must be between 1 and 1000000000, not 0"},
};

static void test_wrong(void **state)
{
    (void)state;
    size_t bad = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct violations found = {0};
        struct operator_config *c = NULL;
        struct buf b;
        buf_init(&b, 65536);
        int r = parse(rows[i].document, &c, &found);
        violations_print(&found, &b);
        const char *got = b.len ? buf_cstr(&b) : "";
        size_t n = rows[i].want ? strlen(rows[i].want) : 0;
        if ((r == OPERATOR_OK) != !rows[i].want || (c != NULL) != !rows[i].want ||
            strncmp(got, rows[i].want ? rows[i].want : "", n) != 0 || strlen(got) != n + (n > 0)) {
            print_error("%s\ngot:  %s\nwant: %s\n", rows[i].document, got, rows[i].want ? rows[i].want : "");
            bad++;
        }
        buf_done(&b);
        operator_free(c);
        violations_done(&found);
    }
    assert_int_equal(bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
