/* SPDX-License-Identifier: MIT */
#include "common/evidence/keyset.h"

static const char *const keyset_errors[_KEYSET_ERROR_MAX] = {
    [KEYSET_OK] = "ok",
    [KEYSET_E_FORM] = "not a keyset in the one form it has",
    [KEYSET_E_KEYS] =
        "its keys are not in order: exactly one is active, none is there twice, each has its own id",
    [KEYSET_E_VERSION] = "not the version that is due",
    [KEYSET_E_PREVIOUS] = "it does not follow the version before it",
    [KEYSET_E_CHANGE] = "it changes what no later version may change",
    [KEYSET_E_SIGNATURE] = "a signature on it does not verify",
    [KEYSET_E_AUTHORITY] = "it is not signed by a key that could sign it",
    [KEYSET_E_POSSESSION] = "it is not signed by its own active key",
    [KEYSET_E_EMPTY] = "there is no version in it",
    [KEYSET_E_FORK] = "it has another line for a version that is known already",
};

const char *keyset_error_text(int error)
{
    return error >= 0 && error < _KEYSET_ERROR_MAX ? keyset_errors[error] : "internal error";
}

const struct keyset_key *keyset_active(const struct keyset *k)
{
    for (size_t i = 0; i < k->n; i++)
        if (k->key[i].state == KEYSET_ACTIVE)
            return &k->key[i];
    return NULL;
}

static const struct keyset_key *keyset_by_id(const struct keyset *k, struct str keyid)
{
    for (size_t i = 0; i < k->n; i++)
        if (str_is(keyid, k->key[i].k.keyid))
            return &k->key[i];
    return NULL;
}

struct keyset_key *keyset_find(struct keyset *k, struct str keyid)
{
    for (size_t i = 0; i < k->n; i++)
        if (str_is(keyid, k->key[i].k.keyid))
            return &k->key[i];
    return NULL;
}

void keyset_ring(const struct keyset *k, struct keyring *ret)
{
    ret->n = k->n;
    for (size_t i = 0; i < k->n; i++)
        ret->key[i] = k->key[i].k;
}

/* ---- what a version may change ---- */

static bool keyset_may_become(enum keyset_state from, enum keyset_state to)
{
    static const unsigned next[_KEYSET_STATE_MAX] = {
        [KEYSET_ACTIVE] = 1u << KEYSET_ACTIVE | 1u << KEYSET_RETIRED | 1u << KEYSET_REVOKED,
        [KEYSET_STANDBY] =
            1u << KEYSET_STANDBY | 1u << KEYSET_ACTIVE | 1u << KEYSET_RETIRED | 1u << KEYSET_REVOKED,
        [KEYSET_RETIRED] = 1u << KEYSET_RETIRED | 1u << KEYSET_REVOKED,
        [KEYSET_REVOKED] = 1u << KEYSET_REVOKED,
    };
    return next[from] & 1u << to;
}

/* An end (0: none) may be set, or become earlier. */
static bool keyset_may_end(uint64_t from, uint64_t to)
{
    return from == 0 || (to != 0 && to <= from);
}

static bool keyset_key_follows(const struct keyset_key *was, const struct keyset_key *is)
{
    return memcmp(&was->k.vkey.public, &is->k.vkey.public, ED25519_PUBLIC_LEN) == 0 &&
           strcmp(was->k.vkey.name, is->k.vkey.name) == 0 && was->k.not_before_s == is->k.not_before_s &&
           keyset_may_end(was->k.not_after_s, is->k.not_after_s) &&
           keyset_may_end(was->k.revoked_s, is->k.revoked_s) && keyset_may_become(was->state, is->state);
}

/* Keys stay, in their places, and new ones come behind them. None of these counts before its own version was
 * made: a key made today cannot vouch for yesterday. */
static bool keyset_keys_follow(const struct keyset *prev, const struct keyset *k)
{
    if (k->n < prev->n || k->created_s < prev->created_s)
        return false;
    for (size_t i = 0; i < prev->n; i++)
        if (!keyset_key_follows(&prev->key[i], &k->key[i]))
            return false;
    for (size_t i = prev->n; i < k->n; i++)
        if (k->key[i].k.not_before_s < k->created_s)
            return false;
    return true;
}

/* ---- signatures ---- */

static bool keyset_may_sign(const struct keyset *prev, struct str keyid)
{
    const struct keyset_key *key = keyset_by_id(prev, keyid);

    return key && (key->state == KEYSET_ACTIVE || key->state == KEYSET_STANDBY);
}

/* Every signature must be a good one of a key that may be there: who could sign it, or its active key. */
static int keyset_signatures(const struct keyset *prev, const struct keyset *k)
{
    _cleanup_(buf_done) struct buf text = {.data = NULL};
    const struct keyset_key *active = keyset_active(k);
    bool authority = !prev, possession = false;
    int r;

    buf_init(&text, KEYSET_LINE_MAX + sizeof(KEYSET_SIGN_PREFIX));
    r = keyset_signed(k, &text);
    if (r < 0)
        return r;
    for (size_t i = 0; i < k->nsigs; i++) {
        struct str id = str_of(k->sig[i].keyid);
        const struct keyset_key *key = keyset_by_id(k, id);
        bool own = active && str_is(id, active->k.keyid), may = prev && keyset_may_sign(prev, id);

        /* Of the first version one has, the line before is not known, and so not who else could sign it. */
        if (!key || (prev && !own && !may) ||
            !ed25519_verify(key->k.vkey.public, text.data, text.len, k->sig[i].sig, ED25519_SIG_LEN))
            return KEYSET_E_SIGNATURE;
        possession |= own;
        authority |= may;
    }
    return !authority ? KEYSET_E_AUTHORITY : possession ? KEYSET_OK : KEYSET_E_POSSESSION;
}

