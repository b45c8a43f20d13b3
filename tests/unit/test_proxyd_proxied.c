/* SPDX-License-Identifier: MIT */
/* What is said to the operator's proxy, and how its answers are read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "proxyd/proxied.h"

typedef enum proxied_outcome reader(const uint8_t *, size_t, size_t *);

struct row {
    reader *read;
    const char *bytes;
    size_t n;
    enum proxied_outcome outcome;
    size_t len;
};
#define ROW(read, bytes, outcome, len)                                                                       \
    {                                                                                                        \
        read, bytes, sizeof(bytes) - 1, outcome, len                                                         \
    }

static void test_replies(void **state)
{
    static const struct row rows[] = {
        ROW(proxied_connect_reply, "HTTP/1.1 200 OK\r\n\r\n", PROXIED_DONE, 19),
        ROW(proxied_connect_reply, "HTTP/1.1 200 OK\r\nA: b\r\n\r\nSSH-", PROXIED_DONE, 25),
        ROW(proxied_connect_reply, "HTTP/1.1 103 X\r\n\r\nHTTP/1.1 204 \r\n\r\nz", PROXIED_DONE, 35),
        ROW(proxied_connect_reply, "HTTP/1.1 103 X\r\n\r\n", PROXIED_MORE, 0),
        ROW(proxied_connect_reply, "HTTP/1.1 200 OK\r\nA: b\r\n", PROXIED_MORE, 0),
        ROW(proxied_connect_reply, "HTTP/1.1 2", PROXIED_MORE, 0),
        ROW(proxied_connect_reply, "HTTP/1.1 403 No\r\n", PROXIED_REFUSED, 0),
        ROW(proxied_connect_reply, "HTTP/1.1 302 Elsewhere\r\n\r\n", PROXIED_REFUSED, 0),
        ROW(proxied_connect_reply, "HTTP/2 200\r\n\r\n", PROXIED_BROKEN, 0),
        ROW(proxied_connect_reply, "HTTP/1.1 2000 OK\r\n\r\n", PROXIED_BROKEN, 0),
        ROW(proxied_connect_reply, "SSH-2.0-x\r\n", PROXIED_BROKEN, 0),
        ROW(proxied_socks_method, "\5", PROXIED_MORE, 0),
        ROW(proxied_socks_method, "\5\0x", PROXIED_DONE, 2),
        ROW(proxied_socks_method, "\5\2", PROXIED_REFUSED, 0),
        ROW(proxied_socks_method, "\4\0", PROXIED_BROKEN, 0),
        ROW(proxied_socks_reply, "\5\0\0\1\1\2\3\4\0\120zz", PROXIED_DONE, 10),
        ROW(proxied_socks_reply, "\5\0\0\1\1\2\3\4\0", PROXIED_MORE, 0),
        ROW(proxied_socks_reply, "\5\0\0\3\0\0\120", PROXIED_DONE, 7),
        ROW(proxied_socks_reply, "\5\0\0\3\4abcd\0\120", PROXIED_DONE, 11),
        ROW(proxied_socks_reply, "\5\5", PROXIED_REFUSED, 0),
        ROW(proxied_socks_reply, "\5\0\1\1", PROXIED_BROKEN, 0),
        ROW(proxied_socks_reply, "\5\0\0\2", PROXIED_BROKEN, 0),
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t len = 0;
        enum proxied_outcome o = rows[i].read((const uint8_t *)rows[i].bytes, rows[i].n, &len);
        if (o != rows[i].outcome || (o == PROXIED_DONE && len != rows[i].len))
            fail_msg("row %zu: outcome %d, length %zu", i, o, len);
    }
}

/* A head that never ends. */
static void test_endless(void **state)
{
    static char bytes[PROXIED_REPLY_MAX];
    size_t len;

    (void)state;
    memset(bytes, 'a', sizeof(bytes));
    memcpy(bytes, "HTTP/1.1 200 OK\r\n", 17);
    assert_int_equal(proxied_connect_reply((uint8_t *)bytes, sizeof(bytes) - 1, &len), PROXIED_MORE);
    assert_int_equal(proxied_connect_reply((uint8_t *)bytes, sizeof(bytes), &len), PROXIED_BROKEN);
}

static void expect(void (*write)(const struct proxied_target *, struct buf *), const struct proxied_target *t,
                   const char *bytes, size_t n)
{
    _cleanup_(buf_done) struct buf b = {0};
    buf_init(&b, 1024);
    write(t, &b);
    assert_int_equal(b.err, 0);
    assert_int_equal(b.len, n);
    assert_memory_equal(b.data, bytes, n);
}
#define EXPECT(write, t, bytes) expect(write, t, bytes, sizeof(bytes) - 1)

static void test_requests(void **state)
{
    struct proxied_target name = {.addr.port = 443}, v4 = {.addr.port = 22}, v6 = {.addr.port = 443};

    (void)state;
    assert_int_equal(name_parse(STR_LIT("a.example"), NAME_HOST, &name.name), NAME_OK);
    assert_int_equal(addr_parse(STR_LIT("192.0.2.1"), &v4.addr.addr), 0);
    assert_int_equal(addr_parse(STR_LIT("2001:db8::1"), &v6.addr.addr), 0);
    EXPECT(proxied_connect_request, &name, "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n");
    EXPECT(proxied_connect_request, &v6,
           "CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\r\n");
    EXPECT(proxied_socks_request, &name, "\5\1\0\3\11a.example\1\273");
    EXPECT(proxied_socks_request, &v4, "\5\1\0\1\300\0\2\1\0\26");
    EXPECT(proxied_socks_request, &v6, "\5\1\0\4\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1\1\273");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replies),
        cmocka_unit_test(test_endless),
        cmocka_unit_test(test_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
