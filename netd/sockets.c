/* SPDX-License-Identifier: MIT */
#include "netd/sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/in6.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "netd/ruleset.h"
#include "proto/limits.h"
#include "proto/messages.h"

#ifndef IPV6_RECVORIGDSTADDR
#define IPV6_RECVORIGDSTADDR 74 /* linux/in6.h, which libc's headers do not repeat */
#endif
#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

_Static_assert((int)_SOCKETS_MAX == NETD_CELL_SOCKETS, "the attach reply carries all sockets");

static const struct sockets_kind {
    const char *name;
    int domain;
    int type;
    int protocol;
    uint16_t port; /* 0: raw, not bound */
} kinds[_SOCKETS_MAX] = {
    [SOCKETS_DNS_UDP] = {"DNS UDP", AF_INET6, SOCK_DGRAM, IPPROTO_UDP, RULESET_DNS_PORT},
    [SOCKETS_DNS_TCP] = {"DNS TCP", AF_INET6, SOCK_STREAM, IPPROTO_TCP, RULESET_DNS_PORT},
    [SOCKETS_TCP] = {"transparent TCP", AF_INET6, SOCK_STREAM, IPPROTO_TCP, RULESET_PROXY_PORT},
    [SOCKETS_UDP] = {"transparent UDP", AF_INET6, SOCK_DGRAM, IPPROTO_UDP, RULESET_PROXY_PORT},
    [SOCKETS_RAW4] = {"raw IPv4", AF_INET, SOCK_RAW, IPPROTO_RAW, 0},
    [SOCKETS_RAW6] = {"raw IPv6", AF_INET6, SOCK_RAW, IPPROTO_RAW, 0},
};

const char *sockets_name(enum sockets_index i)
{
    return kinds[i].name;
}

static int set(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

/* With every datagram: where it arrived and where it was sent to, for both families. */
static int want_destinations(int fd)
{
    int r = set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    if (r == 0)
        r = set(fd, IPPROTO_IP, IP_RECVORIGDSTADDR, 1);
    return r == 0 ? set(fd, IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, 1) : r;
}

static int bind_transparent(int fd, const struct sockets_kind *k)
{
    struct sockaddr_in6 any = {
        .sin6_family = AF_INET6, .sin6_port = htons(k->port), .sin6_addr = in6addr_any};
    int r = set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    if (r == 0)
        r = set(fd, IPPROTO_IP, IP_TRANSPARENT, 1);
    if (r == 0)
        r = set(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, 1);
    if (r == 0 && k->type == SOCK_DGRAM)
        r = want_destinations(fd);
    if (r < 0)
        return r;
    if (bind(fd, (const struct sockaddr *)&any, sizeof(any)) < 0)
        return -errno;
    return k->type == SOCK_STREAM && listen(fd, LIMIT_TCP_OPEN) < 0 ? -errno : 0;
}

static int include_headers(int fd, const struct sockets_kind *k)
{
    return k->domain == AF_INET ? set(fd, IPPROTO_IP, IP_HDRINCL, 1) : set(fd, IPPROTO_IPV6, IPV6_HDRINCL, 1);
}

static int open_one(const struct sockets_kind *k)
{
    _cleanup_close_ int fd = socket(k->domain, k->type | SOCK_CLOEXEC | SOCK_NONBLOCK, k->protocol);
    if (fd < 0)
        return -errno;
    int r = set(fd, SOL_SOCKET, SO_MARK, RULESET_MARK);
    if (r == 0)
        r = k->port != 0 ? bind_transparent(fd, k) : include_headers(fd, k);
    return r < 0 ? r : TAKE_FD(fd);
}

int sockets_open(int ret[static _SOCKETS_MAX], enum sockets_index *ret_failed)
{
    return sockets_open_first(ret, _SOCKETS_MAX, ret_failed);
}

int sockets_open_first(int *ret, size_t n, enum sockets_index *ret_failed)
{
    int fds[_SOCKETS_MAX] = {0};
    for (enum sockets_index i = 0; i < n; i++) {
        fds[i] = open_one(&kinds[i]);
        if (fds[i] < 0) {
            int r = fds[i];
            *ret_failed = i;
            while (i-- > 0)
                close(fds[i]);
            return r;
        }
    }
    memcpy(ret, fds, n * sizeof(*fds));
    return 0;
}

static bool has(int fd, int level, int option, int want)
{
    int v = 0;
    socklen_t len = sizeof(v);
    return getsockopt(fd, level, option, &v, &len) == 0 && len == sizeof(v) && v == want;
}

int sockets_netns_cookie(int fd, uint64_t *ret)
{
    uint64_t v = 0;
    socklen_t len = sizeof(v);
    if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &v, &len) < 0)
        return -errno;
    if (len != sizeof(v))
        return -EIO;
    *ret = v;
    return 0;
}

int sockets_own_cookie(uint64_t *ret)
{
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return fd < 0 ? -errno : sockets_netns_cookie(fd, ret);
}

static bool is_kind(int fd, int domain, int type, int protocol, uint64_t cookie)
{
    uint64_t in = 0;
    return has(fd, SOL_SOCKET, SO_DOMAIN, domain) && has(fd, SOL_SOCKET, SO_TYPE, type) &&
           has(fd, SOL_SOCKET, SO_PROTOCOL, protocol) && sockets_netns_cookie(fd, &in) == 0 && in == cookie;
}

static bool is_bound_to(int fd, uint16_t port)
{
    struct sockaddr_in6 a = {0};
    socklen_t len = sizeof(a);
    return getsockname(fd, (struct sockaddr *)&a, &len) == 0 && len == sizeof(a) &&
           a.sin6_family == AF_INET6 && a.sin6_port == htons(port);
}

bool sockets_is(int fd, enum sockets_index i, uint64_t cookie)
{
    const struct sockets_kind *k = &kinds[i];
    if (!is_kind(fd, k->domain, k->type, k->protocol, cookie) || !has(fd, SOL_SOCKET, SO_MARK, RULESET_MARK))
        return false;
    if (!has(fd, SOL_SOCKET, SO_ACCEPTCONN, k->type == SOCK_STREAM))
        return false;
    return k->port == 0 || (is_bound_to(fd, k->port) && has(fd, IPPROTO_IP, IP_TRANSPARENT, 1));
}

bool sockets_is_netfilter(int fd, uint64_t cookie)
{
    return is_kind(fd, AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER, cookie);
}
