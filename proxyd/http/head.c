/* SPDX-License-Identifier: MIT */
#include "proxyd/http/head.h"

#include <strings.h>

#include "common/base/num.h"

/* RFC 9110 section 5.6.2 */
static bool is_token_char(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_token(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_token_char((uint8_t)s.p[i]))
            return false;
    return s.len > 0;
}

static struct str str_trim(struct str s)
{
    while (s.len > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
        s.p++, s.len--;
    while (s.len > 0 && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t'))
        s.len--;
    return s;
}

/* Cuts s at the first c: the part before it, and *rest behind it. Without a c the whole, and *rest is absent.
 */
static struct str str_cut(struct str s, char c, struct str *rest)
{
    const char *at = s.len > 0 ? memchr(s.p, c, s.len) : NULL;

    *rest = at ? (struct str){at + 1, s.len - (size_t)(at - s.p) - 1} : STR_NONE;
    return at ? (struct str){s.p, (size_t)(at - s.p)} : s;
}

static bool str_is_nocase(struct str s, const char *t)
{
    return s.len == strlen(t) && strncasecmp(s.p, t, s.len) == 0;
}

bool http_field_is(const struct http_field *f, const char *name)
{
    return str_is_nocase(f->name, name);
}

/* The line at the front of *rest, which must hold a CRLF: the scan has made sure of it. */
static struct str line_next(struct str *rest)
{
    struct str line = str_cut(*rest, '\r', rest);

    *rest = rest->len > 0 ? (struct str){rest->p + 1, rest->len - 1} : STR_NONE;
    return line;
}

bool http_field_next(struct str *rest, struct http_field *ret)
{
    struct str value, line = line_next(rest);

    if (line.len == 0)
        return false;
    struct str name = str_cut(line, ':', &value);
    *ret = (struct http_field){name, value.p ? str_trim(value) : STR_NONE, line};
    return true;
}

/* uri-host [":" port] (RFC 3986 section 3.2.2). No user part, no percent-encoding, no zone. */
static int host_parse(struct str s, struct http_host *ret)
{
    struct http_host h = {0};
    struct str host, port;

    if (s.len > 0 && s.p[0] == '[') {
        struct str inner = str_cut((struct str){s.p + 1, s.len - 1}, ']', &port);
        if (!port.p || (port.len > 0 && port.p[0] != ':') || addr_parse(inner, &h.literal) < 0 ||
            h.literal.family != AF_INET6)
            return -EINVAL;
        port = port.len > 0 ? (struct str){port.p + 1, port.len - 1} : STR_NONE;
    } else {
        host = str_cut(s, ':', &port);
        if (addr_parse(host, &h.literal) < 0)
            h.literal.family = AF_UNSPEC;
        if (h.literal.family == AF_UNSPEC && name_parse(host, NAME_HOST, &h.name) != NAME_OK)
            return -EINVAL;
    }
    if (port.p) {
        uint64_t v;
        if (num_parse_u64(port, 1, UINT16_MAX, &v) < 0)
            return -EINVAL;
        h.port = (uint16_t)v;
    }
    *ret = h;
    return 0;
}

static bool host_eq(const struct http_host *a, const struct http_host *b)
{
    if (a->literal.family != b->literal.family)
        return false;
    if (a->literal.family != AF_UNSPEC && !addr_eq(&a->literal, &b->literal))
        return false;
    /* "http://h/" and "Host: h:80" say the same (RFC 9110 section 4.2.3). */
    return str_eq(name_str(&a->name), name_str(&b->name)) &&
           (a->port ? a->port : 80) == (b->port ? b->port : 80);
}

/* What the fields and the request line say, before it is compared. */
struct head_facts {
    struct http_host host, target;
    bool has_host, has_target_host;
    bool has_length, has_encoding, old; /* old: HTTP/1.0 */
    uint64_t length;
};

/* RFC 9112 section 3.2: origin-form, absolute-form, or "*" with OPTIONS. */
static enum http_head_outcome target_read(struct str method, struct str target, struct head_facts *f)
{
    if (target.len > 0 && memchr(target.p, '\t', target.len)) /* a second separator to some */
        return HTTP_HEAD_NOT_HTTP;
    if (target.len > 0 && target.p[0] == '/')
        return HTTP_HEAD_DONE;
    if (str_is(target, "*") && str_is(method, "OPTIONS"))
        return HTTP_HEAD_DONE;
    if (target.len < 7 || strncasecmp(target.p, "http://", 7) != 0)
        return HTTP_HEAD_NOT_HTTP;
    struct str authority = {target.p + 7, target.len - 7};
    size_t end = 0;
    while (end < authority.len && !strchr("/?#", authority.p[end]))
        end++;
    authority.len = end;
    f->has_target_host = true;
    return host_parse(authority, &f->target) < 0 ? HTTP_HEAD_CONFLICT : HTTP_HEAD_DONE;
}

/* RFC 9112 section 3: exactly one blank between the three parts. */
static enum http_head_outcome request_line_read(struct str line, struct head_facts *f)
{
    struct str rest, version;
    struct str method = str_cut(line, ' ', &rest);

    if (!is_token(method) || !rest.p)
        return HTTP_HEAD_NOT_HTTP;
    struct str target = str_cut(rest, ' ', &version);
    f->old = str_is(version, "HTTP/1.0");
    if ((!f->old && !str_is(version, "HTTP/1.1")) || str_is_nocase(method, "CONNECT"))
        return HTTP_HEAD_NOT_HTTP;
    return target_read(method, target, f);
}

static enum http_head_outcome field_read(const struct http_field *field, struct head_facts *f)
{
    if (!is_token(field->name) || !field->value.p) /* also: blank before the colon, a folded line, no colon */
        return HTTP_HEAD_CONFLICT;
    if (http_field_is(field, "Host")) {
        if (f->has_host)
            return HTTP_HEAD_CONFLICT;
        if (field->value.len == 0)
            return HTTP_HEAD_NO_HOST;
        f->has_host = true;
        return host_parse(field->value, &f->host) < 0 ? HTTP_HEAD_CONFLICT : HTTP_HEAD_DONE;
    }
    if (http_field_is(field, "Content-Length")) {
        if (f->has_length || num_parse_u64(field->value, 0, INT64_MAX, &f->length) < 0)
            return HTTP_HEAD_CONFLICT;
        f->has_length = true;
    } else if (http_field_is(field, "Transfer-Encoding")) {
        if (f->has_encoding || !str_is_nocase(field->value, "chunked"))
            return HTTP_HEAD_CONFLICT;
        f->has_encoding = true;
    }
    return HTTP_HEAD_DONE;
}

/* RFC 9112 sections 3.2 and 6.1 */
static enum http_head_outcome facts_judge(const struct head_facts *f)
{
    if (f->has_encoding && (f->has_length || f->old))
        return HTTP_HEAD_CONFLICT;
    if (!f->has_host)
        return HTTP_HEAD_NO_HOST;
    return f->has_target_host && !host_eq(&f->host, &f->target) ? HTTP_HEAD_CONFLICT : HTTP_HEAD_DONE;
}

static enum http_head_outcome head_parse(const uint8_t *p, size_t n, struct http_head *ret)
{
    struct str rest = {(const char *)p, n};
    struct head_facts f = {0};
    struct http_field field;

    enum http_head_outcome o = request_line_read(line_next(&rest), &f);
    while (o == HTTP_HEAD_DONE && http_field_next(&rest, &field))
        o = field_read(&field, &f);
    if (o == HTTP_HEAD_DONE)
        o = facts_judge(&f);
    if (o != HTTP_HEAD_DONE)
        return o;
    *ret = (struct http_head){.host = f.host, .len = n, .body_len = f.length};
    if (f.has_encoding)
        ret->body = HTTP_BODY_CHUNKED;
    else if (f.length > 0)
        ret->body = HTTP_BODY_LENGTH;
    return HTTP_HEAD_DONE;
}

/* A byte that no part of a head may hold. CR and LF are judged as a pair; the blank and the tab are looked at
 * later. */
static bool is_control(uint8_t c)
{
    return (c < 0x20 && c != '\t' && c != '\r' && c != '\n') || c == 0x7f;
}

/* The first line decides what this is: until it is whole, a wrong byte means "not HTTP", afterwards "two
 * readings". */
static enum http_head_outcome scan_failed(const struct http_head_reader *r)
{
    return r->line == 0 ? HTTP_HEAD_NOT_HTTP : HTTP_HEAD_CONFLICT;
}

enum http_head_outcome http_head_read(struct http_head_reader *r, const uint8_t *p, size_t n,
                                      struct http_head *ret)
{
    size_t end = n < LIMIT_PEEK ? n : LIMIT_PEEK;

    if (n > 0 && !is_token_char(p[0]))
        return HTTP_HEAD_NOT_HTTP;
    for (; r->next < end; r->next++) {
        size_t i = r->next;
        bool after_cr = i > 0 && p[i - 1] == '\r';
        if (is_control(p[i]) || after_cr != (p[i] == '\n')) /* a bare CR or a bare LF */
            return scan_failed(r);
        if (p[i] != '\n')
            continue;
        if (i == r->line + 1) { /* nothing but CRLF */
            r->next = i + 1;
            return r->line == 0 ? HTTP_HEAD_NOT_HTTP : head_parse(p, i + 1, ret);
        }
        if (r->line == 0) {
            struct head_facts f = {0};
            enum http_head_outcome o = request_line_read((struct str){(const char *)p, i - 1}, &f);
            if (o != HTTP_HEAD_DONE)
                return o;
        }
        r->line = i + 1;
    }
    return end == LIMIT_PEEK ? HTTP_HEAD_NOT_HTTP : HTTP_HEAD_MORE;
}
