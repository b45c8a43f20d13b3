/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/loghead.h"

#include <fcntl.h>
#include <stdio.h>

#include "common/base/dir.h"
#include "common/base/io.h"
#include "common/evidence/cosign.h"
#include "common/evidence/note.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/logdir.h"

#define FAIL(status, verb, ...) ((verb) ? ctl_fail(status, verb, __VA_ARGS__) : (int)(status))
#define NOTE_SUFFIX             ".note"

struct loghead *loghead_free(struct loghead *h)
{
    if (h) {
        cleanup_closep(&h->fd);
        buf_done(&h->vkey);
        buf_done(&h->keyset);
        buf_done(&h->note);
        free(h);
    }
    return NULL;
}

void loghead_freep(struct loghead **h)
{
    *h = loghead_free(*h);
}

static int loghead_file(int fd, const char *name, struct buf *b)
{
    int r = log_verify_read_file(fd, name, b);

    if (r == 0 && b->len > 0 && b->data[b->len - 1] == '\n')
        b->len--;
    return r;
}

static int loghead_fill(const char *verb, const char *path, struct loghead *h)
{
    char why[LOG_CHECK_WHY_MAX] = "";
    const struct keyring_key *signer;
    int r;

    if (digest_init() < 0 || ed25519_init() < 0)
        return FAIL(CTL_FAILED, verb, "SHA-256 or Ed25519 is not available");
    if (loghead_file(h->fd, "vkey", &h->vkey) < 0 || log_verify_read_file(h->fd, "checkpoint", &h->note) < 0)
        return FAIL(CTL_FAILED, verb,
                    "%s is no log, or has no vkey and checkpoint: `cellctl verify` says more", path);
    r = log_verify_read_file(h->fd, KEYSET_FILE, &h->keyset);
    if (r == -ENOENT)
        r = 0;
    if (r == 0)
        r = trust_open_texts(buf_str(&h->vkey), buf_str(&h->keyset), &(struct trust_root){.ring = NULL},
                             &h->trust, why);
    if (r < 0)
        return FAIL(CTL_FAILED, verb, "the keys of %s: %s", path, r == -EBADMSG ? why : strerror(-r));
    if (checkpoint_open_ring(buf_str(&h->note), &h->trust.ring, &h->checkpoint, &signer) != CHECKPOINT_OK)
        return FAIL(CTL_TAMPERED, verb, "the checkpoint of %s is not signed by its key: see `cellctl verify`",
                    path);
    return CTL_OK;
}

int loghead_open(const char *verb, const char *path, struct loghead **ret)
{
    _cleanup_(loghead_freep) struct loghead *h = calloc(1, sizeof(*h));
    int r;

    if (!h)
        return FAIL(CTL_FAILED, verb, "out of memory");
    buf_init(&h->vkey, LOG_FILE_MAX);
    buf_init(&h->keyset, KEYSET_FILE_MAX);
    buf_init(&h->note, CHECKPOINT_NOTE_MAX);
    h->fd = logdir_open(path);
    if (h->fd < 0)
        return FAIL(CTL_FAILED, verb, "cannot open %s: %s", path, strerror(-h->fd));
    r = loghead_fill(verb, path, h);
    if (r == CTL_OK)
        *ret = TAKE_PTR(h);
    return r;
}

bool loghead_is_ours(const struct loghead *h, struct str note, struct checkpoint *ret)
{
    const struct keyring_key *signer;
    struct checkpoint c;

    if (checkpoint_open_ring(note, &h->trust.ring, &c, &signer) != CHECKPOINT_OK ||
        strcmp(c.origin, h->checkpoint.origin) != 0)
        return false;
    *ret = c;
    return true;
}

/* ---- cosigned notes ---- */

static int loghead_see(int dir, const char *name, const struct loghead *h,
                       int (*see)(void *arg, const char *name, struct str note, const struct checkpoint *c),
                       void *arg)
{
    _cleanup_(buf_done) struct buf note = {.data = NULL};
    struct checkpoint c;

    buf_init(&note, CHECKPOINT_NOTE_MAX);
    if (log_verify_read_file(dir, name, &note) < 0 || !loghead_is_ours(h, buf_str(&note), &c))
        return 0;
    return see(arg, name, buf_str(&note), &c);
}

int loghead_each_witnessed(const struct loghead *h,
                           int (*see)(void *arg, const char *name, struct str note,
                                      const struct checkpoint *c),
                           void *arg)
{
    _cleanup_(dir_closep) DIR *d = NULL;
    struct dirent *e;
    unsigned n = 0;
    int r = dir_open(h->fd, "witness", &d);

    if (r < 0)
        return r == -ENOENT ? 0 : r;
    while (r == 0 && n < LOGHEAD_WITNESSED_MAX && (e = readdir(d))) {
        size_t len = strlen(e->d_name), suffix = sizeof(NOTE_SUFFIX) - 1;

        if (len <= suffix || strcmp(e->d_name + len - suffix, NOTE_SUFFIX) != 0)
            continue;
        n++;
        r = loghead_see(dirfd(d), e->d_name, h, see, arg);
    }
    return r;
}

/* ---- the best for a proof ---- */

struct loghead_choice {
    uint64_t index;
    struct buf note; /* empty: none so far */
    struct checkpoint c;
    unsigned sigs;
};

static unsigned loghead_sigs(struct str note)
{
    struct note_sig s;
    unsigned count = 0;
    struct note n;

    if (note_parse(note, &n) < 0)
        return 0;
    while (note_next_sig(&n.sigs, &s) > 0)
        count++;
    return count;
}

static int loghead_choose(void *arg, const char *name, struct str note, const struct checkpoint *c)
{
    _cleanup_(buf_done) struct buf merged = {.data = NULL};
    struct loghead_choice *choice = arg;
    unsigned sigs;

    (void)name;
    buf_init(&merged, CHECKPOINT_NOTE_MAX);
    if (c->size <= choice->index)
        return 0;
    if (choice->note.len == 0 || cosign_merge(buf_str(&choice->note), note, &merged) < 0) {
        buf_clear(&merged);
        buf_put_str(&merged, note);
    }
    if (merged.err)
        return merged.err;
    sigs = loghead_sigs(buf_str(&merged));
    if (sigs < choice->sigs || (sigs == choice->sigs && c->size <= choice->c.size))
        return 0;
    choice->sigs = sigs;
    choice->c = *c;
    buf_clear(&choice->note);
    buf_put_str(&choice->note, buf_str(&merged));
    return choice->note.err;
}

int loghead_best(const struct loghead *h, uint64_t index, struct buf *b, struct checkpoint *ret)
{
    struct loghead_choice choice = {.index = index};
    int r;

    buf_init(&choice.note, CHECKPOINT_NOTE_MAX);
    r = loghead_choose(&choice, "checkpoint", buf_str(&h->note), &h->checkpoint);
    if (r == 0)
        r = loghead_each_witnessed(h, loghead_choose, &choice);
    if (r == 0 && choice.note.len == 0)
        r = -ERANGE;
    if (r == 0) {
        buf_put_str(b, buf_str(&choice.note));
        *ret = choice.c;
        r = b->err;
    }
    buf_done(&choice.note);
    return r;
}
