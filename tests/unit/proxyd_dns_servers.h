/* SPDX-License-Identifier: MIT */
/* Real DNS servers on loopback for the tests of the upstream transports: nsd with signed and unsigned zones,
 * unbound before it (UDP, TCP, TLS, HTTPS, no validation of its own), and a CA that openssl made. All in one
 * temporary directory; all children of the test. */
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/unit/proxyd_upstream.h"

struct servers {
    char dir[64];
    uint16_t nsd_port, port, dot_port, doh_port;
    pid_t nsd, unbound;
};

static struct servers servers;

/* A port that UDP and TCP both have free just now. */
static uint16_t port_free(void)
{
    for (int i = 0; i < 50; i++) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
        socklen_t len = sizeof(in);
        _cleanup_close_ int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        _cleanup_close_ int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(tcp, (struct sockaddr *)&in, len), 0);
        assert_int_equal(getsockname(tcp, (struct sockaddr *)&in, &len), 0);
        if (bind(udp, (struct sockaddr *)&in, len) == 0)
            return ntohs(in.sin_port);
    }
    fail_msg("no free port");
    return 0;
}

static void file_put(const char *name, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void file_put(const char *name, const char *fmt, ...)
{
    char path[128];
    va_list ap;

    (void)snprintf(path, sizeof(path), "%s/%s", servers.dir, name);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    va_start(ap, fmt);
    vfprintf(f, fmt, ap);
    va_end(ap);
    assert_int_equal(fclose(f), 0);
}

/* Runs a shell line in the directory; false when it fails. */
static bool run(const char *line)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (chdir(servers.dir) == 0)
            execl("/bin/sh", "sh", "-c", line, NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static pid_t spawn(const char *path, const char *config)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(null, 1);
        dup2(null, 2);
        if (chdir(servers.dir) == 0)
            execl(path, path, "-d", "-c", config, NULL);
        _exit(127);
    }
    return pid;
}

static void stop(pid_t *pid)
{
    if (*pid > 0) {
        kill(*pid, SIGKILL);
        waitpid(*pid, NULL, 0);
    }
    *pid = 0;
}

/* Until something answers on the port; false when the process has ended or does not begin. */
static bool wait_udp(uint16_t port, pid_t pid)
{
    struct asker a;
    struct dns_resolver r = {.id = "probe", .protocol = RESOLVER_DO53_UDP, .addr = local(port)};
    bool up = false;

    asker_open(&a);
    for (int i = 0; i < 100 && !up && waitpid(pid, NULL, WNOHANG) == 0; i++) {
        asker_resolvers(&a, &r, 1);
        const struct heard *h = ask(&a, "www.signed.example", DNS_TYPE_A);
        up = h->error == 0 && h->rcode == DNS_NOERROR;
        if (!up)
            usleep(50000);
    }
    asker_close(&a);
    return up;
}

/* ---- certificates ---- */

#define OPENSSL_CERT(name, san)                                                                              \
    "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout " name ".key "              \
    "-subj /CN=" name " -addext subjectAltName=" san " -out " name ".csr 2>>log && "                         \
    "openssl x509 -req -in " name ".csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 "                   \
    "-copy_extensions copy -out " name ".pem 2>>log"

/* ca.pem signs good.pem (dns.test, 127.0.0.1) and other.pem (other.test); stray.pem is another CA. */
static bool certificates(void)
{
    return run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -days 2 "
               "-subj '/CN=test CA' -out ca.pem 2>>log && openssl req -x509 -newkey ec -pkeyopt "
               "ec_paramgen_curve:P-256 -nodes -keyout stray.key -days 2 -subj '/CN=stray CA' -out stray.pem "
               "2>>log") &&
           run(OPENSSL_CERT("good", "DNS:dns.test,IP:127.0.0.1")) &&
           run(OPENSSL_CERT("other", "DNS:other.test"));
}

/* ---- zones ---- */

#define ZONE_HEAD                                                                                            \
    "$TTL 300\n@ IN SOA ns hostmaster 1 3600 600 86400 300\n@ IN NS ns\nns IN A 127.0.0.1\n"                 \
    "www IN A 192.0.2.1\nalias IN CNAME www\n"

/* signed.example with a key, tampered.example signed and then changed, plain.example without; and below the
 * signed one an unsigned delegation. anchors holds both DS records. */
static bool zones(void)
{
    char big[4096] = "";
    size_t n = 0;

    for (unsigned i = 1; i <= 60; i++)
        n += (size_t)snprintf(big + n, sizeof(big) - n, "many IN A 198.51.100.%u\n", i);
    file_put("signed.example.zone",
             "$ORIGIN signed.example.\n" ZONE_HEAD "%ssub IN NS ns.sub\nns.sub IN A 127.0.0.1\n", big);
    file_put("sub.signed.example.zone", "$ORIGIN sub.signed.example.\n" ZONE_HEAD);
    file_put("tampered.example.zone", "$ORIGIN tampered.example.\n" ZONE_HEAD);
    file_put("plain.example.zone", "$ORIGIN plain.example.\n" ZONE_HEAD);
    return run("for z in signed tampered; do k=$(ldns-keygen -a ECDSAP256SHA256 -k $z.example) && "
               "ldns-signzone -f $z.example.signed $z.example.zone $k && ldns-key2ds -n -2 $k.key >>anchors "
               "|| exit 1; done 2>>log; "
               "sed -i '/^www/s/192\\.0\\.2\\.1/192.0.2.66/' tampered.example.signed; "
               "grep -q 192.0.2.66 tampered.example.signed");
}

