/* SPDX-License-Identifier: MIT */
/* Notes, cosignatures and the proof texts, against the examples that the C2SP texts themselves have. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/base/encoding.h"
#include "common/evidence/cosign.h"
#include "common/evidence/note.h"
#include "common/evidence/proof_text.h"
#include "common/evidence/tile.h"

/* c2sp.org/signed-note, "Example" */
#define FOO_VKEY "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
#define FOO_TEXT "This is an example message.\n"
#define FOO_NOTE                                                                                             \
    FOO_TEXT                                                                                                 \
    "\n" NOTE_DASH "example.com/foo "                                                                        \
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"

/* c2sp.org/tlog-cosignature, the first example */
#define SOFA_TEXT "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
#define SOFA_LOG                                                                                             \
    NOTE_DASH "example.com/behind-the-sofa "                                                                 \
              "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/"                                    \
              "Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
#define SOFA_W1                                                                                              \
    NOTE_DASH "witness.example.com/w1 "                                                                      \
              "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/"                                                         \
              "zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
#define SOFA_W1_TIME 1679315147u

/* c2sp.org/tlog-witness, the example request body up to the checkpoint */
#define SOFA_OLD                                                                                             \
    "old 20852014\n"                                                                                         \
    "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n"                                                         \
    "jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n"                                                         \
    "5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n"                                                         \
    "/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n"                                                         \
    "\n"

/* c2sp.org/tlog-proof, the example's index and hashes */
#define FANCY_PROOF                                                                                          \
    "c2sp.org/tlog-proof@v1\n%s"                                                                             \
    "index 73894\n"                                                                                          \
    "gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=\n"                                                         \
    "B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=\n"                                                         \
    "EKNzoDWG8LGC0Yp9o+sv3qllpMP9uHQ9B20KNL+Q1zs=\n"                                                         \
    "RoopEkOdqkYqMB4MJXrbt/hMjOxsVn0IrWjpz1ZMMes=\n"                                                         \
    "AHCioX9nLjsrse6YhjRRmk1WUEirVOLLRoOQ6vfO5vk=\n"                                                         \
    "\n" SOFA_TEXT "\n" SOFA_LOG

static void test_note_example(void **state)
{
    _cleanup_(buf_done) struct buf sig = {.data = NULL};
    struct note_sig s;
    struct note n;
    struct vkey k;

    (void)state;
    buf_init(&sig, 256);
    assert_int_equal(vkey_parse(STR_LIT(FOO_VKEY), &k), 0);
    assert_int_equal(note_parse(STR_LIT(FOO_NOTE), &n), 0);
    assert_true(str_is(n.text, FOO_TEXT));
    assert_int_equal(note_next_sig(&n.sigs, &s), 1);
    assert_true(str_is(s.name, "example.com/foo"));
    assert_int_equal(s.id, 0x530d903a);
    assert_int_equal(note_sig_bytes(&s, &sig), 0);
    assert_true(ed25519_verify(k.public, n.text.p, n.text.len, sig.data, sig.len));
    assert_int_equal(note_next_sig(&n.sigs, &s), 0);
}

static void test_cosigned_example(void **state)
{
    _cleanup_(buf_done) struct buf sig = {.data = NULL};
    struct note_sig s;
    struct note n;

    (void)state;
    buf_init(&sig, 256);
    assert_int_equal(note_parse(STR_LIT(SOFA_TEXT "\n" SOFA_LOG SOFA_W1), &n), 0);
    assert_int_equal(note_next_sig(&n.sigs, &s), 1);
    assert_int_equal(note_next_sig(&n.sigs, &s), 1);
    assert_true(str_is(s.name, "witness.example.com/w1"));
    assert_int_equal(note_sig_bytes(&s, &sig), 0);
    assert_int_equal(sig.len, 8 + ED25519_SIG_LEN);
    uint64_t when = 0;
    for (size_t i = 0; i < 8; i++)
        when = when << 8 | sig.data[i];
    assert_int_equal(when, SOFA_W1_TIME);
}

