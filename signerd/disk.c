/* SPDX-License-Identifier: MIT */
#include "signerd/disk.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "common/base/clock.h"
#include "common/base/io.h"
#include "common/base/log.h"
#include "signerd/replace.h"

struct disk {
    int dir;     /* an open file description of our own: the lock is bound to it */
    int segment; /* written with pwrite at end */
    int spare;
    struct replace checkpoint;
    uint64_t first;     /* of the segment */
    uint64_t end;       /* bytes of whole, durable lines in it */
    uint64_t allocated; /* up to here the file system has given us blocks */
    uint64_t since_s;   /* time of its first line, when end > 0 */
    uint64_t segment_bytes, segment_age_s;
    uint64_t reserve;  /* of the last batch */
    bool no_fallocate; /* this file system cannot reserve */
    bool full;         /* the last batch found no room */
    bool unknown;      /* a commit failed half way: nothing may be cut any more, recovery looks at it */
};

void disk_set_limits(struct disk *d, uint64_t segment_bytes, uint64_t segment_age_s)
{
    d->segment_bytes = segment_bytes ? segment_bytes : LIMIT_SEGMENT;
    d->segment_age_s = segment_age_s ? segment_age_s : LIMIT_SEGMENT_AGE_S;
}

int disk_open(int dirfd, struct disk **ret)
{
    _cleanup_close_ int dir = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct disk *d;

    if (dir < 0 || flock(dir, LOCK_EX | LOCK_NB) < 0)
        return -errno;
    d = malloc(sizeof(*d));
    if (!d)
        return -ENOMEM;
    *d = (struct disk){.dir = TAKE_FD(dir), .segment = -EBADF, .spare = -EBADF};
    disk_set_limits(d, 0, 0);
    replace_init(&d->checkpoint, d->dir, DISK_CHECKPOINT, DISK_CHECKPOINT_TMP);
    *ret = d;
    return 0;
}

/* Cutting a file at its own size drops the blocks that were reserved behind it. */
static void disk_trim(struct disk *d)
{
    if (d->segment >= 0 && !d->unknown && d->allocated > d->end && ftruncate(d->segment, (off_t)d->end) < 0)
        log_failed(LOG_WARNING, -errno, "cannot give back reserved disk space");
}

struct disk *disk_free(struct disk *d)
{
    if (d) {
        disk_trim(d);
        replace_done(&d->checkpoint);
        cleanup_closep(&d->segment);
        cleanup_closep(&d->spare);
        cleanup_closep(&d->dir);
        free(d);
    }
    return NULL;
}

int disk_dirfd(const struct disk *d)
{
    return d->dir;
}

uint64_t disk_open_segment(const struct disk *d)
{
    return d->first;
}

static int disk_set_segment(struct disk *d, uint64_t first, int flags)
{
    _cleanup_close_ int fd = -EBADF;
    char name[LOG_SEGMENT_NAME_MAX];
    struct stat st;

    log_segment_name(first, name);
    fd = openat(d->dir, name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | flags, 0600);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EBADMSG;
    disk_trim(d);
    cleanup_closep(&d->segment);
    d->segment = TAKE_FD(fd);
    d->first = first;
    d->end = (uint64_t)st.st_size;
    d->allocated = d->end;
    return 0;
}

int disk_use_segment(struct disk *d, uint64_t first, uint64_t since_s)
{
    d->since_s = since_s;
    return disk_set_segment(d, first, 0);
}

int disk_new_segment(struct disk *d, uint64_t first)
{
    int r = disk_set_segment(d, first, O_CREAT | O_EXCL);

    if (r < 0)
        return r;
    return fsync(d->dir) < 0 ? -errno : 0;
}

static int disk_space_error(int r)
{
    return r == -EDQUOT ? -ENOSPC : r;
}

/* ---- space ---- */

