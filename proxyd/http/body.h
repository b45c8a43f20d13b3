/* SPDX-License-Identifier: MIT */
/* Follows the framing of one request body (RFC 9112 section 6) as it is forwarded, so that its last byte is
 * known: what comes behind it on the same connection was never judged and must not pass (decisions 30). */
#pragma once

#include "proxyd/http/head.h"

#define HTTP_CHUNK_LINE_MAX 256u  /* bytes of a chunk-size line, extensions included */
#define HTTP_TRAILER_MAX    8192u /* bytes of all trailer fields */

enum http_body_state {
    HTTP_BODY_SIZE, /* chunk-size digits */
    HTTP_BODY_EXT,  /* the rest of the chunk-size line */
    HTTP_BODY_SIZE_LF,
    HTTP_BODY_DATA, /* left bytes of a chunk, or of the whole body */
    HTTP_BODY_DATA_CR,
    HTTP_BODY_DATA_LF,
    HTTP_BODY_TRAILER,
    HTTP_BODY_TRAILER_LF,
    HTTP_BODY_END,
};

struct http_body {
    enum http_body_state state;
    bool chunked;
    unsigned digits; /* of the chunk size so far */
    uint64_t left;
    size_t line;    /* bytes of the current line without CRLF */
    size_t trailer; /* bytes of all trailers */
};

void http_body_init(struct http_body *b, const struct http_head *h);

/* How many of the next n bytes belong to the request: fewer than n only when it has ended behind them.
 * -EBADMSG when the framing is broken (nothing of these bytes may pass). */
ssize_t http_body_take(struct http_body *b, const uint8_t *p, size_t n) MUST_CHECK;

static inline bool http_body_ended(const struct http_body *b)
{
    return b->state == HTTP_BODY_END;
}
