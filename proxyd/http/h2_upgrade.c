/* SPDX-License-Identifier: MIT */
/* An HTTP/1 request that asks for h2c becomes stream 1 of the connection (RFC 7540 section 3.2). */
#include "common/base/encoding.h"
#include "proxyd/http/h2_state.h"

#define UPGRADE_SETTINGS_MAX 192u /* bytes: H2_SETTINGS_MAX entries of six */

static const char switching[] =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";

/* base64url without padding (RFC 4648 section 5). */
static int settings_read(struct str s, struct buf *to)
{
    _cleanup_(buf_done) struct buf plain = {0};

    buf_init(&plain, 2 * UPGRADE_SETTINGS_MAX);
    for (size_t i = 0; i < s.len; i++)
        buf_putc(&plain, (uint8_t)(s.p[i] == '-' ? '+' : s.p[i] == '_' ? '/' : s.p[i]));
    while (plain.len % 4 != 0 && plain.err == 0)
        buf_putc(&plain, '=');
    buf_init(to, UPGRADE_SETTINGS_MAX);
    if (plain.err < 0 || (plain.len > 0 && encoding_base64_get(buf_str(&plain), to) < 0))
        return -EBADMSG;
    return to->err < 0 ? -EBADMSG : 0;
}

static int add(struct h2_fields *f, struct str name, struct str value)
{
    char lower[256];

    if (name.len > sizeof(lower))
        return -EBADMSG;
    for (size_t i = 0; i < name.len; i++)
        lower[i] = (char)(name.p[i] >= 'A' && name.p[i] <= 'Z' ? name.p[i] | 0x20 : name.p[i]);
    return h2_fields_add(f, (struct str){lower, name.len}, value, false, H2_REQUEST_LIST_MAX);
}

/* The head in origin-form as the list that a client would have sent. */
static int head_fields(struct str head, struct h2_fields *f)
{
    struct str rest, version, line = http_line_next(&head);
    struct str method = http_cut(line, ' ', &rest), path = http_cut(rest, ' ', &version);
    struct http_field field;

    int r = add(f, STR_LIT(":method"), method);
    if (r == 0)
        r = add(f, STR_LIT(":scheme"), STR_LIT("http"));
    if (r == 0)
        r = add(f, STR_LIT(":path"), path);
    while (r == 0 && http_field_next(&head, &field))
        r = add(f, field.name, field.value);
    return r;
}

int h2_upgrade(struct h2 *h, const uint8_t *head, const struct http_head *upgrade)
{
    _cleanup_(buf_done) struct buf settings = {0};
    _cleanup_(buf_done) struct buf lines = {0};
    struct http_head plain = *upgrade;

    plain.close = false;
    buf_init(&lines, 2 * LIMIT_PEEK);
    int r = settings_read(upgrade->h2c_settings, &settings);
    if (r == 0)
        r = http_head_rewrite(head, &plain, &lines);
    if (r == 0)
        r = http_io_send(&h->io, switching, sizeof(switching) - 1);
    if (r < 0)
        return r;
    struct h2_stream *st = h2_stream_new(h, 1);
    if (!st)
        return -ENOMEM;
    if (nghttp2_session_upgrade2(h->ng, settings.data, settings.len, upgrade->is_head, NULL) != 0 ||
        nghttp2_session_set_stream_user_data(h->ng, st->id, st) != 0) /* a server's upgrade sets none */
        return -EBADMSG;
    st->fields_broken = head_fields(buf_str(&lines), &st->fields) < 0;
    h2_stream_head(st, true);
    return 0;
}
