/* SPDX-License-Identifier: MIT */
/* Good documents and what becomes of them. Single quotes stand for double quotes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/nearest.h"
#include "proto/limits.h"
#include "supervisor/spec/attach.h"
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

/* Everything that the network of a cell can be told. */
static const char network[] =
    HEAD "{'id':'a','lifetime':{'ttlSeconds':9},'authority':{'secretRefs':[],"
         "'egressRules':[{'host':'a.test','port':80,'protocol':'h2c'},{'host':'*.b.test','port':22,'protocol'"
         ":'tcp'},"
         " {'host':'a.test','port':443,'protocol':'quic'},{'host':'10.0.0.0/8','port':123,'protocol':'udp'}],"
         "'egressQuota':{'maxConnections':1024,'maxBytes':9223372036854775807,'maxBytesPerSecond':1},"
         "'cdnAuthority':{'providers':[{'providerId':'p','hostnamePatterns':['*.Edge.test','cdn.test.']}]},"
         "'dnsAuthority':{'answerMode':'synthetic','resolvers':["
         " {'resolverId':'t','protocol':'dot','endpoint':'192.0.2.1:853','tlsServerName':'Dns.test.'},"
         " {'resolverId':'u','protocol':'do53-udp','endpoint':'192.0.2.1:53',"
         "  'dnssec':{'validate':true,'failClosed':true,'trustAnchorsPath':'/etc/anchors'}},"
         " {'resolverId':'h1','protocol':'doh','endpoint':'https://192.0.2.1/dns-query{?dns}'},"
         " {'resolverId':'h2','protocol':'doh','endpoint':'https://[2001:db8::1]/dns-query'},"
         " {'resolverId':'h3','protocol':'doh','endpoint':'https://[2001:db8::1]:8443/"
         "q','tlsServerName':'d.test'},"
         " {'resolverId':'h4','protocol':'doh','endpoint':'https://dns.test:8443/q'},"
         " {'resolverId':'h5','protocol':'doh','endpoint':'https://dns.test'}],"
         " 'refreshPolicy':{'minTtlSeconds':0,'maxStaleSeconds':604800,'strategy':'manual'},"
         " 'rebindingPolicy':{'maxNovelIpsPerHostname':3,'rejectOnRebind':true}}}}}";

static void check_resolvers(const struct spec_resolver *r)
{
    assert_int_equal(r[0].protocol, RESOLVER_DOT);
    is(r[0].tls_server_name, "dns.test");
    assert_false(r[0].dnssec_validate);
    assert_true(r[1].dnssec_validate && r[1].dnssec_fail_closed);
    is(r[1].trust_anchors_path, "/etc/anchors");
    is(r[2].url, "https://192.0.2.1/dns-query");
    assert_int_equal(r[2].endpoint.addr.family, AF_INET);
    assert_int_equal(r[2].endpoint.port, 443);
    assert_int_equal(r[3].endpoint.addr.family, AF_INET6);
    assert_int_equal(r[3].endpoint.port, 443);
    assert_int_equal(r[4].endpoint.port, 8443);
    is(r[4].tls_server_name, "d.test");
    assert_int_equal(r[5].endpoint.addr.family, AF_UNSPEC);
    is(r[5].url, "https://dns.test:8443/q");
    is(r[6].url, "https://dns.test");
}

static void test_network(void **state)
{
    (void)state;
    static const uint32_t protocols[] = {EGRESS_H2C, EGRESS_TCP, EGRESS_QUIC, EGRESS_UDP};
    struct spec *s = parse(network);
    for (size_t i = 0; i < ARRAY_LEN(protocols); i++)
        assert_int_equal(s->egress[i].protocol, protocols[i]);
    assert_int_equal(s->quota.max_connections.v, 1024);
    assert_int_equal(s->quota.max_bytes.v, INT64_MAX);
    assert_int_equal(s->quota.max_bytes_per_second.v, 1);
    assert_int_equal(s->ncdn, 1);
    is(s->cdn[0].provider_id, "p");
    is(s->cdn[0].patterns.v[0], "*.edge.test");
    is(s->cdn[0].patterns.v[1], "cdn.test");
    assert_int_equal(s->dns->nresolvers, 7);
    check_resolvers(s->dns->resolvers);
    assert_int_equal(s->dns->answer_mode, ANSWER_SYNTHETIC);
    assert_int_equal(s->dns->refresh->strategy, REFRESH_MANUAL);
    assert_int_equal(s->dns->refresh->max_stale_s.v, 604800);
    assert_true(s->dns->refresh->min_ttl_s.set && s->dns->refresh->min_ttl_s.v == 0);
    assert_int_equal(s->dns->rebinding->max_novel.v, 3);
    assert_true(s->dns->rebinding->reject);
    spec_free(s);
}

