/* SPDX-License-Identifier: MIT */
/* Ed25519: RFC 8032 section 7.1 and every result of Wycheproof. */
#include "tests/unit/evidence_fixture.h"

#include "common/evidence/ed25519.h"

static const struct {
    const char *seed, *public, *msg, *sig;
} rfc8032[] = {
    {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
     "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f"
     "0595bbe24655141438e7a100b"},
    {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
     "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2ea"
     "eb4302aeeb00d291612bb0c00"},
    {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
     "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e"
     "9716ed28dc027beceea1ec40a"},
};

static void test_rfc8032(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rfc8032); i++) {
        uint8_t seed[32], want_public[32], want_sig[64], msg[2], public[32], secret[64], sig[64];
        size_t n = strlen(rfc8032[i].msg) / 2;

        assert_int_equal(encoding_hex_get(str_of(rfc8032[i].seed), seed, 32), 0);
        assert_int_equal(encoding_hex_get(str_of(rfc8032[i].public), want_public, 32), 0);
        assert_int_equal(encoding_hex_get(str_of(rfc8032[i].sig), want_sig, 64), 0);
        assert_int_equal(encoding_hex_get(str_of(rfc8032[i].msg), msg, n), 0);
        ed25519_from_seed(seed, public, secret);
        assert_memory_equal(public, want_public, 32);
        ed25519_sign(secret, msg, n, sig);
        assert_memory_equal(sig, want_sig, 64);
        assert_true(ed25519_verify(public, msg, n, sig, 64));
        sig[10] ^= 1;
        assert_false(ed25519_verify(public, msg, n, sig, 64));
    }
}

static void test_lengths(void **state)
{
    uint8_t seed[32] = {1}, public[32], secret[64], sig[65] = {0};

    (void)state;
    ed25519_from_seed(seed, public, secret);
    ed25519_sign(secret, "x", 1, sig);
    assert_true(ed25519_verify(public, "x", 1, sig, 64));
    assert_false(ed25519_verify(public, "x", 1, sig, 63));
    assert_false(ed25519_verify(public, "x", 1, sig, 65));
    assert_false(ed25519_verify(public, "x", 1, sig, 0));
}

/* The "pk" of a group comes before its tests; each test has msg, sig and result in this order. */
static void test_wycheproof(void **state)
{
    _cleanup_(buf_done) struct buf hex = {.data = NULL}, result = {.data = NULL};
    unsigned valid = 0, invalid = 0;
    struct fixture f;

    (void)state;
    if (!fixture_open(&f, FIXTURE_VECTORS "wycheproof-ed25519.json")) {
        print_message("SKIP: %swycheproof-ed25519.json is not here\n", FIXTURE_VECTORS);
        skip();
    }
    buf_init(&hex, 1u << 20);
    buf_init(&result, 64);
    uint8_t public[32];
    uint8_t msg[4096], sig[256];
    while (true) {
        const char *group = strstr(f.at, "\"pk\": \""), *test = strstr(f.at, "\"msg\": \"");

        if (group && (!test || group < test)) {
            assert_true(fixture_next(&f, "pk", &hex));
            assert_int_equal(encoding_hex_get(buf_str(&hex), public, 32), 0);
            continue;
        }
        if (!test)
            break;
        assert_true(fixture_next(&f, "msg", &hex));
        size_t nmsg = hex.len / 2;
        assert_true(nmsg <= sizeof(msg));
        assert_int_equal(encoding_hex_get(buf_str(&hex), msg, nmsg), 0);
        assert_true(fixture_next(&f, "sig", &hex));
        size_t nsig = hex.len / 2;
        assert_true(nsig <= sizeof(sig));
        assert_int_equal(encoding_hex_get(buf_str(&hex), sig, nsig), 0);
        assert_true(fixture_next(&f, "result", &result));
        bool want = str_is(buf_str(&result), "valid");
        if (!want)
            assert_true(str_is(buf_str(&result), "invalid"));
        if (ed25519_verify(public, msg, nmsg, sig, nsig) != want)
            fail_msg("test %u differs: %.*s", valid + invalid + 1, (int)result.len,
                     (const char *)result.data);
        want ? valid++ : invalid++;
    }
    print_message("Wycheproof: %u valid, %u invalid\n", valid, invalid);
    assert_int_equal(valid + invalid, 151);
    fixture_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc8032),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_wycheproof),
    };

    return ed25519_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
