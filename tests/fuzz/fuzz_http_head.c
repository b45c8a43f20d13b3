/* SPDX-License-Identifier: MIT */
/* Any bytes as an HTTP/1 request. Cut in two they must mean the same; an accepted head means the same after
 * the rewriting, for the same host and with the same framing; the body's end does not depend on how it is
 * cut. */
#include <stdlib.h>

#include "proxyd/http/body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void check_rewritten(const uint8_t *p, const struct http_head *h)
{
    _cleanup_(buf_done) struct buf b = {0};
    struct http_head_reader r = {0};
    struct http_head again;
    buf_init(&b, 2 * LIMIT_PEEK);
    check(http_head_rewrite(p, h, &b) == 0);
    if (b.len > LIMIT_PEEK)
        return;
    check(http_head_read(&r, b.data, b.len, &again) == HTTP_HEAD_DONE);
    check(again.len == b.len);
    check(str_eq(name_str(&again.host.name), name_str(&h->host.name)) && again.host.port == h->host.port);
    check(again.host.literal.family == h->host.literal.family);
    check(again.body == h->body && again.body_len == h->body_len);
    check(again.is_head == h->is_head && again.close == (h->close && !h->websocket));
    check(again.websocket == h->websocket && !again.h2c);
}

static void check_body(const uint8_t *p, size_t n, size_t cut, const struct http_head *h)
{
    struct http_body whole, parts;
    http_body_init(&whole, h);
    http_body_init(&parts, h);
    ssize_t all = http_body_take(&whole, p, n);
    ssize_t first = http_body_take(&parts, p, cut < n ? cut : n);
    if (first < 0) {
        check(all < 0);
        return;
    }
    ssize_t second = cut < n ? http_body_take(&parts, p + cut, n - cut) : 0;
    check((second < 0) == (all < 0));
    check(all < 0 || (all == first + second && all <= (ssize_t)n));
    check(all < 0 || http_body_ended(&whole) == http_body_ended(&parts));
    check(all < 0 || all == (ssize_t)n || http_body_ended(&whole));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_head_reader whole = {0}, parts = {0};
    struct http_head a = {0}, b = {0};
    if (size < 1)
        return 0;
    size_t cut = data[size - 1] * size / 256;
    enum http_head_outcome o = http_head_read(&whole, data, size, &a);
    enum http_head_outcome p = http_head_read(&parts, data, cut, &b);
    if (p == HTTP_HEAD_MORE)
        p = http_head_read(&parts, data, size, &b);
    check(o == p);
    if (o != HTTP_HEAD_DONE)
        return 0;
    check(a.len == b.len && a.len <= size && a.len <= LIMIT_PEEK);
    check((a.host.name.len > 0) != (a.host.literal.family != AF_UNSPEC));
    check_rewritten(data, &a);
    check_body(data + a.len, size - a.len, cut, &a);
    return 0;
}