int keyset_follows(const struct keyset *prev, const struct keyset *k)
{
    if (prev && k->version != prev->version + 1)
        return KEYSET_E_VERSION;
    if (prev && memcmp(k->previous, prev->digest, DIGEST_LEN) != 0)
        return KEYSET_E_PREVIOUS;
    if (prev && !keyset_keys_follow(prev, k))
        return KEYSET_E_CHANGE;
    return keyset_signatures(prev, k);
}

/* ---- chains ---- */

/* The next line without its LF. A keyset_error; KEYSET_E_EMPTY at the end. */
static int keyset_line(struct str *file, struct str *ret)
{
    const char *lf = file->len ? memchr(file->p, '\n', file->len) : NULL;

    if (file->len == 0)
        return KEYSET_E_EMPTY;
    if (!lf)
        return KEYSET_E_FORM;
    *ret = (struct str){file->p, (size_t)(lf - file->p)};
    *file = (struct str){lf + 1, file->len - ret->len - 1};
    return KEYSET_OK;
}

static int keyset_chain_add(struct keyset_chain *c, const struct keyset *k)
{
    int r;

    if (c->n == KEYSET_VERSIONS_MAX)
        return KEYSET_E_FORM;
    r = keyset_follows(c->n ? &c->newest : NULL, k);
    if (r != KEYSET_OK)
        return r;
    if (c->n == 0)
        c->first = k->version;
    memcpy(c->digest[c->n++], k->digest, DIGEST_LEN);
    c->newest = *k;
    return KEYSET_OK;
}

static bool keyset_signed_by(const struct keyset *k, const char *keyid)
{
    for (size_t i = 0; i < k->nsigs; i++)
        if (strcmp(k->sig[i].keyid, keyid) == 0)
            return true;
    return false;
}

/* Adds the lines of a file to c, from the first on that the key with this id signed (NULL: the very first).
 * k: where a line is taken apart. */
static int keyset_chain_lines(struct keyset_chain *c, struct str file, const char *keyid, struct keyset *k,
                              size_t *ret_line)
{
    struct str line;
    int r = KEYSET_OK;

    for (size_t i = 1; r == KEYSET_OK; i++) {
        r = keyset_line(&file, &line);
        if (r == KEYSET_E_EMPTY)
            return i == 1 ? KEYSET_E_EMPTY : c->n ? KEYSET_OK : KEYSET_E_AUTHORITY;
        if (ret_line)
            *ret_line = i;
        if (r == KEYSET_OK && i > KEYSET_VERSIONS_MAX)
            r = KEYSET_E_FORM;
        if (r == KEYSET_OK)
            r = keyset_parse(line, k);
        if (r == KEYSET_OK && (c->n || !keyid || keyset_signed_by(k, keyid)))
            r = keyset_chain_add(c, k);
    }
    return r;
}

static int keyset_chain_begin(struct str file, const char *keyid, struct keyset_chain *ret, size_t *ret_line)
{
    struct keyset *k;
    int r;

    ret->n = 0;
    if (file.len > KEYSET_FILE_MAX)
        return KEYSET_E_FORM;
    k = malloc(sizeof(*k));
    if (!k)
        return -ENOMEM;
    r = keyset_chain_lines(ret, file, keyid, k, ret_line);
    free(k);
    return r;
}

int keyset_chain_read(struct str file, struct keyset_chain *ret, size_t *ret_line)
{
    return keyset_chain_begin(file, /* keyid= */ NULL, ret, ret_line);
}

int keyset_chain_vouched(struct str file, const struct vkey *by, struct keyset_chain *ret)
{
    char keyid[ENVELOPE_KEYID_LEN + 1];

    envelope_keyid(by->public, keyid);
    return keyset_chain_begin(file, keyid, ret, /* ret_line= */ NULL);
}

/* The file's lines against those that are known; newer ones are added to c. */
static int keyset_chain_compare(struct keyset_chain *c, struct str file, struct keyset *k)
{
    uint64_t due = 0;
    struct str line;
    int r = KEYSET_OK;

    while (r == KEYSET_OK) {
        r = keyset_line(&file, &line);
        if (r == KEYSET_E_EMPTY)
            return due ? KEYSET_OK : KEYSET_E_EMPTY;
        if (r == KEYSET_OK)
            r = keyset_parse(line, k);
        if (r != KEYSET_OK)
            return r;
        if (due && k->version != due)
            return due - 1 == k->version ? KEYSET_E_FORK : KEYSET_E_VERSION;
        due = k->version + 1;
        if (k->version < c->first)
            continue;
        if (k->version >= c->first + c->n)
            r = keyset_chain_add(c, k);
        else if (memcmp(c->digest[k->version - c->first], k->digest, DIGEST_LEN) != 0)
            r = KEYSET_E_FORK;
    }
    return r;
}

int keyset_chain_extend(struct keyset_chain *trusted, struct str file)
{
    struct keyset_chain *c;
    struct keyset *k;
    int r;

    if (file.len > KEYSET_FILE_MAX)
        return KEYSET_E_FORM;
    c = malloc(sizeof(*c));
    k = malloc(sizeof(*k));
    if (c && k) {
        *c = *trusted;
        r = keyset_chain_compare(c, file, k);
        if (r == KEYSET_OK)
            *trusted = *c;
    } else {
        r = -ENOMEM;
    }
    free(c);
    free(k);
    return r;
}
