/* SPDX-License-Identifier: MIT */
#include "common/evidence/proof_text.h"

#include <inttypes.h>

#include "common/base/encoding.h"
#include "common/base/num.h"
#include "common/evidence/note.h"

#define PROOF_INDEX "index "
#define PROOF_EXTRA "extra "
#define PROOF_OLD   "old "

static void proof_text_tail(const struct proof_text *p, struct buf *b)
{
    for (size_t i = 0; i < p->proof.n; i++) {
        encoding_base64_put(b, p->proof.hash[i], DIGEST_LEN);
        buf_putc(b, '\n');
    }
    buf_putc(b, '\n');
    buf_put_str(b, p->note);
}

void proof_text_put(const struct proof_text *p, struct buf *b)
{
    buf_printf(b, PROOF_TEXT_HEAD "\n" PROOF_INDEX "%" PRIu64 "\n", p->at);
    proof_text_tail(p, b);
}

void proof_text_put_old(const struct proof_text *p, struct buf *b)
{
    buf_printf(b, PROOF_OLD "%" PRIu64 "\n", p->at);
    proof_text_tail(p, b);
}

static bool proof_text_is(struct str line, const char *key)
{
    return line.len >= strlen(key) && memcmp(line.p, key, strlen(key)) == 0;
}

/* "key N" */
static bool proof_text_number(struct str line, const char *key, uint64_t *ret)
{
    size_t n = strlen(key);

    return proof_text_is(line, key) &&
           num_parse_u64((struct str){line.p + n, line.len - n}, 0, UINT64_MAX, ret) == 0;
}

/* Hashes, an empty line, the note. */
static int proof_text_rest(struct str s, size_t max, struct proof_text *p)
{
    _cleanup_(buf_done) struct buf hash = {.data = NULL};
    struct str line;

    buf_init(&hash, DIGEST_LEN);
    for (;;) {
        if (!note_next_line(&s, &line))
            return -EBADMSG;
        if (line.len == 0)
            break;
        buf_clear(&hash);
        if (p->proof.n == max || encoding_base64_get(line, &hash) < 0 || hash.len != DIGEST_LEN)
            return -EBADMSG;
        memcpy(p->proof.hash[p->proof.n++], hash.data, DIGEST_LEN);
    }
    p->note = s;
    return s.len > 0 && s.len <= CHECKPOINT_NOTE_MAX ? 0 : -EBADMSG;
}

static bool proof_text_extra_ok(struct str line)
{
    _cleanup_(buf_done) struct buf any = {.data = NULL};
    const size_t n = sizeof(PROOF_EXTRA) - 1;

    buf_init(&any, PROOF_TEXT_MAX);
    return encoding_base64_get((struct str){line.p + n, line.len - n}, &any) == 0;
}

int proof_text_get(struct str s, struct proof_text *ret)
{
    struct proof_text p = {.at = 0};
    struct str line;
    int r;

    if (s.len > PROOF_TEXT_MAX || !note_next_line(&s, &line) || !str_is(line, PROOF_TEXT_HEAD) ||
        !note_next_line(&s, &line))
        return -EBADMSG;
    if (proof_text_is(line, PROOF_EXTRA) && (!proof_text_extra_ok(line) || !note_next_line(&s, &line)))
        return -EBADMSG;
    if (!proof_text_number(line, PROOF_INDEX, &p.at))
        return -EBADMSG;
    r = proof_text_rest(s, PROOF_HASHES_MAX, &p);
    if (r == 0)
        *ret = p;
    return r;
}

int proof_text_get_old(struct str s, struct proof_text *ret)
{
    struct proof_text p = {.at = 0};
    struct str line;
    int r;

    if (s.len > PROOF_TEXT_MAX || !note_next_line(&s, &line) || !proof_text_number(line, PROOF_OLD, &p.at))
        return -EBADMSG;
    r = proof_text_rest(s, PROOF_OLD_MAX, &p);
    if (r == 0)
        *ret = p;
    return r;
}
