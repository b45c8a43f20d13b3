/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>

#include "common/base/encoding.h"
#include "common/base/num.h"
#include "common/evidence/proof_text.h"
#include "supervisor/ctl/logdir.h"
#include "supervisor/ctl/outfile.h"
#include "supervisor/ctl/witness_way.h"

#define DROP_NAME_MAX 96 /* 64 hex digits and a suffix */

struct drop {
    int dir;
    char request[DROP_NAME_MAX], cosignature[DROP_NAME_MAX], size[DROP_NAME_MAX];
};

/* Files of one log are named by the hash of its origin, as tlog-witness names it. */
static int drop_names(struct drop *d, const char *origin)
{
    _cleanup_(buf_done) struct buf hex = {.data = NULL};
    uint8_t digest[DIGEST_LEN];
    const char *base;

    digest_sha256(origin, strlen(origin), digest);
    buf_init(&hex, 2 * DIGEST_LEN);
    encoding_hex_put(&hex, digest, sizeof(digest));
    base = buf_cstr(&hex);
    if (!base)
        return -ENOMEM;
    (void)snprintf(d->request, sizeof(d->request), "%s.request", base);
    (void)snprintf(d->cosignature, sizeof(d->cosignature), "%s.cosignature", base);
    (void)snprintf(d->size, sizeof(d->size), "%s.size", base);
    return 0;
}

/* What the request that lies there is about. */
static int drop_asked(const struct drop *d, struct buf *note)
{
    _cleanup_(buf_done) struct buf text = {.data = NULL};
    struct proof_text t;
    int r;

    buf_init(&text, PROOF_TEXT_MAX);
    r = log_verify_read_file(d->dir, d->request, &text);
    if (r == 0)
        r = proof_text_get_old(buf_str(&text), &t);
    if (r == 0)
        buf_put_str(note, t.note);
    return r < 0 ? r : note->err;
}

static int drop_size(struct str s, uint64_t *ret)
{
    if (s.len > 0 && s.p[s.len - 1] == '\n')
        s.len--;
    return num_parse_u64(s, 0, UINT64_MAX, ret) < 0 ? -EBADMSG : 0;
}

/* 1 with an answer in *ret, 0 without, -errno. */
static int drop_answer(const struct drop *d, struct witness_reply *ret)
{
    int r = log_verify_read_file(d->dir, d->cosignature, &ret->body);

    if (r == 0) {
        ret->answer = WITNESS_COSIGNED;
        r = drop_asked(d, &ret->note);
    } else if (r == -ENOENT) {
        r = log_verify_read_file(d->dir, d->size, &ret->body);
        if (r == -ENOENT)
            return 0;
        ret->answer = WITNESS_CONFLICT;
        if (r == 0)
            r = drop_size(buf_str(&ret->body), &ret->size);
    }
    if (r < 0)
        return r;
    (void)unlinkat(d->dir, d->cosignature, 0);
    (void)unlinkat(d->dir, d->size, 0);
    (void)unlinkat(d->dir, d->request, 0);
    return 1;
}

int witness_drop(const char *to, const char *origin, struct str request, struct witness_reply *ret)
{
    _cleanup_close_ int dir = logdir_open(to);
    struct drop d = {.dir = dir};
    struct outfile_at o = {.dirfd = dir, .mode = 0644, .dir_mode = 0755, .sync = true};
    int r = dir < 0 ? dir : drop_names(&d, origin);

    if (r == 0)
        r = drop_answer(&d, ret);
    if (r == 0) {
        ret->answer = WITNESS_WAITING;
        r = outfile_replace_at(&o, d.request, request);
    }
    if (r < 0)
        (void)snprintf(ret->why, sizeof(ret->why), "%s", strerror(-r));
    return r < 0 ? r : 0;
}
