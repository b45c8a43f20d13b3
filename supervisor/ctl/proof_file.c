/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/proof_file.h"

#include <jansson.h>

#include "common/evidence/keyset.h"
#include "common/evidence/proof_text.h"

#define EVENT_HEAD       "{\"cellosProof\":"
#define CONSISTENCY_HEAD "{\"cellosConsistency\":"

static void proof_json_free(json_t **j)
{
    json_decref(*j);
}

void proof_file_init(struct proof_file *f, enum proof_file_kind kind)
{
    *f = (struct proof_file){.kind = kind};
    buf_init(&f->line, kind == PROOF_FILE_EVENT ? ENVELOPE_LINE_MAX : CHECKPOINT_NOTE_MAX);
    buf_init(&f->proof, PROOF_TEXT_MAX);
    buf_init(&f->vkey, CHECKPOINT_VKEY_MAX);
    buf_init(&f->keyset, KEYSET_FILE_MAX);
}

void proof_file_done(struct proof_file *f)
{
    buf_done(&f->line);
    buf_done(&f->proof);
    buf_done(&f->vkey);
    buf_done(&f->keyset);
}

bool proof_file_is(struct str s)
{
    return (s.len >= sizeof(EVENT_HEAD) - 1 && memcmp(s.p, EVENT_HEAD, sizeof(EVENT_HEAD) - 1) == 0) ||
           (s.len >= sizeof(CONSISTENCY_HEAD) - 1 &&
            memcmp(s.p, CONSISTENCY_HEAD, sizeof(CONSISTENCY_HEAD) - 1) == 0);
}

/* ---- writing ---- */

static int proof_set(json_t *o, const char *name, const struct buf *b)
{
    return json_object_set_new(o, name, json_stringn((const char *)b->data, b->len)) < 0 ? -ENOMEM : 0;
}

static int proof_set_keyset(json_t *o, const struct buf *keyset)
{
    struct str rest = buf_str(keyset);
    json_t *list = rest.len ? json_array() : NULL;
    int r = rest.len && !list ? -ENOMEM : 0;

    while (r == 0 && rest.len > 0) {
        const char *lf = memchr(rest.p, '\n', rest.len);
        size_t n = lf ? (size_t)(lf - rest.p) : rest.len;

        r = json_array_append_new(list, json_stringn(rest.p, n)) < 0 ? -ENOMEM : 0;
        rest = (struct str){rest.p + n + (lf ? 1 : 0), rest.len - n - (lf ? 1 : 0)};
    }
    if (!list)
        return r;
    return json_object_set_new(o, "keyset", list) < 0 ? -ENOMEM : r;
}

static int proof_build(const struct proof_file *f, json_t *o)
{
    bool event = f->kind == PROOF_FILE_EVENT;
    int r = json_object_set_new(o, event ? "cellosProof" : "cellosConsistency", json_integer(1)) < 0 ? -ENOMEM
                                                                                                     : 0;

    if (r == 0 && event)
        r = json_object_set_new(o, "seal", json_string(f->batch ? "batch" : "event")) < 0 ? -ENOMEM : 0;
    if (r == 0)
        r = proof_set(o, event ? "line" : "oldCheckpoint", &f->line);
    if (r == 0)
        r = proof_set(o, event ? "tlogProof" : "addCheckpoint", &f->proof);
    if (r == 0 && f->vkey.len > 0)
        r = proof_set(o, "vkey", &f->vkey);
    return r == 0 ? proof_set_keyset(o, &f->keyset) : r;
}

int proof_file_put(const struct proof_file *f, struct buf *b)
{
    _cleanup_(proof_json_free) json_t *o = json_object();
    _cleanup_free_ char *text = NULL;
    int r = o ? proof_build(f, o) : -ENOMEM;

    if (r < 0)
        return r;
    text = json_dumps(o, JSON_COMPACT | JSON_PRESERVE_ORDER);
    if (!text)
        return -ENOMEM;
    buf_puts(b, text);
    buf_putc(b, '\n');
    return b->err;
}

/* ---- reading ---- */

static int proof_read(const json_t *o, const char *name, struct buf *b)
{
    const json_t *v = json_object_get(o, name);

    if (!json_is_string(v))
        return -EBADMSG;
    buf_put(b, json_string_value(v), json_string_length(v));
    return b->err == -ENOBUFS ? -EBADMSG : b->err;
}

static int proof_read_keyset(const json_t *o, struct buf *b)
{
    const json_t *list = json_object_get(o, "keyset"), *v;
    size_t i;

    if (!list)
        return 0;
    if (!json_is_array(list))
        return -EBADMSG;
    json_array_foreach(list, i, v)
    {
        if (!json_is_string(v) || memchr(json_string_value(v), '\n', json_string_length(v)))
            return -EBADMSG;
        buf_put(b, json_string_value(v), json_string_length(v));
        buf_putc(b, '\n');
    }
    return b->err == -ENOBUFS ? -EBADMSG : b->err;
}

static int proof_read_seal(const json_t *o, bool *ret)
{
    const char *seal = json_string_value(json_object_get(o, "seal"));

    if (!seal || (strcmp(seal, "event") != 0 && strcmp(seal, "batch") != 0))
        return -EBADMSG;
    *ret = strcmp(seal, "batch") == 0;
    return 0;
}

static int proof_read_all(const json_t *o, struct proof_file *f)
{
    bool event = f->kind == PROOF_FILE_EVENT;
    int r = json_integer_value(json_object_get(o, event ? "cellosProof" : "cellosConsistency")) == 1
                ? 0
                : -EBADMSG;

    if (r == 0 && event)
        r = proof_read_seal(o, &f->batch);
    if (r == 0)
        r = proof_read(o, event ? "line" : "oldCheckpoint", &f->line);
    if (r == 0)
        r = proof_read(o, event ? "tlogProof" : "addCheckpoint", &f->proof);
    if (r == 0 && json_object_get(o, "vkey"))
        r = proof_read(o, "vkey", &f->vkey);
    return r == 0 ? proof_read_keyset(o, &f->keyset) : r;
}

int proof_file_get(struct str s, struct proof_file *ret)
{
    _cleanup_(proof_json_free) json_t *o = NULL;
    struct proof_file f;
    int r;

    if (s.len == 0 || s.len > PROOF_FILE_MAX)
        return -EBADMSG;
    o = json_loadb(s.p, s.len, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(o))
        return -EBADMSG;
    proof_file_init(&f, json_object_get(o, "cellosProof") ? PROOF_FILE_EVENT : PROOF_FILE_CONSISTENCY);
    r = proof_read_all(o, &f);
    if (r == 0)
        *ret = f;
    else
        proof_file_done(&f);
    return r;
}
