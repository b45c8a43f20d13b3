/* SPDX-License-Identifier: MIT */
/* A bounded list of HTTP/2 fields (RFC 9113 section 8.2), and what a request's list means. */
#pragma once

#include <nghttp2/nghttp2.h>

#include "proxyd/http/head.h"

#define H2_FIELDS_MAX        256u
#define H2_REQUEST_LIST_MAX  16384u /* SETTINGS_MAX_HEADER_LIST_SIZE: names, values and 32 for each */
#define H2_RESPONSE_LIST_MAX 65536u

struct h2_field {
    uint32_t name, name_len, value, value_len; /* in text */
    bool secret;                               /* never indexed (RFC 7541 section 7.1.3) */
};

struct h2_fields {
    struct buf text;
    struct h2_field *list; /* owned */
    size_t n, cap, size;   /* size as SETTINGS_MAX_HEADER_LIST_SIZE counts */
};

/* 0, -ENOBUFS (too many, or more than max bytes), -ENOMEM. All zero is the empty list. */
int h2_fields_add(struct h2_fields *f, struct str name, struct str value, bool secret, size_t max) MUST_CHECK;
void h2_fields_done(struct h2_fields *f); /* empty again */

struct str h2_field_name(const struct h2_fields *f, size_t i);
struct str h2_field_value(const struct h2_fields *f, size_t i);

/* As nghttp2 wants them; borrowed from f. */
size_t h2_fields_nv(const struct h2_fields *f, nghttp2_nv dst[H2_FIELDS_MAX]);

enum h2_request_outcome {
    H2_REQUEST_OK,
    H2_REQUEST_NO_AUTHORITY, /* neither :authority nor host, or an empty one */
    H2_REQUEST_CONFLICT,     /* two of them that differ */
    H2_REQUEST_UNPARSEABLE,  /* malformed (RFC 9113 section 8.1.1), or an authority that is no host */
    H2_REQUEST_TUNNEL,       /* CONNECT, extended (RFC 8441) or not */
};

struct h2_request {
    struct http_host host;
    bool is_head, has_length;
    uint64_t length;
};

/* Judges the list of one request. ended: no body follows. On OK, to gets what is forwarded: the four pseudo
 * fields, the host as :authority, everything else without the fields of a connection. 0, or -ENOMEM or
 * -ENOBUFS with *ret_outcome unset. */
int h2_request_read(const struct h2_fields *f, bool ended, struct h2_request *ret, struct h2_fields *to,
                    enum h2_request_outcome *ret_outcome) MUST_CHECK;

/* May these trailers be forwarded? No pseudo fields, nothing that names the host or the framing. */
bool h2_trailers_ok(const struct h2_fields *f);