static int disk_allocate(struct disk *d, uint64_t to)
{
    int r;

    do
        r = fallocate(d->segment, FALLOC_FL_KEEP_SIZE, (off_t)d->end, (off_t)(to - d->end));
    while (r < 0 && errno == EINTR);
    if (r < 0)
        return -errno;
    d->allocated = to;
    return 0;
}

/* Blocks for n bytes of lines and the reserve behind them, and some more. */
static int disk_make_room(struct disk *d, uint64_t n, uint64_t reserve)
{
    uint64_t need = d->end + n + reserve;
    int r;

    d->reserve = reserve;
    if (d->no_fallocate || need <= d->allocated)
        return 0;
    r = disk_allocate(d, need + DISK_AHEAD);
    if (disk_space_error(r) == -ENOSPC)
        r = reserve ? disk_allocate(d, need) : 0;
    if (r == -EOPNOTSUPP || r == -ENOSYS) {
        log_warning("this file system cannot reserve space: a full disk may lose the last events of a cell");
        d->no_fallocate = true;
        return 0;
    }
    return disk_space_error(r);
}

/* The same before it is needed. What fails is left to the commit that needs it. */
static void disk_prepare_room(struct disk *d)
{
    uint64_t need = d->end + d->reserve;

    if (!d->no_fallocate && !d->full && d->segment >= 0 && need + DISK_AHEAD / 2 > d->allocated)
        (void)!disk_allocate(d, need + DISK_AHEAD);
}

/* ---- segments ---- */

static int disk_append(struct disk *d, struct str lines)
{
    int r = io_pwrite_full(d->segment, lines.p, lines.len, d->end);

    if (r < 0)
        return r;
    return fdatasync(d->segment) < 0 ? -errno : 0;
}

/* Back to the last durable line. The blocks behind it are lost with that, so the reserve is taken again, if
 * still possible. 0; -EIO: the lines may still be there. */
static int disk_undo(struct disk *d, uint64_t reserve)
{
    int r;

    if (ftruncate(d->segment, (off_t)d->end) < 0 || fdatasync(d->segment) < 0)
        return -EIO;
    d->allocated = d->end;
    r = disk_make_room(d, 0, reserve);
    return r == -ENOSPC ? 0 : r;
}

uint64_t disk_age_left(const struct disk *d)
{
    uint64_t now_s = clock_realtime_ms() / 1000; /* a clock that was set back makes nothing old */
    uint64_t age_s = now_s > d->since_s ? now_s - d->since_s : 0;

    if (d->end == 0)
        return UINT64_MAX;
    return age_s > d->segment_age_s ? 0 : d->segment_age_s - age_s + 1;
}

static int disk_roll(struct disk *d, const struct disk_batch *b)
{
    if (b->emergency || d->end == 0 || (b->lines.len == 0 && !b->close))
        return 0;
    if (d->end + b->lines.len <= d->segment_bytes && disk_age_left(d) > 0)
        return 0;
    /* A new file needs an inode and its reserve; while there is no room for these the old one grows on. */
    int r = disk_space_error(disk_new_segment(d, b->first));

    return r == -ENOSPC ? 0 : r;
}

/* ---- small files ---- */

/* The new names are visible already: a failure here is never "nothing changed", whatever the kernel calls it.
 */
static int disk_sync_names(const struct disk *d)
{
    return fsync(d->dir) < 0 ? -EIO : 0;
}

int disk_write_file(const struct disk *d, const char *name, struct str bytes)
{
    struct replace once;
    char tmp[64];
    int r;

    (void)snprintf(tmp, sizeof(tmp), "%s.tmp", name);
    replace_init(&once, d->dir, name, tmp);
    r = replace_write(&once, bytes);
    replace_done(&once);
    return r;
}

