/* SPDX-License-Identifier: MIT */
/* Request heads with one reading only, the rewriting, and the end of a body. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>

#include "proxyd/http/body.h"

#define HOST "Host: a.example\r\n"
#define GET  "GET / HTTP/1.1\r\n"
#define POST "POST /x HTTP/1.1\r\n" HOST

static enum http_head_outcome read_n(const char *p, size_t n, struct http_head *h)
{
    struct http_head_reader r = {0};
    return http_head_read(&r, (const uint8_t *)p, n, h);
}

static enum http_head_outcome read_text(const char *p, struct http_head *h)
{
    return read_n(p, strlen(p), h);
}

static void test_good(void **state)
{
    static const struct {
        const char *text, *name;
        uint16_t port;
        enum http_body_kind body;
        uint64_t len;
    } good[] = {
        {GET HOST "\r\n", "a.example", 0, HTTP_BODY_NONE, 0},
        {"GET / HTTP/1.0\r\n" HOST "\r\n", "a.example", 0, HTTP_BODY_NONE, 0},
        {GET "hOsT:\t A.Example.:8080 \r\nAccept: */*\r\n\r\n", "a.example", 8080, HTTP_BODY_NONE, 0},
        {"GET http://A.example/x?y HTTP/1.1\r\n" HOST "\r\n", "a.example", 0, HTTP_BODY_NONE, 0},
        {"GET HTTP://a.example:80?y HTTP/1.1\r\n" HOST "\r\n", "a.example", 0, HTTP_BODY_NONE, 0},
        {"OPTIONS * HTTP/1.1\r\n" HOST "\r\n", "a.example", 0, HTTP_BODY_NONE, 0},
        {"M-SEARCH /\xc3\xa4 HTTP/1.1\r\n" HOST "X: \xff\t y\r\nEmpty:\r\n\r\n", "a.example", 0,
         HTTP_BODY_NONE, 0},
        {POST "Content-Length: 12\r\n\r\n", "a.example", 0, HTTP_BODY_LENGTH, 12},
        {POST "Content-Length: 0\r\n\r\n", "a.example", 0, HTTP_BODY_NONE, 0},
        {POST "content-length:9223372036854775807\r\n\r\n", "a.example", 0, HTTP_BODY_LENGTH, INT64_MAX},
        {POST "Transfer-Encoding: Chunked\r\n\r\n", "a.example", 0, HTTP_BODY_CHUNKED, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct http_head h;
        assert_int_equal(read_text(good[i].text, &h), HTTP_HEAD_DONE);
        assert_string_equal(h.host.name.text, good[i].name);
        assert_int_equal(h.host.literal.family, AF_UNSPEC);
        assert_int_equal(h.host.port, good[i].port);
        assert_int_equal(h.body, good[i].body);
        assert_int_equal(h.body_len, good[i].len);
        assert_int_equal(h.len, strlen(good[i].text));
    }
}

static void test_literals(void **state)
{
    struct http_head h;
    struct addr a;

    (void)state;
    assert_int_equal(read_text(GET "Host: 192.0.2.7:81\r\n\r\n", &h), HTTP_HEAD_DONE);
    assert_int_equal(addr_parse(STR_LIT("192.0.2.7"), &a), 0);
    assert_true(addr_eq(&h.host.literal, &a));
    assert_int_equal(h.host.name.len, 0);
    assert_int_equal(h.host.port, 81);
    assert_int_equal(read_text(GET "Host: [2001:DB8::1]\r\n\r\n", &h), HTTP_HEAD_DONE);
    assert_int_equal(addr_parse(STR_LIT("2001:db8::1"), &a), 0);
    assert_true(addr_eq(&h.host.literal, &a));
    assert_int_equal(h.host.port, 0);
}

