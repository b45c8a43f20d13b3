/* SPDX-License-Identifier: MIT */
#include "common/evidence/log_tiles.h"

#include <fcntl.h>

#include "common/base/io.h"
#include "common/evidence/tile_reader.h"

struct log_tiles {
    int dirfd; /* borrowed */
    struct tiles tiles;
    bool known[TILE_LEVELS]; /* the unfinished tile of this level is all from lines, or was read whole */
    uint64_t missing;
    bool wrong;
    int error;                /* of the first that could not be read */
    char path[TILE_PATH_MAX]; /* of the first wrong one */
};

/* What the tiles say of the lines that are not there. Those were judged before (log_pruned.h). */
static int log_tiles_begin(struct log_tiles *t, uint64_t from)
{
    _cleanup_(tile_reader_freep) struct tile_reader *reader = NULL;
    int r = tile_reader_open(t->dirfd, from, TILE_READER_TILES, &reader);

    if (r < 0)
        return r;
    t->tiles.size = from;
    for (unsigned level = 0; level < TILE_LEVELS; level++) {
        uint64_t hashes = from >> 8 * level;
        unsigned width;

        t->tiles.n[level] = hashes % TILE_WIDTH;
        t->known[level] =
            t->tiles.n[level] == 0 || tile_reader_tile(reader, level, hashes / TILE_WIDTH,
                                                       (uint8_t *)t->tiles.hash[level], &width) == 0;
    }
    return 0;
}

int log_tiles_open(int dirfd, uint64_t from, struct log_tiles **ret)
{
    _cleanup_(log_tiles_freep) struct log_tiles *t = calloc(1, sizeof(*t));
    int r = 0;

    if (!t)
        return -ENOMEM;
    t->dirfd = dirfd;
    for (unsigned level = 0; level < TILE_LEVELS; level++)
        t->known[level] = true;
    if (from > 0)
        r = log_tiles_begin(t, from);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(t);
    return 0;
}

struct log_tiles *log_tiles_free(struct log_tiles *t)
{
    free(t);
    return NULL;
}

void log_tiles_freep(struct log_tiles **t)
{
    *t = log_tiles_free(*t);
}

/* Whether there is a tile with exactly these hashes: 1, 0; -ENOENT: there is none; -errno. */
static int log_tiles_compare(const struct log_tiles *t, const char *path, const uint8_t *data, unsigned width)
{
    _cleanup_(buf_done) struct buf b = {.data = NULL};
    _cleanup_close_ int fd = io_open_beneath(t->dirfd, path, O_RDONLY | O_NONBLOCK, 0);

    int r;

    if (fd == -ELOOP || fd == -ENOTDIR || fd == -ENXIO) /* something else is in its place */
        return 0;
    if (fd < 0)
        return fd;
    buf_init(&b, TILE_BYTES + 1);
    r = io_read_to_end(fd, &b);
    if (r == -EFBIG || r == -EISDIR)
        return 0;
    return r < 0 ? r : b.len == (size_t)width * DIGEST_LEN && memcmp(b.data, data, b.len) == 0;
}

static void log_tiles_one(struct log_tiles *t, unsigned level, uint64_t index, const uint8_t *data,
                          unsigned width)
{
    char path[TILE_PATH_MAX];
    int same;

    if (t->wrong || !t->known[level])
        return;
    tile_path(level, index, width, path);
    same = log_tiles_compare(t, path, data, width);
    if (same == -ENOENT && width == TILE_WIDTH)
        t->missing++;
    if (same < 0 && same != -ENOENT && t->error == 0)
        t->error = same;
    if (same != 0)
        return;
    t->wrong = true;
    memcpy(t->path, path, sizeof(path));
}

static void log_tiles_full(void *arg, unsigned level, uint64_t index, const uint8_t *data)
{
    struct log_tiles *t = arg;

    log_tiles_one(t, level, index, data, TILE_WIDTH);
    /* A tile that began in the dark has a hash that is not known either. */
    if (!t->known[level] && level + 1 < TILE_LEVELS)
        t->known[level + 1] = false;
    t->known[level] = true;
}

void log_tiles_next(struct log_tiles *t, const uint8_t leaf[static DIGEST_LEN])
{
    tiles_append(&t->tiles, leaf, log_tiles_full, t);
}

int log_tiles_wrong(struct log_tiles *t, char path[static TILE_PATH_MAX], uint64_t *ret_missing)
{
    for (unsigned level = 0; level < TILE_LEVELS; level++)
        if (t->tiles.n[level] > 0)
            log_tiles_one(t, level, t->tiles.size >> 8 * (level + 1), t->tiles.hash[level][0],
                          t->tiles.n[level]);
    if (t->wrong)
        memcpy(path, t->path, TILE_PATH_MAX);
    *ret_missing = t->missing;
    return t->wrong ? 1 : t->error;
}
