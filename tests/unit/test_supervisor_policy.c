/* SPDX-License-Identifier: MIT */
/* What a spec tells the daemons and the events. Single quotes stand for double quotes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proto/limits.h"
#include "supervisor/spec/parse.h"
#include "supervisor/spec/policy.h"
#include "supervisor/spec/resolv_conf.h"

#define RUN_ID STR_LIT("01890a5d-ac96-774b-bcce-b302099a8057")
#define SPEC(au, more)                                                                                       \
    "{'apiVersion':'cellos.io/"                                                                              \
    "v1','kind':'ExecutionCell','spec':{'id':'cell','authority':{'secretRefs':[]" au                         \
    "},'lifetime':{'ttlSeconds':10}" more "}}"

struct fixture {
    struct spec *spec;
    struct arena arena;
};

static void open_spec(struct fixture *f, const char *text)
{
    struct violations found = {0};
    char *document = strdup(text);
    assert_non_null(document);
    for (char *p = document; *p; p++)
        if (*p == '\'')
            *p = '"';
    f->spec = NULL;
    assert_int_equal(spec_parse(str_of(document), NULL, &f->spec, &found), SPEC_OK);
    free(document);
    violations_done(&found);
    arena_init(&f->arena, LIMIT_ARENA);
}

static void close_spec(struct fixture *f)
{
    spec_free(f->spec);
    arena_done(&f->arena);
}

static void is(struct str s, const char *want)
{
    assert_non_null(s.p);
    assert_int_equal(s.len, strlen(want));
    assert_memory_equal(s.p, want, s.len);
}

/* Every record must be one that the codec takes. */
static void encodes(const struct schema *schema, const void *rec)
{
    struct buf b;
    buf_init(&b, LIMIT_POLICY_DOC);
    assert_int_equal(codec_encode(schema, rec, &b), 0);
    buf_done(&b);
}

static struct endpoint_addr nameserver(const char *text)
{
    struct endpoint_addr e;
    assert_int_equal(addr_endpoint_parse(str_of(text), 53, &e), 0);
    return e;
}

static int of_spec(struct fixture *f, uint32_t evidence, const struct endpoint_addr *v, size_t n,
                   struct policy *ret)
{
    struct policy_operator op = {.evidence = evidence, .mode = NET_MODE_INTERCEPT};
    struct policy_host host = {v, n};
    return policy_of_spec(f->spec, &op, &host, &f->arena, ret);
}

static void test_without_dns_authority(void **state)
{
    (void)state;
    struct fixture f;
    struct policy p;
    struct endpoint_addr host[] = {nameserver("192.0.2.53"), nameserver("[2001:db8::53]:53")};
    open_spec(&f, SPEC(",'egressRules':[{'host':'A.test','port':443},{'host':'10.0.0.0/"
                       "8','port':'1-9','protocol':'http'},"
                       "{'host':'a.test','port':80},{'host':'*.b.test','port':443,'protocol':'tls'}]",
                       ""));
    assert_int_equal(of_spec(&f, EVIDENCE_STRICT, host, 2, &p), POLICY_OK);
    assert_int_equal(p.evidence, EVIDENCE_STRICT);
    assert_int_equal(p.egress.n, 4);
    is(p.egress.v[1].host, "10.0.0.0/8");
    assert_int_equal(p.egress.v[1].port_lo, 1);
    assert_int_equal(p.egress.v[1].port_hi, 9);
    assert_int_equal(p.egress.v[1].protocol, EGRESS_HTTP);
    assert_int_equal(p.dns_names.n, 2); /* names only, each once */
    is(p.dns_names.v[0], "a.test");
    is(p.dns_names.v[1], "*.b.test");
    assert_int_equal(p.query_types.n, 4);
    assert_int_equal(p.resolvers.n, 2);
    is(p.resolvers.v[0].resolver_id, "host-1");
    is(p.resolvers.v[0].endpoint, "192.0.2.53:53");
    is(p.resolvers.v[1].endpoint, "[2001:db8::53]:53");
    assert_int_equal(p.resolvers.v[0].protocol, RESOLVER_DO53_UDP);
    assert_int_equal(p.answers.n, 0);
    encodes(&schema_policy, &p);
    close_spec(&f);
}

