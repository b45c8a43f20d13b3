/* SPDX-License-Identifier: MIT */
#include "proxyd/tls/client_hello.h"

#include "common/base/cursor.h"

#define RECORD_HEADER    5
#define RECORD_HANDSHAKE 22
#define RECORD_MAX       16384 /* RFC 8446 section 5.1 */
#define HANDSHAKE_HEADER 4
#define CLIENT_HELLO     1

#define EXT_SERVER_NAME 0
#define EXT_ALPN        16
#define EXT_ECH         0xfe0d

#define NAME_TYPE_HOST 0

/* One record header; nothing but handshake records may come before the end of the hello. */
static int record_header(struct cursor *c, size_t *ret_len)
{
    uint8_t type, major, minor;
    uint16_t len;

    if (cursor_u8(c, &type) < 0 || cursor_u8(c, &major) < 0 || cursor_u8(c, &minor) < 0 ||
        cursor_be16(c, &len) < 0)
        return -EBADMSG;
    if (type != RECORD_HANDSHAKE || major != 3 || minor > 4 || len == 0 || len > RECORD_MAX)
        return -EBADMSG;
    *ret_len = len;
    return 0;
}

/* The bytes that are there must be able to become a record header: garbage is answered at once, not at the
 * time limit. */
static bool record_may_begin(const uint8_t *p, size_t n)
{
    static const uint8_t begin[2] = {RECORD_HANDSHAKE, 3};

    return n == 0 || memcmp(p, begin, n < 2 ? n : 2) == 0;
}

/* Takes the bytes of one record into account; the message header may end in any of them. */
static int record_take(struct client_hello_reader *r, const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len && r->have + i < HANDSHAKE_HEADER; i++)
        r->head[r->have + i] = p[i];
    r->have += len;
    if (r->want == 0 && r->have >= HANDSHAKE_HEADER) {
        if (r->head[0] != CLIENT_HELLO)
            return -EBADMSG;
        r->want =
            HANDSHAKE_HEADER + ((size_t)r->head[1] << 16 | (size_t)r->head[2] << 8 | (size_t)r->head[3]);
        if (r->want > LIMIT_PEEK - RECORD_HEADER)
            return -EBADMSG;
    }
    /* A second message in the hello's own record would be a second opinion on what was asked for. */
    return r->want > 0 && r->have > r->want ? -EBADMSG : 0;
}

/* Copies the fragments of the walked records behind one another. dst has room for want bytes. */
static int records_join(const uint8_t *p, size_t n, uint8_t *dst, size_t want)
{
    struct cursor c = cursor_of(p, n);
    size_t at = 0;

    while (at < want) {
        const uint8_t *fragment;
        size_t len;
        if (record_header(&c, &len) < 0 || len > want - at || cursor_bytes(&c, len, &fragment) < 0)
            return -EBADMSG;
        memcpy(dst + at, fragment, len);
        at += len;
    }
    return 0;
}

/* A vector with a length prefix of one or two bytes; its length must be a multiple of unit and at least min.
 */
static int vector(struct cursor *c, int prefix, size_t min, size_t unit, struct cursor *ret)
{
    uint8_t short_len = 0;
    uint16_t len = 0;

    if (prefix == 1 ? cursor_u8(c, &short_len) < 0 : cursor_be16(c, &len) < 0)
        return -EBADMSG;
    if (prefix == 1)
        len = short_len;
    return len < min || len % unit != 0 ? -EBADMSG : cursor_sub(c, len, ret);
}

/* RFC 6066 section 3: a list that may hold one name of each type, of which only host_name exists. */
static enum client_hello_outcome server_name(struct cursor ext, struct name *ret)
{
    struct cursor list, host;
    uint8_t type;

    if (vector(&ext, 2, 1, 1, &list) < 0 || cursor_left(&ext) > 0 || cursor_u8(&list, &type) < 0)
        return CLIENT_HELLO_NOT_TLS;
    if (type != NAME_TYPE_HOST)
        return CLIENT_HELLO_BAD_NAME;
    if (vector(&list, 2, 1, 1, &host) < 0)
        return CLIENT_HELLO_NOT_TLS;
    if (cursor_left(&list) > 0)
        return CLIENT_HELLO_BAD_NAME;
    struct str text = {(const char *)host.p, cursor_left(&host)};
    return name_parse(text, NAME_HOST, ret) == NAME_OK ? CLIENT_HELLO_DONE : CLIENT_HELLO_BAD_NAME;
}

/* RFC 7301 section 3.1: at least one name, none empty. */
static int alpn_check(struct cursor ext)
{
    struct cursor list, protocol;

    if (vector(&ext, 2, 2, 1, &list) < 0 || cursor_left(&ext) > 0)
        return -EBADMSG;
    while (cursor_left(&list) > 0)
        if (vector(&list, 1, 1, 1, &protocol) < 0)
            return -EBADMSG;
    return 0;
}