/* Every byte a call of its own, with the next request already behind it. */
static void test_byte_by_byte(void **state)
{
    static const char text[] = POST "Content-Length: 3\r\nX: y\r\n\r\nabcGET /evil HTTP/1.1\r\n";
    size_t head = (size_t)(strstr(text, "abc") - text);
    struct http_head_reader r = {0};
    struct http_head h = {0};

    (void)state;
    for (size_t n = 0; n < head; n++)
        assert_int_equal(http_head_read(&r, (const uint8_t *)text, n, &h), HTTP_HEAD_MORE);
    assert_int_equal(http_head_read(&r, (const uint8_t *)text, head, &h), HTTP_HEAD_DONE);
    assert_int_equal(h.len, head);
    assert_int_equal(read_text(text, &h), HTTP_HEAD_DONE);
    assert_int_equal(h.len, head);
}

/* What two readers are known to understand differently. */
static void test_conflicts(void **state)
{
    static const char *const bad[] = {
        GET HOST "Host: a.example\r\n\r\n", /* twice, even the same */
        GET HOST "host: b.example\r\n\r\n",
        GET "Host: a.example, b.example\r\n\r\n",
        GET "Host: a.example b.example\r\n\r\n",
        GET "Host: user@a.example\r\n\r\n",
        GET "Host: a.example/\r\n\r\n",
        GET "Host: a.example:\r\n\r\n",
        GET "Host: a.example:0\r\n\r\n",
        GET "Host: a.example:65536\r\n\r\n",
        GET "Host: a.example:80x\r\n\r\n",
        GET "Host: a.example:080\r\n\r\n",
        GET "Host: [::1\r\n\r\n",
        GET "Host: [::1]x\r\n\r\n",
        GET "Host: [192.0.2.1]\r\n\r\n",
        GET "Host: ::1\r\n\r\n",
        GET "Host: 0x7f.1\r\n\r\n",
        GET "Host: 2130706433\r\n\r\n",
        GET "Host: b\xc3\xbc.example\r\n\r\n",
        GET "Host: *.example\r\n\r\n",
        GET "Host : a.example\r\n\r\n", /* blank before the colon */
        GET HOST "Host\t: b.example\r\n\r\n",
        GET HOST " folded: value\r\n\r\n", /* obs-fold */
        GET " " HOST "\r\n",
        GET "X: y\r\n\tHost: a.example\r\n\r\n",
        GET HOST "no colon\r\n\r\n",
        GET HOST ": empty name\r\n\r\n",
        GET HOST "B\xc3\xa4: y\r\n\r\n",
        GET HOST "X: a\nHost: b.example\r\n\r\n", /* bare LF */
        GET "Host: a.example\n\r\n",
        GET HOST "X: a\rHost: b.example\r\n\r\n", /* bare CR */
        GET HOST "X: a\r\r\n\r\n",
        GET HOST "X: a\x01\r\n\r\n",
        GET HOST "X: a\x7f\r\n\r\n",
        "GET http://b.example/ HTTP/1.1\r\n" HOST "\r\n", /* absolute-form and Host differ */
        "GET http://a.example:81/ HTTP/1.1\r\n" HOST "\r\n",
        "GET http://user@a.example/ HTTP/1.1\r\n" HOST "\r\n",
        "GET http://a.example@b.example/ HTTP/1.1\r\n" HOST "\r\n",
        "GET http:///x HTTP/1.1\r\n" HOST "\r\n",
        POST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
        POST "Content-Length: 1, 1\r\n\r\n",
        POST "Content-Length: +1\r\n\r\n",
        POST "Content-Length: -1\r\n\r\n",
        POST "Content-Length: 0x1\r\n\r\n",
        POST "Content-Length: 01\r\n\r\n",
        POST "Content-Length: 1 \t2\r\n\r\n",
        POST "Content-Length:\r\n\r\n",
        POST "Content-Length: 9223372036854775808\r\n\r\n",
        POST "Content-Length: 18446744073709551617\r\n\r\n",
        POST "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
        POST "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
        POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        POST "Transfer-Encoding: gzip, chunked\r\n\r\n",
        POST "Transfer-Encoding: chunked, identity\r\n\r\n",
        POST "Transfer-Encoding: identity\r\n\r\n",
        POST "Transfer-Encoding: xchunked\r\n\r\n",
        POST "Transfer-Encoding:\x0b"
             "chunked\r\n\r\n",
        POST "Transfer-Encoding : chunked\r\n\r\n",
        POST "Transfer-Encoding: \"chunked\"\r\n\r\n",
        "POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n",
        "GET http://a.example#@b.example/ HTTP/1.1\r\n" HOST "\r\n", /* where the host ends is disputed */
        "GET http://a.example#b HTTP/1.1\r\n" HOST "\r\n",
        "GET http://a.example\\@b.example/ HTTP/1.1\r\n" HOST "\r\n",
        "GET http://a.example%2f@b.example/ HTTP/1.1\r\n" HOST "\r\n",
        "GET http://a.example:/ HTTP/1.1\r\n" HOST "\r\n",
        "GET http://192.0.2.1/ HTTP/1.1\r\n" HOST "\r\n",
        GET "Host: a.example\\b\r\n\r\n",
        GET "Host: a.example#b\r\n\r\n",
        GET "Host: a.example?b\r\n\r\n",
        GET "Host: a.example;b\r\n\r\n",
        GET "Host: a_b.example\r\n\r\n",
        GET "Host: a..example\r\n\r\n",
        GET "Host: .\r\n\r\n",
        GET "Host: [::1%25lo]\r\n\r\n",
        GET "Host: 127.1\r\n\r\n",
        GET "Host: 017700000001\r\n\r\n",
        POST "Content_Length: 4\r\n\r\n", /* a gateway to CGI takes it for the other */
        POST "Transfer_Encoding: chunked\r\n\r\n",
        POST "transfer-Encoding: chunked\r\nTransfer_encoding: chunked\r\n\r\n",
        POST "Content-Length: 4\r\ncontent-length: 5\r\n\r\n",
        POST "Content-Length: 4 \r\n\tfolded\r\n\r\n",
        POST "Content-Length: 4,\r\n\r\n",
        POST "Content-Length: 4;\r\n\r\n",
        POST "Content-Length: 4.0\r\n\r\n",
        POST "Content-Length: 1e1\r\n\r\n",
        POST "Transfer-Encoding: chunked;q=1\r\n\r\n",
        POST "Transfer-Encoding: , chunked\r\n\r\n",
        POST "Transfer-Encoding:\r\n\r\n",
        POST "Transfer-Encoding: chunked\r\n , identity\r\n\r\n",
        POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
        POST "\tTransfer-Encoding: chunked\r\n\r\n",
        POST "Transfer-Encoding\xa0: chunked\r\n\r\n",
        POST "\"Transfer-Encoding\": chunked\r\n\r\n",
        GET HOST "Connection: a b\r\n\r\n",
        GET HOST "Connection: \"close\"\r\n\r\n",
        GET HOST "Connection: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z,1,2,3,4,5,6,7\r\n\r\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct http_head h;
        if (read_text(bad[i], &h) != HTTP_HEAD_CONFLICT)
            fail_msg("not a conflict: %s", bad[i]);
    }
    struct http_head h;
    static const char nul[] = GET "Host: a.example\0.b.example\r\n\r\n";
    assert_int_equal(read_n(nul, sizeof(nul) - 1, &h), HTTP_HEAD_CONFLICT);
}