/* Files that a document names are looked up among what was sent along. */
static void test_attach(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        struct str content;
        const char *want; /* the violation */
    } rows[] = {
        {"/etc/anchors", STR_LIT(". IN DS 20326 8 2 AB"), NULL},
        {"/etc/anchors", STR_LIT(". 3600 IN DNSKEY 257 3 8 AwEA"), NULL},
        {"/etc/other", STR_LIT(". IN DS 20326 8 2 AB"), "the file was not readable, or was not sent along"},
        {"/etc/anchors", STR_LIT("nothing"), "the file must have DS or DNSKEY records as text"},
        {"/etc/anchors", STR_LIT("\0DS"), "the file must have DS or DNSKEY records as text"},
        {"/etc/anchors", STR_LIT(""), "the file must have DS or DNSKEY records as text"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct violations found = {0};
        struct strs paths;
        struct spec *s = parse(network);
        struct attachment a = {str_of(rows[i].path), rows[i].content};
        struct attachments files = {.files = {&a, 1}};
        assert_int_equal(spec_attachment_paths(s, &paths), 0);
        assert_int_equal(paths.n, 1);
        is(paths.v[0], "/etc/anchors");
        assert_int_equal(spec_attach(s, &files, &found), 0);
        assert_int_equal(found.n, rows[i].want ? 1 : 0);
        if (rows[i].want) {
            assert_string_equal(found.v[0].path,
                                "spec.authority.dnsAuthority.resolvers[1].dnssec.trustAnchorsPath");
            assert_string_equal(found.v[0].message, rows[i].want);
        } else {
            is(s->dns->resolvers[1].trust_anchors, rows[i].content.p);
        }
        violations_done(&found);
        spec_free(s);
    }
}

/* The words of --allow, as `cellctl policy` takes them. */
static void test_rule_words(void **state)
{
    (void)state;
    static const struct {
        const char *words, *host; /* or the violation */
        uint16_t lo, hi;
        uint32_t protocol;
    } rows[] = {
        {"a.test", "a.test", 443, 443, EGRESS_ANY},
        {"A.test.:80/http", "a.test", 80, 80, EGRESS_HTTP},
        {"a.test:443/any", "a.test", 443, 443, EGRESS_ANY},
        {"*.b.test:1-65535/tcp", "*.b.test", 1, 65535, EGRESS_TCP},
        {"[2001:db8::/32]:53/udp", "2001:db8::/32", 53, 53, EGRESS_UDP},
        {"10.0.0.0/8:22/tcp", "10.0.0.0/8", 22, 22, EGRESS_TCP},
        {"10.0.0.0/8", "10.0.0.0/8", 443, 443, EGRESS_ANY},
        {"*.co.uk", "rule.host: must not have a wildcard right below a public suffix", 0, 0, 0},
        {"169.254.169.254:80", "rule.host: is of the class \"metadata\", which no spec can allow", 0, 0, 0},
        {"", "rule: must not be empty", 0, 0, 0},
        {"a.test:0", "rule: must be a port from 1 to 65535, or a range such as \"8000-8100\"", 0, 0, 0},
        {"a.test/", "rule: must be an address, or a CIDR prefix with no host bits set, e.g. 192.0.2.0/24", 0,
         0, 0},
        {"a.test/any2", "rule: must be one of tls, https, http, h2c, quic, tcp, udp", 0, 0, 0},
        {"http://a.test", "rule: must be a host name or an address, not a URL", 0, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct violations found = {0};
        struct spec_egress r;
        struct arena a;
        char text[1024];
        arena_init(&a, LIMIT_ARENA);
        int code = spec_parse_rule(str_of(rows[i].words), NULL, &a, &r, &found);
        if (rows[i].lo) {
            assert_int_equal(code, SPEC_OK);
            is(r.host.text, rows[i].host);
            assert_int_equal(r.port_lo, rows[i].lo);
            assert_int_equal(r.port_hi, rows[i].hi);
            assert_int_equal(r.protocol, rows[i].protocol);
        } else {
            assert_int_equal(code, SPEC_INVALID);
            (void)snprintf(text, sizeof(text), "%s: %s", found.v[0].path, found.v[0].message);
            assert_string_equal(text, rows[i].host);
        }
        violations_done(&found);
        arena_done(&a);
    }
}

/* An address that only the operator can open, opened. */
static void test_metadata(void **state)
{
    (void)state;
    static const struct str open[] = {STR_LIT("169.254.169.254")};
    const struct spec_operator op = {.metadata = {open, 1}};
    struct violations found = {0};
    struct spec_egress r;
    struct arena a;
    arena_init(&a, LIMIT_ARENA);
    assert_int_equal(spec_parse_rule(STR_LIT("169.254.169.254:80/http"), &op, &a, &r, &found), SPEC_OK);
    assert_int_equal(spec_parse_rule(STR_LIT("100.100.100.200:80"), &op, &a, &r, &found), SPEC_INVALID);
    violations_done(&found);
    arena_done(&a);
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
        const char *near = nearest_word(rows[i].word, words, ARRAY_LEN(words));
        if (rows[i].want)
            assert_string_equal(near, rows[i].want);
        else
            assert_null(near);
    }
    char huge[4096];
    memset(huge, 'p', sizeof(huge) - 1);
    huge[sizeof(huge) - 1] = '\0';
    assert_null(nearest_word(huge, words, ARRAY_LEN(words)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_minimal),    cmocka_unit_test(test_full),
        cmocka_unit_test(test_defaults),   cmocka_unit_test(test_query_types),
        cmocka_unit_test(test_biggest_id), cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_network),    cmocka_unit_test(test_attach),
        cmocka_unit_test(test_rule_words), cmocka_unit_test(test_metadata),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
