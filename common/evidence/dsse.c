/* SPDX-License-Identifier: MIT */
#include "common/evidence/dsse.h"

#include "common/base/encoding.h"

#define DSSE_NAME_MAX         20
#define DSSE_PAYLOAD_TYPE_LEN 46
#define DSSE_PAE_HEAD         "DSSEv1 46 " DSSE_PAYLOAD_TYPE " "
#define DSSE_B64_LEN          44 /* 32 bytes */

void dsse_core_digest(const struct dsse_event *e, uint8_t ret[static DIGEST_LEN])
{
    const struct str parts[] = {
        e->id,         e->source,  e->specversion, e->type, e->datacontenttype,
        e->dataschema, e->subject, e->time,        e->data,
    };
    uint8_t list[ARRAY_LEN(parts)][DIGEST_LEN];

    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        digest_sha256(parts[i].p, parts[i].len, list[i]);
    digest_sha256(list, sizeof(list), ret);
}

void dsse_ext_digest(const struct str *values, size_t n, uint8_t ret[static DIGEST_LEN])
{
    uint8_t list[DSSE_NAMES_MAX][DIGEST_LEN];

    for (size_t i = 0; i < n && i < DSSE_NAMES_MAX; i++)
        digest_sha256(values[i].p, values[i].len, list[i]);
    digest_sha256(list, (n < DSSE_NAMES_MAX ? n : DSSE_NAMES_MAX) * DIGEST_LEN, ret);
}

static bool dsse_name_ok(struct str name)
{
    static const char *const reserved[] = {"id",         "source",  "specversion", "type", "datacontenttype",
                                           "dataschema", "subject", "time",        "data", "dssematerial"};

    if (name.len == 0 || name.len > DSSE_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (!((name.p[i] >= 'a' && name.p[i] <= 'z') || (name.p[i] >= '0' && name.p[i] <= '9')))
            return false;
    for (size_t i = 0; i < ARRAY_LEN(reserved); i++)
        if (str_is(name, reserved[i]))
            return false;
    return true;
}

int dsse_names_check(const struct str *names, size_t n)
{
    if (n == 0 || n > DSSE_NAMES_MAX)
        return -EINVAL;
    for (size_t i = 0; i < n; i++) {
        if (!dsse_name_ok(names[i]))
            return -EINVAL;
        for (size_t k = 0; k < i; k++)
            if (str_eq(names[i], names[k]))
                return -EINVAL;
    }
    return 0;
}

int dsse_material_render(const struct dsse_material *m, struct buf *b)
{
    if (m->nnames > 0 && dsse_names_check(m->names, m->nnames) < 0)
        return -EINVAL;
    buf_puts(b, "{\"core\":\"");
    encoding_base64_put(b, m->core, DIGEST_LEN);
    if (m->nnames > 0) {
        buf_puts(b, "\",\"ext\":\"");
        encoding_base64_put(b, m->ext, DIGEST_LEN);
        buf_puts(b, "\",\"signedextattrs\":[");
        for (size_t i = 0; i < m->nnames; i++) {
            buf_puts(b, i ? ",\"" : "\"");
            buf_put_str(b, m->names[i]);
            buf_putc(b, '"');
        }
        buf_puts(b, "]}");
    } else {
        buf_puts(b, "\"}");
    }
    return b->err;
}

/* Takes text off the front of s. */
static bool dsse_take(struct str *s, const char *text)
{
    size_t n = strlen(text);

    if (s->len < n || memcmp(s->p, text, n) != 0)
        return false;
    *s = (struct str){s->p + n, s->len - n};
    return true;
}

static bool dsse_take_digest(struct str *s, uint8_t ret[static DIGEST_LEN])
{
    _cleanup_(buf_done) struct buf out = {.data = NULL};

    buf_init(&out, DIGEST_LEN);
    if (s->len < DSSE_B64_LEN)
        return false;
    if (encoding_base64_get((struct str){s->p, DSSE_B64_LEN}, &out) < 0 || out.len != DIGEST_LEN)
        return false;
    memcpy(ret, out.data, DIGEST_LEN);
    *s = (struct str){s->p + DSSE_B64_LEN, s->len - DSSE_B64_LEN};
    return true;
}

static bool dsse_take_names(struct str *s, struct dsse_material *m)
{
    for (;;) {
        const char *end;

        if (m->nnames == DSSE_NAMES_MAX || !dsse_take(s, "\""))
            return false;
        end = s->len ? memchr(s->p, '"', s->len) : NULL;
        if (!end)
            return false;
        m->names[m->nnames++] = (struct str){s->p, (size_t)(end - s->p)};
        *s = (struct str){end + 1, s->len - (size_t)(end + 1 - s->p)};
        if (dsse_take(s, "]"))
            return true;
        if (!dsse_take(s, ","))
            return false;
    }
}

int dsse_material_parse(struct str s, struct dsse_material *ret)
{
    struct dsse_material m = {.nnames = 0};

    if (s.len > DSSE_MATERIAL_MAX || !dsse_take(&s, "{\"core\":\"") || !dsse_take_digest(&s, m.core))
        return -EBADMSG;
    if (dsse_take(&s, "\",\"ext\":\"")) {
        if (!dsse_take_digest(&s, m.ext) || !dsse_take(&s, "\",\"signedextattrs\":[") ||
            !dsse_take_names(&s, &m) || dsse_names_check(m.names, m.nnames) < 0)
            return -EBADMSG;
    } else if (!dsse_take(&s, "\"")) {
        return -EBADMSG;
    }
    if (!str_is(s, "}"))
        return -EBADMSG;
    *ret = m;
    return 0;
}

void dsse_pae(struct str body, struct buf *b)
{
    char digits[20];
    size_t at = sizeof(digits), n = body.len;

    _Static_assert(sizeof(DSSE_PAYLOAD_TYPE) - 1 == DSSE_PAYLOAD_TYPE_LEN, "its length is part of the text");
    do
        digits[--at] = (char)('0' + n % 10);
    while ((n /= 10) > 0);
    buf_put(b, DSSE_PAE_HEAD, sizeof(DSSE_PAE_HEAD) - 1);
    buf_put(b, digits + at, sizeof(digits) - at);
    buf_putc(b, ' ');
    buf_put_str(b, body);
}

void dsse_envelope_render(struct str body, struct str keyid, const uint8_t *sig, size_t sig_len,
                          struct buf *b)
{
    buf_puts(b, "{\"payload\":\"");
    encoding_base64_put(b, body.p, body.len);
    buf_puts(b, "\",\"payloadType\":\"" DSSE_PAYLOAD_TYPE "\",\"signatures\":[{\"keyid\":\"");
    buf_put_str(b, keyid);
    buf_puts(b, "\",\"sig\":\"");
    encoding_base64_put(b, sig, sig_len);
    buf_puts(b, "\"}]}");
}
