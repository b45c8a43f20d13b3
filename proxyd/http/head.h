/* SPDX-License-Identifier: MIT */
/* Reads the head of one HTTP/1.x request (RFC 9112), to learn the one host it is for (RFC 9110 section 7.2).
 * It accepts one reading only: everything that two implementations are known to understand differently is
 * refused. */
#pragma once

#include "common/base/buf.h"
#include "common/net/addr.h"
#include "common/net/name.h"
#include "proto/limits.h"

enum http_head_outcome {
    HTTP_HEAD_MORE = 0, /* a good beginning: call again when more bytes are there */
    HTTP_HEAD_DONE,     /* complete: the out-parameter is filled */
    HTTP_HEAD_NOT_HTTP, /* not HTTP/1.x (an HTTP/2 preface too), CONNECT, or no end within LIMIT_PEEK bytes */
    HTTP_HEAD_NO_HOST,  /* a complete head without a Host field, or with an empty one */
    HTTP_HEAD_CONFLICT, /* two hosts, a host that is no name or address, or framing with two readings */
    _HTTP_HEAD_OUTCOME_MAX,
};

/* Who the request is for: a name, or the literal address it carries instead. */
struct http_host {
    struct name name; /* canonical; len == 0 for a literal */
    struct addr literal;
    uint16_t port; /* 0: not given */
};

enum http_body_kind { HTTP_BODY_NONE, HTTP_BODY_LENGTH, HTTP_BODY_CHUNKED };

struct http_head {
    struct http_host host;
    size_t len; /* of the head, with the empty line */
    enum http_body_kind body;
    uint64_t body_len; /* HTTP_BODY_LENGTH */
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

/* Appends the head as it is forwarded: the same lines without the connection's own fields (RFC 9110
 * section 7.6.1) and with "Connection: close", because a connection carries one request (decisions 30).
 * p[0..h->len) is a head that http_head_read has accepted. 0, or b's error. */
int http_head_rewrite(const uint8_t *p, const struct http_head *h, struct buf *b) MUST_CHECK;

/* The next field line of an accepted or candidate head: moves *p past its CRLF. False at the empty line. */
struct http_field {
    struct str name, value, line; /* value without surrounding blanks; line without CRLF */
};
bool http_field_next(struct str *rest, struct http_field *ret);

/* Case-insensitive. */
bool http_field_is(const struct http_field *f, const char *name);
