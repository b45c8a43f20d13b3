/* SPDX-License-Identifier: MIT */
/* DNS over TLS and over HTTPS against a real unbound: who is believed, what is reused, what happens when it
 * goes away. */
#include "proxyd/resolver/conn.h"
#include "tests/unit/proxyd_dns_servers.h"

static struct dns_resolver dot(const char *tls_name)
{
    struct dns_resolver r = {.id = "dot", .protocol = RESOLVER_DOT, .addr = local(servers.dot_port)};

    (void)snprintf(r.tls_name, sizeof(r.tls_name), "%s", tls_name);
    return r;
}

static struct dns_resolver doh(const char *host, const char *path)
{
    struct dns_resolver r = {.id = "doh", .protocol = RESOLVER_DOH};
    char url[128];

    (void)snprintf(url, sizeof(url), "https://%s:%u%s", host, servers.doh_port, path);
    assert_int_equal(dns_url_parse(str_of(url), &r.url), 0);
    return r;
}

static int setup(void **state)
{
    static struct asker a;

    ca_use("ca.pem");
    asker_open(&a);
    *state = &a;
    return 0;
}

static int teardown(void **state)
{
    asker_close(*state);
    return 0;
}

static void refused(struct asker *a, const struct dns_resolver *r, int error, const char *why)
{
    asker_resolvers(a, r, 1);
    const struct heard *h = ask(a, "www.signed.example", DNS_TYPE_A);
    assert_int_equal(h->error, error);
    if (!strstr(h->why, why))
        fail_msg("\"%s\" is not in: %s", why, h->why);
}

static void taken(struct asker *a, const struct dns_resolver *r)
{
    asker_resolvers(a, r, 1);
    ANSWERED(ask(a, "www.signed.example", DNS_TYPE_A), "192.0.2.1");
}

/* ---- who is believed ---- */

static void the_certificate_must_name_the_server(void **state)
{
    struct dns_resolver r = dot("dns.test");

    taken(*state, &r);
    r = dot(""); /* by its address */
    taken(*state, &r);
    r = dot("other.test");
    refused(*state, &r, -EKEYREJECTED, "certificate: hostname mismatch");
    r = dot("good"); /* only its common name says so */
    refused(*state, &r, -EKEYREJECTED, "certificate: hostname mismatch");
    r = doh("127.0.0.1", "/dns-query");
    taken(*state, &r);
    memcpy(r.tls_name, "other.test", sizeof("other.test"));
    refused(*state, &r, -EKEYREJECTED, "certificate: hostname mismatch");
}

static void another_ca_is_not_believed(void **state)
{
    struct dns_resolver r = dot("dns.test");

    ca_use("stray.pem");
    refused(*state, &r, -EKEYREJECTED, "certificate: ");
    r = doh("127.0.0.1", "/dns-query");
    refused(*state, &r, -EKEYREJECTED, "certificate: ");
}

static void a_certificate_for_another_address_is_refused(void **state)
{
    struct dns_resolver r = dot("");

    assert_true(unbound_restart("other"));
    refused(*state, &r, -EKEYREJECTED, "certificate: IP address mismatch");
    r = dot("other.test");
    taken(*state, &r);
    assert_true(unbound_restart("good"));
}

/* A handshake for every question of a cell would be all that proxyd does. */
static void a_failed_handshake_is_not_repeated_for_every_question(void **state)
{
    struct dns_resolver r = dot("other.test");
    struct asker *a = *state;
    struct dns_server *s;
    struct heard h;

    refused(a, &r, -EKEYREJECTED, "hostname mismatch");
    s = &a->all->v[0];
    assert_in_range(s->hold_ms, DNS_HOLD_MIN_MS, 2 * DNS_HOLD_MIN_MS);
    s->held_until_us = UINT64_MAX;
    ask_start(a, &h, "www.signed.example", DNS_TYPE_A);
    assert_int_equal(s->nconns, 0);
    ask_wait(a, &h);
    assert_int_equal(h.error, -EKEYREJECTED); /* and it still says why */
    assert_non_null(strstr(h.why, "hostname mismatch"));
    s->held_until_us = 0; /* its time is over, and the certificate fits now */
    memcpy(s->tls.name, "dns.test", sizeof("dns.test"));
    ANSWERED(ask(a, "www.signed.example", DNS_TYPE_A), "192.0.2.1");
    assert_int_equal(s->hold_ms, 0);
}

