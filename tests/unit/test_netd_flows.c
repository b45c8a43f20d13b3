/* SPDX-License-Identifier: MIT */
/* What a cell's network does to packets, seen from inside the cell and from the proxy's side, and how it is
 * counted. */
#include <arpa/inet.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#include <poll.h>

#include "tests/unit/netd_attached.h"

static void wait_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 5000), 1);
}

/* ---- the cell's side ---- */
union any {
    struct sockaddr sa;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static union any to(const char *ip, uint16_t port, socklen_t *ret_len)
{
    union any a = {0};
    if (inet_pton(AF_INET, ip, &a.v4.sin_addr) == 1) {
        a.v4.sin_family = AF_INET;
        a.v4.sin_port = htons(port);
        *ret_len = sizeof(a.v4);
    } else {
        a.v6.sin6_family = AF_INET6;
        a.v6.sin6_port = htons(port);
        *ret_len = inet_pton(AF_INET6, ip, &a.v6.sin6_addr) == 1 ? sizeof(a.v6) : 0;
    }
    return a;
}

/* A connected socket, or -errno. */
static int dial(int type, const char *ip, uint16_t port)
{
    socklen_t len = 0;
    union any a = to(ip, port, &len);
    int fd = socket(a.sa.sa_family, type | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, &a.sa, len) < 0)
        return -errno;
    return fd;
}

static int say_and_hear(int fd, const char *say, const char *want)
{
    char buf[64] = "";
    struct timeval tv = {.tv_sec = 5};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
    IN_CELL(fd >= 0);
    IN_CELL(send(fd, say, strlen(say), 0) == (ssize_t)strlen(say));
    ssize_t n = recv(fd, buf, sizeof(buf) - 1, 0);
    IN_CELL(n == (ssize_t)strlen(want));
    IN_CELL(strcmp(buf, want) == 0);
    close(fd);
    return 0;
}

/* ---- transparent TCP ---- */
static const struct {
    const char *ip;
    uint16_t port;
    const char *seen;
} tcp_targets[] = {
    {"93.184.216.34", 443, "::ffff:93.184.216.34"},
    {"2606:2800:220:1::1", 8443, "2606:2800:220:1::1"},
    {"127.0.0.9", 8443, "::ffff:127.0.0.9"},
    {"127.0.0.1", 8443, "::ffff:127.0.0.1"},
    {"::1", 8443, "::1"},
    {"10.0.0.1", 65535, "::ffff:10.0.0.1"},
    {"fe80::1234", 0, NULL}, /* end */
};

static int cell_tcp(void)
{
    for (size_t i = 0; tcp_targets[i].seen != NULL; i++)
        if (say_and_hear(dial(SOCK_STREAM, tcp_targets[i].ip, tcp_targets[i].port), "hello", "answer") != 0)
            return 1;
    return 0;
}

static void test_tcp_reaches_the_listener(void **state)
{
    (void)state;
    struct attached a = attach(NET_MODE_INTERCEPT);
    pid_t pid = netd_cell_start(&a.cell, cell_tcp);
    for (size_t i = 0; tcp_targets[i].seen != NULL; i++) {
        char text[INET6_ADDRSTRLEN] = "", buf[16] = "";
        struct sockaddr_in6 local = {0};
        socklen_t len = sizeof(local);
        wait_readable(a.r.sockets[SOCKETS_TCP]);
        _cleanup_close_ int fd = accept4(a.r.sockets[SOCKETS_TCP], NULL, NULL, SOCK_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&local, &len), 0);
        inet_ntop(AF_INET6, &local.sin6_addr, text, sizeof(text));
        assert_string_equal(text, tcp_targets[i].seen);
        assert_int_equal(ntohs(local.sin6_port), tcp_targets[i].port);
        assert_int_equal(recv(fd, buf, sizeof(buf), 0), 5);
        assert_int_equal(send(fd, "answer", 6, MSG_NOSIGNAL), 6);
    }
    netd_cell_finish(pid);
    assert_true(counted(&a, "intercept").packets >= 6 * 3);
    assert_true(counted(&a, "intercept").bytes >= 6 * 3 * 52);
    assert_true(counted(&a, "proxy_answer").packets >= 6 * 2);
    assert_packets(&a, "unmatched", 0);
    assert_packets(&a, "other_protocol", 0);
    detach(&a);
}

