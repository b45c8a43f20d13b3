/* SPDX-License-Identifier: MIT */
/* new, rotate, revoke: each is one more version of the keyset. The order is always: the new key is durable,
 * then the keyset that names it, then the old secret is overwritten and the new key put in its place. */
#include "common/base/clock.h"
#include "common/base/log.h"
#include "signerd/key_admin_internal.h"
#include "signerd/token_uri.h"

#define KEY_ADMIN_ID_MIN 4

/* What an operator can do something about is said without the errno's text. */
#define ADMIN_REFUSE(err, ...) (log_error(__VA_ARGS__), (err))

static bool admin_is(const struct key_admin *a, const char *verb)
{
    return strcmp(a->o.verb, verb) == 0;
}

/* The key that a person named: the id's first digits, with or without what stands before them. */
static int admin_find(struct keyset *k, const char *id, struct keyset_key **ret)
{
    static const char *const before[] = {"sha256:", CHECKPOINT_KEY_PREFIX};
    struct keyset_key *found = NULL;
    size_t n;

    for (size_t i = 0; i < ARRAY_LEN(before); i++)
        if (strncmp(id, before[i], strlen(before[i])) == 0)
            id += strlen(before[i]);
    n = strlen(id);
    if (n < KEY_ADMIN_ID_MIN || strspn(id, "0123456789abcdef") != n)
        return ADMIN_REFUSE(-EINVAL,
                            "a key is named by the first %d or more hex digits of its id: see `cellctl key "
                            "list`",
                            KEY_ADMIN_ID_MIN);
    for (size_t i = 0; i < k->n; i++) {
        if (strncmp(k->key[i].k.keyid + sizeof("sha256:") - 1, id, n) != 0)
            continue;
        if (found)
            return ADMIN_REFUSE(-EINVAL, "several keys begin with %s: give more digits", id);
        found = &k->key[i];
    }
    if (!found)
        return ADMIN_REFUSE(-ENOKEY, "no key begins with %s: see `cellctl key list`", id);
    *ret = found;
    return 0;
}

/* ---- before the process is confined ---- */

/* The first standby key whose secret is here. */
static int admin_open_standby(struct key_admin *a)
{
    const struct keyset *k = &a->dir.chain.newest;

    for (size_t i = 0; i < k->n; i++) {
        int r = k->key[i].state == KEYSET_STANDBY ? key_dir_standby(&a->dir, &k->key[i], &a->fresh) : -ENOENT;

        if (r != -ENOENT)
            return r;
    }
    return 0;
}

/* Revoking a key needs another active one only if it is the active one. */
static int admin_needs_fresh(struct key_admin *a, bool *ret)
{
    struct keyset_key *key = NULL;
    int r;

    *ret = !admin_is(a, "revoke");
    if (*ret)
        return 0;
    r = admin_find(&a->dir.chain.newest, a->o.id, &key);
    if (r == 0 && key)
        *ret = key->state == KEYSET_ACTIVE;
    return r;
}

static int admin_begin_keyset(struct key_admin *a)
{
    int r = key_dir_active(&a->dir, a->o.key, &a->old);

    if (r == 0) /* keys from before there were keysets */
        return key_dir_begin(&a->dir, a->old, 0);
    if (r != -ENOENT)
        return r;
    if (!admin_is(a, "new"))
        return ADMIN_REFUSE(-ENOKEY, "there is no key yet: `cellctl key new` makes one");
    return a->o.new_key ? key_dir_active(&a->dir, a->o.new_key, &a->fresh) : 0;
}

int key_admin_prepare(struct key_admin *a)
{
    bool needs = false;
    int r = key_dir_finish(&a->dir);

    if (r == 0)
        r = key_dir_sweep(&a->dir);
    if (r == 0 && a->dir.chain.n == 0)
        r = admin_begin_keyset(a);
    if (r < 0 || a->dir.chain.n == 0)
        return r;
    if (admin_is(a, "new") && !a->o.standby)
        return ADMIN_REFUSE(-EEXIST,
                            "there is an active key (%s): --standby makes one that waits, `cellctl key "
                            "rotate` replaces the active one",
                            keyset_active(&a->dir.chain.newest)->k.vkey.name);
    if (!a->old)
        r = key_dir_active(&a->dir, a->o.key, &a->old);
    if (r == -ENOENT)
        r = 0;
    if (r == 0)
        r = admin_needs_fresh(a, &needs);
    if (r < 0 || !needs)
        return r;
    if (a->o.new_key)
        return key_dir_active(&a->dir, a->o.new_key, &a->fresh);
    return admin_is(a, "new") ? 0 : admin_open_standby(a);
}

/* ---- after it ---- */

/* A new secret, or the place of one that is elsewhere. */
static int admin_make_fresh(struct key_admin *a)
{
    if (!a->fresh)
        return key_dir_make(&a->dir, &a->fresh);
    return a->o.new_key && token_uri_is(str_of(a->o.new_key))
               ? key_dir_note_uri(&a->dir, key_store_vkey(a->fresh), a->o.new_key)
               : 0;
}

static uint64_t admin_end(const struct keyset *k, uint64_t seconds)
{
    return seconds ? k->created_s + seconds : 0;
}

