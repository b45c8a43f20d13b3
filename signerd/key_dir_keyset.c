/* SPDX-License-Identifier: MIT */
/* The next version of the keyset. */
#include "common/base/clock.h"
#include "common/base/log.h"
#include "signerd/key_dir_internal.h"

void key_dir_next(const struct key_dir *d, struct keyset *ret)
{
    uint64_t now = clock_realtime_ms() / 1000;

    if (d->chain.n == 0) {
        memset(ret, 0, sizeof(*ret));
        ret->version = 1;
        ret->created_s = now;
        return;
    }
    *ret = d->chain.newest;
    ret->version++;
    ret->nsigs = 0;
    memcpy(ret->previous, d->chain.newest.digest, DIGEST_LEN);
    if (now > ret->created_s) /* a clock that was set back does not count back */
        ret->created_s = now;
}

static int key_dir_sign(struct keyset *k, struct key_store *const *by, size_t n)
{
    _cleanup_(buf_done) struct buf text = {.data = NULL};
    int r;

    buf_init(&text, KEYSET_LINE_MAX);
    r = keyset_signed(k, &text);
    for (size_t i = 0; r == 0 && i < n; i++) {
        struct keyset_sig *sig = &k->sig[k->nsigs];

        envelope_keyid(key_store_vkey(by[i])->public, sig->keyid);
        r = key_store_sign(by[i], text.data, text.len, sig->sig);
        if (r == 0)
            k->nsigs++;
    }
    return r;
}

/* What a verifier would say of the whole file: nothing is written that it would refuse. */
static int key_dir_check_file(struct key_dir *d, const struct buf *file)
{
    struct keyset_chain *c = malloc(sizeof(*c));
    int r = c ? keyset_chain_read(buf_str(file), c, /* ret_line= */ NULL) : -ENOMEM;

    if (r == KEYSET_OK)
        d->chain = *c;
    free(c);
    if (r > 0) {
        log_error("the new keyset is not one: %s", keyset_error_text(r));
        return -EINVAL;
    }
    return r;
}

int key_dir_append(struct key_dir *d, struct keyset *k, struct key_store *const *by, size_t n)
{
    _cleanup_(buf_done) struct buf file = {.data = NULL};
    struct keyset_chain *before = malloc(sizeof(*before));
    int r = before ? key_dir_sign(k, by, n) : -ENOMEM;

    buf_init(&file, KEYSET_FILE_MAX);
    buf_put_str(&file, buf_str(&d->text));
    if (r == 0)
        r = keyset_render(k, &file);
    buf_putc(&file, '\n');
    if (r == 0)
        r = file.err;
    if (r == 0) {
        *before = d->chain;
        r = key_dir_check_file(d, &file);
    }
    if (r == 0) {
        r = key_dir_write(d, KEYSET_FILE, buf_str(&file));
        if (r < 0)
            d->chain = *before;
    }
    free(before);
    if (r < 0)
        return log_errno(r, "cannot write keys/%s", KEYSET_FILE);
    buf_clear(&d->text);
    buf_put_str(&d->text, buf_str(&file));
    return d->text.err;
}

int key_dir_begin(struct key_dir *d, struct key_store *key, uint64_t not_after_s)
{
    struct keyset *k = malloc(sizeof(*k));
    int r;

    if (!k)
        return -ENOMEM;
    key_dir_next(d, k);
    k->n = 1;
    k->key[0].state = KEYSET_ACTIVE;
    k->key[0].k.vkey = *key_store_vkey(key);
    k->key[0].k.not_after_s = not_after_s;
    envelope_keyid(k->key[0].k.vkey.public, k->key[0].k.keyid);
    r = key_dir_append(d, k, &key, 1);
    free(k);
    return r;
}