/* ---- DNS to any server ---- */
static const char *const dns_servers[] = {"8.8.8.8",   "2001:4860:4860::8888", "127.0.0.1", "::1",
                                          "10.88.0.2", "192.168.7.7"};

static int cell_dns(void)
{
    for (size_t i = 0; i < ARRAY_LEN(dns_servers);
         i++) /* connected: only an answer from the address asked gets through */
        if (say_and_hear(dial(SOCK_DGRAM, dns_servers[i], 53), "query", "reply") != 0)
            return 1;
    return say_and_hear(dial(SOCK_STREAM, "9.9.9.9", 53), "query", "reply");
}

/* Answers one datagram from the address that was asked, as proxyd does. */
static void answer_dns(int fd)
{
    char buf[64];
    union {
        char bytes[256];
        struct cmsghdr align;
    } in, out = {0};
    struct sockaddr_in6 from;
    struct iovec iov = {buf, sizeof(buf)};
    struct msghdr m = {.msg_name = &from,
                       .msg_namelen = sizeof(from),
                       .msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = in.bytes,
                       .msg_controllen = sizeof(in)};
    wait_readable(fd);
    assert_int_equal(recvmsg(fd, &m, 0), 5);
    struct msghdr reply = {.msg_name = &from, .msg_namelen = m.msg_namelen, .msg_iov = &iov, .msg_iovlen = 1};
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c != NULL; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            memcpy(out.bytes, c, c->cmsg_len);
            reply.msg_control = out.bytes;
            reply.msg_controllen = CMSG_SPACE(sizeof(struct in6_pktinfo));
        }
    }
    assert_non_null(reply.msg_control);
    memcpy(buf, "reply", 5);
    iov.iov_len = 5;
    assert_int_equal(sendmsg(fd, &reply, 0), 5);
}

static void test_dns_to_any_server(void **state)
{
    (void)state;
    struct attached a = attach(NET_MODE_INTERCEPT);
    char buf[16];
    pid_t pid = netd_cell_start(&a.cell, cell_dns);
    for (size_t i = 0; i < ARRAY_LEN(dns_servers); i++)
        answer_dns(a.r.sockets[SOCKETS_DNS_UDP]);
    wait_readable(a.r.sockets[SOCKETS_DNS_TCP]);
    _cleanup_close_ int fd = accept4(a.r.sockets[SOCKETS_DNS_TCP], NULL, NULL, SOCK_CLOEXEC);
    assert_int_equal(recv(fd, buf, sizeof(buf), 0), 5);
    assert_int_equal(send(fd, "reply", 5, 0), 5);
    netd_cell_finish(pid);
    assert_true(counted(&a, "dns").packets >= ARRAY_LEN(dns_servers) + 3);
    assert_packets(&a, "unmatched", 0);
    detach(&a);
}

/* ---- other UDP, answered by the raw sockets ---- */
static int cell_udp(void)
{
    return say_and_hear(dial(SOCK_DGRAM, "8.8.8.8", 443), "quic4", "back4") ||
           say_and_hear(dial(SOCK_DGRAM, "2001:db8::7", 443), "quic6", "back6");
}

/* The original destination and the sender of one datagram. */
static void take_udp(int fd, struct sockaddr_in6 *from, union any *orig)
{
    char buf[64];
    union {
        char bytes[256];
        struct cmsghdr align;
    } in;
    struct iovec iov = {buf, sizeof(buf)};
    struct msghdr m = {.msg_name = from,
                       .msg_namelen = sizeof(*from),
                       .msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = in.bytes,
                       .msg_controllen = sizeof(in)};
    wait_readable(fd);
    assert_int_equal(recvmsg(fd, &m, 0), 5);
    memset(orig, 0, sizeof(*orig));
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c != NULL; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == 20) /* IP_ORIGDSTADDR */
            memcpy(&orig->v4, CMSG_DATA(c), sizeof(orig->v4));
        if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == 74) /* IPV6_ORIGDSTADDR */
            memcpy(&orig->v6, CMSG_DATA(c), sizeof(orig->v6));
    }
}