static void without_a_ca_bundle_only_tls_fails(void **state)
{
    struct dns_resolver v[2] = {dot("dns.test"),
                                {.id = "plain", .protocol = RESOLVER_DO53_UDP, .addr = local(servers.port)}};
    struct asker *a = *state;

    dns_tls_done();
    dns_tls_ca_fd(-EBADF);
    refused(a, v, -ENOKEY, "no CA bundle");
    asker_resolvers(a, v, 2);
    const struct heard *h = ask(a, "www.signed.example", DNS_TYPE_A);
    ANSWERED(h, "192.0.2.1");
    assert_string_equal(h->resolver, "plain");
    _cleanup_close_ int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    dns_tls_ca_fd(fd);
    refused(a, v, -EBADMSG, "CA bundle cannot be read");
}

static void a_server_without_tls_is_refused(void **state)
{
    struct dns_resolver r = dot("dns.test");

    r.addr.port = servers.port; /* plain DNS over TCP there */
    asker_resolvers(*state, &r, 1);
    assert_true(ask(*state, "www.signed.example", DNS_TYPE_A)->error < 0);
}

/* ---- what is reused ---- */

static uint16_t own_port(struct asker *a)
{
    struct dns_conn *c = LIST_FIRST(&a->all->v[0].conns);
    struct sockaddr_in in = {.sin_port = 0};
    socklen_t len = sizeof(in);

    assert_non_null(c);
    assert_int_equal(getsockname(c->l.fd, (struct sockaddr *)&in, &len), 0);
    return in.sin_port;
}

static void stays_on_one_connection(struct asker *a, const struct dns_resolver *r)
{
    taken(a, r);
    uint16_t port = own_port(a);
    for (int i = 0; i < 5; i++)
        ANSWERED(ask(a, "www.signed.example", DNS_TYPE_A), "192.0.2.1");
    assert_int_equal(a->all->v[0].nconns, 1);
    assert_int_equal(own_port(a), port);
    assert_int_equal(LIST_FIRST(&a->all->v[0].conns)->answers, 6);
}

static void connections_are_reused(void **state)
{
    struct dns_resolver r = dot("dns.test");

    stays_on_one_connection(*state, &r);
    r = doh("127.0.0.1", "/dns-query");
    stays_on_one_connection(*state, &r);
}

static void many_at_a_time(struct asker *a, const struct dns_resolver *r)
{
    static struct heard h[100];

    asker_resolvers(a, r, 1);
    for (size_t i = 0; i < ARRAY_LEN(h); i++)
        ask_start(a, &h[i], i % 2 ? "www.signed.example" : "www.plain.example", DNS_TYPE_A);
    for (size_t i = 0; i < ARRAY_LEN(h); i += 5) /* some of them are given up */
        h[i].forward = dns_forward_free(h[i].forward);
    for (size_t i = 0; i < ARRAY_LEN(h); i++) {
        if (i % 5 == 0)
            continue;
        ask_wait(a, &h[i]);
        ANSWERED(&h[i], "192.0.2.1");
    }
    assert_in_range(a->all->v[0].nconns, 1, DNS_CONNS_MAX);
}

static void many_questions_share_few_connections(void **state)
{
    struct dns_resolver r = dot("dns.test");

    many_at_a_time(*state, &r);
    r = doh("127.0.0.1", "/dns-query");
    many_at_a_time(*state, &r);
}

static void long_answers_come_whole(void **state)
{
    struct dns_resolver v[2] = {dot("dns.test"), doh("127.0.0.1", "/dns-query")};

    for (size_t i = 0; i < 2; i++) {
        asker_resolvers(*state, &v[i], 1);
        const struct heard *h = ask(*state, "many.signed.example", DNS_TYPE_A);
        assert_int_equal(h->error, 0);
        assert_int_equal(h->ancount, 60);
    }
}

static void sessions_are_resumed(void **state)
{
    struct dns_resolver r = dot("dns.test");
    struct asker *a = *state;

    taken(a, &r);
    assert_false(SSL_session_reused(LIST_FIRST(&a->all->v[0].conns)->l.ssl));
    dns_conn_close_all(&a->all->v[0]);
    ANSWERED(ask(a, "www.signed.example", DNS_TYPE_A), "192.0.2.1");
    assert_true(SSL_session_reused(LIST_FIRST(&a->all->v[0].conns)->l.ssl));
}