static void test_dns_authority(void **state)
{
    (void)state;
    struct fixture f;
    struct policy p;
    struct endpoint_addr host[] = {nameserver("192.0.2.53")};
    open_spec(
        &f,
        SPEC(",'egressRules':[{'host':'a.test','port':443}],'dnsAuthority':{'hostnameAllowlist':['c.test'],"
             "'resolvers':[{'resolverId':'r','protocol':'do53-tcp','endpoint':'127.0.0.1:5353'}],"
             "'allowedQueryTypes':['TXT'],"
             "'rebindingPolicy':{'responseIpAllowlist':['A.test:127.0.0.1','c.test:fd00::/8']}}",
             ""));
    assert_int_equal(of_spec(&f, EVIDENCE_ASYNC, host, 1, &p), POLICY_OK);
    assert_int_equal(p.dns_names.n, 1); /* what is declared, and nothing beside it */
    is(p.dns_names.v[0], "c.test");
    assert_int_equal(p.query_types.n, 1);
    is(p.query_types.v[0], "TXT");
    assert_int_equal(p.resolvers.n, 1);
    is(p.resolvers.v[0].resolver_id, "r");
    is(p.resolvers.v[0].endpoint, "127.0.0.1:5353");
    assert_int_equal(p.resolvers.v[0].protocol, RESOLVER_DO53_TCP);
    is(p.answers.v[0].host, "a.test");
    is(p.answers.v[0].prefix, "127.0.0.1");
    is(p.answers.v[1].prefix, "fd00::/8");
    encodes(&schema_policy, &p);
    close_spec(&f);
}

static void test_network(void **state)
{
    (void)state;
    struct fixture f;
    struct policy p;
    struct ev_network_scope e;
    struct endpoint_addr ns = nameserver("192.0.2.53");
    struct policy_upstream up = {UPSTREAM_PROXY_SOCKS5, STR_LIT("192.0.2.9:1080")};
    struct str open[] = {STR_LIT("169.254.169.254")};
    struct policy_operator op = {.evidence = EVIDENCE_STRICT,
                                 .mode = NET_MODE_ROUTED,
                                 .quota = {.max_connections = OPT_UINT(10), .max_bytes = OPT_UINT(7)},
                                 .upstream = &up,
                                 .metadata = {open, 1}};
    struct policy_host host = {&ns, 1};
    open_spec(&f,
              SPEC(",'egressRules':[{'host':'a.test','port':22,'protocol':'tcp'}],"
                   "'egressQuota':{'maxConnections':20,'maxBytes':5,'maxBytesPerSecond':3},"
                   "'cdnAuthority':{'providers':[{'providerId':'p','hostnamePatterns':['*.edge.test']}]},"
                   "'dnsAuthority':{'answerMode':'synthetic','hostnameAllowlist':['a.test'],'resolvers':["
                   "{'resolverId':'d','protocol':'dot','endpoint':'192.0.2.1:853','tlsServerName':'d.test',"
                   "'dnssec':{'validate':true,'failClosed':false}},"
                   "{'resolverId':'h','protocol':'doh','endpoint':'https://dns.test/q{?dns}'}],"
                   "'refreshPolicy':{'maxStaleSeconds':9},'rebindingPolicy':{'maxNovelIpsPerHostname':2}}",
                   ""));
    assert_int_equal(policy_of_spec(f.spec, &op, &host, &f.arena, &p), POLICY_OK);
    assert_int_equal(p.mode, NET_MODE_ROUTED);
    assert_int_equal(p.answer_mode, ANSWER_SYNTHETIC);
    assert_int_equal(p.quota->max_connections, 10); /* the smaller one of each */
    assert_int_equal(p.quota->max_bytes.v, 5);
    assert_int_equal(p.quota->max_bytes_per_second.v, 3);
    assert_ptr_equal(p.upstream, &up);
    is(p.metadata.v[0], "169.254.169.254");
    is(p.cdn.v[0].patterns.v[0], "*.edge.test");
    is(p.resolvers.v[0].tls_server_name, "d.test");
    assert_true(p.resolvers.v[0].dnssec_validate && !p.resolvers.v[0].dnssec_fail_closed);
    assert_null(p.resolvers.v[1].endpoint.p);
    is(p.resolvers.v[1].url, "https://dns.test/q");
    assert_int_equal(p.bootstrap.n, 1);
    is(p.bootstrap.v[0], "192.0.2.53:53");
    assert_int_equal(p.refresh->strategy, REFRESH_TTL_HONOR);
    assert_true(!p.refresh->min_ttl_s.set && p.refresh->max_stale_s.v == 9);
    assert_true(p.rebinding->max_novel.v == 2 && !p.rebinding->reject);
    encodes(&schema_policy, &p);
    assert_int_equal(policy_network_scope(&p, &f.arena, &e), 0);
    assert_int_equal(e.mode, NET_MODE_ROUTED);
    is(e.resolvers.v[1].endpoint, "https://dns.test/q");
    assert_true(e.resolvers.v[0].dnssec_validate.v && e.resolvers.v[0].dnssec_fail_closed.set);
    assert_false(e.resolvers.v[1].dnssec_validate.set);
    host.nresolvers = 0;
    assert_int_equal(policy_of_spec(f.spec, &op, &host, &f.arena, &p), POLICY_NO_BOOTSTRAP);
    op.mode = NET_MODE_NONE; /* nobody asks anything */
    assert_int_equal(policy_of_spec(f.spec, &op, &host, &f.arena, &p), POLICY_OK);
    close_spec(&f);
}

