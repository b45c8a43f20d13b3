/* SPDX-License-Identifier: MIT */
/* What a process did to a directory, call by call, and every directory that a crash may leave of it: the
 * journal is filled by fault_calls.h; journal_image() says what a disk holds when the machine stops after the
 * first `cut` calls. */
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "common/base/io.h"
#include "tests/unit/proto_random.h"

#define JOURNAL_NAME   256
#define JOURNAL_FILE   (4u << 20) /* bytes of one file */
#define JOURNAL_SECTOR 512

struct journal_node { /* a file or directory, whatever its names */
    uint64_t ino;
    bool dir;
    struct buf base; /* its bytes when the journal began */
};

struct journal_link {
    unsigned dir, node;
    char name[JOURNAL_NAME];
};

enum journal_kind {
    JOURNAL_WRITE,
    JOURNAL_SIZE,
    JOURNAL_LINK, /* from here on: names, node is the directory */
    JOURNAL_UNLINK,
    JOURNAL_RENAME,
    JOURNAL_SWAP,
    JOURNAL_SYNC,
    JOURNAL_LOST, /* the sync failed: what was written before will not be tried again (fsync(2), EIO) */
    JOURNAL_MARK, /* of the test's: `at` is its number */
};

struct journal_op {
    enum journal_kind kind;
    unsigned node;            /* written, cut, synced; or the directory of name */
    unsigned dir2;            /* of name2 */
    unsigned target, target2; /* what name, name2 mean at that time */
    uint64_t at;              /* offset, size, number */
    struct buf data;          /* JOURNAL_WRITE */
    char name[JOURNAL_NAME], name2[JOURNAL_NAME];
    size_t synced; /* index of the call that made it durable; SIZE_MAX: none */
};

struct journal {
    struct journal_node *node; /* node 0 is the directory itself */
    size_t nnodes;
    struct journal_link *link; /* when it began */
    size_t nlinks;
    struct journal_op *op;
    size_t nops;
    bool ready; /* synced is filled in */
};

static inline void *journal_grow(void *list, size_t n, size_t size)
{
    if (n & (n - 1))
        return list;
    list = reallocarray(list, n ? 2 * n : 1, size);
    if (!list)
        abort();
    return list;
}

static inline unsigned journal_node_add(struct journal *j, uint64_t ino, bool dir)
{
    j->node = journal_grow(j->node, j->nnodes, sizeof(*j->node));
    j->node[j->nnodes] = (struct journal_node){.ino = ino, .dir = dir};
    buf_init(&j->node[j->nnodes].base, JOURNAL_FILE);
    return (unsigned)j->nnodes++;
}

/* The newest node with this inode, or -1. */
static inline int journal_node_find(const struct journal *j, uint64_t ino)
{
    for (size_t i = j->nnodes; i-- > 0;)
        if (j->node[i].ino == ino)
            return (int)i;
    return -1;
}

static inline struct journal_op *journal_op_add(struct journal *j, enum journal_kind kind, unsigned node)
{
    j->op = journal_grow(j->op, j->nops, sizeof(*j->op));
    j->op[j->nops] = (struct journal_op){.kind = kind, .node = node};
    j->ready = false;
    return &j->op[j->nops++];
}

static inline void journal_link_add(struct journal *j, unsigned dir, const char *name, unsigned node)
{
    j->link = journal_grow(j->link, j->nlinks, sizeof(*j->link));
    j->link[j->nlinks] = (struct journal_link){.dir = dir, .node = node};
    (void)snprintf(j->link[j->nlinks++].name, JOURNAL_NAME, "%s", name);
}

/* ---- the beginning ---- */

static inline void journal_scan(struct journal *j, int dirfd, unsigned dir)
{
    int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct stat st;

    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        assert_int_equal(fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW), 0);
        unsigned node = journal_node_add(j, st.st_ino, S_ISDIR(st.st_mode));
        journal_link_add(j, dir, e->d_name, node);
        int in = openat(fd, e->d_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        assert_true(in >= 0);
        if (S_ISDIR(st.st_mode))
            journal_scan(j, in, node);
        else
            assert_int_equal(io_read_to_end(in, &j->node[node].base), 0);
        close(in);
    }
    closedir(d);
}

