/* SPDX-License-Identifier: MIT */
#include "common/evidence/tile_reader.h"

#include <fcntl.h>
#include <stdio.h>

#include "common/base/dir.h"
#include "common/base/io.h"
#include "common/base/num.h"
#include "common/evidence/log_reader.h"

#define TILE_READER_SLOTS 16 /* a proof looks into two tiles a level at most */

struct tile_slot {
    unsigned level, width; /* width 0: empty */
    uint64_t index;
    uint64_t used; /* when, as a count */
    uint8_t data[TILE_BYTES];
};

struct tile_reader {
    int dirfd; /* borrowed */
    uint64_t size;
    enum tile_reader_from from;
    struct log_reader *lines; /* stands before line at; NULL: none is open */
    uint64_t at;
    uint64_t clock;
    struct tile_slot slot[TILE_READER_SLOTS];
};

int tile_reader_open(int dirfd, uint64_t size, enum tile_reader_from from, struct tile_reader **ret)
{
    struct tile_reader *t = calloc(1, sizeof(*t));

    if (!t)
        return -ENOMEM;
    t->dirfd = dirfd;
    t->size = size;
    t->from = from;
    *ret = t;
    return 0;
}

struct tile_reader *tile_reader_free(struct tile_reader *t)
{
    if (t) {
        log_reader_free(t->lines);
        free(t);
    }
    return NULL;
}

void tile_reader_freep(struct tile_reader **t)
{
    *t = tile_reader_free(*t);
}

/* ---- from the lines ---- */

static int tile_line(struct tile_reader *t, uint64_t index, uint8_t *ret)
{
    struct log_line l;
    int r = 0;

    if (!t->lines || t->at != index) {
        t->lines = log_reader_free(t->lines);
        r = log_reader_open(t->dirfd, index, &t->lines);
        t->at = index;
    }
    if (r < 0)
        return r;
    r = log_reader_next(t->lines, &l);
    if (r == LOG_READ_LINE) {
        merkle_leaf(l.text.p, l.text.len, ret);
        t->at++;
        return 0;
    }
    t->lines = log_reader_free(t->lines);
    return r < 0 ? r : -EBADMSG;
}

static int tile_get(struct tile_reader *t, unsigned level, uint64_t index, const struct tile_slot **ret);

/* Every hash of a tile above level 0 is that of a full tile below it. */
static int tile_make(struct tile_reader *t, unsigned level, uint64_t index, unsigned width, uint8_t *data)
{
    for (unsigned i = 0; i < width; i++) {
        uint64_t at = index * TILE_WIDTH + i;
        const struct tile_slot *below = NULL;
        int r =
            level == 0 ? tile_line(t, at, data + (size_t)i * DIGEST_LEN) : tile_get(t, level - 1, at, &below);

        if (r < 0)
            return r;
        if (below)
            merkle_perfect(below->data, TILE_WIDTH, data + (size_t)i * DIGEST_LEN);
    }
    return 0;
}

/* ---- from files ---- */

/* The first width hashes of a file that holds exactly have of them. */
static bool tile_file(const struct tile_reader *t, const char *path, unsigned have, unsigned width,
                      uint8_t *data)
{
    _cleanup_(buf_done) struct buf b = {.data = NULL};
    _cleanup_close_ int fd = io_open_beneath(t->dirfd, path, O_RDONLY | O_NONBLOCK, 0);

    buf_init(&b, TILE_BYTES + 1);
    if (fd < 0 || io_read_to_end(fd, &b) < 0 || b.len != (size_t)have * DIGEST_LEN)
        return false;
    memcpy(data, b.data, (size_t)width * DIGEST_LEN);
    return true;
}

