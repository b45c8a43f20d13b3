/* SPDX-License-Identifier: MIT */
#include "common/net/addr.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "common/base/num.h"

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

/* Own reader: inet_pton(3) differs between C libraries in what it takes for dotted decimal. */
static int parse_v4(struct str s, uint8_t ret[4])
{
    uint8_t out[4];
    for (unsigned i = 0; i < 4; i++) {
        const char *dot = s.len > 0 ? memchr(s.p, '.', s.len) : NULL;
        size_t len = dot ? (size_t)(dot - s.p) : s.len;
        uint64_t v;
        if ((i < 3) != (dot != NULL) || num_parse_u64((struct str){s.p, len}, 0, 255, &v) < 0)
            return -EINVAL;
        out[i] = (uint8_t)v;
        if (dot)
            s = (struct str){dot + 1, s.len - len - 1};
    }
    memcpy(ret, out, sizeof(out));
    return 0;
}

static int parse_v6(struct str s, uint8_t ret[16])
{
    char text[ADDR_TEXT_MAX];
    if (s.len >= sizeof(text))
        return -EINVAL;
    memcpy(text, s.p, s.len);
    text[s.len] = 0;
    if (strspn(text, "0123456789abcdefABCDEF:.") != s.len)
        return -EINVAL;
    const char *tail = strrchr(text, ':') + 1;
    uint8_t v4[4];
    if (strchr(text, '.') && parse_v4(str_of(tail), v4) < 0)
        return -EINVAL;
    uint8_t out[16];
    if (inet_pton(AF_INET6, text, out) != 1)
        return -EINVAL;
    memcpy(ret, out, sizeof(out));
    return 0;
}

int addr_parse(struct str s, struct addr *ret)
{
    struct addr a = {0};
    if (s.len == 0)
        return -EINVAL;
    bool v6 = memchr(s.p, ':', s.len) != NULL;
    a.family = v6 ? AF_INET6 : AF_INET;
    int r = v6 ? parse_v6(s, a.bytes) : parse_v4(s, a.bytes);
    if (r == 0)
        *ret = a;
    return r;
}

static unsigned addr_bits(const struct addr *a)
{
    return a->family == AF_INET ? 32 : a->family == AF_INET6 ? 128 : 0;
}

static bool bits_equal(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    return memcmp(a, b, whole) == 0 && (rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0);
}

int addr_prefix_parse(struct str s, struct addr_prefix *ret)
{
    const char *slash = s.len > 0 ? memchr(s.p, '/', s.len) : NULL;
    struct addr_prefix p = {0};
    struct str host = {s.p, slash ? (size_t)(slash - s.p) : s.len};
    if (addr_parse(host, &p.addr) < 0)
        return -EINVAL;
    uint64_t bits = addr_bits(&p.addr);
    if (slash && num_parse_u64((struct str){slash + 1, s.len - host.len - 1}, 0, bits, &bits) < 0)
        return -EINVAL;
    p.bits = (uint8_t)bits;
    for (unsigned i = p.bits; i < addr_bits(&p.addr); i++)
        if (p.addr.bytes[i / 8] >> (7 - i % 8) & 1)
            return -EINVAL;
    *ret = p;
    return 0;
}

int addr_endpoint_parse(struct str s, uint16_t default_port, struct endpoint_addr *ret)
{
    struct endpoint_addr e = {.port = default_port};
    struct str host = s, port = STR_NONE;
    bool bracket = s.len > 0 && s.p[0] == '[';
    const char *mark = s.len > 0 ? memchr(s.p, bracket ? ']' : ':', s.len) : NULL;
    if (bracket) {
        if (!mark)
            return -EINVAL;
        host = (struct str){s.p + 1, (size_t)(mark - s.p) - 1};
        struct str rest = {mark + 1, s.len - host.len - 2};
        if (rest.len > 0 && rest.p[0] != ':')
            return -EINVAL;
        if (rest.len > 0)
            port = (struct str){rest.p + 1, rest.len - 1};
    } else if (mark) {
        host.len = (size_t)(mark - s.p);
        port = (struct str){mark + 1, s.len - host.len - 1};
    }
    if (addr_parse(host, &e.addr) < 0 || bracket != (e.addr.family == AF_INET6))
        return -EINVAL;
    uint64_t v = default_port;
    if (port.p ? num_parse_u64(port, 1, UINT16_MAX, &v) < 0 : default_port == 0)
        return -EINVAL;
    e.port = (uint16_t)v;
    *ret = e;
    return 0;
}