static uint16_t udp6_checksum(const struct ip6_hdr *ip, const uint8_t *udp, size_t n)
{
    uint32_t sum = (uint32_t)n + IPPROTO_UDP;
    const uint8_t *addrs = (const uint8_t *)&ip->ip6_src;
    for (size_t i = 0; i < 32; i += 2)
        sum += (uint32_t)addrs[i] << 8 | addrs[i + 1];
    for (size_t i = 0; i < n; i += 2)
        sum += (uint32_t)udp[i] << 8 | (i + 1 < n ? udp[i + 1] : 0);
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return htons((uint16_t)~sum);
}

static void answer_udp4(int raw, const struct sockaddr_in6 *from, const struct sockaddr_in *orig)
{
    struct {
        struct iphdr ip;
        struct udphdr udp;
        char data[5];
    } __attribute__((packed))
    p = {.ip = {.ihl = 5,
                .version = 4,
                .tot_len = htons(33),
                .ttl = 64,
                .protocol = IPPROTO_UDP,
                .saddr = orig->sin_addr.s_addr},
         .udp = {.source = orig->sin_port, .dest = from->sin6_port, .len = htons(13)},
         .data = {'b', 'a', 'c', 'k', '4'}};
    struct sockaddr_in dst = {.sin_family = AF_INET};
    memcpy(&dst.sin_addr, from->sin6_addr.s6_addr + 12, 4);
    p.ip.daddr = dst.sin_addr.s_addr;
    assert_int_equal(sendto(raw, &p, sizeof(p), 0, (struct sockaddr *)&dst, sizeof(dst)), sizeof(p));
}

static void answer_udp6(int raw, const struct sockaddr_in6 *from, const struct sockaddr_in6 *orig)
{
    struct {
        struct ip6_hdr ip;
        struct udphdr udp;
        char data[5];
    } __attribute__((packed))
    p = {.ip = {.ip6_plen = htons(13),
                .ip6_nxt = IPPROTO_UDP,
                .ip6_hlim = 64,
                .ip6_src = orig->sin6_addr,
                .ip6_dst = from->sin6_addr},
         .udp = {.source = orig->sin6_port, .dest = from->sin6_port, .len = htons(13)},
         .data = {'b', 'a', 'c', 'k', '6'}};
    p.ip.ip6_vfc = 0x60;
    uint8_t copy[13];
    struct ip6_hdr ip = p.ip;
    memcpy(copy, (const uint8_t *)&p + sizeof(p.ip), sizeof(copy));
    p.udp.check = udp6_checksum(&ip, copy, sizeof(copy));
    struct sockaddr_in6 dst = {.sin6_family = AF_INET6, .sin6_addr = from->sin6_addr};
    assert_int_equal(sendto(raw, &p, sizeof(p), 0, (struct sockaddr *)&dst, sizeof(dst)), sizeof(p));
}

static void test_udp_and_raw_answers(void **state)
{
    (void)state;
    struct attached a = attach(NET_MODE_INTERCEPT);
    struct sockaddr_in6 from;
    union any orig;
    char text[INET6_ADDRSTRLEN];
    pid_t pid = netd_cell_start(&a.cell, cell_udp);

    take_udp(a.r.sockets[SOCKETS_UDP], &from, &orig);
    assert_int_equal(orig.v4.sin_family, AF_INET);
    assert_int_equal(ntohl(orig.v4.sin_addr.s_addr), 0x08080808);
    assert_int_equal(ntohs(orig.v4.sin_port), 443);
    answer_udp4(a.r.sockets[SOCKETS_RAW4], &from, &orig.v4);

    take_udp(a.r.sockets[SOCKETS_UDP], &from, &orig);
    assert_int_equal(orig.v6.sin6_family, AF_INET6);
    assert_string_equal(inet_ntop(AF_INET6, &orig.v6.sin6_addr, text, sizeof(text)), "2001:db8::7");
    assert_int_equal(ntohs(orig.v6.sin6_port), 443);
    answer_udp6(a.r.sockets[SOCKETS_RAW6], &from, &orig.v6);

    netd_cell_finish(pid);
    assert_packets(&a, "intercept", 2);
    assert_packets(&a, "proxy_answer", 2);
    assert_packets(&a, "sent", 2);
    assert_packets(&a, "unmatched", 0);
    detach(&a);
}