static void test_not_http(void **state)
{
    static const char *const bad[] = {
        "PRI * HTTP/2.0\r\n",
        "GET / HTTP/2.0\r\n",
        "GET / HTTP/1.2\r\n",
        "GET / HTTP/1.1 \r\n",
        "GET  / HTTP/1.1\r\n",
        "GET\t/ HTTP/1.1\r\n",
        "GET /a b HTTP/1.1\r\n",
        "GET /a\tb HTTP/1.1\r\n",
        "GET / http/1.1\r\n",
        "GET /\r\n",
        "GET\r\n",
        "GET / HTTP/1.1\n",
        "GET /\x01 HTTP/1.1\r\n",
        "GET * HTTP/1.1\r\n",
        "GET a.example/ HTTP/1.1\r\n",
        "GET https://a.example/ HTTP/1.1\r\n",
        "GET ftp://a.example/ HTTP/1.1\r\n",
        "G(T / HTTP/1.1\r\n",
        "\r\nGET / HTTP/1.1\r\n",
        " GET / HTTP/1.1\r\n",
        "\x80\x2e\x01",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "EHLO client\r\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct http_head h;
        if (read_text(bad[i], &h) != HTTP_HEAD_NOT_HTTP)
            fail_msg("taken for HTTP: %s", bad[i]);
    }
}

