/* SPDX-License-Identifier: MIT */
/* Checkpoints and verifier keys, against a note signed by openssl and the example of the signed-note format's
 * first implementation. */
#include "tests/unit/evidence_fixture.h"

#include "common/evidence/checkpoint.h"

/* golang.org/x/mod/sumdb/note, package documentation. */
#define PETER "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
#define PETER_TEXT                                                                                           \
    "If you think cryptography is the answer to your problem,\n"                                             \
    "then you don't know what your problem is.\n"
#define PETER_SIG                                                                                            \
    "\xe2\x80\x94 PeterNeumann "                                                                             \
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"

static struct fixture fixture;

static void test_vkey(void **state)
{
    _cleanup_(buf_done) struct buf want = {.data = NULL}, got = {.data = NULL};
    uint8_t public[ED25519_PUBLIC_LEN];
    struct vkey made, read;

    (void)state;
    buf_init(&want, 512);
    buf_init(&got, 512);
    fixture_hex(&fixture, "public", public, sizeof(public));
    vkey_from_public(public, &made);
    vkey_render(&made, &got);
    assert_true(str_eq(buf_str(&got), fixture_get(&fixture, "vkey", &want)));
    assert_int_equal(vkey_parse(buf_str(&want), &read), 0);
    assert_memory_equal(read.public, public, sizeof(public));
    assert_int_equal(read.id, made.id);
    assert_string_equal(read.name, made.name);
    assert_int_equal(vkey_parse(STR_LIT(PETER), &read), 0);
    assert_int_equal(read.id, 0xc74f20a3);
}

