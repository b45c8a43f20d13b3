/* SPDX-License-Identifier: MIT */
/* What a proxy answers: readers and writers without I/O. */
#include <stdio.h>

#include "common/base/cursor.h"
#include "proxyd/proxied.h"

#define SOCKS_VERSION 5
#define SOCKS_CONNECT 1
#define SOCKS_V4      1
#define SOCKS_NAME    3
#define SOCKS_V6      4

static bool digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* RFC 9112 section 4: "HTTP/1.1 200 ..."; the status, 0 while too little is there, -1. */
static int status_of(const uint8_t *p, size_t n)
{
    static const char begin[] = "HTTP/1.";
    const size_t known = sizeof(begin) - 1;

    if (memcmp(p, begin, n < known ? n : known) != 0)
        return -1;
    if (n < known + 6)
        return 0;
    const uint8_t *s = p + known;
    if (!digit(s[0]) || s[1] != ' ' || s[2] < '1' || s[2] > '5' || !digit(s[3]) || !digit(s[4]) ||
        (s[5] != ' ' && s[5] != '\r'))
        return -1;
    return (s[2] - '0') * 100 + (s[3] - '0') * 10 + (s[4] - '0');
}

enum proxied_outcome proxied_connect_reply(const uint8_t *p, size_t n, size_t *ret_len)
{
    size_t at = 0;

    for (;;) {
        int status = status_of(p + at, n - at);
        if (status < 0)
            return PROXIED_BROKEN;
        if (status >= 300)
            return PROXIED_REFUSED;
        const uint8_t *end = n > at ? memmem(p + at, n - at, "\r\n\r\n", 4) : NULL;
        if (status == 0 || !end)
            return n >= PROXIED_REPLY_MAX ? PROXIED_BROKEN : PROXIED_MORE;
        at = (size_t)(end - p) + 4;
        if (status >= 200) { /* 1xx: the answer is still to come (RFC 9110 section 15.2) */
            *ret_len = at;
            return PROXIED_DONE;
        }
    }
}

enum proxied_outcome proxied_socks_method(const uint8_t *p, size_t n, size_t *ret_len)
{
    struct cursor c = cursor_of(p, n);
    uint8_t version, method;

    if (cursor_u8(&c, &version) < 0)
        return PROXIED_MORE;
    if (version != SOCKS_VERSION)
        return PROXIED_BROKEN;
    if (cursor_u8(&c, &method) < 0)
        return PROXIED_MORE;
    *ret_len = 2;
    return method == 0 ? PROXIED_DONE : PROXIED_REFUSED; /* it wants a password that nobody has */
}

enum proxied_outcome proxied_socks_reply(const uint8_t *p, size_t n, size_t *ret_len)
{
    struct cursor c = cursor_of(p, n);
    uint8_t version, reply, reserved, type, len = 0;

    if (cursor_u8(&c, &version) < 0)
        return PROXIED_MORE;
    if (version != SOCKS_VERSION)
        return PROXIED_BROKEN;
    if (cursor_u8(&c, &reply) < 0)
        return PROXIED_MORE;
    if (reply != 0)
        return PROXIED_REFUSED;
    if (cursor_u8(&c, &reserved) < 0 || cursor_u8(&c, &type) < 0)
        return PROXIED_MORE;
    if (reserved != 0 || (type != SOCKS_V4 && type != SOCKS_NAME && type != SOCKS_V6))
        return PROXIED_BROKEN;
    if (type == SOCKS_NAME && cursor_u8(&c, &len) < 0)
        return PROXIED_MORE;
    size_t bound = type == SOCKS_V4 ? 4 : type == SOCKS_V6 ? 16 : len;
    if (cursor_skip(&c, bound + 2) < 0)
        return PROXIED_MORE;
    *ret_len = n - cursor_left(&c);
    return PROXIED_DONE;
}

void proxied_connect_request(const struct proxied_target *t, struct buf *b)
{
    char addr[ADDR_ENDPOINT_MAX], authority[NAME_MAX_LEN + 8];

    if (t->name.len > 0)
        snprintf(authority, sizeof(authority), "%s:%u", t->name.text, t->addr.port);
    else
        snprintf(authority, sizeof(authority), "%s", addr_endpoint_format(&t->addr, addr));
    buf_printf(b, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", authority, authority);
}

void proxied_socks_request(const struct proxied_target *t, struct buf *b)
{
    bool v6 = t->addr.addr.family == AF_INET6;

    buf_putc(b, SOCKS_VERSION);
    buf_putc(b, SOCKS_CONNECT);
    buf_putc(b, 0);
    buf_putc(b, t->name.len > 0 ? SOCKS_NAME : v6 ? SOCKS_V6 : SOCKS_V4);
    if (t->name.len > 0) {
        buf_putc(b, t->name.len);
        buf_put(b, t->name.text, t->name.len);
    } else {
        buf_put(b, t->addr.addr.bytes, v6 ? 16 : 4);
    }
    buf_put_be16(b, t->addr.port);
}