/* What dirfd holds now counts as durable. */
static inline void journal_init(struct journal *j, int dirfd)
{
    struct stat st;

    *j = (struct journal){.node = NULL};
    assert_int_equal(fstat(dirfd, &st), 0);
    (void)journal_node_add(j, st.st_ino, true);
    journal_scan(j, dirfd, 0);
}

static inline void journal_done(struct journal *j)
{
    for (size_t i = 0; i < j->nnodes; i++)
        buf_done(&j->node[i].base);
    for (size_t i = 0; i < j->nops; i++)
        buf_done(&j->op[i].data);
    free(j->node);
    free(j->link);
    free(j->op);
    *j = (struct journal){.node = NULL};
}

/* ---- what is left ---- */

enum loss {
    LOSS_NONE,  /* kill -9: the kernel goes on and has everything */
    LOSS_ALL,   /* power: only what was synced */
    LOSS_NAMES, /* power: files as written, but no new name */
    LOSS_DATA,  /* power: new names, but nothing written that was not synced */
    LOSS_TAIL,  /* power: what was not synced reached the disk in order, up to some call */
    LOSS_SOME,  /* power: any of it, in any order, writes torn at a sector, or zeros instead */
    _LOSS_MAX,
};

struct image {
    struct buf *file; /* by node */
    struct journal_link *link;
    size_t nlinks, nnodes;
};

static inline void journal_ready(struct journal *j)
{
    size_t *last = calloc(j->nnodes, sizeof(*last));

    if (!last)
        abort();
    for (size_t i = 0; i < j->nnodes; i++)
        last[i] = SIZE_MAX;
    for (size_t i = j->nops; i-- > 0;) {
        struct journal_op *op = &j->op[i];

        op->synced = op->kind < JOURNAL_SYNC ? last[op->node] : 0;
        if (op->kind == JOURNAL_SYNC)
            last[op->node] = i;
        if (op->kind == JOURNAL_LOST)
            last[op->node] = SIZE_MAX;
        /* Two directories: durable once both are. */
        if ((op->kind == JOURNAL_RENAME || op->kind == JOURNAL_SWAP) && last[op->dir2] != op->synced)
            op->synced = last[op->dir2] == SIZE_MAX || op->synced == SIZE_MAX ? SIZE_MAX
                         : last[op->dir2] > op->synced                        ? last[op->dir2]
                                                                              : op->synced;
    }
    free(last);
    j->ready = true;
}

static inline size_t image_find(const struct image *im, unsigned dir, const char *name)
{
    size_t i = 0;

    while (i < im->nlinks && (im->link[i].dir != dir || strcmp(im->link[i].name, name) != 0))
        i++;
    return i;
}

static inline void image_bind(struct image *im, unsigned dir, const char *name, unsigned node)
{
    size_t i = image_find(im, dir, name);

    if (i == im->nlinks) {
        im->link = reallocarray(im->link, ++im->nlinks, sizeof(*im->link));
        if (!im->link)
            abort();
    }
    im->link[i] = (struct journal_link){.dir = dir, .node = node};
    (void)snprintf(im->link[i].name, JOURNAL_NAME, "%s", name);
}

static inline void image_unbind(struct image *im, unsigned dir, const char *name)
{
    size_t i = image_find(im, dir, name);

    if (i < im->nlinks)
        im->link[i] = im->link[--im->nlinks];
}

static inline void image_resize(struct buf *f, size_t n)
{
    if (n > f->len) {
        uint8_t *p = buf_reserve(f, n - f->len);
        assert_non_null(p);
        memset(p, 0, n - f->len);
    }
    f->len = n;
}

/* Bytes from ... to of the write reach the file; without data: zeros (the size was stored, the bytes were
 * not). */
static inline void image_write_part(struct buf *f, const struct journal_op *op, size_t from, size_t to,
                                    bool data)
{
    if (from == to)
        return;
    if (f->len < op->at + to)
        image_resize(f, op->at + to);
    if (data)
        memcpy(f->data + op->at + from, op->data.data + from, to - from);
}

static inline void image_apply(struct image *im, const struct journal_op *op)
{
    switch (op->kind) {
    case JOURNAL_WRITE:
        image_write_part(&im->file[op->node], op, 0, op->data.len, true);
        break;
    case JOURNAL_SIZE:
        image_resize(&im->file[op->node], op->at);
        break;
    case JOURNAL_LINK:
        image_bind(im, op->node, op->name, op->target);
        break;
    case JOURNAL_UNLINK:
        image_unbind(im, op->node, op->name);
        break;
    case JOURNAL_RENAME:
        image_unbind(im, op->node, op->name);
        image_bind(im, op->dir2, op->name2, op->target);
        break;
    case JOURNAL_SWAP:
        image_bind(im, op->node, op->name, op->target2);
        image_bind(im, op->dir2, op->name2, op->target);
        break;
    case JOURNAL_SYNC:
    case JOURNAL_LOST:
    case JOURNAL_MARK:
        break;
    }
}

