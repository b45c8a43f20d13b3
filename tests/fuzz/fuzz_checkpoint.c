/* SPDX-License-Identifier: MIT */
/* Checkpoints and verifier keys of others. Input: a byte that chooses, then a note as it is, a text that is
 * signed here (so that what is behind the signature is looked at too), or a key. */
#include <stdlib.h>

#include "common/base/encoding.h"
#include "common/evidence/checkpoint.h"
#include "common/evidence/keyring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static uint8_t public[ED25519_PUBLIC_LEN], secret[ED25519_SECRET_LEN];
static struct vkey key;
static struct keyring ring;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    uint8_t seed[ED25519_SEED_LEN] = {1};

    (void)argc;
    (void)argv;
    if (ed25519_init() < 0 || digest_init() < 0)
        return 1;
    ed25519_from_seed(seed, public, secret);
    vkey_from_public(public, &key);
    keyring_one(&ring, &key);
    return 0;
}

/* What was read, written again, is what the note begins with. */
static void fuzz_same(struct str note, const struct checkpoint *c)
{
    struct buf text;

    if (!checkpoint_name_ok(str_of(c->origin)))
        abort();
    buf_init(&text, CHECKPOINT_NOTE_MAX);
    checkpoint_text(c, &text);
    if (text.err || text.len > note.len || memcmp(text.data, note.p, text.len) != 0)
        abort();
    buf_done(&text);
}

static int fuzz_note(struct str note)
{
    const struct keyring_key *by = NULL;
    struct checkpoint one, of_ring;
    int r = checkpoint_open(note, &key, &one);

    if (checkpoint_open_ring(note, &ring, &of_ring, &by) != r)
        abort();
    if (r != CHECKPOINT_OK)
        return r;
    if (by != &ring.key[0] || one.size != of_ring.size || strcmp(one.origin, of_ring.origin) != 0)
        abort();
    fuzz_same(note, &one);
    return r;
}

/* The text with an empty line and a good signature behind it. */
static void fuzz_signed(struct str text)
{
    uint8_t sig[4 + ED25519_SIG_LEN];
    struct buf note;

    buf_init(&note, CHECKPOINT_NOTE_MAX);
    buf_put_str(&note, text);
    for (unsigned i = 0; i < 4; i++)
        sig[i] = (uint8_t)(key.id >> (24 - 8 * i));
    ed25519_sign(secret, text.p, text.len, sig + 4);
    buf_printf(&note, "\n\xe2\x80\x94 %s ", key.name);
    encoding_base64_put(&note, sig, sizeof(sig));
    buf_putc(&note, '\n');
    if (!note.err && fuzz_note(buf_str(&note)) == CHECKPOINT_E_SIGNATURE &&
        !memmem(text.p, text.len, "\n\n", 2))
        abort();
    buf_done(&note);
}

static void fuzz_vkey(struct str s)
{
    struct buf again;
    struct vkey k;

    if (vkey_parse(s, &k) < 0)
        return;
    buf_init(&again, CHECKPOINT_VKEY_MAX);
    vkey_render(&k, &again);
    if (!str_eq(buf_str(&again), s))
        abort();
    buf_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s;

    if (size < 1)
        return 0;
    s = (struct str){(const char *)data + 1, size - 1};
    if (data[0] % 3 == 0)
        (void)fuzz_note(s);
    else if (data[0] % 3 == 1)
        fuzz_signed(s);
    else
        fuzz_vkey(s);
    return 0;
}