/* RFC 5952 section 4: the longest run of two or more zero groups, the first of equals, becomes "::". */
static void longest_zero_run(const uint16_t g[8], int *ret_start, int *ret_len)
{
    int start = -1, len = 1;
    for (int i = 0; i < 8;) {
        int j = i;
        while (j < 8 && g[j] == 0)
            j++;
        if (j - i > len) {
            start = i;
            len = j - i;
        }
        i = j + 1;
    }
    *ret_start = start;
    *ret_len = len;
}

static void format_v6(const uint8_t b[16], char dst[ADDR_TEXT_MAX])
{
    uint16_t g[8];
    for (int i = 0; i < 8; i++)
        g[i] = (uint16_t)(b[2 * (size_t)i] << 8 | b[2 * (size_t)i + 1]);
    int start, len;
    longest_zero_run(g, &start, &len);
    char *p = dst;
    for (int i = 0; i < 8; i++) {
        if (i == start) {
            p += snprintf(p, 3, "::");
            i += len - 1;
            continue;
        }
        p += snprintf(p, 6, "%s%x", i == 0 || i == start + len ? "" : ":", (unsigned)g[i]);
    }
}

const char *addr_format(const struct addr *a, char dst[ADDR_TEXT_MAX])
{
    const uint8_t *b = a->bytes;
    dst[0] = 0;
    if (a->family == AF_INET)
        snprintf(dst, ADDR_TEXT_MAX, "%u.%u.%u.%u", b[0], b[1], b[2], b[3]);
    else if (a->family == AF_INET6 && memcmp(b, mapped_prefix, sizeof(mapped_prefix)) == 0)
        snprintf(dst, ADDR_TEXT_MAX, "::ffff:%u.%u.%u.%u", b[12], b[13], b[14],
                 b[15]); /* RFC 5952 section 5 */
    else if (a->family == AF_INET6)
        format_v6(b, dst);
    return dst;
}

const char *addr_endpoint_format(const struct endpoint_addr *e, char dst[ADDR_ENDPOINT_MAX])
{
    char text[ADDR_TEXT_MAX];
    bool v6 = e->addr.family == AF_INET6;
    snprintf(dst, ADDR_ENDPOINT_MAX, "%s%s%s:%u", v6 ? "[" : "", addr_format(&e->addr, text), v6 ? "]" : "",
             e->port);
    return dst;
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
    return a->family == b->family && memcmp(a->bytes, b->bytes, addr_bits(a) / 8) == 0;
}

bool addr_prefix_contains(const struct addr_prefix *p, const struct addr *a)
{
    return a->family != AF_UNSPEC && p->addr.family == a->family && p->bits <= addr_bits(a) &&
           bits_equal(p->addr.bytes, a->bytes, p->bits);
}

int addr_from_sockaddr(const struct sockaddr *sa, socklen_t len, struct endpoint_addr *ret)
{
    struct endpoint_addr e = {0};
    sa_family_t family;
    if (len < sizeof(family))
        return -EAFNOSUPPORT;
    memcpy(&family, &sa->sa_family, sizeof(family));
    if (family == AF_INET && len >= sizeof(struct sockaddr_in)) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof(in));
        e.addr.family = AF_INET;
        e.port = ntohs(in.sin_port);
        memcpy(e.addr.bytes, &in.sin_addr, 4);
    } else if (family == AF_INET6 && len >= sizeof(struct sockaddr_in6)) {
        struct sockaddr_in6 in6;
        memcpy(&in6, sa, sizeof(in6));
        bool mapped = memcmp(&in6.sin6_addr, mapped_prefix, sizeof(mapped_prefix)) == 0;
        e.addr.family = mapped ? AF_INET : AF_INET6;
        e.port = ntohs(in6.sin6_port);
        memcpy(e.addr.bytes, in6.sin6_addr.s6_addr + (mapped ? 12 : 0), mapped ? 4 : 16);
    } else {
        return -EAFNOSUPPORT;
    }
    *ret = e;
    return 0;
}

socklen_t addr_to_sockaddr(const struct endpoint_addr *e, struct sockaddr_storage *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (e->addr.family == AF_INET) {
        struct sockaddr_in *in = (struct sockaddr_in *)ret;
        in->sin_family = AF_INET;
        in->sin_port = htons(e->port);
        memcpy(&in->sin_addr, e->addr.bytes, 4);
        return sizeof(*in);
    }
    if (e->addr.family == AF_INET6) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(e->port);
        memcpy(&in6->sin6_addr, e->addr.bytes, 16);
        return sizeof(*in6);
    }
    return 0;
}
