/* SPDX-License-Identifier: MIT */
#include "common/evidence/tile_store.h"

#include <fcntl.h>
#include <sys/stat.h>

int tile_load(int dirfd, unsigned level, uint64_t index, unsigned width, uint8_t data[static TILE_BYTES])
{
    _cleanup_close_ int fd = -EBADF;
    char path[TILE_PATH_MAX];
    const size_t n = (size_t)width * DIGEST_LEN;
    struct stat st;
    ssize_t got;

    tile_path(level, index, width, path);
    fd = openat(dirfd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return errno == ELOOP || errno == ENOTDIR ? -EBADMSG : -errno;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_size != (off_t)n)
        return -EBADMSG;
    do
        got = pread(fd, data, n, 0);
    while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : (size_t)got == n ? 0 : -EBADMSG;
}

/* The hashes of full tiles are the hashes of the level above. */
static int tile_load_level(int dirfd, unsigned level, uint64_t have, struct tiles *t,
                           struct tile_fault *fault)
{
    uint8_t data[TILE_BYTES];

    t->n[level] = have % TILE_WIDTH;
    for (unsigned i = 0; i < t->n[level]; i++) {
        *fault =
            (struct tile_fault){.level = level - 1, .index = have - t->n[level] + i, .width = TILE_WIDTH};
        fault->error = tile_load(dirfd, fault->level, fault->index, TILE_WIDTH, data);
        if (fault->error < 0)
            return fault->error;
        merkle_perfect(data, TILE_WIDTH, t->hash[level][i]);
    }
    return 0;
}

int tile_load_tree(int dirfd, uint64_t size, struct tiles *ret, struct tile_fault *ret_fault)
{
    uint8_t data[TILE_BYTES];

    tiles_init(ret);
    for (unsigned level = 1; level < TILE_LEVELS; level++) {
        int r = tile_load_level(dirfd, level, size >> 8 * level, ret, ret_fault);

        if (r < 0)
            return r;
    }
    ret->n[0] = size % TILE_WIDTH;
    if (ret->n[0] > 0) {
        *ret_fault = (struct tile_fault){.index = size / TILE_WIDTH, .width = TILE_WIDTH};
        ret_fault->error = tile_load(dirfd, 0, ret_fault->index, TILE_WIDTH, data);
        if (ret_fault->error < 0)
            return ret_fault->error;
        memcpy(ret->hash[0], data, (size_t)ret->n[0] * DIGEST_LEN);
    }
    ret->size = size;
    return 0;
}