/* A write that was under way: some sectors of it, or its room without its bytes. */
static inline void image_apply_torn(struct image *im, const struct journal_op *op, struct rng *g)
{
    uint64_t first = op->at / JOURNAL_SECTOR,
             last = (op->at + op->data.len + JOURNAL_SECTOR - 1) / JOURNAL_SECTOR;
    bool zeros = rng_below(g, 3) == 0;

    for (uint64_t s = first; s < last; s++) {
        uint64_t from = s * JOURNAL_SECTOR < op->at ? 0 : s * JOURNAL_SECTOR - op->at;
        uint64_t to = (s + 1) * JOURNAL_SECTOR - op->at;

        if (rng_below(g, 2))
            image_write_part(&im->file[op->node], op, from, to < op->data.len ? to : op->data.len, !zeros);
    }
}

static inline bool journal_is_name(const struct journal_op *op)
{
    return op->kind >= JOURNAL_LINK && op->kind < JOURNAL_SYNC;
}

static inline void image_apply_lossy(struct image *im, const struct journal_op *op, enum loss loss,
                                     bool before_tail, struct rng *g)
{
    bool name = journal_is_name(op);

    if (loss == LOSS_NONE || (loss == LOSS_NAMES && !name) || (loss == LOSS_DATA && name) ||
        (loss == LOSS_TAIL && before_tail))
        image_apply(im, op);
    else if (loss == LOSS_SOME && op->kind == JOURNAL_WRITE && rng_below(g, 2))
        image_apply_torn(im, op, g);
    else if (loss == LOSS_SOME && rng_below(g, 2))
        image_apply(im, op);
}

/* The directory as it is found when the machine stops behind the first `cut` calls. Free with image_done().
 */
static inline void journal_image(struct journal *j, size_t cut, enum loss loss, struct rng *g,
                                 struct image *im)
{
    size_t tail = (size_t)rng_below(g, cut + 1);

    if (!j->ready)
        journal_ready(j);
    *im = (struct image){.nnodes = j->nnodes, .nlinks = j->nlinks};
    im->file = calloc(j->nnodes, sizeof(*im->file));
    im->link = calloc(j->nlinks + 1, sizeof(*im->link));
    if (!im->file || !im->link)
        abort();
    if (j->nlinks > 0)
        memcpy(im->link, j->link, j->nlinks * sizeof(*im->link));
    for (size_t i = 0; i < j->nnodes; i++) {
        buf_init(&im->file[i], JOURNAL_FILE);
        buf_put(&im->file[i], j->node[i].base.data, j->node[i].base.len);
    }
    for (size_t i = 0; i < cut; i++) {
        if (j->op[i].synced < cut)
            image_apply(im, &j->op[i]);
        else
            image_apply_lossy(im, &j->op[i], loss, i < tail, g);
    }
}

static inline void image_done(struct image *im)
{
    for (size_t i = 0; i < im->nnodes; i++)
        buf_done(&im->file[i]);
    free(im->file);
    free(im->link);
    *im = (struct image){.file = NULL};
}

static inline void image_store_dir(const struct journal *j, const struct image *im, unsigned dir, int dirfd)
{
    for (size_t i = 0; i < im->nlinks; i++) {
        const struct journal_link *l = &im->link[i];

        if (l->dir != dir)
            continue;
        if (j->node[l->node].dir) {
            assert_int_equal(mkdirat(dirfd, l->name, 0700), 0);
            int sub = openat(dirfd, l->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            assert_true(sub >= 0);
            image_store_dir(j, im, l->node, sub);
            close(sub);
            continue;
        }
        int fd = openat(dirfd, l->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(io_write_full(fd, im->file[l->node].data, im->file[l->node].len), 0);
        close(fd);
    }
}

/* Writes it into an empty directory. */
static inline void image_store(const struct journal *j, const struct image *im, int dirfd)
{
    image_store_dir(j, im, 0, dirfd);
}
