/* SPDX-License-Identifier: MIT */
/* Good documents and what becomes of them. Single quotes stand for double quotes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proto/limits.h"
#include "supervisor/spec/doc.h"
#include "supervisor/spec/parse.h"

#define HEAD "{'apiVersion':'cellos.io/v1','kind':'ExecutionCell','spec':"

static struct spec *parse(const char *text)
{
    struct violations found = {0};
    struct spec *s = NULL;
    char *document = strdup(text);
    assert_non_null(document);
    for (char *p = document; *p; p++)
        if (*p == '\'')
            *p = '"';
    int r = spec_parse(str_of(document), NULL, &s, &found);
    for (size_t i = 0; i < found.n; i++)
        print_error("%s: %s\n", found.v[i].path, found.v[i].message);
    memset(document, 'x', strlen(document)); /* the spec owns its strings */
    free(document);
    assert_int_equal(r, SPEC_OK);
    assert_int_equal(found.n, 0);
    violations_done(&found);
    return s;
}

static void is(struct str s, const char *want)
{
    assert_non_null(s.p);
    assert_string_equal(s.p, want);
    assert_int_equal(s.len, strlen(want));
}

static void test_minimal(void **state)
{
    (void)state;
    struct spec *s = parse(HEAD "{'id':'a','authority':{'secretRefs':[]},'lifetime':{'ttlSeconds':1}}}");
    is(s->id, "a");
    assert_int_equal(s->ttl_s, 1);
    assert_int_equal(s->secrets.n, 0);
    assert_int_equal(s->negress, 0);
    assert_null(s->dns);
    assert_null(s->run);
    assert_null(s->placement);
    assert_null(s->correlation);
    assert_int_equal(s->fs.read_only.n, 0);
    assert_int_equal(s->fs.tmpfs_max_bytes, LIMIT_TMPFS);
    spec_free(s);
}

static const char full[] = HEAD
    "{"
    "'id':'Build.42_x-y','lifetime':{'ttlSeconds':31536000},"
    "'authority':{'secretRefs':['npm-token','A'],"
    " 'egressRules':[{'host':'Example.TEST.','port':443},{'host':'*.b.test','port':'8000-8100','protocol':'"
    "http'},"
    "  {'host':'10.1.0.0/16','port':1,'protocol':'https','dnsEgressJustification':'why'},"
    "  {'host':'2001:DB8:0::1','port':65535,'protocol':'tls'},{'host':'127.0.0.1','port':80}],"
    " 'dnsAuthority':{'resolvers':[{'resolverId':'r1','protocol':'do53-udp','endpoint':'127.0.0.1:5353'},"
    "   {'resolverId':'r2','protocol':'do53-tcp','endpoint':'[2001:db8::53]:53'}],"
    "  'hostnameAllowlist':['example.test','*.B.test'],'allowedQueryTypes':['A','TXT'],"
    "  "
    "'rebindingPolicy':{'responseIpAllowlist':['Example.test:127.0.0.1','*.b.test:fd00::/8','c.test:10.0.0.0/"
    "8']},"
    "  'answerMode':'real'},"
    " 'filesystem':{'root':'host','readOnly':['/tmp/ca.pem'],'readWrite':['/srv/out'],'hidden':[],"
    "  'tmpfsMaxBytes':65536}},"
    "'run':{'argv':['sh','-c','','\\u00e9\\n'],'workingDirectory':'/srv/"
    "out','secretDelivery':'env','timeoutMs':5,"
    " 'backend':'process','seccomp':'baseline',"
    " 'limits':{'memoryMaxBytes':1048576,'cpuMax':{'quotaMicros':50000},'pidsMax':1,'gracefulShutdownSeconds'"
    ":0}},"
    "'export':{'artifacts':[]},"
    "'placement':{'poolId':'p','kubernetesNamespace':'a-1','queueName':'q'},"
    "'correlation':{'platform':'ci','externalRunId':'7','externalJobId':'8','tenantId':'t-1','correlationId':"
    "'c',"
    " 'labels':{'team':'x','a.b/c':'y z'}}"
    "}}";

static void check_authority(const struct spec *s)
{
    char text[SPEC_PREFIX_TEXT_MAX];
    assert_int_equal(s->secrets.n, 2);
    is(s->secrets.v[0], "npm-token");
    assert_int_equal(s->negress, 5);
    is(s->egress[0].host.text, "example.test");
    assert_int_equal(s->egress[0].protocol, EGRESS_ANY);
    is(s->egress[1].host.text, "*.b.test");
    assert_int_equal(s->egress[1].port_lo, 8000);
    assert_int_equal(s->egress[1].port_hi, 8100);
    assert_int_equal(s->egress[1].protocol, EGRESS_HTTP);
    is(s->egress[2].host.text, "10.1.0.0/16");
    assert_int_equal(s->egress[2].host.kind, SPEC_HOST_ADDR);
    assert_int_equal(s->egress[2].host.prefix.bits, 16);
    assert_int_equal(s->egress[2].protocol, EGRESS_TLS);
    is(s->egress[2].justification, "why");
    is(s->egress[3].host.text, "2001:db8::1");
    assert_int_equal(s->egress[3].host.prefix.bits, 128);
    assert_int_equal(s->dns->nresolvers, 2);
    is(s->dns->resolvers[1].id, "r2");
    assert_int_equal(s->dns->resolvers[1].protocol, RESOLVER_DO53_TCP);
    assert_int_equal(s->dns->resolvers[0].endpoint.port, 5353);
    assert_int_equal(s->dns->names.n, 2);
    is(s->dns->names.v[1], "*.b.test");
    assert_int_equal(s->dns->query_types.n, 2);
    is(s->dns->query_types.v[1], "TXT");
    assert_int_equal(s->dns->nanswers, 3);
    is(s->dns->answers[0].name, "example.test");
    assert_string_equal(spec_prefix_format(&s->dns->answers[0].prefix, text), "127.0.0.1");
    assert_string_equal(spec_prefix_format(&s->dns->answers[1].prefix, text), "fd00::/8");
    is(s->fs.read_only.v[0], "/tmp/ca.pem");
    is(s->fs.read_write.v[0], "/srv/out");
    assert_int_equal(s->fs.tmpfs_max_bytes, 65536);
}

