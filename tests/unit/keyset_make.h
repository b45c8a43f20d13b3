/* SPDX-License-Identifier: MIT */
/* Keysets for tests: keys from small seeds, versions signed by whoever is named. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/evidence/keyset.h"

#define MAKE_KEYS 8
#define MAKE_T0   UINT64_C(1764000000)

static struct vkey make_vkey[MAKE_KEYS];
static uint8_t make_secret[MAKE_KEYS][ED25519_SECRET_LEN];

static int make_setup(void **state)
{
    (void)state;
    if (digest_init() < 0 || ed25519_init() < 0)
        return -1;
    for (uint8_t i = 0; i < MAKE_KEYS; i++) {
        uint8_t seed[ED25519_SEED_LEN] = {100, i}, public[ED25519_PUBLIC_LEN];

        ed25519_from_seed(seed, public, make_secret[i]);
        vkey_from_public(public, &make_vkey[i]);
    }
    return 0;
}

static inline struct keyset_key *make_key(struct keyset *k, unsigned key, enum keyset_state state)
{
    struct keyset_key *n = &k->key[k->n++];

    *n = (struct keyset_key){.state = state};
    n->k.vkey = make_vkey[key];
    envelope_keyid(make_vkey[key].public, n->k.keyid);
    n->k.not_before_s = k->version > 1 ? k->created_s : 0;
    return n;
}

/* Signs k as it is with these keys; its digest is then that of its line. */
static inline void make_sign(struct keyset *k, const unsigned *by, size_t n)
{
    struct buf text, line;

    buf_init(&text, 1u << 20);
    buf_init(&line, 1u << 20);
    assert_int_equal(keyset_signed(k, &text), 0);
    k->nsigs = n;
    for (size_t i = 0; i < n; i++) {
        envelope_keyid(make_vkey[by[i]].public, k->sig[i].keyid);
        ed25519_sign(make_secret[by[i]], text.data, text.len, k->sig[i].sig);
    }
    assert_int_equal(keyset_render(k, &line), 0);
    digest_sha256(line.data, line.len, k->digest);
    buf_done(&text);
    buf_done(&line);
}
#define MAKE_SIGN(k, ...)                                                                                    \
    make_sign(k, (const unsigned[]){__VA_ARGS__}, sizeof((unsigned[]){__VA_ARGS__}) / sizeof(unsigned))

static inline void make_first(struct keyset *k)
{
    memset(k, 0, sizeof(*k));
    k->version = 1;
    k->created_s = MAKE_T0;
    make_key(k, 0, KEYSET_ACTIVE);
    MAKE_SIGN(k, 0);
}

/* The next version, still the same keys and not signed. */
static inline void make_next(const struct keyset *prev, struct keyset *k)
{
    *k = *prev;
    k->version++;
    k->created_s += 100;
    k->nsigs = 0;
    memcpy(k->previous, prev->digest, DIGEST_LEN);
}

/* Key `old` of prev's keys retires, `key` is the active one. */
static inline void make_rotated(const struct keyset *prev, size_t old, unsigned key, struct keyset *k)
{
    make_next(prev, k);
    k->key[old].state = KEYSET_RETIRED;
    make_key(k, key, KEYSET_ACTIVE);
}

static inline void make_line(const struct keyset *k, struct buf *b)
{
    assert_int_equal(keyset_render(k, b), 0);
    buf_putc(b, '\n');
}