static void test_no_resolver(void **state)
{
    (void)state;
    struct fixture f;
    struct policy p = {.evidence = 99};
    open_spec(&f, SPEC(",'egressRules':[{'host':'a.test','port':443}]", ""));
    assert_int_equal(of_spec(&f, EVIDENCE_STRICT, NULL, 0, &p), POLICY_NO_RESOLVER);
    assert_int_equal(p.evidence, 99);
    close_spec(&f);
    open_spec(&f, SPEC(",'dnsAuthority':{'hostnameAllowlist':['a.test']}", ""));
    assert_int_equal(of_spec(&f, EVIDENCE_STRICT, NULL, 0, &p), POLICY_NO_RESOLVER);
    close_spec(&f);
    open_spec(&f, SPEC(",'egressRules':[{'host':'10.0.0.1','port':443}]", "")); /* nothing to resolve */
    assert_int_equal(of_spec(&f, EVIDENCE_STRICT, NULL, 0, &p), POLICY_OK);
    close_spec(&f);
}

static void test_nothing_allowed(void **state)
{
    (void)state;
    struct fixture f;
    struct policy p;
    struct ev_network_scope e;
    open_spec(&f, SPEC("", ""));
    assert_int_equal(of_spec(&f, EVIDENCE_STRICT, NULL, 0, &p), POLICY_OK);
    assert_int_equal(p.egress.n, 0);
    assert_int_equal(p.dns_names.n, 0);
    encodes(&schema_policy, &p);
    assert_int_equal(policy_network_scope(&p, &f.arena, &e), 0);
    assert_int_equal(e.mode, NET_MODE_INTERCEPT); /* denials are evidence */
    encodes(&schema_ev_network_scope, &e);
    close_spec(&f);
}

static void test_launch(void **state)
{
    (void)state;
    struct fixture f;
    struct launch l;
    open_spec(&f, SPEC("", ""));
    assert_int_equal(policy_launch(f.spec, RUN_ID, 4096, &f.arena, &l), 0);
    assert_null(l.argv.v);
    is(l.working_directory, "/");
    assert_false(l.working_directory_tmpfs);
    assert_int_equal(l.ttl_ms, 10000);
    assert_int_equal(l.grace_ms, 5000);
    assert_int_equal(l.tmpfs_max_bytes, LIMIT_TMPFS);
    assert_int_equal(l.nofile_max, 4096);
    encodes(&schema_launch, &l);
    close_spec(&f);
    open_spec(
        &f, SPEC(",'filesystem':{'readOnly':['/r'],'readWrite':['/w/x'],'tmpfsMaxBytes':65536}",
                 ",'run':{'argv':['a','b'],'workingDirectory':'/w','limits':{'gracefulShutdownSeconds':1}}"));
    assert_int_equal(policy_launch(f.spec, RUN_ID, 1, &f.arena, &l), 0);
    is(l.cell_id, "cell");
    is(l.run_id, "01890a5d-ac96-774b-bcce-b302099a8057");
    assert_int_equal(l.argv.n, 2);
    is(l.working_directory, "/w");
    assert_true(l.working_directory_tmpfs);
    is(l.read_only.v[0], "/r");
    is(l.read_write.v[0], "/w/x");
    assert_int_equal(l.tmpfs_max_bytes, 65536);
    assert_int_equal(l.grace_ms, 1000);
    encodes(&schema_launch, &l);
    close_spec(&f);
}

