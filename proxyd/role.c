/* SPDX-License-Identifier: MIT */
#include "proxyd/role.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "common/priv/seccomp.h"

#define SOCKET(domain, why) SECCOMP_ROW1(socket, why, SECCOMP_IS(0, domain))
#define SETSOCKOPT(level, option, why)                                                                       \
    SECCOMP_ROW2(setsockopt, why, SECCOMP_IS(1, level), SECCOMP_IS(2, option))

static const struct role_fd proxyd_fds[] = {
    [ROLE_PROXYD_SUPERVISOR] = {"supervisor", ROLE_FD_CHANNEL},
    [ROLE_PROXYD_SIGNERD] = {"signerd", ROLE_FD_CHANNEL},
    [ROLE_PROXYD_NETD] = {"netd", ROLE_FD_CHANNEL},
};

/* No file, no process, no netlink, no Unix socket: connections over IP, and the sockets it is handed. */
static const struct role_syscall proxyd_syscalls[] = {
    SOCKET(AF_INET, "dial, hostaddr, resolvers"),
    SOCKET(AF_INET6, "dial, hostaddr, resolvers"),
    SECCOMP_ROW(connect, "dial, resolvers, hostaddr"),
    SECCOMP_ROW(bind, "hostaddr: is this address the host's own; DNSSEC: sockets on 127.0.0.1 only"),
    SECCOMP_ROW(accept4, "gate, DNS over TCP"),
    SETSOCKOPT(IPPROTO_TCP, TCP_NODELAY, "the relay never waits for more bytes"),
    SETSOCKOPT(SOL_SOCKET, SO_KEEPALIVE, "relay: an upstream that is gone without a word"),
    SETSOCKOPT(IPPROTO_TCP, TCP_KEEPIDLE, "relay: asked for after a minute of silence"),
    SETSOCKOPT(SOL_SOCKET, SO_RXQ_OVFL, "UDP: what a full queue costs is counted"),
    SETSOCKOPT(SOL_SOCKET, SO_LINGER, "farewell_reset: a broken stream must not look complete"),
    SETSOCKOPT(IPPROTO_IPV6, IPV6_RECVPKTINFO, "DNS: answered from the address that was asked"),
    SETSOCKOPT(IPPROTO_IP, IP_MTU_DISCOVER, "libunbound, on its sockets; QUIC is never fragmented"),
    SECCOMP_ROW(recvmmsg, "DNS: a batch of queries"),
    SECCOMP_ROW(sendmmsg, "DNS: the answers to a batch; UDP: datagrams into a cell"),
    SETSOCKOPT(SOL_SOCKET, SO_SNDBUF, "DNS over TCP: what a client leaves unread is bounded"),
    SETSOCKOPT(IPPROTO_IPV6, IPV6_MTU_DISCOVER, "QUIC is never fragmented (RFC 9000 section 14)"),
    SECCOMP_ROW(splice, "relay"),
#ifndef CELLOS_SANITIZE /* the sanitizers' rows have it */
    SECCOMP_ROW(pipe2, "relay: pipes for splice"),
#endif
};

const struct role role_proxyd = {
    .name = "proxyd",
    .fds = proxyd_fds,
    .nfds = ARRAY_LEN(proxyd_fds),
    .caps = {[ROLE_EMBEDDED] = 0, [ROLE_SYSTEM] = 0},
    .syscalls = proxyd_syscalls,
    .nsyscalls = ARRAY_LEN(proxyd_syscalls),
    .nofile = 65536, /* two fds a connection, two a spliced direction under way */
    .may_fork = false,
};
