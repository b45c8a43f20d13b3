/* SPDX-License-Identifier: MIT */
/* Which key counts when, and notes signed by one or several keys of a ring. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/evidence/keyring.h"

static uint8_t secret[3][ED25519_SECRET_LEN];
static struct vkey vkey[3];

static int setup(void **state)
{
    (void)state;
    if (digest_init() < 0 || ed25519_init() < 0)
        return -1;
    for (uint8_t i = 0; i < 3; i++) {
        uint8_t seed[ED25519_SEED_LEN] = {i}, public[ED25519_PUBLIC_LEN];

        ed25519_from_seed(seed, public, secret[i]);
        vkey_from_public(public, &vkey[i]);
    }
    return 0;
}

static void test_find(void **state)
{
    struct keyring ring;
    struct str id;

    (void)state;
    keyring_one(&ring, &vkey[0]);
    assert_int_equal(ring.n, 1);
    assert_null(keyring_add(&ring, &vkey[0])); /* none twice */
    assert_non_null(keyring_add(&ring, &vkey[1]));
    id = str_of(ring.key[1].keyid);
    assert_ptr_equal(keyring_find(&ring, id), &ring.key[1]);
    assert_null(keyring_find(&ring, (struct str){id.p, id.len - 1}));
    assert_null(keyring_find(&ring, STR_NONE));
    assert_ptr_equal(keyring_find_public(&ring, vkey[1].public), &ring.key[1]);
    assert_null(keyring_find_public(&ring, vkey[2].public));
}

static void test_full(void **state)
{
    struct keyring ring = {.n = 0};

    (void)state;
    for (uint8_t i = 0; i <= KEYRING_MAX; i++) {
        uint8_t seed[ED25519_SEED_LEN] = {7, i}, public[ED25519_PUBLIC_LEN], unused[ED25519_SECRET_LEN];
        struct vkey k;

        ed25519_from_seed(seed, public, unused);
        vkey_from_public(public, &k);
        assert_int_equal(keyring_add(&ring, &k) != NULL, i < KEYRING_MAX);
    }
}

static void test_judge(void **state)
{
    struct keyring_key k = {.not_before_s = 0};

    (void)state;
    assert_int_equal(keyring_judge(&k, 0), KEYRING_OK);
    assert_int_equal(keyring_judge(&k, UINT64_MAX), KEYRING_OK);
    k = (struct keyring_key){.not_before_s = 100, .not_after_s = 200};
    assert_int_equal(keyring_judge(&k, 99), KEYRING_NOT_YET);
    assert_int_equal(keyring_judge(&k, 100), KEYRING_OK);
    assert_int_equal(keyring_judge(&k, 200), KEYRING_OK);
    assert_int_equal(keyring_judge(&k, 201), KEYRING_EXPIRED);
    k.revoked_s = 150;
    assert_int_equal(keyring_judge(&k, 149), KEYRING_OK);
    assert_int_equal(keyring_judge(&k, 150), KEYRING_REVOKED);
    assert_int_equal(keyring_judge(&k, 201), KEYRING_REVOKED);
    assert_int_equal(keyring_judge(&k, 99), KEYRING_NOT_YET);
}

/* A note with the signatures of these keys, one after the other. */
static void note_make(struct buf *b, const unsigned *who, size_t n)
{
    _cleanup_(buf_done) struct buf text = {.data = NULL}, one = {.data = NULL};
    struct checkpoint c = {.origin = "log.test", .size = 3};
    uint8_t sig[ED25519_SIG_LEN];

    buf_init(b, CHECKPOINT_NOTE_MAX);
    buf_init(&text, CHECKPOINT_NOTE_MAX);
    buf_init(&one, CHECKPOINT_NOTE_MAX);
    checkpoint_text(&c, &text);
    for (size_t i = 0; i < n; i++) {
        size_t skip = i == 0 ? 0 : text.len + 1;

        ed25519_sign(secret[who[i]], text.data, text.len, sig);
        buf_clear(&one);
        checkpoint_render(&c, &vkey[who[i]], sig, &one);
        buf_put(b, one.data + skip, one.len - skip);
    }
}

static void test_notes(void **state)
{
    const struct keyring_key *key = NULL;
    struct keyring ring;
    struct checkpoint c;
    struct buf note;

    (void)state;
    keyring_one(&ring, &vkey[0]);
    assert_non_null(keyring_add(&ring, &vkey[1]));
    note_make(&note, (const unsigned[]){1}, 1);
    assert_int_equal(checkpoint_open_ring(buf_str(&note), &ring, &c, &key), CHECKPOINT_OK);
    assert_ptr_equal(key, &ring.key[1]);
    buf_done(&note);
    note_make(&note, (const unsigned[]){2}, 1);
    assert_int_equal(checkpoint_open_ring(buf_str(&note), &ring, &c, &key), CHECKPOINT_E_UNSIGNED);
    buf_done(&note);
    note_make(&note, (const unsigned[]){2, 1, 0}, 3);
    assert_int_equal(checkpoint_open_ring(buf_str(&note), &ring, &c, &key), CHECKPOINT_OK);
    assert_ptr_equal(key, &ring.key[0]);
    note.data[note.len - 30] =
        note.data[note.len - 30] == 'A' ? 'B' : 'A'; /* in the last signature, that of key 0 */
    assert_int_equal(checkpoint_open_ring(buf_str(&note), &ring, &c, &key), CHECKPOINT_E_SIGNATURE);
    ring.n = 0;
    assert_int_equal(checkpoint_open_ring(buf_str(&note), &ring, &c, &key), CHECKPOINT_E_UNSIGNED);
    buf_done(&note);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_judge),
        cmocka_unit_test(test_notes),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