/* ---- servers ---- */

static void nsd_config(void)
{
    file_put("nsd.conf",
             "server:\n ip-address: 127.0.0.1\n port: %u\n server-count: 1\n username: \"\"\n chroot: \"\"\n"
             " database: \"\"\n pidfile: \"%s/nsd.pid\"\n zonelistfile: \"%s/zone.list\"\n"
             " xfrdfile: \"%s/xfrd.state\"\n xfrdir: \"%s\"\n zonesdir: \"%s\"\n rrl-ratelimit: 0\n"
             "remote-control:\n control-enable: no\n"
             "zone:\n name: signed.example\n zonefile: signed.example.signed\n"
             "zone:\n name: sub.signed.example\n zonefile: sub.signed.example.zone\n"
             "zone:\n name: tampered.example\n zonefile: tampered.example.signed\n"
             "zone:\n name: plain.example\n zonefile: plain.example.zone\n",
             servers.nsd_port, servers.dir, servers.dir, servers.dir, servers.dir, servers.dir);
}

/* It hands on what nsd says and judges nothing. */
static void unbound_config(const char *cert)
{
    file_put("unbound.conf",
             "server:\n username: \"\"\n chroot: \"\"\n directory: \"%s\"\n pidfile: \"%s/unbound.pid\"\n"
             " use-syslog: no\n logfile: \"\"\n num-threads: 1\n do-ip6: no\n module-config: \"iterator\"\n"
             " do-not-query-localhost: no\n interface: 127.0.0.1@%u\n interface: 127.0.0.1@%u\n"
             " interface: 127.0.0.1@%u\n tls-port: %u\n https-port: %u\n tls-service-key: \"%s/%s.key\"\n"
             " tls-service-pem: \"%s/%s.pem\"\n access-control: 127.0.0.0/8 allow\n minimal-responses: no\n"
             " local-data: \"dns.test. 60 IN A 127.0.0.1\"\n"
             "remote-control:\n control-enable: no\n"
             "stub-zone:\n name: signed.example\n stub-addr: 127.0.0.1@%u\n"
             "stub-zone:\n name: tampered.example\n stub-addr: 127.0.0.1@%u\n"
             "stub-zone:\n name: plain.example\n stub-addr: 127.0.0.1@%u\n",
             servers.dir, servers.dir, servers.port, servers.dot_port, servers.doh_port, servers.dot_port,
             servers.doh_port, servers.dir, cert, servers.dir, cert, servers.nsd_port, servers.nsd_port,
             servers.nsd_port);
}

UNUSED static bool unbound_restart(const char *cert)
{
    stop(&servers.unbound);
    unbound_config(cert);
    servers.unbound = spawn("/usr/sbin/unbound", "unbound.conf");
    return wait_udp(servers.port, servers.unbound);
}

UNUSED static int servers_stop(void **state)
{
    (void)state;
    stop(&servers.unbound);
    stop(&servers.nsd);
    dns_tls_done();
    return servers.dir[0] && run("rm -rf -- \"$PWD\"") ? 0 : -1;
}

UNUSED static int servers_start(void **state)
{
    (void)state;
    (void)snprintf(servers.dir, sizeof(servers.dir), "/tmp/cellos-dns-XXXXXX");
    assert_non_null(mkdtemp(servers.dir));
    signal(SIGPIPE, SIG_IGN);
    if (!certificates() || !zones()) {
        print_error("no zones and certificates: are openssl and ldnsutils installed? (%s/log)\n",
                    servers.dir);
        return -1;
    }
    for (int i = 0; i < 3; i++) {
        servers.nsd_port = port_free();
        servers.port = port_free();
        servers.dot_port = port_free();
        servers.doh_port = port_free();
        nsd_config();
        servers.nsd = spawn("/usr/sbin/nsd", "nsd.conf");
        if (wait_udp(servers.nsd_port, servers.nsd) && unbound_restart("good"))
            return 0;
        stop(&servers.unbound);
        stop(&servers.nsd);
    }
    print_error("nsd and unbound do not start: are the packages nsd and unbound installed?\n");
    return -1;
}

UNUSED static int ca_use(const char *name)
{
    static int fd = -EBADF;
    char path[128];

    if (fd >= 0)
        close(fd);
    dns_tls_done();
    (void)snprintf(path, sizeof(path), "%s/%s", servers.dir, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    dns_tls_ca_fd(fd);
    return fd;
}

UNUSED static char *file_get(const char *name)
{
    static char text[65536];
    char path[128];

    (void)snprintf(path, sizeof(path), "%s/%s", servers.dir, name);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
    (void)fclose(f);
    return text;
}
