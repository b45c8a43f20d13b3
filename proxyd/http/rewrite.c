/* SPDX-License-Identifier: MIT */
#include "proxyd/http/head.h"
#include "proxyd/http/response.h"

#include <strings.h>

/* The tokens of every Connection field; accepted heads have no more than fit. */
static struct http_connection connection_of(struct str rest)
{
    struct http_connection c = {0};
    struct http_field f;

    (void)http_line_next(&rest); /* the first line has the shape of a field to the iterator, but is none */
    while (http_field_next(&rest, &f))
        if (http_field_is(&f, "Connection") && http_connection_add(&c, f.value) < 0)
            break;
    return c;
}

/* absolute-form is for proxies: an origin server gets origin-form (RFC 9112 section 3.2.2). */
static void put_request_line(struct str line, struct buf *b)
{
    struct str rest, version;
    struct str method = http_cut(line, ' ', &rest);
    struct str target = http_cut(rest, ' ', &version);

    if (target.p[0] != '/' && target.p[0] != '*') { /* "http://" authority, then a path, a query or nothing */
        target = (struct str){target.p + 7, target.len - 7};
        while (target.len > 0 && target.p[0] != '/' && target.p[0] != '?')
            target.p++, target.len--;
    }
    buf_put_str(b, method);
    buf_putc(b, ' ');
    if (target.len == 0)
        buf_puts(b, str_is(method, "OPTIONS") ? "*" : "/");
    else if (target.p[0] == '?')
        buf_putc(b, '/');
    buf_put_str(b, target);
    buf_putc(b, ' ');
    buf_put_str(b, version);
    buf_puts(b, "\r\n");
}

static void put_fields(struct str rest, const struct http_connection *c, struct buf *b)
{
    struct http_field f;

    while (http_field_next(&rest, &f)) {
        if (http_field_is_hop(c, &f))
            continue;
        buf_put_str(b, f.line);
        buf_puts(b, "\r\n");
    }
}

int http_head_rewrite(const uint8_t *p, const struct http_head *h, struct buf *b)
{
    struct str rest = {(const char *)p, h->len};
    struct http_connection c = connection_of(rest);

    put_request_line(http_line_next(&rest), b);
    put_fields(rest, &c, b);
    if (h->websocket)
        buf_puts(b, "Connection: Upgrade\r\nUpgrade: websocket\r\n");
    else if (h->close)
        buf_puts(b, "Connection: close\r\n");
    buf_puts(b, "\r\n");
    return b->err;
}

int http_response_rewrite(const uint8_t *p, const struct http_response *r, bool close, struct buf *b)
{
    struct str rest = {(const char *)p, r->len};
    struct http_connection c = connection_of(rest);

    buf_put_str(b, http_line_next(&rest));
    buf_puts(b, "\r\n");
    put_fields(rest, &c, b);
    if (r->status == 101)
        buf_puts(b, "Connection: Upgrade\r\nUpgrade: websocket\r\n");
    else if (close && r->status >= 200)
        buf_puts(b, "Connection: close\r\n");
    buf_puts(b, "\r\n");
    return b->err;
}
