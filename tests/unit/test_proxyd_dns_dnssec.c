/* SPDX-License-Identifier: MIT */
/* DNSSEC through libunbound, over every transport, against zones that ldns signed and nsd serves. */
#include "common/priv/seccomp.h"
#include "proxyd/resolver/anchors.h"
#include "proxyd/role.h"
#include "tests/unit/proxyd_dns_servers.h"

static struct dns_resolver resolver(enum resolver_protocol protocol)
{
    struct dns_resolver r = {.id = "up", .protocol = protocol, .validate = true};
    char url[64];

    r.trust_anchors = str_of(file_get("anchors"));
    (void)snprintf(url, sizeof(url), "https://127.0.0.1:%u/dns-query", servers.doh_port);
    if (protocol == RESOLVER_DOH)
        assert_int_equal(dns_url_parse(str_of(url), &r.url), 0);
    else
        r.addr = local(protocol == RESOLVER_DOT ? servers.dot_port : servers.port);
    return r;
}

static void statuses(struct asker *a)
{
    const struct heard *h = ask(a, "www.signed.example", DNS_TYPE_A);

    ANSWERED(h, "192.0.2.1");
    assert_int_equal(h->dnssec, DNSSEC_SECURE);
    assert_int_equal(h->ancount, 1); /* without the signature: nobody asked for it */
    h = ask(a, "alias.signed.example", DNS_TYPE_A);
    ANSWERED(h, "192.0.2.1");
    assert_int_equal(h->dnssec, DNSSEC_SECURE);
    h = ask(a, "none.signed.example", DNS_TYPE_A);
    assert_int_equal(h->error, 0);
    assert_int_equal(h->rcode, DNS_NXDOMAIN);
    assert_int_equal(h->dnssec, DNSSEC_SECURE);
    h = ask(a, "www.tampered.example", DNS_TYPE_A);
    assert_int_equal(h->error, 0);
    assert_int_equal(h->dnssec, DNSSEC_BOGUS);
    assert_int_equal(h->ancount, 0); /* nothing of it can be used by mistake */
    assert_non_null(strstr(h->why, "signature"));
    h = ask(a, "ns.tampered.example", DNS_TYPE_A);
    ANSWERED(h, "127.0.0.1");
    assert_int_equal(h->dnssec, DNSSEC_SECURE);
    h = ask(a, "www.plain.example", DNS_TYPE_A);
    ANSWERED(h, "192.0.2.1");
    assert_int_equal(h->dnssec, DNSSEC_INSECURE);
    assert_true(h->why[0]);
    h = ask(a, "www.sub.signed.example", DNS_TYPE_A);
    ANSWERED(h, "192.0.2.1");
    assert_int_equal(h->dnssec, DNSSEC_INSECURE);
    h = ask(a, "many.signed.example", DNS_TYPE_A); /* too long for a datagram */
    assert_int_equal(h->error, 0);
    assert_int_equal(h->ancount, 60);
    assert_int_equal(h->dnssec, DNSSEC_SECURE);
}

static void over(enum resolver_protocol protocol)
{
    struct dns_resolver r = resolver(protocol);
    struct asker a;

    ca_use("ca.pem");
    asker_open(&a);
    asker_resolvers(&a, &r, 1);
    statuses(&a);
    statuses(&a); /* from the validator's cache */
    asker_close(&a);
}

static void over_udp(void **state)
{
    (void)state;
    over(RESOLVER_DO53_UDP);
}

static void over_tcp(void **state)
{
    (void)state;
    over(RESOLVER_DO53_TCP);
}

static void over_tls(void **state)
{
    (void)state;
    over(RESOLVER_DOT);
}

static void over_https(void **state)
{
    (void)state;
    over(RESOLVER_DOH);
}

/* With the root's anchors our zones hang in the air: their parents cannot be proven. */
static void the_built_in_anchor_does_not_trust_them(void **state)
{
    struct dns_resolver r = resolver(RESOLVER_DO53_UDP);
    struct asker a;

    (void)state;
    r.trust_anchors = (struct str){NULL, 0};
    asker_open(&a);
    asker_resolvers(&a, &r, 1);
    const struct heard *h = ask(&a, "www.signed.example", DNS_TYPE_A);
    assert_true(h->error < 0 || h->dnssec == DNSSEC_BOGUS);
    asker_close(&a);
}

static void anchors_that_do_not_work_fail(void **state)
{
    struct dns_resolver r = resolver(RESOLVER_DO53_UDP);
    struct asker a;

    (void)state;
    r.trust_anchors = str_of("signed.example. IN DS 1 13 2 zz\n");
    asker_open(&a);
    asker_resolvers(&a, &r, 1);
    const struct heard *h = ask(&a, "www.signed.example", DNS_TYPE_A);
    assert_int_equal(h->error, -EINVAL);
    assert_non_null(strstr(h->why, "trust anchors"));
    h = ask(&a, "www.signed.example", DNS_TYPE_A);
    assert_int_equal(h->error, -EINVAL);
    assert_null(a.all->v[0].validator);
    asker_close(&a);
}