static void test_working_directory(void **state)
{
    (void)state;
    static const struct {
        const char *cwd;
        bool tmpfs;
    } rows[] = {{"/", false},      {"/tmp", false}, {"/tmp/x", true}, {"/w", true},       {"/w/x", false},
                {"/w/x/y", false}, {"/w/xy", true}, {"/r", false},    {"/r/deep", false}, {"/srv", true}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct fixture f;
        struct launch l;
        char text[512];
        (void)snprintf(text, sizeof(text),
                       SPEC(",'filesystem':{'readOnly':['/r'],'readWrite':['/w/x']}",
                            ",'run':{'argv':['a'],'workingDirectory':'%s'}"),
                       rows[i].cwd);
        open_spec(&f, text);
        assert_int_equal(policy_launch(f.spec, RUN_ID, 1, &f.arena, &l), 0);
        is(l.working_directory, rows[i].cwd);
        assert_int_equal(l.working_directory_tmpfs, rows[i].tmpfs);
        close_spec(&f);
    }
}

static void test_deadline(void **state)
{
    (void)state;
    static const struct {
        const char *run;
        uint64_t ms;
        bool is_timeout;
    } rows[] = {{"", 10000, false},
                {",'run':{'argv':['a']}", 10000, false},
                {",'run':{'argv':['a'],'timeoutMs':9999}", 9999, true},
                {",'run':{'argv':['a'],'timeoutMs':10000}", 10000, true},
                {",'run':{'argv':['a'],'timeoutMs':10001}", 10000, false}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct fixture f;
        char text[512];
        (void)snprintf(text, sizeof(text), SPEC("", "%s"), rows[i].run);
        open_spec(&f, text);
        struct policy_deadline d = policy_deadline(f.spec);
        assert_int_equal(d.ms, rows[i].ms);
        assert_int_equal(d.is_timeout, rows[i].is_timeout);
        close_spec(&f);
    }
}

static void test_scope(void **state)
{
    (void)state;
    struct fixture f;
    struct policy p;
    struct ev_network_scope e;
    open_spec(
        &f,
        SPEC(",'egressRules':[{'host':'a.test','port':443},{'host':'fd00::1','port':'8-9','protocol':'tls'}],"
             "'dnsAuthority':{'hostnameAllowlist':['a.test'],'resolvers':[{'resolverId':'r','protocol':"
             "'do53-udp','endpoint':'[::1]:53'}],'rebindingPolicy':{'responseIpAllowlist':['a.test:10.0.0.0/"
             "8']}}",
             ""));
    assert_int_equal(of_spec(&f, EVIDENCE_STRICT, NULL, 0, &p), POLICY_OK);
    assert_int_equal(policy_network_scope(&p, &f.arena, &e), 0);
    assert_int_equal(e.egress_rules.n, 2);
    is(e.egress_rules.v[0].port, "443");
    is(e.egress_rules.v[1].port, "8-9");
    is(e.hostname_allowlist.v[0], "a.test");
    is(e.resolvers.v[0].endpoint, "[::1]:53");
    is(e.response_ip_allowlist.v[0], "a.test:10.0.0.0/8");
    assert_false(e.egress_rules_truncated.set);
    assert_null(e.egress_rules_digest.p);
    encodes(&schema_ev_network_scope, &e);
    char text[POLICY_RULE_TEXT_MAX];
    assert_string_equal(policy_rule_text(&p.egress.v[0], text), "a.test:443/any");
    assert_string_equal(policy_rule_text(&p.egress.v[1], text), "[fd00::1]:8-9/tls");
    close_spec(&f);
}

