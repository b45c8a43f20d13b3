/* SPDX-License-Identifier: MIT */
#include "proxyd/http/response.h"

#include "common/base/num.h"

struct response_facts {
    bool has_length, has_encoding, chunked, old;
    uint64_t length;
    struct http_connection connection;
};

/* HTTP-version SP 3DIGIT SP [reason]; a blank before an empty reason is often left out. */
static int status_line_read(struct str line, struct response_facts *f, unsigned *ret)
{
    struct str rest, reason;
    struct str version = http_cut(line, ' ', &rest);
    uint64_t status;

    f->old = str_is(version, "HTTP/1.0");
    if (!f->old && !str_is(version, "HTTP/1.1"))
        return -EBADMSG;
    struct str digits = http_cut(rest, ' ', &reason);
    if (digits.len != 3 || num_parse_u64(digits, 100, 999, &status) < 0)
        return -EBADMSG;
    *ret = (unsigned)status;
    return 0;
}

static int encoding_read(struct str value, struct response_facts *f)
{
    struct str coding;

    if (f->has_encoding)
        return -EBADMSG;
    f->has_encoding = true;
    while (http_list_next(&value, &coding)) {
        if (f->chunked) /* not the last one */
            return -EBADMSG;
        f->chunked = http_is_nocase(coding, "chunked");
    }
    return 0;
}

static int field_read(const struct http_field *field, struct response_facts *f)
{
    if (!http_is_token(field->name) || !field->value.p)
        return -EBADMSG;
    if (http_field_is(field, "Content-Length")) {
        if (f->has_length || num_parse_u64(field->value, 0, INT64_MAX, &f->length) < 0)
            return -EBADMSG;
        f->has_length = true;
        return 0;
    }
    if (http_field_is(field, "Transfer-Encoding"))
        return encoding_read(field->value, f);
    if (http_field_is(field, "Connection"))
        return http_connection_add(&f->connection, field->value);
    return 0;
}

/* RFC 9112 section 6.3 */
static void body_of(const struct response_facts *f, bool is_head, struct http_response *r)
{
    r->body = HTTP_BODY_NONE;
    if (is_head || r->status < 200 || r->status == 204 || r->status == 304)
        return;
    if (f->chunked) {
        r->body = HTTP_BODY_CHUNKED;
    } else if (f->has_encoding || !f->has_length) {
        r->body = HTTP_BODY_UNTIL_CLOSE;
        r->close = true;
    } else if (f->length > 0) {
        r->body = HTTP_BODY_LENGTH;
        r->body_len = f->length;
    }
}

static enum http_response_outcome head_parse(const uint8_t *p, size_t n, bool is_head,
                                             struct http_response *ret)
{
    struct str rest = {(const char *)p, n};
    struct response_facts f = {0};
    struct http_response r = {.len = n};
    struct http_field field;

    if (status_line_read(http_line_next(&rest), &f, &r.status) < 0)
        return HTTP_RESPONSE_BROKEN;
    while (http_field_next(&rest, &field))
        if (field_read(&field, &f) < 0)
            return HTTP_RESPONSE_BROKEN;
    if (f.has_encoding && (f.has_length || f.old))
        return HTTP_RESPONSE_BROKEN;
    r.close = f.connection.close || (f.old && !f.connection.keep_alive);
    body_of(&f, is_head, &r);
    *ret = r;
    return HTTP_RESPONSE_DONE;
}

enum http_response_outcome http_response_read(struct http_response_reader *r, const uint8_t *p, size_t n,
                                              bool is_head, struct http_response *ret)
{
    static const char begin[] = "HTTP/1.";
    size_t end = n < HTTP_RESPONSE_HEAD_MAX ? n : HTTP_RESPONSE_HEAD_MAX;
    size_t known = n < sizeof(begin) - 1 ? n : sizeof(begin) - 1;

    if (n > 0 && memcmp(p, begin, known) != 0)
        return HTTP_RESPONSE_BROKEN;
    for (; r->next < end; r->next++) {
        size_t i = r->next;
        bool after_cr = i > 0 && p[i - 1] == '\r';
        if (http_is_control(p[i]) || after_cr != (p[i] == '\n'))
            return HTTP_RESPONSE_BROKEN;
        if (p[i] != '\n')
            continue;
        if (i == r->line + 1) {
            r->next = i + 1;
            return head_parse(p, i + 1, is_head, ret);
        }
        r->line = i + 1;
    }
    return end == HTTP_RESPONSE_HEAD_MAX ? HTTP_RESPONSE_BROKEN : HTTP_RESPONSE_MORE;
}
