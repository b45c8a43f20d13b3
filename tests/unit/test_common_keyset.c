/* SPDX-License-Identifier: MIT */
/* A keyset: its one spelling, what a version may change, who may sign it, and who may follow it. */
#include "tests/unit/keyset_make.h"

static struct keyset k1, k2, k3;

static void expect_follows(const struct keyset *prev, const struct keyset *k, int want)
{
    assert_string_equal(keyset_error_text(keyset_follows(prev, k)), keyset_error_text(want));
}

static void three(void)
{
    make_first(&k1);
    make_rotated(&k1, 0, 1, &k2);
    MAKE_SIGN(&k2, 0, 1);
    make_next(&k2, &k3);
    k3.key[0].state = KEYSET_REVOKED;
    k3.key[0].k.revoked_s = MAKE_T0 + 50;
    strcpy(k3.key[0].reason, "laptop stolen \xc3\xbc");
    MAKE_SIGN(&k3, 1);
}

static void test_there_and_back(void **state)
{
    const struct keyset *const all[] = {&k1, &k2, &k3};
    struct buf line, again;
    struct keyset got;

    (void)state;
    three();
    k2.key[0].k.not_after_s = MAKE_T0 + 500;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        buf_init(&line, 1u << 20);
        buf_init(&again, 1u << 20);
        assert_int_equal(keyset_render(all[i], &line), 0);
        assert_int_equal(keyset_parse(buf_str(&line), &got), KEYSET_OK);
        assert_int_equal(keyset_render(&got, &again), 0);
        assert_true(str_eq(buf_str(&line), buf_str(&again)));
        assert_int_equal(got.n, all[i]->n);
        buf_done(&line);
        buf_done(&again);
    }
    assert_string_equal(got.key[0].reason, "laptop stolen \xc3\xbc");
    assert_int_equal(got.key[0].k.revoked_s, MAKE_T0 + 50);
}

