/* SPDX-License-Identifier: MIT */
#include "signerd/event.h"

#include <inttypes.h>

#include "common/base/encoding.h"

static void event_put_object(struct buf *b, const struct schema *s, const void *rec,
                             const struct redact *redact, bool first);

/* Length of the character at p that must be escaped though JSON would allow it raw, 0 for none. */
static size_t event_hidden(const unsigned char *p, size_t left, unsigned *ret_code)
{
    if (p[0] < 0x20 || p[0] == 0x7f) {
        *ret_code = p[0];
        return 1;
    }
    if (p[0] == 0xc2 && left >= 2 && p[1] >= 0x80 && p[1] <= 0x9f) {
        *ret_code = p[1];
        return 2;
    }
    /* Ends of lines (U+2028, U+2029) and what turns the direction of writing around (U+061C, U+200E, U+200F,
     * U+202A to U+202E, U+2066 to U+2069, Unicode standard annex 9): a reader of the log would see another
     * text. */
    if (p[0] == 0xd8 && left >= 2 && p[1] == 0x9c) {
        *ret_code = 0x61c;
        return 2;
    }
    if (p[0] == 0xe2 && left >= 3 &&
        ((p[1] == 0x80 && (p[2] == 0x8e || p[2] == 0x8f || (p[2] >= 0xa8 && p[2] <= 0xae))) ||
         (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9))) {
        *ret_code = 0x2000u | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
        return 3;
    }
    return 0;
}

/* Nearly every byte: neither escaped by JSON nor the first of what event_hidden() looks for. */
static bool event_is_plain(unsigned char c)
{
    return c >= 0x20 && c != '"' && c != '\\' && c != 0x7f && c != 0xc2 && c != 0xd8 && c != 0xe2;
}

void event_put_string(struct buf *b, struct str s)
{
    size_t from = 0;

    buf_putc(b, '"');
    for (size_t i = 0; i < s.len;) {
        unsigned char c = (unsigned char)s.p[i];
        unsigned code;
        size_t n;

        if (event_is_plain(c)) {
            i++;
            continue;
        }
        n = event_hidden((const unsigned char *)s.p + i, s.len - i, &code);
        if (n == 0 && c != '"' && c != '\\') {
            i++;
            continue;
        }
        buf_put(b, s.p + from, i - from);
        if (n > 0)
            buf_printf(b, "\\u%04x", code);
        else
            buf_put(b, (const char[]){'\\', (char)c}, 2);
        i += n ? n : 1;
        from = i;
    }
    buf_put(b, s.p + from, s.len - from);
    buf_putc(b, '"');
}

static bool event_absent(const struct field *f, const void *at)
{
    if (!f->optional)
        return false;
    switch (f->kind) {
    case FIELD_UINT:
        return !((const struct opt_uint *)at)->set;
    case FIELD_INT:
        return !((const struct opt_int *)at)->set;
    case FIELD_BOOL:
        return !((const struct opt_bool *)at)->set;
    case FIELD_ENUM:
        return *(const uint32_t *)at == 0;
    case FIELD_STR:
    case FIELD_BIN:
        return !((const struct str *)at)->p;
    case FIELD_STRS:
        return !((const struct strs *)at)->v;
    case FIELD_OBJ:
        return !*(const void *const *)at;
    case FIELD_LIST:
        return !((const struct schema_list *)at)->v;
    default:
        return true;
    }
}

static uint64_t event_uint(const struct field *f, const void *at)
{
    return f->optional ? ((const struct opt_uint *)at)->v : *(const uint64_t *)at;
}

static int64_t event_int(const struct field *f, const void *at)
{
    return f->optional ? ((const struct opt_int *)at)->v : *(const int64_t *)at;
}

static bool event_bool(const struct field *f, const void *at)
{
    return f->optional ? ((const struct opt_bool *)at)->v : *(const bool *)at;
}

static void event_put_strs(struct buf *b, const struct strs *s)
{
    buf_putc(b, '[');
    for (size_t i = 0; i < s->n && !b->err; i++) {
        if (i)
            buf_putc(b, ',');
        event_put_string(b, s->v[i]);
    }
    buf_putc(b, ']');
}

