/* SPDX-License-Identifier: MIT */
#include "common/evidence/log_witnessed.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "common/base/dir.h"
#include "common/evidence/log_verify.h"
#include "common/evidence/tile_reader.h"

#define NOTE_SUFFIX ".note"

struct witnessed {
    int dirfd;
    const struct keyring *ring;
    const struct checkpoint *head;
    int (*see)(void *arg, const char *name, struct str note, const struct checkpoint *c);
    void *arg;
    char *why;
};

static int __attribute__((format(printf, 2, 3))) witnessed_wrong(struct witnessed *w, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(w->why, LOG_WITNESSED_WHY_MAX, fmt, ap);
    va_end(ap);
    return -EBADMSG;
}

/* ---- reading ---- */

void log_witnessed_done(struct log_witnessed *w)
{
    for (size_t i = 0; i < w->n; i++)
        buf_done(&w->item[i].note);
    w->n = 0;
}

static void witnessed_load(int dir, const char *name, struct log_witnessed *w)
{
    struct log_witnessed_note *item = &w->item[w->n++];

    (void)snprintf(item->name, sizeof(item->name), "%s", name);
    buf_init(&item->note, CHECKPOINT_NOTE_MAX);
    item->error = log_verify_read_file(dir, name, &item->note);
}

int log_witnessed_load(int log, struct log_witnessed *ret)
{
    _cleanup_(dir_closep) DIR *d = NULL;
    struct dirent *e;
    int r = dir_open(log, "witness", &d);

    ret->n = 0;
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    while (ret->n < LOG_WITNESSED_MAX && (e = readdir(d))) {
        size_t len = strlen(e->d_name), suffix = sizeof(NOTE_SUFFIX) - 1;

        if (len > suffix && strcmp(e->d_name + len - suffix, NOTE_SUFFIX) == 0)
            witnessed_load(dirfd(d), e->d_name, ret);
    }
    return 0;
}

/* ---- checking ---- */

/* 1: the head continues c; 0: it does not; -errno. */
static int witnessed_continues(const struct witnessed *w, const struct checkpoint *c)
{
    for (enum tile_reader_from from = TILE_READER_TILES; from <= TILE_READER_LINES; from++) {
        _cleanup_(tile_reader_freep) struct tile_reader *tiles = NULL;
        struct proof_source s;
        struct proof proof;
        int r = tile_reader_open(w->dirfd, w->head->size, from, &tiles);

        if (r < 0)
            return r;
        s = tile_reader_source(tiles);
        r = proof_consistency(&s, c->size, w->head->size, &proof);
        if (r == -ENOENT && from == TILE_READER_LINES) /* pruned: tiles were all there is */
            return 0;
        if (r < 0)
            return r;
        if (proof_consistency_check(c->size, c->root, w->head->size, w->head->root, &proof))
            return 1;
    }
    return 0;
}

static int witnessed_one(struct witnessed *w, const struct log_witnessed_note *item)
{
    const char *name = item->name;
    const struct keyring_key *signer;
    struct checkpoint c;
    int r;

    if (item->error < 0)
        return witnessed_wrong(w, "witness/%s cannot be read: %s", name, strerror(-item->error));
    r = checkpoint_open_ring(buf_str(&item->note), w->ring, &c, &signer);
    if (r != CHECKPOINT_OK)
        return witnessed_wrong(w, "witness/%s: %s", name, checkpoint_error_text(r));
    if (strcmp(c.origin, w->head->origin) != 0)
        return witnessed_wrong(w, "witness/%s is of another log: %s", name, c.origin);
    if (c.size > w->head->size)
        return witnessed_wrong(w,
                               "the log was cut: it had %" PRIu64 " lines when witness/%s was cosigned, its "
                               "checkpoint now says %" PRIu64,
                               c.size, name, w->head->size);
    r = witnessed_continues(w, &c);
    if (r < 0)
        return r;
    if (r == 0)
        return witnessed_wrong(w, "the log's first %" PRIu64 " lines are not those that witness/%s signs",
                               c.size, name);
    return w->see ? w->see(w->arg, name, buf_str(&item->note), &c) : 0;
}

int log_witnessed_check(const struct log_witnessed *l, int dirfd, const struct keyring *ring,
                        const struct checkpoint *head,
                        int (*see)(void *arg, const char *name, struct str note, const struct checkpoint *c),
                        void *arg, char why[static LOG_WITNESSED_WHY_MAX])
{
    struct witnessed w = {dirfd, ring, head, see, arg, why};
    int r = 0;

    for (size_t i = 0; r == 0 && i < l->n; i++)
        r = witnessed_one(&w, &l->item[i]);
    return r;
}