/* ---- the proxy's own port ---- */
static int cell_proxy_port(void)
{
    IN_CELL(dial(SOCK_STREAM, "127.0.0.1", 1) == -ECONNREFUSED);
    IN_CELL(dial(SOCK_STREAM, "1.2.3.4", 1) == -ECONNREFUSED);
    IN_CELL(dial(SOCK_STREAM, "2001:db8::1", 1) == -ECONNREFUSED);
    int fd = dial(SOCK_DGRAM, "10.88.0.2", 1);
    IN_CELL(fd >= 0);
    IN_CELL(send(fd, "x", 1, 0) < 0 && errno == EPERM);
    return 0;
}

static void test_proxy_port_is_refused(void **state)
{
    (void)state;
    struct attached a = attach(NET_MODE_INTERCEPT);
    netd_cell_run(&a.cell, cell_proxy_port);
    assert_packets(&a, "proxy_port", 4);
    struct pollfd p = {.fd = a.r.sockets[SOCKETS_TCP], .events = POLLIN};
    assert_int_equal(poll(&p, 1, 0), 0);
    p.fd = a.r.sockets[SOCKETS_UDP];
    assert_int_equal(poll(&p, 1, 0), 0);
    detach(&a);
}

/* ---- the workload's own servers ---- */
static int serve_and_dial(const char *ip)
{
    socklen_t len = 0;
    union any a = to(ip, 8080, &len);
    int l = socket(a.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0),
        u = socket(a.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    char buf[8];
    IN_CELL(bind(l, &a.sa, len) == 0 && listen(l, 4) == 0);
    IN_CELL(bind(u, &a.sa, len) == 0);
    int c = dial(SOCK_STREAM, ip, 8080);
    IN_CELL(c >= 0);
    int s = accept(l, NULL, NULL);
    IN_CELL(s >= 0);
    IN_CELL(send(c, "own", 3, 0) == 3 && recv(s, buf, sizeof(buf), 0) == 3);
    int d = dial(SOCK_DGRAM, ip, 8080);
    IN_CELL(d >= 0 && send(d, "own", 3, 0) == 3 && recv(u, buf, sizeof(buf), 0) == 3);
    close(l), close(u), close(c), close(s), close(d);
    return 0;
}

static int cell_own_servers(void)
{
    return serve_and_dial("127.0.0.1") || serve_and_dial("::1") || serve_and_dial("10.88.0.2") ||
           serve_and_dial("fd00:ce11::2") || serve_and_dial("127.0.0.77");
}

static void test_own_servers_are_reached(void **state)
{
    (void)state;
    struct attached a = attach(NET_MODE_INTERCEPT);
    netd_cell_run(&a.cell, cell_own_servers);
    assert_true(counted(&a, "own_server").packets >= 5 * 5);
    assert_packets(&a, "intercept", 0);
    assert_packets(&a, "unmatched", 0);
    detach(&a);
}

/* ---- what no rule lets through ---- */
static int send_to(int type, int protocol, const char *ip, const void *p, size_t n)
{
    socklen_t len = 0;
    int on = 1;
    union any a = to(ip, type == SOCK_RAW ? 0 : 5000, &len);
    int fd = socket(a.sa.sa_family, type | SOCK_CLOEXEC, protocol);
    setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on));
    ssize_t r = sendto(fd, p, n, 0, &a.sa, len);
    int e = r < 0 ? -errno : (int)r;
    close(fd);
    return e;
}

/* The raw ones stand for a workload that got further than its filter lets it: root over the namespace, even.
 */
