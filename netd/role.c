/* SPDX-License-Identifier: MIT */
#include "netd/role.h"

#include <linux/capability.h>
#include <linux/in6.h>
#include <linux/netlink.h>
#include <linux/nsfs.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "common/priv/seccomp.h"

#ifndef NS_GET_ID
#define NS_GET_ID _IOR(NSIO, 0xd, uint64_t) /* Linux 6.18 */
#endif
#ifndef IPV6_RECVORIGDSTADDR
#define IPV6_RECVORIGDSTADDR 74
#endif

#define IOCTL(request, why) SECCOMP_ROW1(ioctl, why, SECCOMP_IS(1, request))
#define SOCKET(domain, why) SECCOMP_ROW1(socket, why, SECCOMP_IS(0, domain))
#define SETSOCKOPT(level, option, why)                                                                       \
    SECCOMP_ROW2(setsockopt, why, SECCOMP_IS(1, level), SECCOMP_IS(2, option))
#define PRCTL(option, why) SECCOMP_ROW1(prctl, why, SECCOMP_IS(0, option))

static const struct role_fd netd_fds[] = {
    [ROLE_NETD_SUPERVISOR] = {"supervisor", ROLE_FD_CHANNEL},
    [ROLE_NETD_SIGNERD] = {"signerd", ROLE_FD_CHANNEL},
    [ROLE_NETD_PROXYD] = {"proxyd", ROLE_FD_CHANNEL},
};

/* One filter for the parent and its forked children, which inherit it. */
static const struct role_syscall netd_syscalls[] = {
    /* the parent */
    IOCTL(NS_GET_NSTYPE, "netns_check: what an fd is"),
    IOCTL(NS_GET_USERNS, "netns_check: who owns the network namespace"),
    IOCTL(NS_GET_PARENT, "netns_check: the user namespace is a child of ours"),
    IOCTL(NS_GET_OWNER_UID, "netns_check: it is the supervisor's"),
    IOCTL(NS_GET_ID, "netns_check: an identity that is never reused"),
    SECCOMP_ROWS_FORK,
    SECCOMP_ROW1(socketpair, "worker: the child's report", SECCOMP_IS(0, AF_UNIX)),
    SECCOMP_ROW(pidfd_open, "worker: wait for the child in the loop"),
    SECCOMP_ROW(pidfd_send_signal, "worker: the child is late"),
    SECCOMP_ROW2(getsockopt, "sockets_is: the child's sockets are transparent", SECCOMP_IS(1, IPPROTO_IP),
                 SECCOMP_IS(2, IP_TRANSPARENT)),
    /* the child */
    PRCTL(PR_SET_PDEATHSIG, "worker_child: ends with its parent"),
    PRCTL(PR_SET_DUMPABLE, "worker_child: stays out of reach inside the user namespace"),
    SECCOMP_ROW(close_range, "worker_child: keeps only the fds of its job"),
    SECCOMP_ROW1(setns, "worker_child: joins U1", SECCOMP_IS(1, CLONE_NEWUSER)),
    SECCOMP_ROW1(setns, "worker_child: joins the cell's network", SECCOMP_IS(1, CLONE_NEWNET)),
    SOCKET(AF_NETLINK, "route, nft"),
    SOCKET(AF_INET, "sockets: raw IPv4"),
    SOCKET(AF_INET6, "sockets: the others"),
    SECCOMP_ROW(bind, "sockets, netlink_open"),
    SECCOMP_ROW(listen, "sockets"),
    SETSOCKOPT(SOL_SOCKET, SO_SNDBUFFORCE, "routed_nft_open: a transaction of many rules"),
    SETSOCKOPT(SOL_SOCKET, SO_RCVBUF, "nflog_open: what may wait"),
    SETSOCKOPT(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, "nflog_open: the ends of flows"),
    SETSOCKOPT(SOL_SOCKET, SO_MARK, "sockets: the rules let pass what is marked"),
    SETSOCKOPT(IPPROTO_IP, IP_TRANSPARENT, "sockets: take what was meant for anybody"),
    SETSOCKOPT(IPPROTO_IP, IP_RECVORIGDSTADDR, "sockets: whom it was meant for"),
    SETSOCKOPT(IPPROTO_IP, IP_HDRINCL, "sockets: raw"),
    SETSOCKOPT(IPPROTO_IPV6, IPV6_V6ONLY, "sockets: both families"),
    SETSOCKOPT(IPPROTO_IPV6, IPV6_TRANSPARENT, "sockets: take what was meant for anybody"),
    SETSOCKOPT(IPPROTO_IPV6, IPV6_RECVPKTINFO, "sockets: which address was asked"),
    SETSOCKOPT(IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, "sockets: whom it was meant for"),
    SETSOCKOPT(IPPROTO_IPV6, IPV6_HDRINCL, "sockets: raw"),
};

#define NETD_ROLE(more)                                                                                      \
    {                                                                                                        \
        .name = "netd", .fds = netd_fds, .nfds = ARRAY_LEN(netd_fds),                                        \
        .caps = {[ROLE_EMBEDDED] = (more), [ROLE_SYSTEM] = 1ull << CAP_SYS_ADMIN | (more)},                  \
        .syscalls = netd_syscalls, .nsyscalls = ARRAY_LEN(netd_syscalls),                                    \
        .nofile = 65536, /* three fds a cell, nine more while it is being attached; not below four times a   \
                            workload's */                                                                    \
            .may_fork = true,                                                                                \
    }

const struct role role_netd = NETD_ROLE(0ull);
const struct role role_netd_routed = NETD_ROLE(1ull << CAP_NET_ADMIN);
