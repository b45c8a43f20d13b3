/* SPDX-License-Identifier: MIT */
#include "signerd/seal.h"

#include <stdio.h>

#include "common/evidence/merkle.h"

void seal_init(struct seal *s, struct keys *keys, bool bare, const char *host)
{
    size_t n = 0;

    *s = (struct seal){.keys = keys, .bare = bare};
    for (; n < LIMIT_HOSTNAME && host[n]; n++) {
        char c = host[n];
        bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '.' ||
                     c == '_';

        if (!plain)
            c = '-';
        s->host[n] = c;
    }
    if (n == 0)
        s->host[n++] = '-';
    s->host[n] = '\0';
    buf_init(&s->material, DSSE_MATERIAL_MAX);
    buf_init(&s->pae, 2 * DSSE_MATERIAL_MAX);
}

void seal_done(struct seal *s)
{
    buf_done(&s->material);
    buf_done(&s->pae);
}

int seal_stamp_now(struct seal_stamp *ret)
{
    uuid_v7(ret->id);
    return clock_format_rfc3339(clock_realtime_ms() / 1000, ret->time);
}

static int seal_render(struct seal *s, const struct envelope *e, struct buf *b)
{
    uint8_t sig[ED25519_SIG_LEN];
    int r;

    if (s->bare)
        return envelope_render_bare(e, b);
    buf_clear(&s->material);
    buf_clear(&s->pae);
    r = envelope_material(e, &s->material);
    if (r < 0)
        return r;
    dsse_pae(buf_str(&s->material), &s->pae);
    if (s->pae.err)
        return s->pae.err;
    keys_sign(s->keys, s->pae.data, s->pae.len, sig);
    return envelope_render(e, buf_str(&s->material), str_of(keys_keyid(s->keys)), sig, b);
}

int seal_line(struct seal *s, uint32_t role, const struct event_row *row, const struct seal_stamp *stamp,
              const struct cell *cell, uint64_t cellsequence, struct str data, uint64_t sequence,
              struct buf *b, uint8_t ret_leaf[static DIGEST_LEN])
{
    char source[LIMIT_HOSTNAME + 32], type[128], subject[LIMIT_CELL_ID + sizeof(ENVELOPE_SUBJECT)];
    struct envelope e = {
        .id = str_of(stamp->id),
        .source = {source, (size_t)snprintf(source, sizeof(source), "/cellos/%s/%s",
                                            enum_text(&enum_role_name, role), s->host)},
        .type = {type, (size_t)snprintf(type, sizeof(type), EVENT_TYPE_PREFIX "%s", row->suffix)},
        .time = str_of(stamp->time),
        .data = data,
        .sequence = sequence,
    };
    size_t start = b->len;
    int r;

    if (cell) {
        e.subject = (struct str){
            subject, (size_t)snprintf(subject, sizeof(subject), ENVELOPE_SUBJECT "%s", cell->cell_id)};
        e.runid = str_of(cell->run_id);
        e.cellsequence = cellsequence;
    }
    r = seal_render(s, &e, b);
    if (r == 0) {
        merkle_leaf(b->data + start, b->len - start, ret_leaf);
        buf_putc(b, '\n');
        r = b->err;
    }
    if (r < 0)
        b->len = start;
    return r;
}