static void test_no_notes(void **state)
{
    static const char *const bad[] = {
        "",
        "\n",
        "\n\n",
        "a\n",
        "a\n\nb",
        "a\tb\n\n" NOTE_DASH "x AAAAAAAA\n",
        "\xff\n\n" NOTE_DASH "x AAAAAAAA\n",
    };
    static const char *const bad_sigs[] = {
        "x\n",
        "\xe2\x80\x94\n",
        NOTE_DASH "\n",
        NOTE_DASH "x\n",
        NOTE_DASH " AAAAAAAA\n",
        NOTE_DASH "x AAAA\n",
        NOTE_DASH "x AAAAAA==\n",
        NOTE_DASH "x AAAA*AAA\n",
        "- x AAAAAAAA\n",
        NOTE_DASH "x AAAAAAAA",
    };
    struct note_sig s;
    struct note n;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(note_parse(str_of(bad[i]), &n), -EBADMSG);
    for (size_t i = 0; i < ARRAY_LEN(bad_sigs); i++) {
        struct str sigs = str_of(bad_sigs[i]);

        assert_int_equal(note_next_sig(&sigs, &s), -EBADMSG);
    }
}

/* ---- witnesses made here ---- */

struct witness {
    uint8_t secret[ED25519_SECRET_LEN], public[ED25519_PUBLIC_LEN];
    struct cosigner key;
    char vkey[256];
};

/* As the text says, step by step, not with the code under test. */
static void witness_make(struct witness *w, const char *name, uint8_t seed_byte)
{
    _cleanup_(buf_done) struct buf b = {.data = NULL};
    uint8_t seed[ED25519_SEED_LEN] = {seed_byte}, d[DIGEST_LEN], key[33] = {4};

    ed25519_from_seed(seed, w->public, w->secret);
    memcpy(key + 1, w->public, sizeof(w->public));
    digest_sha256_parts(str_of(name), STR_LIT("\n"), (struct str){(char *)key, 33}, d);
    buf_init(&b, 256);
    buf_printf(&b, "%s+%02x%02x%02x%02x+", name, d[0], d[1], d[2], d[3]);
    encoding_base64_put(&b, key, sizeof(key));
    (void)snprintf(w->vkey, sizeof(w->vkey), "%s", buf_cstr(&b));
    assert_int_equal(cosigner_parse(str_of(w->vkey), &w->key), 0);
}

