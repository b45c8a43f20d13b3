/* SPDX-License-Identifier: MIT */
#include "signerd/keys.h"

#include <fcntl.h>

#include "common/base/clock.h"
#include "common/base/log.h"

struct keys {
    struct key_store *store;
    char keyid[ENVELOPE_KEYID_LEN + 1];
    struct keyset newest;
    struct keyring ring;
    const struct keyring_key *own; /* in ring */
    struct buf keyset;
};

struct keys *keys_free(struct keys *k)
{
    if (k) {
        key_store_free(k->store);
        buf_done(&k->keyset);
        free(k);
    }
    return NULL;
}

const struct vkey *keys_vkey(const struct keys *k)
{
    return key_store_vkey(k->store);
}

const char *keys_keyid(const struct keys *k)
{
    return k->keyid;
}

int keys_fd(const struct keys *k)
{
    return key_store_fd(k->store);
}

const struct keyring *keys_ring(const struct keys *k)
{
    return &k->ring;
}

struct str keys_keyset(const struct keys *k)
{
    return buf_str(&k->keyset);
}

const struct keyset *keys_newest(const struct keys *k)
{
    return &k->newest;
}

bool keys_count_at(const struct keys *k, uint64_t when_s)
{
    return keyring_judge(k->own, when_s) == KEYRING_OK;
}

void keys_sign_begin(struct keys *k)
{
    key_store_begin(k->store);
}

void keys_sign_end(struct keys *k)
{
    key_store_end(k->store);
}

void keys_sign(struct keys *k, const void *msg, size_t n, uint8_t ret_sig[static ED25519_SIG_LEN])
{
    if (key_store_sign(k->store, msg, n, ret_sig) < 0)
        exit(EXIT_FAILURE); /* logged; nothing that is not signed may get further than here */
}

/* ---- opening ---- */

/* The first key of a directory. */
static int keys_make(struct key_dir *d, struct key_store **ret)
{
    struct key_store *s = NULL;
    int r;

    if (d->chain.n) {
        log_error(
            "keys/%s is missing: restore it from a copy, or let a standby key take over with `cellctl key "
            "rotate`",
            KEYS_FILE);
        return -ENOKEY;
    }
    r = key_dir_sweep(d);
    if (r == 0)
        r = key_dir_make(d, &s);
    if (r == 0)
        r = key_dir_begin(d, s, 0);
    if (r == 0)
        r = key_dir_finish(d);
    if (r < 0) {
        key_store_free(s);
        return r;
    }
    *ret = s;
    return 0;
}

static int keys_take(struct key_dir *d, const char *source, struct keys *k)
{
    const struct keyset_key *active;
    int r = key_dir_finish(d);

    if (r == 0)
        r = key_dir_active(d, source, &k->store);
    if (r == -ENOENT)
        r = keys_make(d, &k->store);
    if (r == 0 && d->chain.n == 0)
        r = key_dir_begin(d, k->store, 0); /* keys from before there were keysets */
    if (r < 0)
        return r;
    active = keyset_active(&d->chain.newest);
    if (!active || memcmp(active->k.vkey.public, keys_vkey(k)->public, ED25519_PUBLIC_LEN) != 0) {
        log_error("the key that is here (%s) is not the active one of keys/%s (%s): `cellctl key list` shows "
                  "them, `cellctl key rotate` changes the active one",
                  keys_vkey(k)->name, KEYSET_FILE, active ? active->k.vkey.name : "none");
        return -EKEYREJECTED;
    }
    return key_dir_write_vkey(d, keys_vkey(k));
}

static int keys_fill(struct key_dir *d, struct keys *k)
{
    k->newest = d->chain.newest;
    keyset_ring(&k->newest, &k->ring);
    k->own = keyring_find_public(&k->ring, keys_vkey(k)->public);
    envelope_keyid(keys_vkey(k)->public, k->keyid);
    k->keyset = d->text;
    buf_init(&d->text, 0);
    return k->own ? 0 : -EBADMSG;
}

/* Nothing is signed that every verifier would refuse. */
static int keys_check_time(const struct keys *k)
{
    uint64_t now = clock_realtime_ms() / 1000;
    char when[CLOCK_RFC3339_LEN + 1] = "";

    switch (keyring_judge(k->own, now)) {
    case KEYRING_OK:
        if (k->own->not_after_s && k->own->not_after_s - now < KEYS_WARN_S &&
            clock_format_rfc3339(k->own->not_after_s, when) == 0)
            log_warning("the signing key ends at %s: `cellctl key rotate` makes the next one", when);
        return 0;
    case KEYRING_NOT_YET:
        (void)!clock_format_rfc3339(k->own->not_before_s, when);
        log_error("the signing key counts from %s on and the clock says it is not yet then: set the clock",
                  when);
        return -EKEYREJECTED;
    case KEYRING_EXPIRED:
        (void)!clock_format_rfc3339(k->own->not_after_s, when);
        log_error("the signing key ended at %s: `cellctl key rotate` makes the next one", when);
        return -EKEYEXPIRED;
    default:
        log_error("the signing key is revoked: `cellctl key rotate` makes the next one");
        return -EKEYREJECTED;
    }
}

int keys_open_from(int dirfd, const char *source, struct keys **ret)
{
    struct key_dir *d = malloc(sizeof(*d));
    struct keys *k = calloc(1, sizeof(*k));
    int r = d && k ? key_dir_open(dirfd, d) : -ENOMEM;

    if (r == 0) {
        r = keys_take(d, source, k);
        if (r == 0)
            r = keys_fill(d, k);
        if (r == 0)
            r = keys_check_time(k);
        key_dir_done(d);
    }
    free(d);
    if (r < 0) {
        keys_free(k);
        return r;
    }
    *ret = k;
    return 0;
}

int keys_open(int dirfd, struct keys **ret)
{
    return keys_open_from(dirfd, /* source= */ NULL, ret);
}
