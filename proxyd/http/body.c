/* SPDX-License-Identifier: MIT */
#include "proxyd/http/body.h"

#define CHUNK_DIGITS_MAX 15 /* 2^60: no overflow to think about */

static void body_start(struct http_body *b, enum http_body_kind kind, uint64_t len)
{
    *b = (struct http_body){.state = HTTP_BODY_END};
    if (kind == HTTP_BODY_LENGTH) {
        b->state = HTTP_BODY_DATA;
        b->left = len;
    } else if (kind == HTTP_BODY_CHUNKED) {
        b->state = HTTP_BODY_SIZE;
        b->chunked = true;
    } else if (kind == HTTP_BODY_UNTIL_CLOSE) {
        b->state = HTTP_BODY_ENDLESS;
    }
}

void http_body_init(struct http_body *b, const struct http_head *h)
{
    body_start(b, h->body, h->body_len);
}

void http_body_init_response(struct http_body *b, const struct http_response *r)
{
    body_start(b, r->body, r->body_len);
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* A byte of a line that is not its CR: no control characters, no bare LF. */
static bool line_char(uint8_t c)
{
    return (c >= 0x20 && c != 0x7f) || c == '\t';
}

static int blank_char(struct http_body *b, uint8_t c)
{
    switch (c) {
    case '\r':
        b->state = HTTP_BODY_SIZE_LF;
        return 0;
    case ';':
        b->state = HTTP_BODY_EXT;
        break;
    case ' ':
    case '\t':
        b->state = HTTP_BODY_BLANK;
        break;
    default:
        return -EBADMSG;
    }
    return ++b->line <= HTTP_CHUNK_LINE_MAX ? 0 : -EBADMSG;
}

static int size_char(struct http_body *b, uint8_t c)
{
    int v = hex_value(c);

    if (v >= 0) {
        if (++b->digits > CHUNK_DIGITS_MAX)
            return -EBADMSG;
        b->left = b->left << 4 | (uint64_t)v;
        return 0;
    }
    if (b->digits == 0)
        return -EBADMSG;
    b->line = b->digits;
    return blank_char(b, c);
}

static int ext_char(struct http_body *b, uint8_t c)
{
    if (c == '\r') {
        b->state = HTTP_BODY_SIZE_LF;
        return 0;
    }
    return line_char(c) && ++b->line <= HTTP_CHUNK_LINE_MAX ? 0 : -EBADMSG;
}

/* What a server may merge into the head, and what decided there. */
static bool trailer_forbidden(const struct http_body *b)
{
    static const char *const names[] = {"host", "content-length", "transfer-encoding", "connection", "te"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (b->line == strlen(names[i]) && memcmp(b->name, names[i], b->line) == 0)
            return true;
    return false;
}

/* Lower case, and the underscore as what CGI takes it for. */
static char trailer_lower(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c - 'A' + 'a');
    if (c == '_')
        return '-';
    return (char)c;
}

static int trailer_name_char(struct http_body *b, uint8_t c)
{
    if (c == '\r' && b->line == 0) {
        b->state = HTTP_BODY_TRAILER_LF;
        return 0;
    }
    if (c == ':' && b->line > 0 && !trailer_forbidden(b)) {
        b->state = HTTP_BODY_TRAILER;
        b->line++;
        return 0;
    }
    if (!http_is_token_char(c) || ++b->trailer > HTTP_TRAILER_MAX)
        return -EBADMSG;
    if (b->line < sizeof(b->name))
        b->name[b->line] = trailer_lower(c);
    b->line++;
    return 0;
}

static int trailer_char(struct http_body *b, uint8_t c)
{
    if (c == '\r') {
        b->state = HTTP_BODY_TRAILER_LF;
        return 0;
    }
    return line_char(c) && ++b->trailer <= HTTP_TRAILER_MAX ? 0 : -EBADMSG;
}

/* The LF that ends a line: which one follows depends on the line. */
static void line_ended(struct http_body *b)
{
    if (b->state == HTTP_BODY_SIZE_LF)
        b->state = b->left > 0 ? HTTP_BODY_DATA : HTTP_BODY_TRAILER_NAME;
    else if (b->state == HTTP_BODY_TRAILER_LF)
        b->state = b->line > 0 ? HTTP_BODY_TRAILER_NAME : HTTP_BODY_END;
    else
        b->state = HTTP_BODY_SIZE;
    b->line = 0;
    b->digits = 0;
}

static int framing_char(struct http_body *b, uint8_t c)
{
    switch (b->state) {
    case HTTP_BODY_SIZE:
        return size_char(b, c);
    case HTTP_BODY_BLANK:
        return blank_char(b, c);
    case HTTP_BODY_EXT:
        return ext_char(b, c);
    case HTTP_BODY_TRAILER_NAME:
        return trailer_name_char(b, c);
    case HTTP_BODY_TRAILER:
        return trailer_char(b, c);
    case HTTP_BODY_DATA_CR:
        b->state = HTTP_BODY_DATA_LF;
        return c == '\r' ? 0 : -EBADMSG;
    default:
        if (c != '\n')
            return -EBADMSG;
        line_ended(b);
        return 0;
    }
}

ssize_t http_body_take(struct http_body *b, const uint8_t *p, size_t n)
{
    size_t i = 0;

    if (b->state == HTTP_BODY_ENDLESS)
        return (ssize_t)n;
    while (i < n && b->state != HTTP_BODY_END) {
        if (b->state != HTTP_BODY_DATA) {
            if (framing_char(b, p[i++]) < 0)
                return -EBADMSG;
            continue;
        }
        size_t some = n - i < b->left ? n - i : (size_t)b->left;
        i += some;
        b->left -= some;
        if (b->left == 0)
            b->state = b->chunked ? HTTP_BODY_DATA_CR : HTTP_BODY_END;
    }
    return (ssize_t)i;
}