static void test_no_host(void **state)
{
    struct http_head h;

    (void)state;
    assert_int_equal(read_text(GET "\r\n", &h), HTTP_HEAD_NO_HOST);
    assert_int_equal(read_text(GET "Host:\r\n\r\n", &h), HTTP_HEAD_NO_HOST);
    assert_int_equal(read_text(GET "Host: \t\r\n\r\n", &h), HTTP_HEAD_NO_HOST);
    assert_int_equal(read_text("GET / HTTP/1.0\r\n\r\n", &h), HTTP_HEAD_NO_HOST);
    assert_int_equal(read_text("GET http://a.example/ HTTP/1.1\r\n\r\n", &h), HTTP_HEAD_NO_HOST);
}

static void test_limit(void **state)
{
    struct http_head h;

    (void)state;
    for (size_t pad = LIMIT_PEEK - 60; pad < LIMIT_PEEK; pad++) {
        _cleanup_(buf_done) struct buf b = {0};
        buf_init(&b, 2 * LIMIT_PEEK);
        buf_puts(&b, GET HOST "X: ");
        for (size_t i = 0; i < pad; i++)
            buf_putc(&b, 'x');
        buf_puts(&b, "\r\n\r\n");
        assert_int_equal(read_n((char *)b.data, b.len, &h),
                         b.len <= LIMIT_PEEK ? HTTP_HEAD_DONE : HTTP_HEAD_NOT_HTTP);
    }
}

/* ---- rewriting ---- */

static void check_rewrite(const char *in, const char *out)
{
    _cleanup_(buf_done) struct buf b = {0};
    struct http_head h;

    buf_init(&b, 1 << 16);
    assert_int_equal(read_text(in, &h), HTTP_HEAD_DONE);
    assert_int_equal(http_head_rewrite((const uint8_t *)in, &h, &b), 0);
    assert_string_equal(buf_cstr(&b), out);
}