/* The fresh key's entry in the next version: the one it has, or a new one. */
static int admin_entry(struct key_admin *a, struct keyset_key **ret)
{
    char keyid[ENVELOPE_KEYID_LEN + 1];
    struct keyset *k = &a->next;
    struct keyset_key *key;
    uint64_t end = admin_end(k, a->o.valid_for_s);

    envelope_keyid(key_store_vkey(a->fresh)->public, keyid);
    key = keyset_find(k, str_of(keyid));
    if (!key && k->n == KEYRING_MAX)
        return ADMIN_REFUSE(-ENOSPC,
                            "the keyset has %d keys, which is all it can have: begin a new one in another "
                            "state directory",
                            KEYRING_MAX);
    if (!key) {
        key = &k->key[k->n++];
        *key = (struct keyset_key){.state = KEYSET_STANDBY};
        key->k.vkey = *key_store_vkey(a->fresh);
        memcpy(key->k.keyid, keyid, sizeof(keyid));
        key->k.not_before_s = k->created_s;
    }
    if (end && (!key->k.not_after_s || end < key->k.not_after_s))
        key->k.not_after_s = end;
    *ret = key;
    return 0;
}

/* Signed by the active key of before, where its secret is here, and by the key that is active then. */
static int admin_append(struct key_admin *a)
{
    const struct keyset_key *active = keyset_active(&a->next);
    struct key_store *by[2];
    size_t n = 0;

    if (a->old && memcmp(key_store_vkey(a->old)->public, keyset_active(&a->dir.chain.newest)->k.vkey.public,
                         ED25519_PUBLIC_LEN) != 0)
        return ADMIN_REFUSE(-EKEYREJECTED, "the key that is here (%s) is not the active one of keys/%s",
                            key_store_vkey(a->old)->name, KEYSET_FILE);
    if (a->old)
        by[n++] = a->old;
    if (a->fresh && active &&
        memcmp(active->k.vkey.public, key_store_vkey(a->fresh)->public, ED25519_PUBLIC_LEN) == 0)
        by[n++] = a->fresh;
    if (n == 0)
        return ADMIN_REFUSE(-ENOKEY, "the active key is not here and no standby key can sign for it");
    return key_dir_append(&a->dir, &a->next, by, n);
}

/* The active key is in place from now on, and its public part beside it. */
static int admin_place(struct key_admin *a)
{
    const struct keyset_key *active = keyset_active(&a->dir.chain.newest);
    int r = key_dir_finish(&a->dir);

    if (r == 0 && a->fresh && a->o.new_key && !token_uri_is(str_of(a->o.new_key)) && !a->o.standby)
        r = key_dir_vacate(&a->dir); /* a credential has no place here */
    return r == 0 && active ? key_dir_write_vkey(&a->dir, &active->k.vkey) : r;
}

static int admin_new_first(struct key_admin *a)
{
    uint64_t end = a->o.valid_for_s ? clock_realtime_ms() / 1000 + a->o.valid_for_s : 0;
    int r;

    if (a->o.standby)
        return ADMIN_REFUSE(-ENOKEY, "there is no active key yet: make it first, without --standby");
    r = admin_make_fresh(a);
    if (r == 0)
        r = key_dir_begin(&a->dir, a->fresh, end);
    return r < 0 ? r : admin_place(a);
}

static int admin_new_standby(struct key_admin *a)
{
    struct keyset_key *key;
    int r;

    if (!a->old)
        return ADMIN_REFUSE(-ENOKEY, "the active key, which has to sign for the new one, is not here");
    r = admin_make_fresh(a);
    if (r == 0)
        r = admin_entry(a, &key);
    return r < 0 ? r : admin_append(a);
}

/* The active key steps back into this state, the fresh one takes over. */
static int admin_take_over(struct key_admin *a, enum keyset_state state)
{
    struct keyset_key *was = keyset_find(&a->next, str_of(keyset_active(&a->next)->k.keyid)), *key = NULL;
    uint64_t end = admin_end(&a->next, a->o.grace_s);
    int r = admin_make_fresh(a);

    if (r == 0)
        r = admin_entry(a, &key);
    if (r < 0)
        return r;
    if (!was || !key || key == was)
        return ADMIN_REFUSE(-EEXIST, "that key is the active one already");
    was->state = state;
    if (end && (!was->k.not_after_s || end < was->k.not_after_s))
        was->k.not_after_s = end;
    key->state = KEYSET_ACTIVE;
    return 0;
}

static int admin_rotate(struct key_admin *a)
{
    int r = admin_take_over(a, KEYSET_RETIRED);

    if (r == 0)
        r = admin_append(a);
    return r < 0 ? r : admin_place(a);
}

static int admin_mark_revoked(struct key_admin *a, struct keyset_key *key)
{
    uint64_t at = a->o.at_s ? a->o.at_s : a->next.created_s;

    if (at > a->next.created_s)
        return ADMIN_REFUSE(-EINVAL, "a revocation is not in the future");
    if (key->k.revoked_s && at >= key->k.revoked_s)
        return ADMIN_REFUSE(-EEXIST, "that key is revoked already, and from an earlier time on");
    key->state = KEYSET_REVOKED;
    key->k.revoked_s = at;
    if (a->o.reason)
        (void)memcpy(key->reason, a->o.reason, strlen(a->o.reason) + 1);
    return 0;
}

static int admin_revoke(struct key_admin *a)
{
    struct keyset_key *key = NULL;
    enum keyset_state was;
    int r = admin_find(&a->next, a->o.id, &key);

    if (r < 0 || !key)
        return r;
    was = key->state;
    if (was == KEYSET_ACTIVE)
        r = admin_take_over(a, KEYSET_REVOKED);
    if (r == 0)
        r = admin_mark_revoked(a, key);
    if (r == 0)
        r = admin_append(a);
    if (r == 0 && was == KEYSET_STANDBY)
        r = key_dir_forget(&a->dir, key);
    return r < 0 ? r : admin_place(a);
}

int key_admin_do(struct key_admin *a)
{
    if (a->dir.chain.n == 0)
        return admin_new_first(a);
    key_dir_next(&a->dir, &a->next);
    if (admin_is(a, "new"))
        return admin_new_standby(a);
    return admin_is(a, "rotate") ? admin_rotate(a) : admin_revoke(a);
}
