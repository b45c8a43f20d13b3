/* SPDX-License-Identifier: MIT */
/* For proxyd's tests: two network namespaces in a user namespace of the test's own. "Host" is where proxyd
 * dials from, "cell" is where its sockets are: there every address is local (AnyIP), as in a real cell.
 * Sockets stay where they were made, so one thread plays everybody. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <fcntl.h>
#include <linux/in6.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>

#include "common/net/addr.h"

static int net_host = -EBADF, net_cell = -EBADF;

static inline void net_write(const char *path, const char *text)
{
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        exit(1);
}

static inline void net_command(const char *text)
{
    if (system(text) != 0) {
        fprintf(stderr, "failed: %s\n", text);
        exit(1);
    }
}

static inline void net_enter(int ns)
{
    if (setns(ns, CLONE_NEWNET) < 0)
        exit(1);
}

/* First thing in main. */
static inline void net_setup(void)
{
    unsigned uid = getuid(), gid = getgid();
    char map[32];
    signal(SIGPIPE, SIG_IGN);
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) {
        perror("the tests need user and network namespaces");
        exit(1);
    }
    net_write("/proc/self/setgroups", "deny");
    snprintf(map, sizeof(map), "0 %u 1", uid);
    net_write("/proc/self/uid_map", map);
    snprintf(map, sizeof(map), "0 %u 1", gid);
    net_write("/proc/self/gid_map", map);
    net_host = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    net_command("ip link set lo up && ip addr add 8.8.4.4/32 dev lo && ip addr add 2a00::4/128 dev lo");
    if (unshare(CLONE_NEWNET) < 0)
        exit(1);
    net_cell = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    net_command("ip link set lo up && ip addr add 10.88.0.2/32 dev lo && ip addr add fd00:ce11::2/128 dev lo "
                "nodad && "
                "ip route add local default dev lo src 10.88.0.2 && "
                "ip -6 route add local default dev lo src fd00:ce11::2");
    net_enter(net_host);
}

static inline int net_socket(int ns, int domain, int type, int protocol)
{
    net_enter(ns);
    int fd = socket(domain, type | SOCK_CLOEXEC, protocol);
    net_enter(net_host);
    assert_true(fd >= 0);
    return fd;
}

static inline void net_set(int fd, int level, int option, int value)
{
    assert_int_equal(setsockopt(fd, level, option, &value, sizeof(value)), 0);
}

static inline struct endpoint_addr net_addr(const char *text, uint16_t port)
{
    struct endpoint_addr e = {.port = port};
    assert_int_equal(addr_parse(str_of(text), &e.addr), 0);
    return e;
}

static inline uint16_t net_port(int fd)
{
    struct sockaddr_storage ss;
    struct endpoint_addr e;
    socklen_t len = sizeof(ss);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
    assert_int_equal(addr_from_sockaddr((struct sockaddr *)&ss, len, &e), 0);
    return e.port;
}

/* Bound (listening, when a stream) on this address of the host. */
static inline int net_server(int type, const char *text, uint16_t port)
{
    struct endpoint_addr e = net_addr(text, port);
    struct sockaddr_storage ss;
    socklen_t len = addr_to_sockaddr(&e, &ss);
    int fd = net_socket(net_host, e.addr.family, type, 0);
    net_set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&ss, len), 0);
    if (type == SOCK_STREAM)
        assert_int_equal(listen(fd, 16), 0);
    return fd;
}

/* Connects (never waits) from inside a namespace. */
static inline int net_connect(int ns, int type, const char *text, uint16_t port)
{
    struct endpoint_addr e = net_addr(text, port);
    struct sockaddr_storage ss;
    socklen_t len = addr_to_sockaddr(&e, &ss);
    int fd = net_socket(ns, e.addr.family, type | SOCK_NONBLOCK, 0);
    if (connect(fd, (struct sockaddr *)&ss, len) < 0)
        assert_int_equal(errno, EINPROGRESS);
    return fd;
}

/* A socket as netd makes it in the cell: both families, on any address. */
static inline int net_cell_socket(int type, uint16_t port)
{
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    int fd = net_socket(net_cell, AF_INET6, type | SOCK_NONBLOCK, 0);
    net_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    if (type == SOCK_DGRAM) {
        net_set(fd, IPPROTO_IP, IP_RECVORIGDSTADDR, 1);
        net_set(fd, IPPROTO_IPV6, 74, 1); /* IPV6_RECVORIGDSTADDR */
    } else {
        net_set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    }
    assert_int_equal(bind(fd, (struct sockaddr *)&any, sizeof(any)), 0);
    if (type == SOCK_STREAM)
        assert_int_equal(listen(fd, 2048), 0);
    return fd;
}

static inline int net_raw(int domain)
{
    int fd = net_socket(net_cell, domain, SOCK_RAW | SOCK_NONBLOCK, IPPROTO_RAW);
    if (domain == AF_INET6)
        net_set(fd, IPPROTO_IPV6, IPV6_HDRINCL, 1);
    return fd;
}

/* A failed test leaves its sockets open; the next one needs the ports. */
static inline int net_teardown(void **state)
{
    (void)state;
    return close_range((unsigned)(net_host > net_cell ? net_host : net_cell) + 1, ~0u, 0);
}
#define NET_TEST(t) cmocka_unit_test_teardown(t, net_teardown)