/* Many at a time, some given up half way. */
static void questions_may_be_given_up(void **state)
{
    struct dns_resolver r = resolver(RESOLVER_DO53_UDP);
    static struct heard h[64];
    struct asker a;
    char name[64];

    (void)state;
    asker_open(&a);
    asker_resolvers(&a, &r, 1);
    for (unsigned i = 0; i < ARRAY_LEN(h); i++) {
        (void)snprintf(name, sizeof(name), "n%u.signed.example", i);
        ask_start(&a, &h[i], name, DNS_TYPE_A);
    }
    ev_run(a.loop, EVRUN_ONCE);
    for (unsigned i = 0; i < ARRAY_LEN(h); i += 2)
        if (!h[i].done)
            h[i].forward = dns_forward_free(h[i].forward);
    for (unsigned i = 1; i < ARRAY_LEN(h); i += 2) {
        ask_wait(&a, &h[i]);
        assert_int_equal(h[i].error, 0);
        assert_int_equal(h[i].rcode, DNS_NXDOMAIN);
        assert_int_equal(h[i].dnssec, DNSSEC_SECURE);
    }
    /* and the whole is taken down with some under way */
    for (unsigned i = 0; i < 8; i++) {
        (void)snprintf(name, sizeof(name), "m%u.signed.example", i);
        ask_start(&a, &h[i], name, DNS_TYPE_A);
    }
    ev_run(a.loop, EVRUN_ONCE);
    for (unsigned i = 0; i < 8; i++)
        h[i].forward = dns_forward_free(h[i].forward);
    asker_close(&a);
}

static int collect(void *data, const char *record)
{
    strcat(data, record);
    strcat(data, "|");
    return 0;
}

static void anchor_texts(void **state)
{
    static const char *const bad[] = {
        "$ORIGIN example.\n",
        "example. IN A 192.0.2.1\n",
        "example IN DS 1 2 3 00\n",
        "example. IN DS (1 2 3 00\n",
        "example. IN DS 1 2 3 00)\n",
        "; only a comment\n",
        "DS\n",
        "example. DS",
        "\"x\". DS 1 1 1 00\n",
    };
    char got[1024] = "";

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (dns_anchors_check(str_of(bad[i])) != -EINVAL)
            fail_msg("taken: %s", bad[i]);
    assert_int_equal(dns_anchors_each(str_of("; both\n\nexample. 3600 IN DS 1 ( 13\n 2 ; half\n aa\tbb )\r\n"
                                             "  b. dnskey 257 3 13 xyz=="),
                                      collect, got),
                     0);
    assert_string_equal(got, "example. 3600 IN DS 1 13 2 aa bb|b. dnskey 257 3 13 xyz==|");
    got[0] = '\0';
    assert_int_equal(dns_anchors_each((struct str){NULL, 0}, collect, got), 0);
    assert_non_null(strstr(got, ". IN DS 20326 "));
    assert_non_null(strstr(got, ". IN DS 38696 "));
}

/* ---- behind the daemon's own system call filter ---- */

static void child_ask(struct asker *a, enum resolver_protocol protocol, const struct dns_resolver *r)
{
    static const struct {
        const char *name;
        enum dnssec_status status;
    } rows[] = {{"www.signed.example", DNSSEC_SECURE},
                {"www.tampered.example", DNSSEC_BOGUS},
                {"www.plain.example", DNSSEC_INSECURE}};

    if (dns_upstreams_new(a->loop, r, 1, NULL, 0, &a->all) < 0)
        _exit(10);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct heard *h = ask(a, rows[i].name, DNS_TYPE_A);
        if (h->error || h->dnssec != rows[i].status)
            _exit((int)(20 + 10 * (unsigned)protocol + i));
    }
    a->all = dns_upstreams_free(a->all);
}

static void child_run(void)
{
    static const enum resolver_protocol protocols[] = {RESOLVER_DO53_UDP, RESOLVER_DO53_TCP, RESOLVER_DOT,
                                                       RESOLVER_DOH};
    struct dns_resolver r[ARRAY_LEN(protocols)];
    struct asker a;

    for (size_t i = 0; i < ARRAY_LEN(protocols); i++)
        r[i] = resolver(protocols[i]);
    ca_use("ca.pem");
    if (dns_tls_prepare() < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        seccomp_confine(&role_proxyd) < 0)
        _exit(1);
    asker_open(&a);
    for (size_t i = 0; i < ARRAY_LEN(protocols); i++)
        child_ask(&a, protocols[i], &r[i]);
    asker_close(&a);
    _exit(0);
}

static void all_of_it_works_in_the_sandbox(void **state)
{
    pid_t pid = fork();
    int status;

    (void)state;
    assert_true(pid >= 0);
    if (pid == 0)
        child_run();
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("the sandboxed child: signal %d, exit %d", WIFSIGNALED(status) ? WTERMSIG(status) : 0,
                 WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(over_udp),
        cmocka_unit_test(over_tcp),
        cmocka_unit_test(over_tls),
        cmocka_unit_test(over_https),
        cmocka_unit_test(the_built_in_anchor_does_not_trust_them),
        cmocka_unit_test(anchors_that_do_not_work_fail),
        cmocka_unit_test(questions_may_be_given_up),
        cmocka_unit_test(anchor_texts),
        cmocka_unit_test(all_of_it_works_in_the_sandbox),
    };
    return cmocka_run_group_tests(tests, servers_start, servers_stop);
}