static void check_run(const struct spec_run *r)
{
    assert_int_equal(r->argv.n, 4);
    is(r->argv.v[2], "");
    is(r->argv.v[3], "\xc3\xa9\n");
    is(r->cwd, "/srv/out");
    assert_true(r->timeout_ms.set);
    assert_int_equal(r->timeout_ms.v, 5);
    assert_int_equal(r->limits.memory_max_bytes.v, 1048576);
    assert_int_equal(r->limits.cpu_quota_us.v, 50000);
    assert_int_equal(r->limits.cpu_period_us, 100000);
    assert_int_equal(r->limits.pids_max.v, 1);
    assert_int_equal(r->limits.grace_s, 0);
    assert_int_equal(r->delivery, DELIVERY_ENV);
    assert_int_equal(r->backend, BACKEND_PROCESS);
    is(r->seccomp, "baseline");
}

static void test_full(void **state)
{
    (void)state;
    struct spec *s = parse(full);
    is(s->id, "Build.42_x-y");
    check_authority(s);
    check_run(s->run);
    is(s->placement->pool_id, "p");
    is(s->placement->kubernetes_namespace, "a-1");
    is(s->correlation->tenant_id, "t-1");
    assert_int_equal(s->correlation->labels.n, 2);
    is(s->correlation->labels.v[1].key, "a.b/c");
    is(s->correlation->labels.v[1].value, "y z");
    spec_free(s);
}

static void test_defaults(void **state)
{
    (void)state;
    struct spec *s =
        parse(HEAD "{'id':'a','authority':{'secretRefs':[],'dnsAuthority':{}},'lifetime':{'ttlSeconds':9},"
                   "'run':{'argv':['true']}}}");
    assert_int_equal(s->dns->nresolvers, 0);
    assert_int_equal(s->dns->names.n, 0); /* declared, and empty: nothing is resolved */
    assert_int_equal(s->dns->query_types.n, 4);
    is(s->dns->query_types.v[3], "HTTPS");
    assert_null(s->run->cwd.p);
    assert_false(s->run->timeout_ms.set);
    assert_false(s->run->limits.memory_max_bytes.set);
    assert_false(s->run->limits.cpu_quota_us.set);
    assert_int_equal(s->run->limits.grace_s, SPEC_GRACE_DEFAULT_S);
    spec_free(s);
}

/* An empty list of types means the default; each real type can be listed. */
static void test_query_types(void **state)
{
    (void)state;
    struct spec *s =
        parse(HEAD "{'id':'a','authority':{'secretRefs':[],'dnsAuthority':{'allowedQueryTypes':[]}},"
                   "'lifetime':{'ttlSeconds':9}}}");
    assert_int_equal(s->dns->query_types.n, 4);
    spec_free(s);
    assert_true(spec_query_type_known(STR_LIT("CAA")));
    assert_false(spec_query_type_known(STR_LIT("caa")));
    assert_false(spec_query_type_known(STR_LIT("IXFR")));
    assert_false(spec_query_type_known(STR_LIT("")));
}

static void test_biggest_id(void **state)
{
    (void)state;
    char text[512], id[LIMIT_CELL_ID + 1];
    memset(id, 'a', LIMIT_CELL_ID);
    id[LIMIT_CELL_ID] = '\0';
    (void)snprintf(text, sizeof(text),
                   HEAD "{'id':'%s','authority':{'secretRefs':[]},'lifetime':{'ttlSeconds':1}}}", id);
    struct spec *s = parse(text);
    is(s->id, id);
    spec_free(s);
}

static void test_nearest(void **state)
{
    (void)state;
    static const char *const words[] = {"host", "port", "protocol", "dnsEgressJustification"};
    static const struct {
        const char *word, *want;
    } rows[] = {{"hots", "host"},
                {"prot", "port"},
                {"protocl", "protocol"},
                {"PORT", "port"},
                {"x", NULL},
                {"", NULL},
                {"ho", NULL},
                {"completely", NULL},
                {"proto", NULL},
                {"dnsEgressJustificatoin", "dnsEgressJustification"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *near = doc_nearest(rows[i].word, words, ARRAY_LEN(words));
        if (rows[i].want)
            assert_string_equal(near, rows[i].want);
        else
            assert_null(near);
    }
    char huge[4096];
    memset(huge, 'p', sizeof(huge) - 1);
    huge[sizeof(huge) - 1] = '\0';
    assert_null(doc_nearest(huge, words, ARRAY_LEN(words)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_minimal),    cmocka_unit_test(test_full),
        cmocka_unit_test(test_defaults),   cmocka_unit_test(test_query_types),
        cmocka_unit_test(test_biggest_id), cmocka_unit_test(test_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