static void test_bad_vkeys(void **state)
{
    static const char *const bad[] = {
        "",
        "+",
        "PeterNeumann",
        "PeterNeumann+c74f20a3",
        "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", /* id of another key */
        "PeterNeumanN+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", /* or of another name */
        "PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+Ahpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", /* another algorithm */
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10T",
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW\n",
        "Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    };
    struct vkey k;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (vkey_parse(str_of(bad[i]), &k) != -EBADMSG)
            fail_msg("accepted: %s", bad[i]);
}

/* The note is signed, but its text is no checkpoint; with one bit changed the signature is what is wrong. */
static void test_foreign_note(void **state)
{
    char note[] = PETER_TEXT "\n" PETER_SIG;
    struct checkpoint c;
    struct vkey k;

    (void)state;
    assert_int_equal(vkey_parse(STR_LIT(PETER), &k), 0);
    assert_int_equal(checkpoint_open(str_of(note), &k, &c), CHECKPOINT_E_FORM);
    note[3] ^= 1;
    assert_int_equal(checkpoint_open(str_of(note), &k, &c), CHECKPOINT_E_SIGNATURE);
}

static void test_checkpoint(void **state)
{
    _cleanup_(buf_done) struct buf want = {.data = NULL}, got = {.data = NULL}, text = {.data = NULL},
                                   vkey = {.data = NULL};
    uint8_t seed[32], public[32], secret[64], sig[64], root[DIGEST_LEN];
    struct checkpoint c;
    struct vkey k;

    (void)state;
    buf_init(&want, 4096);
    buf_init(&got, 4096);
    buf_init(&text, 4096);
    buf_init(&vkey, 4096);
    assert_int_equal(vkey_parse(fixture_get(&fixture, "vkey", &vkey), &k), 0);
    assert_int_equal(checkpoint_open(fixture_get(&fixture, "checkpoint", &want), &k, &c), CHECKPOINT_OK);
    assert_int_equal(c.size, 300);
    fixture_hex(&fixture, "300", root, sizeof(root));
    assert_memory_equal(c.root, root, sizeof(root));
    assert_true(strncmp(c.origin, k.name, strlen(k.name)) == 0);

    fixture_hex(&fixture, "seed", seed, sizeof(seed));
    ed25519_from_seed(seed, public, secret);
    checkpoint_text(&c, &text);
    ed25519_sign(secret, text.data, text.len, sig);
    checkpoint_render(&c, &k, sig, &got);
    assert_true(str_eq(buf_str(&got), buf_str(&want)));
}

static void test_every_flipped_bit_is_seen(void **state)
{
    _cleanup_(buf_done) struct buf note = {.data = NULL}, vkey = {.data = NULL};
    struct checkpoint c;
    struct vkey k;

    (void)state;
    buf_init(&note, 4096);
    buf_init(&vkey, 4096);
    assert_int_equal(vkey_parse(fixture_get(&fixture, "vkey", &vkey), &k), 0);
    (void)fixture_get(&fixture, "checkpoint", &note);
    for (size_t i = 0; i < note.len; i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            note.data[i] ^= (uint8_t)(1u << bit);
            assert_int_not_equal(checkpoint_open(buf_str(&note), &k, &c), CHECKPOINT_OK);
            note.data[i] ^= (uint8_t)(1u << bit);
        }
    for (size_t n = 0; n < note.len; n++)
        assert_int_not_equal(checkpoint_open((struct str){(const char *)note.data, n}, &k, &c),
                             CHECKPOINT_OK);
}

static int sign_and_open(const char *text, const char *extra_sigs, struct checkpoint *ret)
{
    _cleanup_(buf_done) struct buf note = {.data = NULL}, whole = {.data = NULL};
    uint8_t seed[32] = {7}, public[32], secret[64], sig[64], bytes[68];
    struct vkey k;

    ed25519_from_seed(seed, public, secret);
    vkey_from_public(public, &k);
    buf_init(&note, 65536);
    buf_init(&whole, 65536);
    ed25519_sign(secret, text, strlen(text), sig);
    bytes[0] = (uint8_t)(k.id >> 24);
    bytes[1] = (uint8_t)(k.id >> 16);
    bytes[2] = (uint8_t)(k.id >> 8);
    bytes[3] = (uint8_t)k.id;
    memcpy(bytes + 4, sig, 64);
    buf_printf(&note, "%s\n%s\xe2\x80\x94 %s ", text, extra_sigs, k.name);
    encoding_base64_put(&note, bytes, sizeof(bytes));
    buf_putc(&note, '\n');
    assert_int_equal(note.err, 0);
    return checkpoint_open(buf_str(&note), &k, ret);
}

#define ROOT "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"

/* All of these are signed well: only the text is wrong. */
static void test_texts(void **state)
{
    static const char *const bad[] = {
        "origin\n",          "origin\n5\n",
        "\n5\n" ROOT,        "origin\n05\n" ROOT,
        "origin\n-5\n" ROOT, "origin\n18446744073709551616\n" ROOT,
        "origin\n5\nAAAA\n", "or igin\n5\n" ROOT,
        "origin\n5 \n" ROOT, "origin\n5\n" ROOT "\nx\n",
    };
    struct checkpoint c;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (sign_and_open(bad[i], "", &c) == CHECKPOINT_OK)
            fail_msg("accepted: %s", bad[i]);
    assert_int_equal(sign_and_open("origin\n18446744073709551615\n" ROOT, "", &c), CHECKPOINT_OK);
    assert_int_equal(c.size, UINT64_MAX);
    assert_int_equal(sign_and_open("origin\n0\n" ROOT "an extension\n", "", &c), CHECKPOINT_OK);
}

/* Signatures of others (cosignatures of witnesses) are ignored; up to a bound. */
static void test_other_signatures(void **state)
{
    char many[64 * 80] = "";
    struct checkpoint c;

    (void)state;
    assert_int_equal(sign_and_open("o\n5\n" ROOT, "\xe2\x80\x94 witness.example AAAAAAAA\n", &c),
                     CHECKPOINT_OK);
    assert_int_equal(sign_and_open("o\n5\n" ROOT, "- witness.example AAAAAAAA\n", &c), CHECKPOINT_E_FORM);
    for (unsigned i = 0; i < CHECKPOINT_SIGS_MAX - 1; i++)
        strcat(many, "\xe2\x80\x94 witness.example AAAAAAAA\n");
    assert_int_equal(sign_and_open("o\n5\n" ROOT, many, &c), CHECKPOINT_OK);
    strcat(many, "\xe2\x80\x94 witness.example AAAAAAAA\n");
    assert_int_equal(sign_and_open("o\n5\n" ROOT, many, &c), CHECKPOINT_E_FORM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vkey),
        cmocka_unit_test(test_bad_vkeys),
        cmocka_unit_test(test_foreign_note),
        cmocka_unit_test(test_checkpoint),
        cmocka_unit_test(test_every_flipped_bit_is_seen),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_other_signatures),
    };

    if (digest_init() < 0 || ed25519_init() < 0 || !fixture_open(&fixture, FIXTURE_FILE)) {
        fprintf(stderr, "%s is missing\n", FIXTURE_FILE);
        return 1;
    }
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    fixture_done(&fixture);
    return r;
}
