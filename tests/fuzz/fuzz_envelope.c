/* SPDX-License-Identifier: MIT */
/* One line of a log: its spelling, its DSSE envelope, the material that is signed. Input: a byte that
 * chooses, then a line, a data object that is put into a line and sealed here, or the material. */
#include <stdlib.h>

#include "common/evidence/envelope.h"
#include "common/evidence/keyring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static uint8_t public[ED25519_PUBLIC_LEN], secret[ED25519_SECRET_LEN];
static struct keyring ring;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    uint8_t seed[ED25519_SEED_LEN] = {1};
    struct vkey key;

    (void)argc;
    (void)argv;
    if (ed25519_init() < 0 || digest_init() < 0)
        return 1;
    ed25519_from_seed(seed, public, secret);
    vkey_from_public(public, &key);
    keyring_one(&ring, &key);
    return 0;
}

static void fuzz_sign(const struct envelope *e, struct buf *material, uint8_t sig[static ED25519_SIG_LEN])
{
    struct buf pae;

    buf_init(&pae, 2 * DSSE_MATERIAL_MAX);
    if (envelope_material(e, material) < 0)
        abort();
    dsse_pae(buf_str(material), &pae);
    if (pae.err)
        abort();
    ed25519_sign(secret, pae.data, pae.len, sig);
    buf_done(&pae);
}

/* A bare line that is well formed can be sealed, and the sealed one verifies; with one byte of data changed
 * it does not. */
static void fuzz_seal(struct str bare, const struct envelope_line *parsed)
{
    struct buf material, sealed;
    uint8_t sig[ED25519_SIG_LEN];
    struct envelope_line again;

    buf_init(&material, DSSE_MATERIAL_MAX);
    buf_init(&sealed, ENVELOPE_LINE_MAX + 1);
    fuzz_sign(&parsed->e, &material, sig);
    if (envelope_verify_signature(&parsed->e, &ring.key[0], sig) != ENVELOPE_OK)
        abort();
    if (envelope_seal(bare, buf_str(&material), str_of(ring.key[0].keyid), sig, &sealed) == 0) {
        if (envelope_parse(buf_str(&sealed), &again) != ENVELOPE_OK ||
            envelope_verify(buf_str(&sealed), &again, &ring) != ENVELOPE_OK)
            abort();
        sealed.data[again.e.data.p - (const char *)sealed.data + 1] ^= 1;
        if (envelope_parse(buf_str(&sealed), &again) == ENVELOPE_OK &&
            envelope_verify(buf_str(&sealed), &again, &ring) == ENVELOPE_OK)
            abort();
    }
    buf_done(&material);
    buf_done(&sealed);
}

static void fuzz_line(struct str line)
{
    struct envelope_line l;

    if (envelope_parse(line, &l) != ENVELOPE_OK)
        return;
    if (envelope_check(&l.e) != 0)
        abort();
    if (l.dssematerial.p)
        (void)!envelope_verify(line, &l, &ring);
    else if (envelope_verify_bare(line, &l) == ENVELOPE_OK)
        fuzz_seal(line, &l);
}

/* Whatever the writer takes as data the reader takes, and finds the same in it. */
static void fuzz_data(struct str data)
{
    struct envelope e = {.id = STR_LIT("0198c0de-0000-7000-8000-000000000001"),
                         .source = STR_LIT("/cellos/proxyd/h"),
                         .type = STR_LIT("dev.cellos.events.cell.observability.v1.gap"),
                         .subject = STR_LIT(ENVELOPE_SUBJECT "c"),
                         .time = STR_LIT("2026-11-29T00:00:00Z"),
                         .runid = STR_LIT("0198c0de-0000-7000-8000-000000000002"),
                         .data = data,
                         .sequence = 5,
                         .cellsequence = 1};
    struct envelope_line l;
    struct buf b;

    buf_init(&b, ENVELOPE_LINE_MAX + 1);
    if (envelope_render_bare(&e, &b) == 0 && envelope_parse(buf_str(&b), &l) == ENVELOPE_OK) {
        if (!str_eq(l.e.data, data))
            abort();
        fuzz_line(buf_str(&b));
    }
    buf_done(&b);
}

static void fuzz_material(struct str s)
{
    struct dsse_material m;
    struct buf again;

    if (dsse_material_parse(s, &m) < 0)
        return;
    buf_init(&again, DSSE_MATERIAL_MAX);
    if (dsse_material_render(&m, &again) < 0 || !str_eq(buf_str(&again), s))
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
        fuzz_line(s);
    else if (data[0] % 3 == 1)
        fuzz_data(s);
    else
        fuzz_material(s);
    return 0;
}