/* No byte of a line may be another one: either it is not read any more, or its signatures fail. */
static void test_every_flipped_bit_is_seen(void **state)
{
    struct buf line;
    struct keyset got;

    (void)state;
    three();
    buf_init(&line, 1u << 20);
    assert_int_equal(keyset_render(&k3, &line), 0);
    for (size_t i = 0; i < line.len * 8; i++) {
        line.data[i / 8] ^= (uint8_t)(1u << i % 8);
        if (keyset_parse(buf_str(&line), &got) == KEYSET_OK && keyset_follows(&k2, &got) == KEYSET_OK)
            fail_msg("bit %zu of byte %zu", i % 8, i / 8);
        line.data[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    for (size_t n = 0; n < line.len; n++)
        assert_int_not_equal(keyset_parse((struct str){(const char *)line.data, n}, &got), KEYSET_OK);
    buf_putc(&line, ' ');
    assert_int_equal(keyset_parse(buf_str(&line), &got), KEYSET_E_FORM);
    buf_done(&line);
}

static void test_chain(void **state)
{
    (void)state;
    three();
    expect_follows(NULL, &k1, KEYSET_OK);
    expect_follows(&k1, &k2, KEYSET_OK);
    expect_follows(&k2, &k3, KEYSET_OK);
    expect_follows(&k1, &k3, KEYSET_E_VERSION);
    expect_follows(&k2, &k1, KEYSET_E_VERSION);
    expect_follows(NULL, &k3, KEYSET_OK); /* pinned as it is: its own active key signed it */
    k2.digest[0] ^= 1;
    expect_follows(&k2, &k3, KEYSET_E_PREVIOUS);
}

static void test_who_may_sign(void **state)
{
    (void)state;
    three();
    make_rotated(&k1, 0, 1, &k2);
    MAKE_SIGN(&k2, 0);
    expect_follows(&k1, &k2, KEYSET_E_POSSESSION);
    MAKE_SIGN(&k2, 1);
    expect_follows(&k1, &k2, KEYSET_E_AUTHORITY);
    MAKE_SIGN(&k2, 1, 0);
    expect_follows(&k1, &k2, KEYSET_OK);
    k2.sig[1].sig[5] ^= 1;
    expect_follows(&k1, &k2, KEYSET_E_SIGNATURE);
    MAKE_SIGN(&k2, 0, 1, 2); /* of a key that is not in it */
    expect_follows(&k1, &k2, KEYSET_E_SIGNATURE);

    /* A standby key may bring itself to power; a retired or revoked one may sign nothing. */
    make_next(&k1, &k2);
    make_key(&k2, 1, KEYSET_STANDBY);
    MAKE_SIGN(&k2, 0);
    expect_follows(&k1, &k2, KEYSET_OK);
    make_next(&k2, &k3);
    k3.key[0].state = KEYSET_REVOKED;
    k3.key[0].k.revoked_s = MAKE_T0;
    k3.key[1].state = KEYSET_ACTIVE;
    MAKE_SIGN(&k3, 1);
    expect_follows(&k2, &k3, KEYSET_OK);
    make_rotated(&k3, 1, 2, &k1);
    MAKE_SIGN(&k1, 0, 2);
    expect_follows(&k3, &k1, KEYSET_E_SIGNATURE);
    MAKE_SIGN(&k1, 1, 2);
    expect_follows(&k3, &k1, KEYSET_OK);
}

static void test_what_may_change(void **state)
{
    (void)state;
    three();
#define CHANGED(what, error)                                                                                 \
    make_next(&k2, &k3);                                                                                     \
    what;                                                                                                    \
    MAKE_SIGN(&k3, 1);                                                                                       \
    expect_follows(&k2, &k3, error)
    CHANGED(k3.key[0].k.not_after_s = MAKE_T0 + 10, KEYSET_OK);
    CHANGED(k3.key[0].k.not_before_s = 1, KEYSET_E_CHANGE);
    CHANGED(k3.created_s = k2.created_s - 1, KEYSET_E_CHANGE);
    CHANGED(k3.created_s = k2.created_s, KEYSET_OK);
    CHANGED(make_key(&k3, 2, KEYSET_STANDBY), KEYSET_OK);
    CHANGED(make_key(&k3, 2, KEYSET_STANDBY)->k.not_before_s--, KEYSET_E_CHANGE); /* vouches for the past */
    CHANGED(k3.key[0] = k3.key[1]; k3.n = 1, KEYSET_E_CHANGE);                    /* forgets a key */
    make_next(&k2, &k3);
    k3.key[0].state = KEYSET_ACTIVE; /* back from retirement */
    k3.key[1].state = KEYSET_RETIRED;
    MAKE_SIGN(&k3, 1, 0);
    expect_follows(&k2, &k3, KEYSET_E_CHANGE);

    /* An end can come earlier, never later; a revocation is never taken back. */
    k2.key[0].k.not_after_s = MAKE_T0 + 100;
    k2.key[0].state = KEYSET_REVOKED;
    k2.key[0].k.revoked_s = MAKE_T0 + 100;
    CHANGED(k3.key[0].k.not_after_s--, KEYSET_OK);
    CHANGED(k3.key[0].k.not_after_s++, KEYSET_E_CHANGE);
    CHANGED(k3.key[0].k.not_after_s = 0, KEYSET_E_CHANGE);
    CHANGED(k3.key[0].k.revoked_s--, KEYSET_OK);
    CHANGED(k3.key[0].k.revoked_s++, KEYSET_E_CHANGE);
    CHANGED(k3.key[0].k.revoked_s = 0; k3.key[0].state = KEYSET_RETIRED, KEYSET_E_CHANGE);
#undef CHANGED
}

static void expect_parse(const struct keyset *k, int want)
{
    struct buf line;
    struct keyset got;

    buf_init(&line, 1u << 20);
    assert_int_equal(keyset_render(k, &line), 0);
    assert_string_equal(keyset_error_text(keyset_parse(buf_str(&line), &got)), keyset_error_text(want));
    buf_done(&line);
}

static void test_what_a_version_holds(void **state)
{
    (void)state;
    three();
    expect_parse(&k3, KEYSET_OK);
    k3.key[0].state = KEYSET_ACTIVE; /* two, and one of them revoked */
    expect_parse(&k3, KEYSET_E_FORM);
    three();
    k3.key[1].state = KEYSET_RETIRED;
    expect_parse(&k3, KEYSET_E_KEYS);
    three();
    k3.key[0].k.revoked_s = 0;
    expect_parse(&k3, KEYSET_E_FORM);
    three();
    k3.key[1].k.keyid[20] ^= 1;
    expect_parse(&k3, KEYSET_E_KEYS);
    three();
    make_key(&k3, 1, KEYSET_STANDBY);
    expect_parse(&k3, KEYSET_E_KEYS);
    three();
    k3.nsigs = 0;
    expect_parse(&k3, KEYSET_E_FORM);
    three();
    k3.nsigs = 2;
    k3.sig[1] = k3.sig[0];
    expect_parse(&k3, KEYSET_E_FORM);
    three();
    k3.sig[0].keyid[30] = 'g';
    expect_parse(&k3, KEYSET_E_FORM);
    three();
    k3.version = 0;
    expect_parse(&k3, KEYSET_E_FORM);
    for (const char *const *bad =
             (const char *const[]){"a\"b", "a\\b", "a\nb", "a\x7f", "\xc2\x85", "\xff", NULL};
         *bad; bad++) {
        three();
        strcpy(k3.key[0].reason, *bad);
        expect_parse(&k3, KEYSET_E_FORM);
    }
}

static void test_files(void **state)
{
    struct keyset_chain *c = calloc(1, sizeof(*c));
    struct keyset other;
    struct buf file, fork, tail;
    size_t line = 0;

    (void)state;
    three();
    buf_init(&file, 1u << 20);
    buf_init(&fork, 1u << 20);
    buf_init(&tail, 1u << 20);
    assert_int_equal(keyset_chain_read(STR_NONE, c, &line), KEYSET_E_EMPTY);
    make_line(&k1, &file);
    make_line(&k2, &file);
    make_line(&k3, &file);
    assert_int_equal(keyset_chain_read(buf_str(&file), c, &line), KEYSET_OK);
    assert_int_equal(c->newest.version, 3);
    assert_int_equal(c->n, 3);
    assert_memory_equal(c->digest[1], k2.digest, DIGEST_LEN);
    file.len--; /* no LF */
    assert_int_equal(keyset_chain_read(buf_str(&file), c, &line), KEYSET_E_FORM);
    assert_int_equal(line, 3);
    file.len++;

    /* Another second version. */
    make_rotated(&k1, 0, 2, &other);
    MAKE_SIGN(&other, 0, 2);
    make_line(&k1, &fork);
    make_line(&other, &fork);
    assert_int_equal(keyset_chain_read(buf_str(&fork), c, &line), KEYSET_OK);
    assert_int_equal(keyset_chain_extend(c, buf_str(&file)), KEYSET_E_FORK);
    make_line(&k2, &fork); /* both in one file */
    assert_int_equal(keyset_chain_read(buf_str(&fork), c, &line), KEYSET_E_VERSION);
    assert_int_equal(line, 3);

    /* From any version that is known to any later one; an older file changes nothing. */
    make_line(&k2, &tail);
    assert_int_equal(keyset_chain_read(buf_str(&tail), c, NULL), KEYSET_OK);
    assert_int_equal(c->first, 2);
    assert_int_equal(keyset_chain_extend(c, buf_str(&file)), KEYSET_OK);
    assert_int_equal(c->newest.version, 3);
    assert_int_equal(keyset_chain_extend(c, buf_str(&tail)), KEYSET_OK);
    assert_int_equal(c->newest.version, 3);
    buf_clear(&tail);
    make_line(&k1, &tail);
    assert_int_equal(keyset_chain_extend(c, buf_str(&tail)), KEYSET_OK);
    assert_int_equal(keyset_chain_extend(c, STR_NONE), KEYSET_E_EMPTY);

    /* Who trusts a key trusts what it signed, and what follows from that. */
    assert_int_equal(keyset_chain_vouched(buf_str(&file), &make_vkey[0], c), KEYSET_OK);
    assert_int_equal(c->first, 1);
    assert_int_equal(c->newest.version, 3);
    assert_int_equal(keyset_chain_vouched(buf_str(&file), &make_vkey[1], c), KEYSET_OK);
    assert_int_equal(c->first, 2);
    assert_int_equal(c->newest.version, 3);
    assert_int_equal(keyset_chain_vouched(buf_str(&file), &make_vkey[2], c), KEYSET_E_AUTHORITY);
    buf_done(&file);
    buf_done(&fork);
    buf_done(&tail);
    free(c);
}

static void test_limits(void **state)
{
    struct keyset_chain *c = calloc(1, sizeof(*c));
    struct keyset a, b;
    struct buf file;
    size_t line = 0;

    (void)state;
    make_first(&a);
    buf_init(&file, 8u << 20);
    for (unsigned i = 0; i <= KEYSET_VERSIONS_MAX; i++) {
        if (i == KEYSET_VERSIONS_MAX)
            assert_int_equal(keyset_chain_read(buf_str(&file), c, &line), KEYSET_OK);
        make_line(&a, &file);
        make_next(&a, &b);
        MAKE_SIGN(&b, 0);
        a = b;
    }
    assert_int_equal(keyset_chain_read(buf_str(&file), c, &line), KEYSET_E_FORM);
    assert_int_equal(line, KEYSET_VERSIONS_MAX + 1);
    buf_done(&file);
    free(c);
}

static void test_ring(void **state)
{
    struct keyring ring;

    (void)state;
    three();
    keyset_ring(&k3, &ring);
    assert_int_equal(ring.n, 2);
    assert_int_equal(keyring_judge(&ring.key[0], MAKE_T0 + 49), KEYRING_OK);
    assert_int_equal(keyring_judge(&ring.key[0], MAKE_T0 + 50), KEYRING_REVOKED);
    assert_int_equal(keyring_judge(&ring.key[1], MAKE_T0 + 99), KEYRING_NOT_YET);
    assert_int_equal(keyring_judge(&ring.key[1], MAKE_T0 + 100), KEYRING_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_every_flipped_bit_is_seen),
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_who_may_sign),
        cmocka_unit_test(test_what_may_change),
        cmocka_unit_test(test_what_a_version_holds),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_ring),
    };

    return cmocka_run_group_tests(tests, make_setup, NULL);
}