int disk_make_spare(struct disk *d, struct str note)
{
    int r = disk_write_file(d, DISK_SPARE, note);

    if (r < 0)
        return r;
    cleanup_closep(&d->spare);
    d->spare = openat(d->dir, DISK_SPARE, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    return d->spare < 0 ? -errno : 0;
}

/* Writes over the spare file, whose block is ours already, and lets the two files change names: no new block,
 * no new inode. */
static int disk_checkpoint_spare(struct disk *d, struct str note)
{
    _cleanup_close_ int old = openat(d->dir, DISK_CHECKPOINT, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);

    if (old < 0)
        return -errno;
    if (pwrite(d->spare, note.p, note.len, 0) != (ssize_t)note.len)
        return -ENOSPC;
    if (ftruncate(d->spare, (off_t)note.len) < 0 || fsync(d->spare) < 0)
        return -errno;
    if (renameat2(d->dir, DISK_SPARE, d->dir, DISK_CHECKPOINT, RENAME_EXCHANGE) < 0)
        return errno == EINVAL || errno == ENOSYS ? -ENOSPC : -errno;
    cleanup_closep(&d->spare);
    d->spare = TAKE_FD(old);
    return disk_sync_names(d);
}

static int disk_checkpoint(struct disk *d, struct str note)
{
    int r = disk_space_error(replace_write(&d->checkpoint, note));

    return r == -ENOSPC && d->spare >= 0 ? disk_checkpoint_spare(d, note) : r;
}

/* ---- tiles ---- */

int disk_write_tile_at(int dirfd, const struct disk_tile *t)
{
    char path[TILE_PATH_MAX], tmp[TILE_PATH_MAX + 8];
    _cleanup_close_ int fd = -EBADF;
    int r;

    tile_path(t->level, t->index, t->width, path);
    for (char *p = strchr(path, '/'); p; p = strchr(p + 1, '/')) {
        *p = '\0';
        r = mkdirat(dirfd, path, 0700) < 0 && errno != EEXIST ? -errno : 0;
        *p = '/';
        if (r < 0)
            return r;
    }
    (void)snprintf(tmp, sizeof(tmp), "%s.tmp", path);
    fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    r = io_write_full(fd, t->data, (size_t)t->width * DIGEST_LEN);
    if (r == 0 && renameat(dirfd, tmp, dirfd, path) < 0)
        r = -errno;
    if (r < 0)
        (void)unlinkat(dirfd, tmp, 0);
    return r;
}

int disk_write_tile(const struct disk *d, const struct disk_tile *t)
{
    return disk_write_tile_at(d->dir, t);
}

static void disk_write_tiles(const struct disk *d, const struct disk_batch *b)
{
    for (size_t i = 0; i < b->ntiles; i++) {
        int r = disk_write_tile(d, &b->tiles[i]);

        if (r < 0) {
            log_failed(LOG_WARNING, r, "cannot write a tile of the tree (it can be made again)");
            return;
        }
    }
}

/* ---- commit ---- */

static int disk_try_commit(struct disk *d, const struct disk_batch *b)
{
    int r = disk_roll(d, b), undone;

    if (r == 0 && !b->emergency && b->lines.len > 0)
        r = disk_make_room(d, b->lines.len, b->reserve);
    if (r < 0)
        return r;
    if (b->lines.len > 0)
        r = disk_space_error(disk_append(d, b->lines));
    if (r == 0 && b->note.len > 0)
        r = disk_space_error(disk_checkpoint(d, b->note));
    if (r == -ENOSPC && b->lines.len > 0) {
        undone = disk_undo(d, b->reserve);
        if (undone == 0)
            return r;
        r = undone;
    }
    if (r < 0) {
        d->unknown |= r != -ENOSPC;
        return r;
    }
    if (d->end == 0)
        d->since_s = clock_realtime_ms() / 1000;
    d->end += b->lines.len;
    disk_write_tiles(d, b);
    return 0;
}

int disk_commit(struct disk *d, const struct disk_batch *b)
{
    int r = disk_try_commit(d, b);

    d->full = r == -ENOSPC || b->emergency;
    return r;
}

void disk_prepare(struct disk *d, size_t note_len)
{
    if (note_len > 0)
        replace_prepare(&d->checkpoint, note_len);
    disk_prepare_room(d);
}
