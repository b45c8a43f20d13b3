/* SPDX-License-Identifier: MIT */
#include "proxyd/http/head.h"

#include <strings.h>

#include "common/base/num.h"

int http_host_parse(struct str s, struct http_host *ret)
{
    struct http_host h = {0};
    struct str host, port;

    if (s.len > 0 && s.p[0] == '[') {
        struct str inner = http_cut((struct str){s.p + 1, s.len - 1}, ']', &port);
        if (!port.p || (port.len > 0 && port.p[0] != ':') || addr_parse(inner, &h.literal) < 0 ||
            h.literal.family != AF_INET6)
            return -EINVAL;
        port = port.len > 0 ? (struct str){port.p + 1, port.len - 1} : STR_NONE;
    } else {
        host = http_cut(s, ':', &port);
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

bool http_host_eq(const struct http_host *a, const struct http_host *b)
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
    struct str method, upgrade, h2c_settings;
    unsigned upgrades, settings; /* fields */
    bool expects;
    struct http_connection connection;
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
    if (end < authority.len && authority.p[end] == '#') /* never sent by a client; where the host ends is
                                                           disputed */
        return HTTP_HEAD_CONFLICT;
    authority.len = end;
    f->has_target_host = true;
    return http_host_parse(authority, &f->target) < 0 ? HTTP_HEAD_CONFLICT : HTTP_HEAD_DONE;
}

/* RFC 9112 section 3: exactly one blank between the three parts. */
static enum http_head_outcome request_line_read(struct str line, struct head_facts *f)
{
    struct str rest, version;

    f->method = http_cut(line, ' ', &rest);
    if (!http_is_token(f->method) || !rest.p)
        return HTTP_HEAD_NOT_HTTP;
    struct str target = http_cut(rest, ' ', &version);
    f->old = str_is(version, "HTTP/1.0");
    if (!f->old && !str_is(version, "HTTP/1.1"))
        return HTTP_HEAD_NOT_HTTP;
    if (http_is_nocase(f->method, "CONNECT")) {
        if (http_host_parse(target, &f->target) < 0)
            f->target = (struct http_host){0};
        return HTTP_HEAD_CONNECT;
    }
    return target_read(f->method, target, f);
}

static enum http_head_outcome framing_field_read(const struct http_field *field, struct head_facts *f)
{
    if (http_field_is(field, "Content-Length")) {
        if (f->has_length || num_parse_u64(field->value, 0, INT64_MAX, &f->length) < 0)
            return HTTP_HEAD_CONFLICT;
        f->has_length = true;
    } else if (http_field_is(field, "Transfer-Encoding")) {
        if (f->has_encoding || !http_is_nocase(field->value, "chunked"))
            return HTTP_HEAD_CONFLICT;
        f->has_encoding = true;
    }
    return HTTP_HEAD_DONE;
}

/* Names that a server which folds "_" into "-", as CGI does, takes for the fields that decide. */
static bool is_alias(struct str name)
{
    static const char *const decisive[] = {"host", "content-length", "transfer-encoding"};

    if (!memchr(name.p, '_', name.len))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(decisive); i++) {
        size_t k = 0;
        if (name.len != strlen(decisive[i]))
            continue;
        while (k < name.len && (decisive[i][k] == '-' ? name.p[k] == '-' || name.p[k] == '_'
                                                      : (name.p[k] | 0x20) == decisive[i][k]))
            k++;
        if (k == name.len)
            return true;
    }
    return false;
}

static enum http_head_outcome field_read(const struct http_field *field, struct head_facts *f)
{
    /* also: blank before the colon, a folded line, no colon */
    if (!http_is_token(field->name) || !field->value.p || is_alias(field->name))
        return HTTP_HEAD_CONFLICT;
    if (http_field_is(field, "Host")) {
        if (f->has_host)
            return HTTP_HEAD_CONFLICT;
        if (field->value.len == 0)
            return HTTP_HEAD_NO_HOST;
        f->has_host = true;
        return http_host_parse(field->value, &f->host) < 0 ? HTTP_HEAD_CONFLICT : HTTP_HEAD_DONE;
    }
    if (http_field_is(field, "Connection"))
        return http_connection_add(&f->connection, field->value) < 0 ? HTTP_HEAD_CONFLICT : HTTP_HEAD_DONE;
    if (http_field_is(field, "Upgrade")) {
        f->upgrade = field->value;
        f->upgrades++;
    } else if (http_field_is(field, "HTTP2-Settings")) {
        f->h2c_settings = field->value;
        f->settings++;
    } else if (http_field_is(field, "Expect")) {
        f->expects |= http_is_nocase(field->value, "100-continue");
    }
    return framing_field_read(field, f);
}

