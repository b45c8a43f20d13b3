/* SPDX-License-Identifier: MIT */
/* Follows the framing of one body (RFC 9112 section 6) as it is forwarded, so that its last byte is known:
 * what comes behind a request's is the next request, which has to be judged. */
#pragma once

#include "proxyd/http/response.h"

#define HTTP_CHUNK_LINE_MAX 256u  /* bytes of a chunk-size line, extensions included */
#define HTTP_TRAILER_MAX    8192u /* bytes of all trailer fields */
#define HTTP_TRAILER_NAME   17u   /* of the longest trailer name that is looked for */

enum http_body_state {
    HTTP_BODY_SIZE,  /* chunk-size digits */
    HTTP_BODY_BLANK, /* blanks behind them: then only an extension or the line's end */
    HTTP_BODY_EXT,   /* the rest of the chunk-size line */
    HTTP_BODY_SIZE_LF,
    HTTP_BODY_DATA, /* left bytes of a chunk, or of the whole body */
    HTTP_BODY_DATA_CR,
    HTTP_BODY_DATA_LF,
    HTTP_BODY_TRAILER_NAME, /* the name of a trailer field, or the empty line */
    HTTP_BODY_TRAILER,
    HTTP_BODY_TRAILER_LF,
    HTTP_BODY_ENDLESS, /* until the connection ends */
    HTTP_BODY_END,
};

struct http_body {
    enum http_body_state state;
    bool chunked;
    unsigned digits; /* of the chunk size so far */
    uint64_t left;
    size_t line;                  /* bytes of the current line without CRLF */
    size_t trailer;               /* bytes of all trailers */
    char name[HTTP_TRAILER_NAME]; /* the first bytes of a trailer's name, lower case */
};

void http_body_init(struct http_body *b, const struct http_head *h);
void http_body_init_response(struct http_body *b, const struct http_response *r);

/* How many of the next n bytes belong to the body: fewer than n only when it has ended behind them. -EBADMSG
 * when the framing is broken, or a trailer field names the host or the framing (RFC 9110 section 6.5.1):
 * nothing of these bytes may pass. */
ssize_t http_body_take(struct http_body *b, const uint8_t *p, size_t n) MUST_CHECK;

static inline bool http_body_ended(const struct http_body *b)
{
    return b->state == HTTP_BODY_END;
}
