/* SPDX-License-Identifier: MIT */
/* What cellctl reads of proofs and witnesses: proof files, tlog-proofs, add-checkpoint requests, signed
 * notes, a witness's answer, its key. Input: a byte that chooses, then the text. What a parser takes, the
 * writer gives back. */
#include <stdlib.h>

#include "common/evidence/cosign.h"
#include "common/evidence/note.h"
#include "common/evidence/proof_text.h"
#include "supervisor/ctl/proof_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define NOTE                                                                                                 \
    "example.com/log\n5\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n" NOTE_DASH "example.com/log "      \
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"

static struct cosigner witness;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    uint8_t seed[ED25519_SEED_LEN] = {1}, secret[ED25519_SECRET_LEN];

    (void)argc;
    (void)argv;
    if (ed25519_init() < 0 || digest_init() < 0)
        return 1;
    ed25519_from_seed(seed, witness.public, secret);
    (void)memcpy(witness.name, "w", 2);
    witness.id = 0x41424344;
    return 0;
}

static void fuzz_text(struct str s, int (*get)(struct str, struct proof_text *),
                      void (*put)(const struct proof_text *, struct buf *), bool exact)
{
    uint8_t leaf[DIGEST_LEN] = {0};
    struct proof_text p;
    struct buf again;

    if (get(s, &p) < 0)
        return;
    if (p.proof.n > PROOF_HASHES_MAX)
        abort();
    (void)proof_inclusion_check(leaf, p.at, p.at + 1, leaf, &p.proof);
    (void)proof_consistency_check(p.at, leaf, p.at * 2, leaf, &p.proof);
    buf_init(&again, PROOF_TEXT_MAX);
    put(&p, &again);
    if (exact && !str_eq(buf_str(&again), s))
        abort();
    buf_done(&again);
}

static void fuzz_note(struct str s)
{
    struct buf merged;
    struct note_sig sig;
    struct note n;
    uint64_t when;

    (void)!cosign_check(s, &witness, &when);
    if (note_parse(s, &n) < 0)
        return;
    if (n.text.len + 1 + n.sigs.len != s.len)
        abort();
    while (note_next_sig(&n.sigs, &sig) > 0) {
        struct buf bytes;

        buf_init(&bytes, NOTE_SIG_MAX);
        (void)!note_sig_bytes(&sig, &bytes);
        buf_done(&bytes);
    }
    buf_init(&merged, 2 * CHECKPOINT_NOTE_MAX);
    if (cosign_merge(s, s, &merged) == 0 && !str_eq(buf_str(&merged), s))
        abort();
    buf_done(&merged);
}

static void fuzz_answer(struct str s)
{
    struct buf b;

    buf_init(&b, 2 * CHECKPOINT_NOTE_MAX);
    if (cosign_add(STR_LIT(NOTE), s, &witness, &b) == COSIGN_OK)
        abort(); /* nobody here has the key */
    buf_done(&b);
}

/* A proof file that was read can be written, and reads the same. */
static void fuzz_file(struct str s)
{
    struct proof_file f, g;
    struct buf text, again;

    if (proof_file_get(s, &f) < 0)
        return;
    buf_init(&text, 4 * PROOF_FILE_MAX);
    buf_init(&again, 4 * PROOF_FILE_MAX);
    if (proof_file_put(&f, &text) < 0)
        abort();
    if (text.len <= PROOF_FILE_MAX) {
        if (proof_file_get(buf_str(&text), &g) < 0 || proof_file_put(&g, &again) < 0 ||
            !str_eq(buf_str(&text), buf_str(&again)))
            abort();
        proof_file_done(&g);
    }
    buf_done(&text);
    buf_done(&again);
    proof_file_done(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cosigner k;
    struct str s;

    if (size < 1)
        return 0;
    s = (struct str){(const char *)data + 1, size - 1};
    switch (data[0] % 6) {
    case 0:
        fuzz_file(s);
        break;
    case 1: /* `extra` lines are read over */
        fuzz_text(s, proof_text_get, proof_text_put, !(s.len > 29 && memmem(s.p, 29, "extra", 5)));
        break;
    case 2:
        fuzz_text(s, proof_text_get_old, proof_text_put_old, true);
        break;
    case 3:
        fuzz_note(s);
        break;
    case 4:
        fuzz_answer(s);
        break;
    default:
        (void)!cosigner_parse(s, &k);
    }
    return 0;
}
