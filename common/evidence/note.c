/* SPDX-License-Identifier: MIT */
#include "common/evidence/note.h"

#include "common/base/encoding.h"
#include "common/evidence/checkpoint.h"

#define NOTE_ID_LEN    4
#define NOTE_ID_BASE64 8 /* characters that hold the id and two bytes more */

bool note_next_line(struct str *s, struct str *ret)
{
    const char *lf = s->len ? memchr(s->p, '\n', s->len) : NULL;

    if (!lf)
        return false;
    *ret = (struct str){s->p, (size_t)(lf - s->p)};
    *s = (struct str){lf + 1, s->len - (size_t)(lf + 1 - s->p)};
    return true;
}

int note_parse(struct str s, struct note *ret)
{
    if (s.len < 3 || s.len > CHECKPOINT_NOTE_MAX || s.p[s.len - 1] != '\n' || !str_utf8_valid(s.p, s.len))
        return -EBADMSG;
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.p[i] < ' ' && s.p[i] != '\n')
            return -EBADMSG;
    for (size_t i = s.len - 1; i > 1; i--)
        if (s.p[i - 1] == '\n' && s.p[i - 2] == '\n') {
            *ret = (struct note){{s.p, i - 1}, {s.p + i, s.len - i}};
            return 0;
        }
    return -EBADMSG;
}

static int note_sig_id(struct str base64, uint32_t *ret)
{
    _cleanup_(buf_done) struct buf b = {.data = NULL};

    /* Four bytes end within a character group: the first two groups are decoded, which are whole ones. */
    buf_init(&b, NOTE_ID_BASE64 / 4 * 3);
    if (base64.len < NOTE_ID_BASE64 || encoding_base64_get((struct str){base64.p, NOTE_ID_BASE64}, &b) < 0 ||
        b.len <= NOTE_ID_LEN)
        return -EBADMSG;
    *ret = (uint32_t)b.data[0] << 24 | (uint32_t)b.data[1] << 16 | (uint32_t)b.data[2] << 8 | b.data[3];
    return 0;
}

int note_next_sig(struct str *sigs, struct note_sig *ret)
{
    const size_t dash = sizeof(NOTE_DASH) - 1;
    struct note_sig s = {.id = 0};
    struct str rest;
    const char *space;

    if (sigs->len == 0)
        return 0;
    if (!note_next_line(sigs, &s.line) || s.line.len > NOTE_SIG_MAX || s.line.len <= dash ||
        memcmp(s.line.p, NOTE_DASH, dash) != 0)
        return -EBADMSG;
    rest = (struct str){s.line.p + dash, s.line.len - dash};
    space = memchr(rest.p, ' ', rest.len);
    if (!space || space == rest.p)
        return -EBADMSG;
    s.name = (struct str){rest.p, (size_t)(space - rest.p)};
    s.base64 = (struct str){space + 1, rest.len - s.name.len - 1};
    if (note_sig_id(s.base64, &s.id) < 0)
        return -EBADMSG;
    *ret = s;
    return 1;
}

int note_sig_bytes(const struct note_sig *s, struct buf *b)
{
    _cleanup_(buf_done) struct buf all = {.data = NULL};
    int r;

    buf_init(&all, NOTE_SIG_MAX);
    r = encoding_base64_get(s->base64, &all);
    if (r < 0)
        return r;
    if (all.len <= NOTE_ID_LEN)
        return -EBADMSG;
    buf_put(b, all.data + NOTE_ID_LEN, all.len - NOTE_ID_LEN);
    return b->err;
}