/* ---- when it goes away ---- */

static void comes_back(struct asker *a, const struct dns_resolver *r)
{
    taken(a, r);
    stop(&servers.unbound);
    assert_true(ask(a, "www.signed.example", DNS_TYPE_A)->error < 0);
    assert_true(unbound_restart("good"));
    ANSWERED(ask(a, "www.signed.example", DNS_TYPE_A), "192.0.2.1");
    /* also when it went and came while nobody asked */
    assert_true(unbound_restart("good"));
    ANSWERED(ask(a, "www.signed.example", DNS_TYPE_A), "192.0.2.1");
}

static void a_restarted_server_is_connected_again(void **state)
{
    struct dns_resolver r = dot("dns.test");

    comes_back(*state, &r);
    r = doh("127.0.0.1", "/dns-query");
    comes_back(*state, &r);
}

/* ---- HTTPS ---- */

static void the_host_of_a_url_is_looked_up(void **state)
{
    struct endpoint_addr boot[2] = {local(servers.nsd_port), local(servers.port)};
    struct dns_resolver r = doh("dns.test", "/dns-query");
    struct asker *a = *state;

    assert_int_equal(dns_upstreams_new(a->loop, &r, 1, boot, 2, &a->all), 0);
    for (int i = 0; i < 3; i++) {
        ANSWERED(ask(a, "www.signed.example", DNS_TYPE_A), "192.0.2.1");
        dns_conn_close_all(&a->all->v[0]); /* and again, from what is kept */
    }
    r = doh("nowhere.test", "/dns-query");
    a->all = dns_upstreams_free(a->all);
    assert_int_equal(dns_upstreams_new(a->loop, &r, 1, boot + 1, 1, &a->all), 0);
    const struct heard *h = ask(a, "www.signed.example", DNS_TYPE_A);
    assert_int_equal(h->error, -EHOSTUNREACH);
    assert_non_null(strstr(h->why, "no address from the bootstrap resolvers: nowhere.test"));
    refused(a, &r, -EHOSTUNREACH, "no address"); /* without bootstrap resolvers */
}

static void another_http_status_is_an_error(void **state)
{
    struct dns_resolver r = doh("127.0.0.1", "/elsewhere");

    refused(*state, &r, -EPROTO, "HTTP status 404");
}

/* TLS with the right name and no protocol of ours. */
static pid_t tls_server(uint16_t port)
{
    struct endpoint_addr to = local(port);
    struct sockaddr_storage ss;
    socklen_t len = addr_to_sockaddr(&to, &ss);
    char text[8];
    pid_t pid = fork();

    (void)snprintf(text, sizeof(text), "%u", port);
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(null, 1);
        dup2(null, 2);
        if (chdir(servers.dir) == 0)
            execlp("openssl", "openssl", "s_server", "-quiet", "-accept", text, "-cert", "good.pem", "-key",
                   "good.key", NULL);
        _exit(127);
    }
    for (int i = 0; i < 200 && waitpid(pid, NULL, WNOHANG) == 0; i++) {
        _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(fd, (struct sockaddr *)&ss, len) == 0)
            return pid;
        usleep(50000);
    }
    fail_msg("openssl s_server does not start");
    return -1;
}

static void a_server_without_http2_is_refused(void **state)
{
    struct dns_resolver r = doh("127.0.0.1", "/dns-query");
    struct asker *a = *state;

    r.url.port = port_free();
    pid_t pid = tls_server(r.url.port);
    refused(a, &r, -EPROTO, "does not speak \"h2\"");
    stop(&pid);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_certificate_must_name_the_server),
        T(another_ca_is_not_believed),
        T(a_certificate_for_another_address_is_refused),
        T(a_failed_handshake_is_not_repeated_for_every_question),
        T(without_a_ca_bundle_only_tls_fails),
        T(a_server_without_tls_is_refused),
        T(connections_are_reused),
        T(many_questions_share_few_connections),
        T(long_answers_come_whole),
        T(sessions_are_resumed),
        T(a_restarted_server_is_connected_again),
        T(the_host_of_a_url_is_looked_up),
        T(another_http_status_is_an_error),
        T(a_server_without_http2_is_refused),
    };
    return cmocka_run_group_tests(tests, servers_start, servers_stop);
}
