/* SPDX-License-Identifier: MIT */
/* The grammar that request and response heads share (RFC 9110 sections 5 and 7.6.1, RFC 9112 section 5). */
#pragma once

#include "common/base/buf.h"

/* Tokens of all Connection fields of one head; a head with more is refused. */
#define HTTP_CONNECTION_TOKENS_MAX 32u

bool http_is_token(struct str s); /* RFC 9110 section 5.6.2 */
bool http_is_token_char(uint8_t c);

/* A byte that no part of a head may hold. CR and LF are judged as a pair; the blank and the tab are looked at
 * later. */
bool http_is_control(uint8_t c);

/* Without blanks and tabs around it. */
struct str http_trim(struct str s);

/* Cuts s at the first c: the part before it, and *rest behind it. Without a c the whole, and *rest is absent.
 */
struct str http_cut(struct str s, char c, struct str *rest);

bool http_is_nocase(struct str s, const char *t);

/* The next element of a comma-separated list, trimmed; empty ones are left out. False at the end. */
bool http_list_next(struct str *rest, struct str *ret);

/* The line at the front of *rest, which must hold a CRLF: a scan has made sure of it. */
struct str http_line_next(struct str *rest);

/* The next field line of an accepted or candidate head: moves *p past its CRLF. False at the empty line. */
struct http_field {
    struct str name, value, line; /* value without surrounding blanks; line without CRLF */
};
bool http_field_next(struct str *rest, struct http_field *ret);

/* Case-insensitive. */
bool http_field_is(const struct http_field *f, const char *name);

/* What the Connection fields of a head say; all zero at the start. */
struct http_connection {
    struct str tokens[HTTP_CONNECTION_TOKENS_MAX];
    size_t n;
    bool close, keep_alive, upgrade;
};
/* Adds one Connection field. -EBADMSG for something that is no token, or too many of them. */
int http_connection_add(struct http_connection *c, struct str value) MUST_CHECK;

/* Does the field speak about one connection only, so that it is not forwarded? Those of RFC 9110 section
 * 7.6.1, and what a Connection field nominates; never Host, never the framing: nobody may remove those by
 * naming them. */
bool http_field_is_hop(const struct http_connection *c, const struct http_field *f);