/* RFC 9112 sections 3.2 and 6.1 */
static enum http_head_outcome facts_judge(const struct head_facts *f)
{
    if (f->has_encoding && (f->has_length || f->old))
        return HTTP_HEAD_CONFLICT;
    if (!f->has_host)
        return HTTP_HEAD_NO_HOST;
    return f->has_target_host && !http_host_eq(&f->host, &f->target) ? HTTP_HEAD_CONFLICT : HTTP_HEAD_DONE;
}

/* A body in front of an upgrade could be read as what comes behind it: no upgrade then, the request goes its
 * ordinary way. */
static void facts_take(const struct head_facts *f, struct http_head *ret)
{
    bool upgrade = f->connection.upgrade && f->upgrades == 1 && !f->old && ret->body == HTTP_BODY_NONE;

    ret->is_head = str_is(f->method, "HEAD");
    ret->expects = f->expects && !f->old && ret->body != HTTP_BODY_NONE;
    ret->close = f->old || f->connection.close;
    ret->websocket = upgrade && http_is_nocase(f->upgrade, "websocket");
    ret->h2c = upgrade && f->settings == 1 && http_is_nocase(f->upgrade, "h2c");
    ret->h2c_settings = f->h2c_settings;
}

static enum http_head_outcome head_parse(const uint8_t *p, size_t n, struct http_head *ret)
{
    struct str rest = {(const char *)p, n};
    struct head_facts f = {0};
    struct http_field field;

    enum http_head_outcome o = request_line_read(http_line_next(&rest), &f);
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
    facts_take(&f, ret);
    return HTTP_HEAD_DONE;
}

/* The first line decides what this is: until it is whole, a wrong byte means "not HTTP", afterwards "two
 * readings". */
static enum http_head_outcome scan_failed(const struct http_head_reader *r)
{
    return r->line == 0 ? HTTP_HEAD_NOT_HTTP : HTTP_HEAD_CONFLICT;
}

static enum http_head_outcome first_line_judge(struct str line, struct http_head *ret)
{
    struct head_facts f = {0};
    enum http_head_outcome o = request_line_read(line, &f);

    if (o == HTTP_HEAD_CONNECT)
        *ret = (struct http_head){.host = f.target, .close = true};
    return o;
}

enum http_head_outcome http_head_read(struct http_head_reader *r, const uint8_t *p, size_t n,
                                      struct http_head *ret)
{
    size_t end = n < LIMIT_PEEK ? n : LIMIT_PEEK;

    if (n > 0 && !http_is_token_char(p[0]))
        return HTTP_HEAD_NOT_HTTP;
    for (; r->next < end; r->next++) {
        size_t i = r->next;
        bool after_cr = i > 0 && p[i - 1] == '\r';
        if (http_is_control(p[i]) || after_cr != (p[i] == '\n')) /* a bare CR or a bare LF */
            return scan_failed(r);
        if (p[i] != '\n')
            continue;
        if (i == r->line + 1) { /* nothing but CRLF */
            r->next = i + 1;
            return r->line == 0 ? HTTP_HEAD_NOT_HTTP : head_parse(p, i + 1, ret);
        }
        if (r->line == 0) {
            enum http_head_outcome o = first_line_judge((struct str){(const char *)p, i - 1}, ret);
            if (o != HTTP_HEAD_DONE)
                return o;
        }
        r->line = i + 1;
    }
    return end == LIMIT_PEEK ? HTTP_HEAD_NOT_HTTP : HTTP_HEAD_MORE;
}