/* RFC 8446 section 4.2: no type twice; a second server_name is the case somebody would try. */
static enum client_hello_outcome extensions(struct cursor list, struct client_hello *h)
{
    uint8_t seen[65536 / 8] = {0};
    bool named = false;

    while (cursor_left(&list) > 0) {
        struct cursor ext;
        uint16_t type;
        if (cursor_be16(&list, &type) < 0 || vector(&list, 2, 0, 1, &ext) < 0)
            return CLIENT_HELLO_NOT_TLS;
        if (seen[type / 8] & 1u << type % 8)
            return type == EXT_SERVER_NAME ? CLIENT_HELLO_BAD_NAME : CLIENT_HELLO_NOT_TLS;
        seen[type / 8] = (uint8_t)(seen[type / 8] | 1u << type % 8);
        if (type == EXT_SERVER_NAME) {
            enum client_hello_outcome o = server_name(ext, &h->server_name);
            if (o != CLIENT_HELLO_DONE)
                return o;
            named = true;
        } else if (type == EXT_ALPN) {
            if (alpn_check(ext) < 0)
                return CLIENT_HELLO_NOT_TLS;
            h->has_alpn = true;
        } else if (type == EXT_ECH) {
            h->has_ech = true;
        }
    }
    return named ? CLIENT_HELLO_DONE : CLIENT_HELLO_NO_NAME;
}

/* RFC 8446 section 4.1.2; the same shape since TLS 1.0, where the extensions were optional (RFC 5246
 * section 7.4.1.2). */
static enum client_hello_outcome hello_body(struct cursor c, struct client_hello *ret)
{
    struct cursor session, suites, compression, list;
    struct client_hello h = {0};
    uint8_t major;

    if (cursor_u8(&c, &major) < 0 || major != 3 || cursor_skip(&c, 1 + 32) < 0 ||
        vector(&c, 1, 0, 1, &session) < 0 || cursor_left(&session) > 32 || vector(&c, 2, 2, 2, &suites) < 0 ||
        vector(&c, 1, 1, 1, &compression) < 0)
        return CLIENT_HELLO_NOT_TLS;
    if (cursor_left(&c) == 0)
        return CLIENT_HELLO_NO_NAME;
    if (vector(&c, 2, 0, 1, &list) < 0 || cursor_left(&c) > 0)
        return CLIENT_HELLO_NOT_TLS;
    enum client_hello_outcome o = extensions(list, &h);
    if (o == CLIENT_HELLO_DONE)
        *ret = h;
    return o;
}

enum client_hello_outcome client_hello_read(struct client_hello_reader *r, const uint8_t *p, size_t n,
                                            struct client_hello *ret)
{
    uint8_t message[LIMIT_PEEK];

    while (r->want == 0 || r->have < r->want) {
        struct cursor c = cursor_of(p + r->next, n - r->next);
        size_t len;
        if (!record_may_begin(c.p, cursor_left(&c)))
            return CLIENT_HELLO_NOT_TLS;
        if (cursor_left(&c) < RECORD_HEADER)
            return n >= LIMIT_PEEK ? CLIENT_HELLO_NOT_TLS : CLIENT_HELLO_MORE;
        if (record_header(&c, &len) < 0 || r->next + RECORD_HEADER + len > LIMIT_PEEK)
            return CLIENT_HELLO_NOT_TLS;
        if (cursor_left(&c) < len)
            return CLIENT_HELLO_MORE;
        if (record_take(r, c.p, len) < 0)
            return CLIENT_HELLO_NOT_TLS;
        r->next += RECORD_HEADER + len;
    }
    if (records_join(p, r->next, message, r->want) < 0)
        return CLIENT_HELLO_NOT_TLS;
    return hello_body(cursor_of(message + HANDSHAKE_HEADER, r->want - HANDSHAKE_HEADER), ret);
}

enum client_hello_outcome client_hello_message(const uint8_t *p, size_t n, struct client_hello *ret,
                                               size_t *ret_len)
{
    struct cursor c = cursor_of(p, n);
    uint32_t len;
    uint8_t type;

    if (cursor_u8(&c, &type) < 0)
        return CLIENT_HELLO_MORE;
    if (type != CLIENT_HELLO)
        return CLIENT_HELLO_NOT_TLS;
    if (cursor_be24(&c, &len) < 0)
        return CLIENT_HELLO_MORE;
    if (len > LIMIT_PEEK - HANDSHAKE_HEADER)
        return CLIENT_HELLO_NOT_TLS;
    if (cursor_left(&c) < len)
        return CLIENT_HELLO_MORE;
    *ret_len = HANDSHAKE_HEADER + len;
    return hello_body(cursor_of(c.p, len), ret);
}
