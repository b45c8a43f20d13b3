/* SPDX-License-Identifier: MIT */
#include "common/evidence/checkpoint.h"

#include <inttypes.h>

#include "common/base/encoding.h"
#include "common/base/num.h"
#include "common/evidence/keyring.h"

#define NOTE_ALG_ED25519 0x01
#define NOTE_DASH        "\xe2\x80\x94 " /* em dash, space */

static const char *const checkpoint_errors[_CHECKPOINT_E_MAX] = {
    [CHECKPOINT_OK] = "ok",
    [CHECKPOINT_E_FORM] = "not a checkpoint",
    [CHECKPOINT_E_UNSIGNED] = "not signed by this key",
    [CHECKPOINT_E_SIGNATURE] = "its signature does not verify",
};

const char *checkpoint_error_text(int error)
{
    return error >= 0 && error < _CHECKPOINT_E_MAX ? checkpoint_errors[error] : "internal error";
}

bool checkpoint_name_ok(struct str s)
{
    if (s.len == 0 || s.len > CHECKPOINT_NAME_MAX)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~' || s.p[i] == '+')
            return false;
    return true;
}

static uint32_t vkey_id(const struct vkey *k)
{
    static const char separator[2] = {'\n', NOTE_ALG_ED25519};
    uint8_t d[DIGEST_LEN];

    digest_sha256_parts(str_of(k->name), (struct str){separator, sizeof(separator)},
                        (struct str){(const char *)k->public, ED25519_PUBLIC_LEN}, d);
    return (uint32_t)d[0] << 24 | (uint32_t)d[1] << 16 | (uint32_t)d[2] << 8 | d[3];
}

void vkey_from_public(const uint8_t public[static ED25519_PUBLIC_LEN], struct vkey *ret)
{
    static const char hex[] = "0123456789abcdef";
    const size_t prefix = sizeof(CHECKPOINT_KEY_PREFIX) - 1;
    uint8_t d[DIGEST_LEN];

    digest_sha256(public, ED25519_PUBLIC_LEN, d);
    memcpy(ret->name, CHECKPOINT_KEY_PREFIX, prefix);
    for (size_t i = 0; i < 8; i++) {
        ret->name[prefix + 2 * i] = hex[d[i] >> 4];
        ret->name[prefix + 2 * i + 1] = hex[d[i] & 15];
    }
    ret->name[prefix + 16] = '\0';
    memcpy(ret->public, public, ED25519_PUBLIC_LEN);
    ret->id = vkey_id(ret);
}

int vkey_parse(struct str s, struct vkey *ret)
{
    _cleanup_(buf_done) struct buf key = {.data = NULL};
    const char *plus = s.len ? memchr(s.p, '+', s.len) : NULL;
    struct vkey k = {.id = 0};
    uint8_t id[4];

    buf_init(&key, 1 + ED25519_PUBLIC_LEN);
    if (!plus || !checkpoint_name_ok((struct str){s.p, (size_t)(plus - s.p)}))
        return -EBADMSG;
    memcpy(k.name, s.p, (size_t)(plus - s.p));
    s = (struct str){plus + 1, s.len - (size_t)(plus + 1 - s.p)};
    if (s.len < 10 || s.p[8] != '+' || encoding_hex_get((struct str){s.p, 8}, id, sizeof(id)) < 0)
        return -EBADMSG;
    if (encoding_base64_get((struct str){s.p + 9, s.len - 9}, &key) < 0 ||
        key.len != 1 + ED25519_PUBLIC_LEN || key.data[0] != NOTE_ALG_ED25519)
        return -EBADMSG;
    memcpy(k.public, key.data + 1, ED25519_PUBLIC_LEN);
    k.id = (uint32_t)id[0] << 24 | (uint32_t)id[1] << 16 | (uint32_t)id[2] << 8 | id[3];
    if (k.id != vkey_id(&k))
        return -EBADMSG;
    *ret = k;
    return 0;
}

void vkey_render(const struct vkey *k, struct buf *b)
{
    uint8_t key[1 + ED25519_PUBLIC_LEN] = {NOTE_ALG_ED25519};

    memcpy(key + 1, k->public, ED25519_PUBLIC_LEN);
    buf_printf(b, "%s+%08" PRIx32 "+", k->name, k->id);
    encoding_base64_put(b, key, sizeof(key));
}

void checkpoint_text(const struct checkpoint *c, struct buf *b)
{
    buf_printf(b, "%s\n%" PRIu64 "\n", c->origin, c->size);
    encoding_base64_put(b, c->root, DIGEST_LEN);
    buf_putc(b, '\n');
}

void checkpoint_render(const struct checkpoint *c, const struct vkey *k,
                       const uint8_t sig[static ED25519_SIG_LEN], struct buf *b)
{
    uint8_t bytes[4 + ED25519_SIG_LEN] = {(uint8_t)(k->id >> 24), (uint8_t)(k->id >> 16),
                                          (uint8_t)(k->id >> 8), (uint8_t)k->id};

    memcpy(bytes + 4, sig, ED25519_SIG_LEN);
    checkpoint_text(c, b);
    buf_printf(b, "\n" NOTE_DASH "%s ", k->name);
    encoding_base64_put(b, bytes, sizeof(bytes));
    buf_putc(b, '\n');
}

/* The next line without its LF; false when there is none that ends in LF. */
static bool note_line(struct str *s, struct str *ret)
{
    const char *lf = s->len ? memchr(s->p, '\n', s->len) : NULL;

    if (!lf)
        return false;
    *ret = (struct str){s->p, (size_t)(lf - s->p)};
    *s = (struct str){lf + 1, s->len - (size_t)(lf + 1 - s->p)};
    return true;
}

