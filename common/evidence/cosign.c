/* SPDX-License-Identifier: MIT */
#include "common/evidence/cosign.h"

#include <inttypes.h>

#include "common/base/encoding.h"
#include "common/evidence/note.h"

#define COSIGN_ALG      0x04
#define COSIGN_TIME_LEN 8
#define COSIGN_LEN      (COSIGN_TIME_LEN + ED25519_SIG_LEN)

static const char *const cosign_errors[_COSIGN_E_MAX] = {
    [COSIGN_OK] = "ok",
    [COSIGN_E_NONE] = "not cosigned by this witness",
    [COSIGN_E_SIGNATURE] = "the witness's cosignature does not verify",
    [COSIGN_E_FORM] = "not a signed note",
};

const char *cosign_error_text(int error)
{
    return error >= 0 && error < _COSIGN_E_MAX ? cosign_errors[error] : "internal error";
}

static uint32_t cosign_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t cosigner_id(const struct cosigner *k)
{
    static const char separator[2] = {'\n', COSIGN_ALG};
    uint8_t d[DIGEST_LEN];

    digest_sha256_parts(str_of(k->name), (struct str){separator, sizeof(separator)},
                        (struct str){(const char *)k->public, ED25519_PUBLIC_LEN}, d);
    return cosign_be32(d);
}

int cosigner_parse(struct str vkey, struct cosigner *ret)
{
    _cleanup_(buf_done) struct buf key = {.data = NULL};
    const char *plus = vkey.len ? memchr(vkey.p, '+', vkey.len) : NULL;
    struct cosigner k = {.id = 0};
    struct str rest;
    uint8_t id[4];

    buf_init(&key, 1 + ED25519_PUBLIC_LEN);
    if (!plus || !checkpoint_name_ok((struct str){vkey.p, (size_t)(plus - vkey.p)}))
        return -EBADMSG;
    memcpy(k.name, vkey.p, (size_t)(plus - vkey.p));
    rest = (struct str){plus + 1, vkey.len - (size_t)(plus + 1 - vkey.p)};
    if (rest.len < 10 || rest.p[8] != '+' || encoding_hex_get((struct str){rest.p, 8}, id, sizeof(id)) < 0 ||
        encoding_base64_get((struct str){rest.p + 9, rest.len - 9}, &key) < 0 ||
        key.len != 1 + ED25519_PUBLIC_LEN || key.data[0] != COSIGN_ALG)
        return -EBADMSG;
    memcpy(k.public, key.data + 1, ED25519_PUBLIC_LEN);
    k.id = cosign_be32(id);
    if (k.id != cosigner_id(&k))
        return -EBADMSG;
    *ret = k;
    return 0;
}

/* One line of the witness over the text: COSIGN_OK with the time it says, or _E_SIGNATURE. */
static int cosign_line(const struct note_sig *s, struct str text, const struct cosigner *k,
                       uint64_t *ret_time)
{
    _cleanup_(buf_done) struct buf sig = {.data = NULL}, message = {.data = NULL};
    uint64_t when;

    buf_init(&sig, NOTE_SIG_MAX);
    buf_init(&message, CHECKPOINT_NOTE_MAX + 128);
    if (note_sig_bytes(s, &sig) < 0 || sig.len != COSIGN_LEN)
        return COSIGN_E_SIGNATURE;
    when = (uint64_t)cosign_be32(sig.data) << 32 | cosign_be32(sig.data + 4);
    /* The format's own bound; a witness's answer never leaves the time out. */
    if (when == 0 || when > INT64_MAX)
        return COSIGN_E_SIGNATURE;
    buf_printf(&message, "cosignature/v1\ntime %" PRIu64 "\n", when);
    buf_put_str(&message, text);
    if (message.err)
        return message.err;
    if (!ed25519_verify(k->public, message.data, message.len, sig.data + COSIGN_TIME_LEN, ED25519_SIG_LEN))
        return COSIGN_E_SIGNATURE;
    *ret_time = when;
    return COSIGN_OK;
}

static bool cosign_is_of(const struct note_sig *s, const struct cosigner *k)
{
    return s->id == k->id && str_is(s->name, k->name);
}

int cosign_check(struct str note, const struct cosigner *k, uint64_t *ret_time)
{
    int verdict = COSIGN_E_NONE, more;
    uint64_t newest = 0, when;
    struct note_sig s;
    struct note n;

    if (note_parse(note, &n) < 0)
        return COSIGN_E_FORM;
    for (unsigned i = 0; (more = note_next_sig(&n.sigs, &s)) > 0; i++) {
        if (i == CHECKPOINT_SIGS_MAX)
            return COSIGN_E_FORM;
        if (!cosign_is_of(&s, k))
            continue;
        verdict = cosign_line(&s, n.text, k, &when);
        if (verdict != COSIGN_OK)
            return verdict;
        newest = when > newest ? when : newest;
    }
    if (more < 0)
        return COSIGN_E_FORM;
    if (verdict == COSIGN_OK)
        *ret_time = newest;
    return verdict;
}

static bool cosign_has_line(struct str sigs, struct str line)
{
    struct note_sig s;

    while (note_next_sig(&sigs, &s) > 0)
        if (str_eq(s.line, line))
            return true;
    return false;
}

static void cosign_put(struct buf *b, struct str line)
{
    buf_put_str(b, line);
    buf_putc(b, '\n');
}

int cosign_add(struct str note, struct str answer, const struct cosigner *k, struct buf *b)
{
    int verdict = COSIGN_E_NONE, more;
    struct note_sig s;
    struct note n;
    uint64_t when;

    if (note_parse(note, &n) < 0 || answer.len > CHECKPOINT_NOTE_MAX)
        return COSIGN_E_FORM;
    buf_put_str(b, note);
    while ((more = note_next_sig(&answer, &s)) > 0) {
        if (!cosign_is_of(&s, k))
            continue;
        verdict = cosign_line(&s, n.text, k, &when);
        if (verdict != COSIGN_OK)
            return verdict;
        if (!cosign_has_line(n.sigs, s.line))
            cosign_put(b, s.line);
    }
    if (more < 0)
        return COSIGN_E_FORM;
    return b->err ? b->err : verdict;
}

int cosign_merge(struct str note, struct str other, struct buf *b)
{
    struct note_sig s;
    struct note n, o;
    int more;

    if (note_parse(note, &n) < 0 || note_parse(other, &o) < 0 || !str_eq(n.text, o.text))
        return -EBADMSG;
    buf_put_str(b, note);
    while ((more = note_next_sig(&o.sigs, &s)) > 0)
        if (!cosign_has_line(n.sigs, s.line))
            cosign_put(b, s.line);
    return more < 0 ? -EBADMSG : b->err;
}