/* A partial tile of a later head begins with what an earlier one had. */
static bool tile_wider(const struct tile_reader *t, unsigned level, uint64_t index, unsigned width,
                       uint8_t *data)
{
    _cleanup_(dir_closep) DIR *dir = NULL;
    char path[TILE_PATH_MAX], folder[TILE_PATH_MAX + 2];
    struct dirent *e;
    int fd;

    tile_path(level, index, 0, path);
    (void)snprintf(folder, sizeof(folder), "%s.p", path);
    fd = io_open_beneath(t->dirfd, folder, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0 || dir_take(fd, &dir) < 0)
        return false;
    while ((e = readdir(dir))) {
        uint64_t w;

        if (num_parse_u64(str_of(e->d_name), width, TILE_WIDTH - 1, &w) < 0)
            continue;
        tile_path(level, index, (unsigned)w, path);
        if (tile_file(t, path, (unsigned)w, width, data))
            return true;
    }
    return false;
}

static bool tile_find(const struct tile_reader *t, unsigned level, uint64_t index, unsigned width,
                      uint8_t *data)
{
    char path[TILE_PATH_MAX];

    if (t->from == TILE_READER_LINES)
        return false;
    tile_path(level, index, width, path);
    if (tile_file(t, path, width, width, data))
        return true;
    if (width == TILE_WIDTH)
        return false;
    tile_path(level, index, 0, path);
    return tile_file(t, path, TILE_WIDTH, width, data) || tile_wider(t, level, index, width, data);
}

/* ---- both ---- */

/* How wide the tile is in this tree; 0: it has none with this place. */
static unsigned tile_width(const struct tile_reader *t, unsigned level, uint64_t index)
{
    uint64_t hashes = level < TILE_LEVELS ? t->size >> 8 * level : 0;

    if (index > hashes / TILE_WIDTH)
        return 0;
    return index < hashes / TILE_WIDTH ? TILE_WIDTH : (unsigned)(hashes % TILE_WIDTH);
}

static struct tile_slot *tile_oldest(struct tile_reader *t)
{
    struct tile_slot *old = &t->slot[0];

    for (size_t i = 1; i < TILE_READER_SLOTS; i++)
        if (t->slot[i].used < old->used)
            old = &t->slot[i];
    return old;
}

/* *ret is valid until the next call. */
static int tile_get(struct tile_reader *t, unsigned level, uint64_t index, const struct tile_slot **ret)
{
    unsigned width = tile_width(t, level, index);
    uint8_t data[TILE_BYTES];
    struct tile_slot *s;
    int r = 0;

    if (width == 0)
        return -ERANGE;
    for (size_t i = 0; i < TILE_READER_SLOTS; i++) {
        s = &t->slot[i];
        if (s->width > 0 && s->level == level && s->index == index) {
            s->used = ++t->clock;
            *ret = s;
            return 0;
        }
    }
    if (!tile_find(t, level, index, width, data))
        r = tile_make(t, level, index, width, data);
    if (r < 0)
        return r;
    s = tile_oldest(t);
    s->level = level;
    s->index = index;
    s->width = width;
    s->used = ++t->clock;
    memcpy(s->data, data, (size_t)width * DIGEST_LEN);
    *ret = s;
    return 0;
}

static int tile_hash(void *arg, unsigned level, uint64_t index, uint8_t ret[static DIGEST_LEN])
{
    struct tile_reader *t = arg;
    unsigned bit = level % 8;
    uint64_t first = index << bit;
    const struct tile_slot *s;
    int r = tile_get(t, level / 8, first / TILE_WIDTH, &s);

    if (r < 0)
        return r;
    if (first % TILE_WIDTH + (1u << bit) > s->width)
        return -ERANGE;
    merkle_perfect(s->data + first % TILE_WIDTH * DIGEST_LEN, (size_t)1 << bit, ret);
    return 0;
}

struct proof_source tile_reader_source(struct tile_reader *t)
{
    return (struct proof_source){tile_hash, t};
}

int tile_reader_tile(struct tile_reader *t, unsigned level, uint64_t index, uint8_t dst[static TILE_BYTES],
                     unsigned *ret_width)
{
    const struct tile_slot *s;
    int r = tile_get(t, level, index, &s);

    if (r < 0)
        return r;
    memcpy(dst, s->data, (size_t)s->width * DIGEST_LEN);
    *ret_width = s->width;
    return 0;
}