/* Splits at the last empty line. text keeps its final LF, sigs are whole lines. */
static bool note_split(struct str note, struct str *ret_text, struct str *ret_sigs)
{
    if (note.len < 3 || note.len > CHECKPOINT_NOTE_MAX || note.p[note.len - 1] != '\n' ||
        !str_utf8_valid(note.p, note.len))
        return false;
    for (size_t i = 0; i < note.len; i++)
        if ((unsigned char)note.p[i] < ' ' && note.p[i] != '\n')
            return false;
    for (size_t i = note.len - 1; i > 1; i--)
        if (note.p[i - 1] == '\n' && note.p[i - 2] == '\n') {
            *ret_text = (struct str){note.p, i - 1};
            *ret_sigs = (struct str){note.p + i, note.len - i};
            return true;
        }
    return false;
}

/* One signature line under k: CHECKPOINT_OK; CHECKPOINT_E_UNSIGNED for another's; CHECKPOINT_E_SIGNATURE;
 * _E_FORM. */
static int note_signature(struct str line, struct str text, const struct vkey *k)
{
    const size_t dash = sizeof(NOTE_DASH) - 1, n = strlen(k->name);
    _cleanup_(buf_done) struct buf sig = {.data = NULL};
    const char *space;
    uint32_t id;

    buf_init(&sig, CHECKPOINT_NOTE_MAX);
    if (line.len < dash || memcmp(line.p, NOTE_DASH, dash) != 0)
        return CHECKPOINT_E_FORM;
    line = (struct str){line.p + dash, line.len - dash};
    space = line.len ? memchr(line.p, ' ', line.len) : NULL;
    if (!space || space == line.p)
        return CHECKPOINT_E_FORM;
    if ((size_t)(space - line.p) != n || memcmp(line.p, k->name, n) != 0)
        return CHECKPOINT_E_UNSIGNED;
    if (encoding_base64_get((struct str){space + 1, line.len - n - 1}, &sig) < 0 || sig.len < 5)
        return CHECKPOINT_E_FORM;
    id = (uint32_t)sig.data[0] << 24 | (uint32_t)sig.data[1] << 16 | (uint32_t)sig.data[2] << 8 | sig.data[3];
    if (id != k->id)
        return CHECKPOINT_E_UNSIGNED;
    return ed25519_verify(k->public, text.p, text.len, sig.data + 4, sig.len - 4) ? CHECKPOINT_OK
                                                                                  : CHECKPOINT_E_SIGNATURE;
}

/* All signature lines: one good one of k is wanted, a bad one of k spoils the note (signed-note,
 * "Signatures"). */
static int note_verify(struct str sigs, struct str text, const struct vkey *k)
{
    int verdict = CHECKPOINT_E_UNSIGNED;
    struct str line;

    for (unsigned i = 0; sigs.len > 0; i++) {
        int r;

        if (i == CHECKPOINT_SIGS_MAX || !note_line(&sigs, &line))
            return CHECKPOINT_E_FORM;
        r = note_signature(line, text, k);
        if (r == CHECKPOINT_E_FORM || r == CHECKPOINT_E_SIGNATURE)
            return r;
        if (r == CHECKPOINT_OK)
            verdict = CHECKPOINT_OK;
    }
    return verdict;
}

static bool checkpoint_parse_text(struct str text, struct checkpoint *ret)
{
    _cleanup_(buf_done) struct buf root = {.data = NULL};
    struct checkpoint c = {.size = 0};
    struct str line;

    buf_init(&root, DIGEST_LEN);
    if (!note_line(&text, &line) || !checkpoint_name_ok(line))
        return false;
    memcpy(c.origin, line.p, line.len);
    if (!note_line(&text, &line) || num_parse_u64(line, 0, UINT64_MAX, &c.size) < 0)
        return false;
    if (!note_line(&text, &line) || encoding_base64_get(line, &root) < 0 || root.len != DIGEST_LEN)
        return false;
    memcpy(c.root, root.data, DIGEST_LEN);
    while (note_line(&text, &line))
        if (line.len == 0)
            return false;
    *ret = c;
    return true;
}

int checkpoint_open_ring(struct str note, const struct keyring *ring, struct checkpoint *ret,
                         const struct keyring_key **ret_key)
{
    const struct keyring_key *key = NULL;
    struct checkpoint c;
    struct str text, sigs;

    if (!note_split(note, &text, &sigs))
        return CHECKPOINT_E_FORM;
    for (size_t i = 0; i < ring->n; i++) {
        int r = note_verify(sigs, text, &ring->key[i].vkey);

        if (r == CHECKPOINT_E_FORM || r == CHECKPOINT_E_SIGNATURE)
            return r;
        if (r == CHECKPOINT_OK && !key)
            key = &ring->key[i];
    }
    if (!key)
        return CHECKPOINT_E_UNSIGNED;
    if (!checkpoint_parse_text(text, &c))
        return CHECKPOINT_E_FORM;
    *ret = c;
    *ret_key = key;
    return CHECKPOINT_OK;
}

int checkpoint_open(struct str note, const struct vkey *k, struct checkpoint *ret)
{
    struct checkpoint c;
    struct str text, sigs;
    int r;

    if (!note_split(note, &text, &sigs))
        return CHECKPOINT_E_FORM;
    r = note_verify(sigs, text, k);
    if (r != CHECKPOINT_OK)
        return r;
    if (!checkpoint_parse_text(text, &c))
        return CHECKPOINT_E_FORM;
    *ret = c;
    return CHECKPOINT_OK;
}