static void test_rewrite(void **state)
{
    (void)state;
    check_rewrite(GET HOST "\r\n", GET HOST "\r\n");
    check_rewrite(GET HOST "connection: keep-alive\r\nKeep-Alive: 5\r\nX: y \r\n\r\nbody",
                  GET HOST "X: y \r\n\r\n");
    check_rewrite(GET HOST "Connection: close\r\n\r\n", GET HOST "Connection: close\r\n\r\n");
    check_rewrite("GET / HTTP/1.0\r\n" HOST "\r\n", "GET / HTTP/1.0\r\n" HOST "Connection: close\r\n\r\n");
    check_rewrite(
        GET "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n" HOST "\r\n",
        GET HOST "\r\n");
    check_rewrite(GET HOST "Connection: upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: k\r\n\r\n",
                  GET HOST "Sec-WebSocket-Key: k\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    /* What a Connection field nominates goes, but never the host or the framing. */
    check_rewrite(
        POST "Connection: Host, Content-Length, X-Mine\r\nContent-Length: 1\r\nProxy-Connection: x\r\nTE: "
             "trailers\r\nx-mine: y\r\nProxy-Authorization: secret\r\n\r\n",
        POST "Content-Length: 1\r\n\r\n");
    check_rewrite(POST "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n",
                  POST "Transfer-Encoding: chunked\r\n\r\n");
    /* absolute-form is for proxies */
    check_rewrite("UPGRADE http://a.example/x?y HTTP/1.1\r\n" HOST "\r\n",
                  "UPGRADE /x?y HTTP/1.1\r\n" HOST "\r\n");
    check_rewrite("GET HTTP://A.example:80 HTTP/1.1\r\n" HOST "\r\n", "GET / HTTP/1.1\r\n" HOST "\r\n");
    check_rewrite("GET http://a.example?y=/ HTTP/1.1\r\n" HOST "\r\n", "GET /?y=/ HTTP/1.1\r\n" HOST "\r\n");
    check_rewrite("OPTIONS http://a.example HTTP/1.1\r\n" HOST "\r\n", "OPTIONS * HTTP/1.1\r\n" HOST "\r\n");
}

/* What else a head says about its connection. */
static void test_connection(void **state)
{
#define UP "Connection: keep-alive, Upgrade\r\n"
    static const struct {
        const char *text;
        bool close, expects, websocket, h2c;
    } rows[] = {
        {GET HOST "\r\n", false, false, false, false},
        {GET HOST "Connection: Close\r\n\r\n", true, false, false, false},
        {GET HOST "Connection: x\r\nConnection: y , close\r\n\r\n", true, false, false, false},
        {"GET / HTTP/1.0\r\n" HOST "Connection: keep-alive\r\n\r\n", true, false, false, false},
        {POST "Content-Length: 1\r\nExpect: 100-Continue\r\n\r\n", false, true, false, false},
        {POST "Expect: 100-continue\r\n\r\n", false, false, false, false}, /* nothing to wait for */
        {GET HOST UP "Upgrade: WebSocket\r\n\r\n", false, false, true, false},
        {GET HOST "Upgrade: websocket\r\n\r\n", false, false, false, false},
        {GET HOST UP "Upgrade: websocket\r\nUpgrade: h2c\r\n\r\n", false, false, false, false},
        {GET HOST UP "Upgrade: websocket, h2c\r\n\r\n", false, false, false, false},
        {POST UP "Upgrade: websocket\r\nContent-Length: 3\r\n\r\n", false, false, false, false},
        {"GET / HTTP/1.0\r\n" HOST UP "Upgrade: websocket\r\n\r\n", true, false, false, false},
        {GET HOST UP "Upgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n", false, false, false, true},
        {GET HOST UP "Upgrade: h2c\r\n\r\n", false, false, false, false},
        {GET HOST UP "Upgrade: h2c\r\nHTTP2-Settings: AA\r\nHTTP2-Settings: AA\r\n\r\n", false, false, false,
         false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_head h;
        assert_int_equal(read_text(rows[i].text, &h), HTTP_HEAD_DONE);
        if (h.close != rows[i].close || h.expects != rows[i].expects || h.websocket != rows[i].websocket ||
            h.h2c != rows[i].h2c)
            fail_msg("row %zu", i);
    }
}

static void test_connect(void **state)
{
    struct http_head h;
    (void)state;
    assert_int_equal(read_text("CONNECT a.example:443 HTTP/1.1\r\n", &h), HTTP_HEAD_CONNECT);
    assert_string_equal(h.host.name.text, "a.example");
    assert_int_equal(h.host.port, 443);
    assert_int_equal(read_text("connect user@a.example HTTP/1.1\r\n", &h), HTTP_HEAD_CONNECT);
    assert_int_equal(h.host.name.len, 0);
    assert_int_equal(read_text("CONNECT a.example:443 HTTP/2.0\r\n", &h), HTTP_HEAD_NOT_HTTP);
}

/* ---- responses ---- */

static void test_responses(void **state)
{
#define S200 "HTTP/1.1 200 OK\r\n"
    static const struct {
        const char *text;
        unsigned status;
        enum http_body_kind body;
        bool is_head, close;
    } good[] = {
        {S200 "Content-Length: 3\r\n\r\n", 200, HTTP_BODY_LENGTH, false, false},
        {S200 "Content-Length: 0\r\n\r\n", 200, HTTP_BODY_NONE, false, false},
        {S200 "Transfer-Encoding: gzip, Chunked\r\n\r\n", 200, HTTP_BODY_CHUNKED, false, false},
        {S200 "Transfer-Encoding: gzip\r\n\r\n", 200, HTTP_BODY_UNTIL_CLOSE, false, true},
        {S200 "\r\n", 200, HTTP_BODY_UNTIL_CLOSE, false, true},
        {S200 "Content-Length: 3\r\nConnection: close\r\n\r\n", 200, HTTP_BODY_LENGTH, false, true},
        {S200 "Content-Length: 3\r\n\r\n", 200, HTTP_BODY_NONE, true, false},
        {"HTTP/1.1 204\r\nContent-Length: 3\r\n\r\n", 204, HTTP_BODY_NONE, false, false},
        {"HTTP/1.1 304 \r\n\r\n", 304, HTTP_BODY_NONE, false, false},
        {"HTTP/1.1 100 Continue\r\n\r\n", 100, HTTP_BODY_NONE, false, false},
        {"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n", 200, HTTP_BODY_LENGTH, false, true},
        {"HTTP/1.0 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\n", 200, HTTP_BODY_LENGTH,
         false, false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct http_response_reader r = {0};
        struct http_response got;
        const uint8_t *p = (const uint8_t *)good[i].text;
        size_t n = strlen(good[i].text);
        for (size_t k = 0; k < n; k++)
            assert_int_equal(http_response_read(&r, p, k, good[i].is_head, &got), HTTP_RESPONSE_MORE);
        assert_int_equal(http_response_read(&r, p, n, good[i].is_head, &got), HTTP_RESPONSE_DONE);
        assert_int_equal(got.status, good[i].status);
        assert_int_equal(got.body, good[i].body);
        assert_int_equal(got.close, good[i].close);
        assert_int_equal(got.len, n);
    }
}

/* ---- bodies ---- */

/* -1: broken; else how many of the bytes belong to the body, given one by one and all at once. */
static ssize_t take(const char *head, const char *p, size_t n, bool *ret_ended)
{
    struct http_head h;
    struct http_body all, one;
    size_t taken = 0;

    assert_int_equal(read_text(head, &h), HTTP_HEAD_DONE);
    http_body_init(&all, &h);
    http_body_init(&one, &h);
    ssize_t r = http_body_take(&all, (const uint8_t *)p, n);
    for (size_t i = 0; i < n; i++) {
        ssize_t k = http_body_take(&one, (const uint8_t *)p + i, 1);
        if (k < 0) {
            assert_int_equal(r, -EBADMSG);
            return -1;
        }
        taken += (size_t)k;
    }
    assert_int_equal(r, taken);
    assert_int_equal(http_body_ended(&all), http_body_ended(&one));
    *ret_ended = http_body_ended(&all);
    return r;
}

#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"

static void test_bodies(void **state)
{
    static const struct {
        const char *head, *bytes;
        ssize_t taken;
        bool ended;
    } rows[] = {
        {GET HOST "\r\n", "GET /2", 0, true},
        {POST "Content-Length: 3\r\n\r\n", "ab", 2, false},
        {POST "Content-Length: 3\r\n\r\n", "abc", 3, true},
        {POST "Content-Length: 3\r\n\r\n", "abcGET /2", 3, true},
        {CHUNKED, "3\r\nabc\r\n0\r\n\r\n", 13, true},
        {CHUNKED, "3\r\nabc\r\n0\r\n\r\nGET /2", 13, true},
        {CHUNKED, "0\r\n\r\n", 5, true},
        {CHUNKED, "00A;ext=\"x y\"\r\n0123456789\r\n0\r\n\r\n!", 32, true},
        {CHUNKED, "a \r\n0123456789\r\n0\r\nT: v\r\nU: w\r\n\r\n!", 33, true},
        {CHUNKED, "3\r\nab", 5, false},
        {CHUNKED, "3\r\nabc\r\n0\r\n", 11, false},
        {CHUNKED, "\r\n", -1, false},
        {CHUNKED, "x\r\n", -1, false},
        {CHUNKED, "-1\r\n", -1, false},
        {CHUNKED, "0x1\r\n", -1, false},
        {CHUNKED, "3\nabc", -1, false},
        {CHUNKED, "3;a\nb\r\nabc", -1, false},
        {CHUNKED, "3\r\rabc", -1, false},
        {CHUNKED, "3\r\nabcd\r\n", -1, false},
        {CHUNKED, "3\r\nabc\n", -1, false},
        {CHUNKED, "0\r\nT: v\n\r\n", -1, false},
        {CHUNKED, "0\r\nT: v\r\r\n", -1, false},
        {CHUNKED, "1234567890abcdef0\r\n", -1, false},
        {CHUNKED, "3 3\r\nabc\r\n", -1, false}, /* "33" to some */
        {CHUNKED, "3 ;x\r\nabc\r\n0\r\n\r\n", 16, true},
        {CHUNKED, " 3\r\nabc\r\n", -1, false},
        {CHUNKED, "+3\r\nabc\r\n", -1, false},
        {CHUNKED, "3;\r\r\n", -1, false},
        {CHUNKED, "3;x\rabc", -1, false},
        {CHUNKED, "0\r\nHost: b.example\r\n\r\n", -1, false},
        {CHUNKED, "0\r\nX: y\r\ncontent-LENGTH: 3\r\n\r\n", -1, false},
        {CHUNKED, "0\r\nTransfer_Encoding: chunked\r\n\r\n", -1, false},
        {CHUNKED, "0\r\nX: y\r\n folded\r\n\r\n", -1, false},
        {CHUNKED, "0\r\nX : y\r\n\r\n", -1, false},
        {CHUNKED, "0\r\nno colon\r\n\r\n", -1, false},
        {CHUNKED, "0\r\n: y\r\n\r\n", -1, false},
        {CHUNKED, "fffffffffffffff\r\nab", 19, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool ended = false;
        ssize_t r = take(rows[i].head, rows[i].bytes, strlen(rows[i].bytes), &ended);
        if (r != rows[i].taken || ended != rows[i].ended)
            fail_msg("row %zu: %zd, %d", i, r, ended);
    }
}

static void test_body_limits(void **state)
{
    bool ended;
    char line[HTTP_TRAILER_MAX + 100];

    (void)state;
    memset(line, 'e', sizeof(line));
    memcpy(line, "3;", 2);
    assert_int_equal(take(CHUNKED, line, HTTP_CHUNK_LINE_MAX, &ended), HTTP_CHUNK_LINE_MAX);
    assert_int_equal(take(CHUNKED, line, HTTP_CHUNK_LINE_MAX + 2, &ended), -1);
    memcpy(line, "0\r\n", 3);
    assert_int_equal(take(CHUNKED, line, 3 + HTTP_TRAILER_MAX, &ended), 3 + HTTP_TRAILER_MAX);
    assert_int_equal(take(CHUNKED, line, 4 + HTTP_TRAILER_MAX, &ended), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),         cmocka_unit_test(test_literals),
        cmocka_unit_test(test_byte_by_byte), cmocka_unit_test(test_conflicts),
        cmocka_unit_test(test_not_http),     cmocka_unit_test(test_no_host),
        cmocka_unit_test(test_limit),        cmocka_unit_test(test_rewrite),
        cmocka_unit_test(test_connection),   cmocka_unit_test(test_connect),
        cmocka_unit_test(test_responses),    cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_body_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
