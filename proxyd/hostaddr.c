/* SPDX-License-Identifier: MIT */
#include "proxyd/hostaddr.h"

#include <time.h>

static bool bind_tells[2] = {true, true}; /* IPv4, IPv6 */

static int probe_socket(const struct addr *a, struct sockaddr_storage *ss, socklen_t *len)
{
    struct endpoint_addr e = {.addr = *a, .port = 0};

    *len = addr_to_sockaddr(&e, ss);
    return socket(a->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

/* A socket can be bound to the host's own addresses only (local, AnyIP and broadcast ones). 1, 0 or -errno.
 */
static int can_bind(const struct addr *a)
{
    struct sockaddr_storage ss;
    socklen_t len;
    _cleanup_close_ int fd = probe_socket(a, &ss, &len);

    if (fd < 0)
        return -errno;
    if (bind(fd, (struct sockaddr *)&ss, len) == 0)
        return 1;
    return errno == EADDRNOTAVAIL ? 0 : -errno;
}

/* The kernel's own source address towards one of the host's addresses is that address. No packet is sent. */
static int routes_to_itself(const struct addr *a)
{
    struct endpoint_addr e = {.addr = *a, .port = 9};
    struct sockaddr_storage ss;
    socklen_t len;
    _cleanup_close_ int fd = probe_socket(a, &ss, &len);

    if (fd < 0)
        return -errno;
    len = addr_to_sockaddr(&e, &ss);
    if (connect(fd, (struct sockaddr *)&ss, len) < 0)
        return 0; /* no way there at all */
    len = sizeof(ss);
    if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0 ||
        addr_from_sockaddr((struct sockaddr *)&ss, len, &e) < 0)
        return -EIO;
    return addr_eq(&e.addr, a);
}

static bool is_local(const struct addr *a)
{
    int bound = bind_tells[a->family == AF_INET6] ? can_bind(a) : 0;
    int route = bound == 0 ? routes_to_itself(a) : 0;

    if (bound == -EAFNOSUPPORT || route == -EAFNOSUPPORT) /* no such family here: nothing to reach either */
        return false;
    return bound != 0 || route != 0;
}

/* The IPv4 addresses inside a transition address (decisions 26): mapped, NAT64, 6to4, Teredo server and
 * client. */
static size_t wrapped_v4(const struct addr *a, struct addr ret[2])
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    static const uint8_t nat64[12] = {0, 0x64, 0xff, 0x9b};
    static const uint8_t sixtofour[2] = {0x20, 0x02};
    static const uint8_t teredo[4] = {0x20, 0x01, 0, 0};

    if (a->family != AF_INET6)
        return 0;
    ret[0] = ret[1] = (struct addr){.family = AF_INET};
    if (memcmp(a->bytes, mapped, 12) == 0 || memcmp(a->bytes, nat64, 12) == 0) {
        memcpy(ret[0].bytes, a->bytes + 12, 4);
        return 1;
    }
    if (memcmp(a->bytes, sixtofour, 2) == 0) {
        memcpy(ret[0].bytes, a->bytes + 2, 4);
        return 1;
    }
    if (memcmp(a->bytes, teredo, 4) != 0)
        return 0;
    memcpy(ret[0].bytes, a->bytes + 4, 4);
    for (size_t i = 0; i < 4; i++)
        ret[1].bytes[i] = (uint8_t)~a->bytes[12 + i];
    return 2;
}

static bool ask(const struct addr *a)
{
    struct addr v4[2];
    size_t n = wrapped_v4(a, v4);
    bool local = is_local(a);

    for (size_t i = 0; i < n; i++)
        local |= is_local(&v4[i]);
    return local;
}

/* What the kernel has said a moment ago: a cell that dials one name again and again is not worth ten system
 * calls each time. */
struct known {
    struct addr addr;
    bool local;
    uint64_t until_ms;
};
static struct known known[HOSTADDR_KNOWN];

static uint64_t now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &t); /* cannot fail with this clock */
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

bool hostaddr_is_local(const struct addr *a)
{
    unsigned h = 0;

    for (size_t i = 0; i < sizeof(a->bytes); i++)
        h = h * 31 + a->bytes[i];
    struct known *k = &known[h % HOSTADDR_KNOWN];
    uint64_t now = now_ms();
    if (now >= k->until_ms || !addr_eq(&k->addr, a))
        *k = (struct known){*a, ask(a), now + HOSTADDR_KEEP_MS};
    return k->local;
}

void hostaddr_init(void)
{
    /* Documentation addresses (RFC 5737, RFC 3849), which no host has. */
    static const struct addr nobody[2] = {
        {.family = AF_INET, .bytes = {192, 0, 2, 1}},
        {.family = AF_INET6, .bytes = {0x20, 0x01, 0x0d, 0xb8, 0xff, 0xff, [15] = 1}},
    };

    for (size_t i = 0; i < 2; i++)
        bind_tells[i] = can_bind(&nobody[i]) != 1;
}