static void witness_line(const struct witness *w, const char *text, uint64_t when, struct buf *b)
{
    uint8_t bytes[4 + 8 + ED25519_SIG_LEN];
    char message[512];
    int n = snprintf(message, sizeof(message), "cosignature/v1\ntime %" PRIu64 "\n%s", when, text);

    for (size_t i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(w->key.id >> (24 - 8 * i));
    for (size_t i = 0; i < 8; i++)
        bytes[4 + i] = (uint8_t)(when >> (56 - 8 * i));
    ed25519_sign(w->secret, message, (size_t)n, bytes + 12);
    buf_printf(b, NOTE_DASH "%s ", w->key.name);
    encoding_base64_put(b, bytes, sizeof(bytes));
    buf_putc(b, '\n');
}

static void test_vkeys(void **state)
{
    struct witness w;
    struct cosigner k;
    struct vkey log;

    (void)state;
    witness_make(&w, "witness.example/w1", 1);
    assert_memory_equal(w.key.public, w.public, sizeof(w.public));
    assert_string_equal(w.key.name, "witness.example/w1");
    assert_int_equal(vkey_parse(str_of(w.vkey), &log), -EBADMSG);      /* no log's key */
    assert_int_equal(cosigner_parse(STR_LIT(FOO_VKEY), &k), -EBADMSG); /* no witness's */
    for (size_t i = 0; i < strlen(w.vkey); i++) {
        char c = w.vkey[i];

        w.vkey[i] = c == 'a' ? 'b' : 'a';
        assert_int_equal(cosigner_parse(str_of(w.vkey), &k), -EBADMSG);
        w.vkey[i] = c;
        assert_int_equal(cosigner_parse((struct str){w.vkey, i}, &k), -EBADMSG);
    }
}

static void test_cosignatures(void **state)
{
    _cleanup_(buf_done) struct buf note = {.data = NULL}, answer = {.data = NULL}, out = {.data = NULL};
    struct witness a, b;
    uint64_t when = 7;

    (void)state;
    witness_make(&a, "witness.example/w1", 1);
    witness_make(&b, "witness.example/w1", 2); /* the same name, another key */
    buf_init(&note, CHECKPOINT_NOTE_MAX);
    buf_init(&answer, CHECKPOINT_NOTE_MAX);
    buf_init(&out, CHECKPOINT_NOTE_MAX);
    buf_puts(&note, SOFA_TEXT "\n" SOFA_LOG);
    assert_int_equal(cosign_check(buf_str(&note), &a.key, &when), COSIGN_E_NONE);
    assert_int_equal(when, 7);

    witness_line(&b, SOFA_TEXT, 50, &answer);
    assert_int_equal(cosign_add(buf_str(&note), buf_str(&answer), &a.key, &out), COSIGN_E_NONE);
    buf_clear(&out);
    witness_line(&a, SOFA_TEXT, SOFA_W1_TIME, &answer);
    assert_int_equal(cosign_add(buf_str(&note), buf_str(&answer), &a.key, &out), COSIGN_OK);
    assert_int_equal(cosign_check(buf_str(&out), &a.key, &when), COSIGN_OK);
    assert_int_equal(when, SOFA_W1_TIME);
    assert_int_equal(cosign_check(buf_str(&out), &b.key, &when), COSIGN_E_NONE); /* left out */

    /* a second time, and a newer one */
    buf_clear(&note);
    buf_put_str(&note, buf_str(&out));
    buf_clear(&out);
    assert_int_equal(cosign_add(buf_str(&note), buf_str(&answer), &a.key, &out), COSIGN_OK);
    assert_true(str_eq(buf_str(&out), buf_str(&note)));
    witness_line(&a, SOFA_TEXT, SOFA_W1_TIME + 5, &out);
    assert_int_equal(cosign_check(buf_str(&out), &a.key, &when), COSIGN_OK);
    assert_int_equal(when, SOFA_W1_TIME + 5);

    /* of another text, with another time, of no time: a bad line spoils the note */
    const char *texts[] = {
        "example.com/behind-the-sofa\n20852164\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n", SOFA_TEXT,
        SOFA_TEXT};
    const uint64_t times[] = {9, 0, (uint64_t)INT64_MAX + 1};
    for (size_t i = 0; i < 3; i++) {
        buf_clear(&out);
        buf_put_str(&out, buf_str(&note));
        witness_line(&a, texts[i], times[i], &out);
        assert_int_equal(cosign_check(buf_str(&out), &a.key, &when), COSIGN_E_SIGNATURE);
    }
    buf_clear(&out);
    assert_int_equal(cosign_check(STR_LIT("x"), &a.key, &when), COSIGN_E_FORM);
    assert_int_equal(cosign_add(buf_str(&note), STR_LIT("<html>\n"), &a.key, &out), COSIGN_E_FORM);
}

static void test_merge(void **state)
{
    _cleanup_(buf_done) struct buf x = {.data = NULL}, y = {.data = NULL}, out = {.data = NULL};
    struct witness a, b;
    uint64_t when;

    (void)state;
    witness_make(&a, "a", 1);
    witness_make(&b, "b", 2);
    buf_init(&x, CHECKPOINT_NOTE_MAX);
    buf_init(&y, CHECKPOINT_NOTE_MAX);
    buf_init(&out, CHECKPOINT_NOTE_MAX);
    buf_puts(&x, SOFA_TEXT "\n" SOFA_LOG);
    buf_puts(&y, SOFA_TEXT "\n" SOFA_LOG);
    witness_line(&a, SOFA_TEXT, 5, &x);
    witness_line(&b, SOFA_TEXT, 6, &y);
    assert_int_equal(cosign_merge(buf_str(&x), buf_str(&y), &out), 0);
    assert_int_equal(cosign_check(buf_str(&out), &a.key, &when), COSIGN_OK);
    assert_int_equal(cosign_check(buf_str(&out), &b.key, &when), COSIGN_OK);
    assert_int_equal(out.len, x.len + y.len - strlen(SOFA_TEXT "\n" SOFA_LOG));
    assert_int_equal(cosign_merge(buf_str(&x), STR_LIT(FOO_NOTE), &out), -EBADMSG);
}

/* ---- proofs as text ---- */

static void test_proof_example(void **state)
{
    _cleanup_(buf_done) struct buf b = {.data = NULL};
    struct proof_text p;
    char text[2048];

    (void)state;
    buf_init(&b, PROOF_TEXT_MAX);
    (void)snprintf(text, sizeof(text), FANCY_PROOF, "");
    assert_int_equal(proof_text_get(str_of(text), &p), 0);
    assert_int_equal(p.at, 73894);
    assert_int_equal(p.proof.n, 5);
    assert_true(str_is(p.note, SOFA_TEXT "\n" SOFA_LOG));
    proof_text_put(&p, &b);
    assert_true(str_is(buf_str(&b), text));

    (void)snprintf(text, sizeof(text), FANCY_PROOF, "extra YWdlLXYxLjIuMQ==\n");
    assert_int_equal(proof_text_get(str_of(text), &p), 0);
    assert_int_equal(p.proof.n, 5);
    (void)snprintf(text, sizeof(text), FANCY_PROOF, "extra YWdl!\n");
    assert_int_equal(proof_text_get(str_of(text), &p), -EBADMSG);
    (void)snprintf(text, sizeof(text), FANCY_PROOF, "extra\n");
    assert_int_equal(proof_text_get(str_of(text), &p), -EBADMSG);
}

static void test_request_example(void **state)
{
    _cleanup_(buf_done) struct buf b = {.data = NULL};
    struct proof_text p;

    (void)state;
    buf_init(&b, PROOF_TEXT_MAX);
    assert_int_equal(proof_text_get_old(STR_LIT(SOFA_OLD SOFA_TEXT "\n" SOFA_LOG), &p), 0);
    assert_int_equal(p.at, 20852014);
    assert_int_equal(p.proof.n, 4);
    proof_text_put_old(&p, &b);
    assert_true(str_is(buf_str(&b), SOFA_OLD SOFA_TEXT "\n" SOFA_LOG));
}

static void test_bad_proof_texts(void **state)
{
#define HASH "gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=\n"
    static const char *const bad[] = {
        "",
        "c2sp.org/tlog-proof@v1\n",
        "c2sp.org/tlog-proof@v1\nindex 1\n",
        "c2sp.org/tlog-proof@v1\nindex 1\n\n",
        "c2sp.org/tlog-proof@v2\nindex 1\n" HASH "\nnote",
        "c2sp.org/tlog-proof@v1\nindex 01\n" HASH "\nnote",
        "c2sp.org/tlog-proof@v1\nindex +1\n" HASH "\nnote",
        "c2sp.org/tlog-proof@v1\nindex 18446744073709551616\n" HASH "\nnote",
        "c2sp.org/tlog-proof@v1\nINDEX 1\n" HASH "\nnote",
        "c2sp.org/tlog-proof@v1\nindex 1\nAAAA\n\nnote",
        "c2sp.org/tlog-proof@v1\nindex 1\n" HASH "note",
        "c2sp.org/tlog-proof@v1\nindex 1\r\n" HASH "\nnote",
    };
    char many[8192] = "old 5\n";
    struct proof_text p;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(proof_text_get(str_of(bad[i]), &p), -EBADMSG);
    assert_int_equal(proof_text_get_old(STR_LIT("index 1\n\nnote"), &p), -EBADMSG);
    for (int i = 0; i < PROOF_OLD_MAX; i++)
        strcat(many, HASH);
    strcat(many, "\nnote");
    assert_int_equal(proof_text_get_old(str_of(many), &p), 0);
    strcpy(many + strlen(many) - 5, HASH "\nnote");
    assert_int_equal(proof_text_get_old(str_of(many), &p), -EBADMSG);
}

/* c2sp.org/tlog-tiles: "index 1234067 will be encoded as x001/x234/067", and the tiles of 70,000 entries. */
static void test_tile_examples(void **state)
{
    char path[TILE_PATH_MAX];
    struct tiles *t = malloc(sizeof(*t));

    (void)state;
    assert_non_null(t);
    tile_path(0, 1234067, 0, path);
    assert_string_equal(path, "tile/0/x001/x234/067");
    tiles_init(t);
    for (uint64_t i = 0; i < 70000; i++) {
        uint8_t leaf[DIGEST_LEN];

        merkle_leaf(&i, sizeof(i), leaf);
        tiles_append(t, leaf, NULL, NULL);
    }
    assert_int_equal(t->n[0], 112);
    assert_int_equal(t->n[1], 17);
    assert_int_equal(t->n[2], 1);
    assert_int_equal(t->n[3], 0);
    assert_int_equal(t->size / TILE_WIDTH, 273);
    free(t);
}

static int setup(void **state)
{
    (void)state;
    return ed25519_init() == 0 && digest_init() == 0 ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_note_example),    cmocka_unit_test(test_cosigned_example),
        cmocka_unit_test(test_no_notes),        cmocka_unit_test(test_vkeys),
        cmocka_unit_test(test_cosignatures),    cmocka_unit_test(test_merge),
        cmocka_unit_test(test_proof_example),   cmocka_unit_test(test_request_example),
        cmocka_unit_test(test_bad_proof_texts), cmocka_unit_test(test_tile_examples),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
