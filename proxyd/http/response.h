/* SPDX-License-Identifier: MIT */
/* Reads the head of one HTTP/1.x response (RFC 9112 sections 4 and 6.3): where its body ends decides which
 * bytes answer which request, so that a head with two readings is refused here too. */
#pragma once

#include "proxyd/http/head.h"

#define HTTP_RESPONSE_HEAD_MAX 65536u

enum http_response_outcome {
    HTTP_RESPONSE_MORE = 0,
    HTTP_RESPONSE_DONE,
    HTTP_RESPONSE_BROKEN,
};

struct http_response {
    size_t len;      /* of the head, with the empty line */
    unsigned status; /* 100-999 */
    enum http_body_kind body;
    uint64_t body_len; /* HTTP_BODY_LENGTH */
    bool close;        /* the server ends the connection with this response */
};

/* p[0..n) is everything received of it; only ever appended to between calls. All zero at the start. */
struct http_response_reader {
    size_t next, line;
};

/* is_head: it answers a HEAD request. */
enum http_response_outcome http_response_read(struct http_response_reader *r, const uint8_t *p, size_t n,
                                              bool is_head, struct http_response *ret);

/* Appends the head as it is forwarded: without the connection's own fields, and with "Connection: close" or,
 * for 101, the websocket upgrade. p[0..r->len) is a head that http_response_read has accepted. 0, or b's
 * error. */
int http_response_rewrite(const uint8_t *p, const struct http_response *r, bool close,
                          struct buf *b) MUST_CHECK;