static int cell_dropped(void)
{
    struct icmphdr echo4 = {.type = ICMP_ECHO, .checksum = htons(0xf7ff)};
    struct icmp6_hdr echo6 = {.icmp6_type = ICMP6_ECHO_REQUEST};
    IN_CELL(send_to(SOCK_DGRAM, 0, "224.0.0.251", "m", 1) == -EPERM);
    IN_CELL(send_to(SOCK_DGRAM, 0, "239.1.2.3", "m", 1) == -EPERM);
    IN_CELL(send_to(SOCK_DGRAM, 0, "ff05::2", "m", 1) == -EPERM);
    IN_CELL(send_to(SOCK_DGRAM, 0, "255.255.255.255", "b", 1) == -EPERM);
    IN_CELL(send_to(SOCK_DGRAM, 0, "127.255.255.255", "b", 1) == -EPERM);
    IN_CELL(send_to(SOCK_RAW, IPPROTO_ICMP, "8.8.8.8", &echo4, sizeof(echo4)) == -EPERM);
    IN_CELL(send_to(SOCK_RAW, IPPROTO_ICMPV6, "2001:db8::1", &echo6, sizeof(echo6)) == -EPERM);
    IN_CELL(send_to(SOCK_RAW, 132, "8.8.8.8", "sctp-like-data", 14) == -EPERM);
    return 0;
}

static void test_dropped_and_counted(void **state)
{
    (void)state;
    struct attached a = attach(NET_MODE_INTERCEPT);
    netd_cell_run(&a.cell, cell_dropped);
    assert_packets(&a, "multicast", 3);
    assert_packets(&a, "broadcast", 2);
    assert_packets(&a, "other_protocol", 3);
    assert_packets(&a, "sent", 0);
    assert_packets(&a, "proxy_answer", 0);
    detach(&a);
}

/* With the proxy gone nothing answers and nothing leaves. */
static int cell_nobody(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t len = 0;
    union any a = to("93.184.216.34", 443, &len);
    IN_CELL(connect(fd, &a.sa, len) < 0 && errno == EINPROGRESS);
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    IN_CELL(poll(&p, 1, 200) == 0);
    return 0;
}

static void test_fails_closed_without_the_proxy(void **state)
{
    (void)state;
    struct attached a = attach(NET_MODE_INTERCEPT);
    for (size_t i = 0; i < _SOCKETS_MAX; i++) {
        cleanup_closep(&a.r.sockets[i]);
        a.r.sockets[i] = -EBADF;
    }
    netd_cell_run(&a.cell, cell_nobody);
    assert_true(counted(&a, "unmatched").packets >= 1);
    assert_packets(&a, "intercept", 0);
    detach(&a);
}

/* ---- mode none ---- */
static int cell_none(void)
{
    IN_CELL(send_to(SOCK_DGRAM, 0, "8.8.8.8", "x", 1) == -EPERM);
    IN_CELL(send_to(SOCK_DGRAM, 0, "::1", "x", 1) == -EPERM);
    IN_CELL(send_to(SOCK_DGRAM, 0, "224.0.0.1", "x", 1) == -EPERM);
    return cell_nobody();
}

static void test_mode_none(void **state)
{
    (void)state;
    struct attached a = attach(NET_MODE_NONE);
    for (size_t i = 0; i < _SOCKETS_MAX; i++)
        assert_int_equal(a.r.sockets[i], -EBADF);
    netd_cell_run(&a.cell, cell_none);
    assert_packets(&a, "udp", 2);
    assert_packets(&a, "multicast", 1);
    assert_true(counted(&a, "tcp").packets >= 1);
    assert_packets(&a, "unmatched", 0);
    detach(&a);
}

static int group(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tcp_reaches_the_listener),
        cmocka_unit_test(test_dns_to_any_server),
        cmocka_unit_test(test_udp_and_raw_answers),
        cmocka_unit_test(test_proxy_port_is_refused),
        cmocka_unit_test(test_own_servers_are_reached),
        cmocka_unit_test(test_dropped_and_counted),
        cmocka_unit_test(test_fails_closed_without_the_proxy),
        cmocka_unit_test(test_mode_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return attached_main(group);
}
