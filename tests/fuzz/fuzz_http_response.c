/* SPDX-License-Identifier: MIT */
/* Any bytes as an HTTP/1 response. Cut in two they must mean the same; an accepted head means the same after
 * the rewriting; the body's end does not depend on how it is cut. */
#include <stdlib.h>

#include "proxyd/http/body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void check_rewritten(const uint8_t *p, const struct http_response *h, bool is_head)
{
    _cleanup_(buf_done) struct buf b = {0};
    struct http_response_reader r = {0};
    struct http_response again;
    buf_init(&b, 2 * HTTP_RESPONSE_HEAD_MAX);
    check(http_response_rewrite(p, h, h->close, &b) == 0);
    if (b.len > HTTP_RESPONSE_HEAD_MAX)
        return;
    check(http_response_read(&r, b.data, b.len, is_head, &again) == HTTP_RESPONSE_DONE);
    check(again.len == b.len && again.status == h->status);
    check(again.body == h->body && again.body_len == h->body_len);
    check(!h->close || h->status < 200 || again.close);
}

static void check_body(const uint8_t *p, size_t n, size_t cut, const struct http_response *h)
{
    struct http_body whole, parts;
    http_body_init_response(&whole, h);
    http_body_init_response(&parts, h);
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
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_response_reader whole = {0}, parts = {0};
    struct http_response a = {0}, b = {0};
    if (size < 1)
        return 0;
    size_t cut = data[size - 1] * size / 256;
    bool is_head = data[size - 1] & 1;
    enum http_response_outcome o = http_response_read(&whole, data, size, is_head, &a);
    enum http_response_outcome p = http_response_read(&parts, data, cut, is_head, &b);
    if (p == HTTP_RESPONSE_MORE)
        p = http_response_read(&parts, data, size, is_head, &b);
    check(o == p);
    if (o != HTTP_RESPONSE_DONE)
        return 0;
    check(a.len == b.len && a.len <= size && a.status >= 100 && a.status <= 999);
    check_rewritten(data, &a, is_head);
    check_body(data + a.len, size - a.len, cut, &a);
    return 0;
}
