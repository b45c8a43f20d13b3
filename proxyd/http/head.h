/* SPDX-License-Identifier: MIT */
/* Reads the head of one HTTP/1.x request (RFC 9112), to learn the one host it is for (RFC 9110 section 7.2).
 * It accepts one reading only: everything that two implementations are known to understand differently is
 * refused. */
#pragma once

#include "common/net/addr.h"
#include "common/net/name.h"
#include "proto/limits.h"
#include "proxyd/http/fields.h"

enum http_head_outcome {
    HTTP_HEAD_MORE = 0, /* a good beginning: call again when more bytes are there */
    HTTP_HEAD_DONE,     /* complete: the out-parameter is filled */
    HTTP_HEAD_NOT_HTTP, /* not HTTP/1.x (an HTTP/2 preface too), or no end within LIMIT_PEEK bytes */
    HTTP_HEAD_NO_HOST,  /* a complete head without a Host field, or with an empty one */
    HTTP_HEAD_CONFLICT, /* two hosts, a host that is no name or address, or framing with two readings */
    HTTP_HEAD_CONNECT,  /* the request line asks for a tunnel; only host of the out-parameter is filled, with
                           what is asked for as far as it can be read */
    _HTTP_HEAD_OUTCOME_MAX,
};

/* Who the request is for: a name, or the literal address it carries instead. */
struct http_host {
    struct name name; /* canonical; len == 0 for a literal */
    struct addr literal;
    uint16_t port; /* 0: not given */
};

/* uri-host [":" port] (RFC 3986 section 3.2.2). No user part, no percent-encoding, no zone. 0 or -EINVAL. */
int http_host_parse(struct str s, struct http_host *ret) MUST_CHECK;
/* The same host, and the same port when 80 is what is meant by none. */
bool http_host_eq(const struct http_host *a, const struct http_host *b);

enum http_body_kind {
    HTTP_BODY_NONE,
    HTTP_BODY_LENGTH,
    HTTP_BODY_CHUNKED,
    HTTP_BODY_UNTIL_CLOSE, /* responses only */
};

struct http_head {
    struct http_host host;
    size_t len; /* of the head, with the empty line */
    enum http_body_kind body;
    uint64_t body_len;       /* HTTP_BODY_LENGTH */
    bool is_head;            /* HEAD: its response has no body */
    bool expects;            /* Expect: 100-continue */
    bool close;              /* the connection ends with the response: "Connection: close", or HTTP/1.0 */
    bool websocket;          /* asks for exactly this upgrade, and has no body */
    bool h2c;                /* asks for h2c (RFC 7540 section 3.2), properly, and has no body */
    struct str h2c_settings; /* borrowed from the head: the value of HTTP2-Settings */
};

/* How far the bytes have been looked at; all zero at the start. */
struct http_head_reader {
    size_t next;
    size_t line; /* offset of the line that is being read */
};

/* p[0..n) is everything received so far; only ever appended to between calls, so that the work is linear in
 * n. */
enum http_head_outcome http_head_read(struct http_head_reader *r, const uint8_t *p, size_t n,
                                      struct http_head *ret);

/* Appends the head as it is forwarded: the request line in origin-form, the same fields without the
 * connection's own (RFC 9110 section 7.6.1), and what we ask of the next connection: "close", or the
 * websocket upgrade. p[0..h->len) is a head that http_head_read has accepted. 0, or b's error. */
int http_head_rewrite(const uint8_t *p, const struct http_head *h, struct buf *b) MUST_CHECK;
