/* SPDX-License-Identifier: MIT */
#include "proxyd/http/head.h"

/* The fields that speak about this connection and not about the request. Upgrade and HTTP2-Settings would
 * turn the connection into something that nobody reads; what a Connection field nominates beyond these stays,
 * so that it can not be used to remove Host or the framing. */
static const char *const connection_fields[] = {
    "Connection", "Keep-Alive", "Proxy-Connection", "Upgrade", "HTTP2-Settings", "TE",
};

static bool is_connection_field(const struct http_field *f)
{
    for (size_t i = 0; i < ARRAY_LEN(connection_fields); i++)
        if (http_field_is(f, connection_fields[i]))
            return true;
    return false;
}

int http_head_rewrite(const uint8_t *p, const struct http_head *h, struct buf *b)
{
    struct str rest = {(const char *)p, h->len};
    struct http_field f;
    bool first = true; /* the request line has the shape of a field to the iterator, but is none */

    while (http_field_next(&rest, &f)) {
        if (!first && is_connection_field(&f))
            continue;
        buf_put_str(b, f.line);
        buf_puts(b, "\r\n");
        first = false;
    }
    buf_puts(b, "Connection: close\r\n\r\n");
    return b->err;
}