static void event_put_list(struct buf *b, const struct schema *s, const struct schema_list *l,
                           const struct redact *redact)
{
    buf_putc(b, '[');
    for (size_t i = 0; i < l->n && !b->err; i++) {
        buf_puts(b, i ? ",{" : "{");
        event_put_object(b, s, (const char *)l->v + i * s->size, redact, true);
        buf_putc(b, '}');
    }
    buf_putc(b, ']');
}

static void event_put_bytes(struct buf *b, const struct str *s)
{
    buf_putc(b, '"');
    encoding_base64_put(b, s->p, s->len);
    buf_putc(b, '"');
}

/* Of an empty list too: how much there was is not said either. */
static void event_put_redacted(struct buf *b, const struct field *f)
{
    if (f->kind == FIELD_OBJ)
        buf_puts(b, "{}");
    else
        buf_puts(b, f->kind == FIELD_STRS || f->kind == FIELD_LIST ? "[\"" REDACT_SHOWN "\"]"
                                                                   : "\"" REDACT_SHOWN "\"");
}

static void event_put_value(struct buf *b, const struct field *f, const void *at, const struct redact *redact)
{
    switch (f->kind) {
    case FIELD_UINT:
        buf_printf(b, "%" PRIu64, event_uint(f, at));
        break;
    case FIELD_INT:
        buf_printf(b, "%" PRId64, event_int(f, at));
        break;
    case FIELD_BOOL:
        buf_puts(b, event_bool(f, at) ? "true" : "false");
        break;
    case FIELD_ENUM:
        event_put_string(b, str_of(enum_text(f->names, *(const uint32_t *)at)));
        break;
    case FIELD_STR:
        event_put_string(b, *(const struct str *)at);
        break;
    case FIELD_BIN:
        event_put_bytes(b, at);
        break;
    case FIELD_STRS:
        event_put_strs(b, at);
        break;
    case FIELD_OBJ:
        buf_putc(b, '{');
        event_put_object(b, f->sub, *(const void *const *)at, redact, true);
        buf_putc(b, '}');
        break;
    case FIELD_LIST:
        event_put_list(b, f->sub, at, redact);
        break;
    }
}

/* The members without the braces. The schemas nest at most LIMIT_DEPTH deep, so this recursion is bounded. */
static void event_put_object(struct buf *b, const struct schema *s, const void *rec,
                             const struct redact *redact, bool first)
{
    for (size_t i = 0; i < s->n && !b->err; i++) {
        const struct field *f = &s->fields[i];
        const void *at = (const char *)rec + f->offset;

        bool absent = event_absent(f, at);

        if (absent && !f->unknown)
            continue;
        if (!first)
            buf_putc(b, ',');
        first = false;
        event_put_string(b, str_of(f->name));
        buf_putc(b, ':');
        if (absent)
            event_put_string(b, STR_LIT("unknown"));
        else if (redact_has(redact, f))
            event_put_redacted(b, f);
        else
            event_put_value(b, f, at, redact);
    }
}

static bool event_put_stamp(struct buf *b, const char *name, struct str value, bool first)
{
    if (!value.p)
        return first;
    buf_puts(b, first ? "\"" : ",\"");
    buf_puts(b, name);
    buf_puts(b, "\":");
    event_put_string(b, value);
    return false;
}

int event_render(const struct event_row *row, const void *rec, const struct event_stamps *stamps,
                 struct buf *b)
{
    size_t start = b->len;
    bool first = true;

    buf_putc(b, '{');
    first = event_put_stamp(b, "cellId", stamps->cell_id, first);
    first = event_put_stamp(b, "specId", stamps->cell_id, first);
    first = event_put_stamp(b, "runId", stamps->run_id, first);
    first = event_put_stamp(b, "policyDigest", stamps->policy_digest, first);
    first = event_put_stamp(b, "correlationId", stamps->correlation_id, first);
    event_put_object(b, row->data, rec, stamps->redact, first);
    buf_putc(b, '}');
    if (b->err == -ENOBUFS || b->len - start > LIMIT_EVENT_DATA)
        return -EMSGSIZE;
    return b->err;
}
