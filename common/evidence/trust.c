/* SPDX-License-Identifier: MIT */
#include "common/evidence/trust.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "common/base/encoding.h"
#include "common/base/num.h"
#include "common/evidence/json_check.h"
#include "common/evidence/log_verify.h"

#define TRUST_CHANGED LOG_TYPE_PREFIX "log.v1.keyset_changed"

static int __attribute__((format(printf, 2, 3))) trust_wrong(char *why, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(why, LOG_CHECK_WHY_MAX, fmt, ap);
    va_end(ap);
    return -EBADMSG;
}

/* A file of the log. 1; 0: there is none, or nothing that could be one; -errno. */
static int trust_read(int dirfd, const char *name, struct buf *b)
{
    int r = log_verify_read_file(dirfd, name, b);

    if (r == 0)
        return 1;
    return r == -ENOENT || r == -EBADMSG || r == -EFBIG || r == -ELOOP ? 0 : r;
}

static void trust_take_chain(struct trust *t)
{
    keyset_ring(&t->chain.newest, &t->ring);
    t->chained = true;
}

static int trust_pinned(struct str pin, struct str own, struct trust *t, char *why)
{
    size_t line = 0;
    int r = keyset_chain_read(pin, &t->chain, &line);

    if (r < 0)
        return r;
    if (r != KEYSET_OK)
        return trust_wrong(why, "the keyset that is trusted, line %zu: %s", line, keyset_error_text(r));
    r = own.p ? keyset_chain_extend(&t->chain, own) : KEYSET_OK;
    if (r < 0)
        return r;
    if (r != KEYSET_OK)
        return trust_wrong(why, "the log's keyset is not the trusted one, or of its future: %s",
                           keyset_error_text(r));
    trust_take_chain(t);
    return 0;
}

static int trust_key(const struct vkey *key, struct str own, struct trust *t, char *why)
{
    int r = KEYSET_E_AUTHORITY;

    t->chain.n = 0;
    if (own.p)
        r = keyset_chain_vouched(own, key, &t->chain);
    if (r < 0)
        return r;
    if (r == KEYSET_OK)
        trust_take_chain(t);
    else if (r == KEYSET_E_AUTHORITY && t->chain.n == 0) /* another's keyset; not one that goes wrong later */
        keyring_one(&t->ring, key);
    else
        return trust_wrong(why, "the log's keyset: %s", keyset_error_text(r));
    return 0;
}

/* What the log says of itself: its keyset, of which its vkey must be a key; without one its vkey. */
static int trust_declared(struct str vkey, struct str own, struct trust *t, char *why)
{
    struct vkey key;
    size_t line = 0;
    int r;

    t->self_declared = true;
    if (vkey.len > 0 && vkey.p[vkey.len - 1] == '\n')
        vkey.len--;
    if (vkey_parse(vkey, &key) < 0)
        return trust_wrong(why, "no usable vkey file in the log: give the public key with --key");
    keyring_one(&t->ring, &key);
    if (!own.p)
        return 0;
    r = keyset_chain_read(own, &t->chain, &line);
    if (r < 0)
        return r;
    if (r != KEYSET_OK)
        return trust_wrong(why, "the log's keyset, line %zu: %s", line, keyset_error_text(r));
    trust_take_chain(t);
    return keyring_find_public(&t->ring, key.public)
               ? 0
               : trust_wrong(why, "the log's vkey is not in its keyset");
}

int trust_open_texts(struct str vkey, struct str keyset, const struct trust_root *root, struct trust *ret,
                     char why[static LOG_CHECK_WHY_MAX])
{
    ret->self_declared = ret->chained = false;
    ret->ring.n = 0;
    if (root->ring) {
        ret->ring = *root->ring;
        return 0;
    }
    if (root->keyset.p)
        return trust_pinned(root->keyset, keyset, ret, why);
    if (root->key)
        return trust_key(root->key, keyset, ret, why);
    return trust_declared(vkey, keyset, ret, why);
}

int trust_open(int dirfd, const struct trust_root *root, struct trust *ret,
               char why[static LOG_CHECK_WHY_MAX])
{
    _cleanup_(buf_done) struct buf text = {.data = NULL}, vkey = {.data = NULL};
    struct str own = STR_NONE; /* absent: the log has no keyset */
    int r = 0;

    buf_init(&text, KEYSET_FILE_MAX);
    buf_init(&vkey, LOG_FILE_MAX);
    if (!root->ring) {
        r = log_verify_read_file(dirfd, KEYSET_FILE, &text);
        if (r == -EBADMSG || r == -EFBIG || r == -ELOOP)
            return trust_wrong(why, "the log's keyset is not a file that can be one");
        if (r < 0 && r != -ENOENT)
            return r;
        if (r == 0)
            own = (struct str){text.len > 0 ? (const char *)text.data : "", text.len};
        r = root->keyset.p || root->key ? 0 : trust_read(dirfd, "vkey", &vkey);
    }
    return r < 0 ? r : trust_open_texts(buf_str(&vkey), own, root, ret, why);
}

int trust_check_signer(const struct keyring_key *signer, const struct envelope *e,
                       char why[static LOG_CHECK_WHY_MAX])
{
    enum keyring_judgement j = keyring_judge_time(signer, e->time);

    if (j == KEYRING_OK || j == KEYRING_NOT_YET)
        return 0;
    return trust_wrong(
        why, "the checkpoint covers line %" PRIu64 ", but the key %s that signed it %s by then",
        e->sequence + 1, signer->vkey.name, j == KEYRING_REVOKED ? "was revoked" : "had ended");
}

int trust_check_event(const struct trust *t, const struct envelope *e, char why[static LOG_CHECK_WHY_MAX])
{
    _cleanup_(buf_done) struct buf want = {.data = NULL};
    struct str version, digest;
    uint64_t n;

    if (!t->chained || e->subject.p || !str_is(e->type, TRUST_CHANGED))
        return 0;
    if (json_check_member(e->data, "version", &version) < 0 ||
        json_check_member(e->data, "digest", &digest) < 0 || num_parse_u64(version, 1, UINT32_MAX, &n) < 0)
        return trust_wrong(why, "log.v1.keyset_changed without a version and a digest");
    if (n < t->chain.first)
        return 0; /* older than what is trusted */
    if (n >= t->chain.first + t->chain.n)
        return trust_wrong(why, "version %" PRIu64 " of the keyset is missing: an older one took its place",
                           n);
    buf_init(&want, 2 * DIGEST_LEN + 16);
    buf_puts(&want, "\"sha256:");
    encoding_hex_put(&want, t->chain.digest[n - t->chain.first], DIGEST_LEN);
    buf_putc(&want, '"');
    if (want.err)
        return want.err;
    return str_eq(digest, buf_str(&want))
               ? 0
               : trust_wrong(why, "the log was signed with another version %" PRIu64 " of the keyset", n);
}