/* The longest lists a spec can hold still make one event: cut at whole entries, with count and digest. */
static void test_scope_cut(void **state)
{
    (void)state;
    struct arena a;
    struct policy p = {
        .evidence = EVIDENCE_STRICT, .mode = NET_MODE_INTERCEPT, .query_types = spec_query_types_default};
    struct ev_network_scope e;
    struct buf b;
    arena_init(&a, LIMIT_ARENA);
    struct policy_egress *rules = arena_alloc(&a, LIMIT_EGRESS_RULES * sizeof(*rules));
    struct policy_answer *answers = arena_alloc(&a, LIMIT_ANSWER_RULES * sizeof(*answers));
    struct str *names = arena_alloc(&a, LIMIT_DNS_NAMES * sizeof(*names));
    char host[LIMIT_HOSTNAME + 1];
    memset(host, 'a', LIMIT_HOSTNAME);
    host[LIMIT_HOSTNAME] = '\0';
    for (size_t i = 0; i < LIMIT_EGRESS_RULES; i++)
        rules[i] = (struct policy_egress){str_of(host), 10000, 20000, EGRESS_HTTP};
    for (size_t i = 0; i < LIMIT_ANSWER_RULES; i++)
        answers[i] = (struct policy_answer){str_of(host), STR_LIT("fd00::/8")};
    for (size_t i = 0; i < LIMIT_DNS_NAMES; i++)
        names[i] = str_of(host);
    p.egress.v = rules;
    p.egress.n = LIMIT_EGRESS_RULES;
    p.answers.v = answers;
    p.answers.n = LIMIT_ANSWER_RULES;
    p.dns_names = (struct strs){names, LIMIT_DNS_NAMES};
    assert_int_equal(policy_network_scope(&p, &a, &e), 0);
    assert_in_range(e.egress_rules.n, 1, LIMIT_EGRESS_RULES - 1);
    assert_in_range(e.hostname_allowlist.n, 1, LIMIT_DNS_NAMES - 1);
    assert_in_range(e.response_ip_allowlist.n, 1, LIMIT_ANSWER_RULES - 1);
    assert_true(e.egress_rules_truncated.v && e.hostname_allowlist_truncated.v &&
                e.response_ip_allowlist_truncated.v);
    assert_int_equal(e.egress_rules_count.v, LIMIT_EGRESS_RULES);
    assert_int_equal(e.hostname_allowlist_count.v, LIMIT_DNS_NAMES);
    assert_int_equal(e.response_ip_allowlist_count.v, LIMIT_ANSWER_RULES);
    assert_int_equal(e.egress_rules_digest.len, LIMIT_DIGEST);
    assert_memory_equal(e.hostname_allowlist_digest.p, "sha256:", 7);
    buf_init(&b, LIMIT_CLAIM_BODY);
    assert_int_equal(codec_encode(&schema_ev_network_scope, &e, &b), 0);
    buf_done(&b);
    arena_done(&a);
}

static void test_resolv_conf(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t n;
        const char *first;
    } rows[] = {
        {"", 0, NULL},
        {"nameserver 192.0.2.1\n", 1, "192.0.2.1:53"},
        {"nameserver 192.0.2.1", 1, "192.0.2.1:53"},
        {"# nameserver 192.0.2.9\n; nameserver 192.0.2.8\nsearch a.test\n \tnameserver\t2001:db8::1  # "
         "home\r\n",
         1, "[2001:db8::1]:53"},
        {"nameserver fe80::1%eth0\nnameserver 192.0.2.2\n", 1, "192.0.2.2:53"},
        {"nameserver\nnameserver x\nnameserver 1.2.3\nnameservers 192.0.2.3\n", 0, NULL},
        {"nameserver 1.1.1.1\nnameserver 2.2.2.2\nnameserver 3.3.3.3\nnameserver 4.4.4.4\n", 3, "1.1.1.1:53"},
        {"options edns0\n\n\nnameserver 127.0.0.53\n", 1, "127.0.0.53:53"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct endpoint_addr found[RESOLV_CONF_NAMESERVERS];
        char text[ADDR_ENDPOINT_MAX];
        assert_int_equal(resolv_conf_parse(str_of(rows[i].text), found), rows[i].n);
        if (rows[i].first)
            assert_string_equal(addr_endpoint_format(&found[0], text), rows[i].first);
    }
    struct endpoint_addr found[RESOLV_CONF_NAMESERVERS];
    assert_int_equal(resolv_conf_parse((struct str){"nameserver 1.1.1.1\0", 19}, found),
                     0); /* NUL is no blank */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_dns_authority),
        cmocka_unit_test(test_dns_authority),
        cmocka_unit_test(test_no_resolver),
        cmocka_unit_test(test_network),
        cmocka_unit_test(test_nothing_allowed),
        cmocka_unit_test(test_launch),
        cmocka_unit_test(test_working_directory),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_scope),
        cmocka_unit_test(test_scope_cut),
        cmocka_unit_test(test_resolv_conf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
