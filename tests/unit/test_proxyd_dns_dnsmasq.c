/* SPDX-License-Identifier: MIT */
/* A cell against a real resolver, dnsmasq on loopback. */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "tests/unit/test_proxyd_dns_rig.h"

#define MANY 100 /* A records: more than fit the size we offer by UDP */

static pid_t dnsmasq;
static uint16_t dnsmasq_port;

static void dnsmasq_exec(void)
{
    static char many[MANY][64], port[32];
    const char *argv[MANY + 32] = {
        "dnsmasq",
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--log-facility=/dev/null",
        "--pid-file=",
        "--no-resolv",
        "--no-hosts",
        "--bind-interfaces",
        "--listen-address=127.0.0.1",
        "--local-ttl=60",
        "--host-record=www.example.com,93.184.216.34,2606:2800:220:1::1",
        "--cname=alias.wild.test,www.example.com",
        "--host-record=inside.wild.test,10.0.0.1",
        "--host-record=local.wild.test,127.0.0.1",
        "--address=/gone.wild.test/",
        port,
        geteuid() == 0 ? "--user=root" : "--user=",
    };
    size_t n = 17;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)snprintf(port, sizeof(port), "--port=%u", dnsmasq_port);
    for (unsigned i = 0; i < MANY; i++) {
        (void)snprintf(many[i], sizeof(many[i]), "--host-record=many.wild.test,93.184.217.%u", i);
        argv[n++] = many[i];
    }
    execvp(argv[0], (char **)argv);
    /* not in an ordinary user's PATH */
    execv("/usr/sbin/dnsmasq", (char **)argv);
    _exit(127);
}

/* It is up once it answers a query of ours. */
static bool dnsmasq_up(void)
{
    struct endpoint_addr e = loopback(dnsmasq_port);
    struct sockaddr_storage ss;
    socklen_t len = addr_to_sockaddr(&e, &ss);
    uint8_t reply[512];
    struct buf b;
    bool up = false;

    buf_init(&b, 512);
    put_query(&b, 1, "www.example.com", DNS_TYPE_A);
    for (int i = 0; i < 100 && !up && waitpid(dnsmasq, NULL, WNOHANG) == 0; i++) {
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&ss, len), 0);
        (void)!send(fd, b.data, b.len, 0);
        usleep(50000);
        up = recv(fd, reply, sizeof(reply), MSG_DONTWAIT) > 0;
        close(fd);
    }
    buf_done(&b);
    return up;
}

static int dnsmasq_start(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        int udp, tcp;
        rig_pair(AF_INET, &udp, &tcp, &dnsmasq_port);
        close(udp);
        close(tcp);
        dnsmasq = fork();
        if (dnsmasq == 0)
            dnsmasq_exec();
        if (dnsmasq > 0 && dnsmasq_up())
            return 0;
    }
    print_error("dnsmasq does not start: is the package dnsmasq-base installed?\n");
    return -1;
}

static int dnsmasq_stop(void **state)
{
    (void)state;
    kill(dnsmasq, SIGKILL);
    return waitpid(dnsmasq, NULL, 0) == dnsmasq ? 0 : -1;
}

static int setup(void **state)
{
    rig_setup(state);
    struct rig *rig = *state;
    rig->resolvers[0].addr = loopback(dnsmasq_port);
    rig_restart(rig);
    rig->mode = ACK_LATER;
    return 0;
}

static void names_resolve(void **state)
{
    struct rig *rig = *state;

    ask_gets(rig, "www.example.com", DNS_TYPE_A, DNS_NOERROR, 1);
    assert_string_equal(rig->events[1].answer, "93.184.216.34");
    ask_gets(rig, "WWW.example.com", DNS_TYPE_AAAA, DNS_NOERROR, 1);
    assert_string_equal(rig->events[3].answer, "2606:2800:220:1::1");
    ask_gets(rig, "www.example.com", DNS_TYPE_A, DNS_NOERROR, 1);
    assert_true(rig->events[4].cached);
    ask_gets(rig, "alias.wild.test", DNS_TYPE_A, DNS_NOERROR, 2);
    assert_int_equal(rig->events[6].nanswers, 2);
    assert_string_equal(rig->events[6].answer, "www.example.com");
    ask_gets(rig, "gone.wild.test", DNS_TYPE_A, DNS_NXDOMAIN, 0);
    ask_gets(rig, "evil.example.com", DNS_TYPE_A, DNS_REFUSED, 0);
}

static void private_answers_do_not_pass(void **state)
{
    struct rig *rig = *state;

    ask_gets(rig, "inside.wild.test", DNS_TYPE_A, DNS_SERVFAIL, 0);
    ask_gets(rig, "local.wild.test", DNS_TYPE_A, DNS_SERVFAIL, 0);
    assert_string_equal(rig->events[1].authority, "rejected");
    assert_int_equal(rig->events[2].reason, DNS_REBIND_REJECTED);
    rig->rules[0].host = host_of("local.wild.test");
    assert_int_equal(addr_prefix_parse(STR_LIT("127.0.0.1"), &rig->rules[0].prefix), 0);
    rig->policy.nanswer_rules = 1;
    assert_int_equal(dns_cell_policy_set(rig->cell, &rig->policy), 0);
    ask_gets(rig, "local.wild.test", DNS_TYPE_A, DNS_NOERROR, 1);
    ask_gets(rig, "inside.wild.test", DNS_TYPE_A, DNS_SERVFAIL, 0);
}

static void long_answers_come_by_tcp(void **state)
{
    struct rig *rig = *state;
    struct dns_counters c;

    client_ask(rig, 1, "many.wild.test", DNS_TYPE_A);
    assert_true(client_answer(rig, 3000));
    assert_int_equal(rig->reply[2] & 2, 2); /* too long for the cell's 512 bytes as well */
    assert_int_equal(rig->events[1].nanswers, MANY);
    dns_cell_counters(rig->cell, &c);
    assert_int_equal(c.upstream, 2); /* UDP, then TCP */
    /* the same straight by TCP */
    rig->resolvers[0].protocol = RESOLVER_DO53_TCP;
    rig_restart(rig);
    ask_gets(rig, "www.example.com", DNS_TYPE_A, DNS_NOERROR, 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(names_resolve),
        T(private_answers_do_not_pass),
        T(long_answers_come_by_tcp),
    };

    return cmocka_run_group_tests(tests, dnsmasq_start, dnsmasq_stop);
}
