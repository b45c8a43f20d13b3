/* SPDX-License-Identifier: MIT */
#include "signerd/recover.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "common/base/io.h"
#include "common/base/log.h"
#include "common/evidence/log_check.h"
#include "common/evidence/log_verify.h"

#define RECOVER_REMEDY "restore it from a copy, or move the log's directory away to begin a new log"
#define RECOVER_CHUNK  65536

struct recover {
    struct disk *disk;
    struct keys *keys;
    const char *origin;
    struct recovered *ret;
    struct checkpoint checkpoint;
    struct log_reader *reader;
    uint64_t segment, end; /* where the last good line ends */
};

int recover_note(struct keys *keys, const char *origin, const struct merkle *tree, struct buf *b)
{
    _cleanup_(buf_done) struct buf text;
    struct checkpoint c = {.size = tree->size};
    uint8_t sig[ED25519_SIG_LEN];

    (void)snprintf(c.origin, sizeof(c.origin), "%s", origin);
    merkle_root(tree, c.root);
    buf_init(&text, CHECKPOINT_NAME_MAX + 128);
    checkpoint_text(&c, &text);
    if (text.err)
        return text.err;
    keys_sign(keys, text.data, text.len, sig);
    checkpoint_render(&c, keys_vkey(keys), sig, b);
    return b->err;
}

/* ---- a new log ---- */

static int recover_write_line(struct recover *v, const char *name, const char *text)
{
    char line[CHECKPOINT_VKEY_MAX + 2];
    int n = snprintf(line, sizeof(line), "%s\n", text);

    return disk_write_file(v->disk, name, (struct str){line, (size_t)n});
}

static int recover_init(struct recover *v)
{
    _cleanup_(buf_done) struct buf vkey;
    int r;

    buf_init(&vkey, CHECKPOINT_VKEY_MAX + 1);
    vkey_render(keys_vkey(v->keys), &vkey);
    if (!buf_cstr(&vkey))
        return vkey.err;
    tiles_init(&v->ret->tiles);
    merkle_init(&v->ret->tree);
    v->ret->fresh = true;
    r = recover_write_line(v, "origin", v->origin);
    if (r == 0)
        r = recover_write_line(v, "vkey", (const char *)vkey.data);
    if (r == 0)
        r = recover_note(v->keys, v->origin, &v->ret->tree, &v->ret->note);
    if (r == 0)
        r = disk_write_file(v->disk, DISK_CHECKPOINT, buf_str(&v->ret->note));
    if (r < 0)
        return log_errno(r, "cannot lay out a new log");
    return 0;
}

/* Without a checkpoint only an empty log may be begun again: a crash while it was laid out. */
static int recover_may_init(struct recover *v)
{
    _cleanup_free_ uint64_t *segments = NULL;
    int n = log_reader_segments(disk_dirfd(v->disk), &segments);

    if (n < 0)
        return log_errno(n, "cannot read the log's directory");
    if (n == 0)
        return 0;
    log_error("log/checkpoint is missing though the log has lines: %s", RECOVER_REMEDY);
    return -EBADMSG;
}

/* ---- the checkpoint ---- */

static int recover_checkpoint(struct recover *v)
{
    int r = log_verify_read_file(disk_dirfd(v->disk), DISK_CHECKPOINT, &v->ret->note);

    if (r < 0)
        return r;
    r = checkpoint_open(buf_str(&v->ret->note), keys_vkey(v->keys), &v->checkpoint);
    if (r != CHECKPOINT_OK) {
        log_error("log/checkpoint: %s (key %s): %s", checkpoint_error_text(r), keys_vkey(v->keys)->name,
                  RECOVER_REMEDY);
        return -EBADMSG;
    }
    if (strcmp(v->checkpoint.origin, v->origin) != 0) {
        log_error("log/checkpoint is of the log %s, not of %s: %s", v->checkpoint.origin, v->origin,
                  RECOVER_REMEDY);
        return -EBADMSG;
    }
    return 0;
}

/* ---- the tree up to the checkpoint ---- */

/* The hash of one full tile. 0 or a negative errno. */
static int recover_tile_hash(const struct recover *v, unsigned level, uint64_t index, uint8_t *ret)
{
    _cleanup_(buf_done) struct buf tile;
    char path[TILE_PATH_MAX];
    int r;

    tile_path(level, index, 0, path);
    buf_init(&tile, TILE_BYTES);
    r = log_verify_read_file(disk_dirfd(v->disk), path, &tile);
    if (r < 0)
        return r;
    if (tile.len != TILE_BYTES)
        return -EBADMSG;
    merkle_perfect(tile.data, TILE_WIDTH, ret);
    return 0;
}

/* Everything but the leaves of the unfinished tile of level 0, out of the stored tiles. */
static int recover_tiles(struct recover *v)
{
    struct tiles *t = &v->ret->tiles;
    uint64_t size = v->checkpoint.size;

    tiles_init(t);
    for (unsigned level = 1; level < TILE_LEVELS; level++) {
        uint64_t have = size >> 8 * level;

        t->n[level] = have % TILE_WIDTH;
        for (unsigned i = 0; i < t->n[level]; i++) {
            int r = recover_tile_hash(v, level - 1, have - t->n[level] + i, t->hash[level][i]);

            if (r < 0)
                return r;
        }
    }
    t->size = size - size % TILE_WIDTH;
    return 0;
}

static void recover_store_tile(void *arg, unsigned level, uint64_t index, const uint8_t *data)
{
    const struct recover *v = arg;
    struct disk_tile t = {.level = level, .index = index, .width = TILE_WIDTH};

    memcpy(t.data, data, TILE_BYTES);
    int r = disk_write_tile(v->disk, &t);
    if (r < 0)
        log_failed(LOG_WARNING, r, "cannot write a tile of the tree (it can be made again)");
}

static int recover_next_leaf(struct recover *v, uint8_t *ret)
{
    struct log_line l;
    int r = log_reader_next(v->reader, &l);

    if (r != LOG_READ_LINE)
        return r < 0 ? r : -EBADMSG;
    merkle_leaf(l.text.p, l.text.len, ret);
    v->segment = l.segment;
    v->end = l.offset + l.text.len + 1;
    return 0;
}

/* The tiles already hold every leaf: the last line must be there all the same, and be the one they end with.
 */
static int recover_last_line(struct recover *v)
{
    _cleanup_(buf_done) struct buf tile;
    char path[TILE_PATH_MAX];
    uint8_t leaf[DIGEST_LEN];
    int r = recover_next_leaf(v, leaf);

    buf_init(&tile, TILE_BYTES);
    if (r < 0)
        return r;
    tile_path(0, v->checkpoint.size / TILE_WIDTH - 1, 0, path);
    r = log_verify_read_file(disk_dirfd(v->disk), path, &tile);
    if (r < 0)
        return -EBADMSG;
    return tile.len == TILE_BYTES && memcmp(tile.data + TILE_BYTES - DIGEST_LEN, leaf, DIGEST_LEN) == 0
               ? 0
               : -EBADMSG;
}

/* Reads on to the checkpoint's size. 0; -EBADMSG: fewer lines, or another root; -errno. */
static int recover_leaves(struct recover *v)
{
    struct tiles *t = &v->ret->tiles;
    bool complete = t->size > 0 && t->size == v->checkpoint.size;
    uint8_t leaf[DIGEST_LEN], root[DIGEST_LEN];
    int r;

    v->reader = log_reader_free(v->reader);
    r = log_reader_open(disk_dirfd(v->disk), t->size - complete, &v->reader);
    if (r < 0)
        return r == -ENOENT && v->checkpoint.size == 0 ? 0 : r == -ENOENT ? -EBADMSG : r;
    r = complete ? recover_last_line(v) : 0;
    while (r == 0 && t->size < v->checkpoint.size) {
        r = recover_next_leaf(v, leaf);
        if (r == 0)
            tiles_append(t, leaf, recover_store_tile, v);
    }
    if (r < 0)
        return r;
    tiles_merkle(t, &v->ret->tree);
    merkle_root(&v->ret->tree, root);
    return memcmp(root, v->checkpoint.root, DIGEST_LEN) == 0 ? 0 : -EBADMSG;
}

/* Tiles are a cache: what they say counts only if it leads to the signed root, else the whole log is read. */
static int recover_tree(struct recover *v)
{
    int r = recover_tiles(v);

    if (r == 0)
        r = recover_leaves(v);
    if (r == 0)
        return 0;
    log_info("the tiles of the log's tree are missing or wrong: reading all lines");
    tiles_init(&v->ret->tiles);
    r = recover_leaves(v);
    if (r == -EBADMSG) {
        log_error("the log has %" PRIu64 " whole lines where its checkpoint signs %" PRIu64
                  " (or they were changed): "
                  "see cellctl verify; %s",
                  v->ret->tiles.size, v->checkpoint.size, RECOVER_REMEDY);
        return r;
    }
    return r < 0 ? log_errno(r, "cannot read the log") : 0;
}

/* ---- what lies behind the checkpoint ---- */

static int recover_tail(struct recover *v)
{
    _cleanup_(log_check_freep) struct log_check *check = log_check_new(&v->ret->tree);
    char why[LOG_CHECK_WHY_MAX] = "";
    struct log_line l;
    int r;

    if (!check)
        return -ENOMEM;
    for (;;) {
        struct log_check_line judged;

        r = v->reader ? log_reader_next(v->reader, &l) : LOG_READ_END;
        if (r != LOG_READ_LINE)
            break;
        log_check_alone(l.text, keys_vkey(v->keys)->public, &judged);
        r = log_check_next(check, &judged, why);
        if (r == -EBADMSG) {
            log_warning("line %" PRIu64 " behind the checkpoint does not count: %s", l.index + 1, why);
            return 0;
        }
        if (r < 0)
            return r;
        tiles_append(&v->ret->tiles, judged.leaf, recover_store_tile, v);
        v->segment = l.segment;
        v->end = l.offset + l.text.len + 1;
        v->ret->kept++;
    }
    v->ret->tree = *log_check_tree(check);
    return r < 0 ? r : 0;
}

/* Copies a file's bytes from `from` on into torn/, adding them to the digest under way. */
static int recover_copy(int from_fd, uint64_t from, int to_fd, uint64_t *ret_n)
{
    uint8_t chunk[RECOVER_CHUNK];
    uint64_t n = 0;

    for (;;) {
        ssize_t got = pread(from_fd, chunk, sizeof(chunk), (off_t)(from + n));
        int r;

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        digest_add(chunk, (size_t)got);
        r = io_write_full(to_fd, chunk, (size_t)got);
        if (r < 0)
            return r;
        n += (size_t)got;
    }
    *ret_n = n;
    return fsync(to_fd) < 0 ? -errno : 0;
}

/* The bytes of one segment from `from` on go to torn/<segment>-<from>; the segment keeps what is before. */
static int recover_tear(struct recover *v, uint64_t segment, uint64_t from)
{
    _cleanup_close_ int fd = -EBADF, out = -EBADF;
    char name[LOG_SEGMENT_NAME_MAX], path[96];
    int dir = disk_dirfd(v->disk), r;
    uint64_t n;
    struct stat st;

    log_segment_name(segment, name);
    fd = openat(dir, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if ((uint64_t)st.st_size <= from)
        return 0;
    if (mkdirat(dir, DISK_TORN, 0700) < 0 && errno != EEXIST)
        return -errno;
    for (unsigned i = 0; out < 0; i++) { /* an earlier recovery may have torn at the same place */
        (void)snprintf(path, sizeof(path), DISK_TORN "/%020" PRIu64 "-%020" PRIu64 "-%u", segment, from, i);
        out = openat(dir, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (out < 0 && errno != EEXIST)
            return -errno;
    }
    r = recover_copy(fd, from, out, &n);
    if (r < 0)
        return r;
    if (fsync(dir) < 0 || ftruncate(fd, (off_t)from) < 0 || fsync(fd) < 0)
        return -errno;
    v->ret->torn_bytes += n;
    log_warning("%" PRIu64 " unfinished bytes at the end of the log were moved to %s", n, path);
    return 0;
}

/* Cuts behind the last good line; segments behind it (there are none unless somebody put them there) go as a
 * whole. */
static int recover_cut(struct recover *v)
{
    _cleanup_free_ uint64_t *segments = NULL;
    int n = log_reader_segments(disk_dirfd(v->disk), &segments), r = 0;
    char name[LOG_SEGMENT_NAME_MAX];

    if (n < 0)
        return n;
    digest_begin();
    for (int i = 0; i < n && r == 0; i++) {
        bool last = segments[i] == v->segment && (v->ret->tiles.size > 0 || i == 0);

        if (segments[i] < v->segment)
            continue;
        r = recover_tear(v, segments[i], last ? v->end : 0);
        /* An empty one with the next line's index is what a crash right after a roll-over leaves: it is used.
         */
        if (r == 0 && !last && segments[i] != v->ret->tiles.size) {
            log_segment_name(segments[i], name);
            if (unlinkat(disk_dirfd(v->disk), name, 0) < 0)
                r = -errno;
        }
    }
    digest_end(v->ret->torn_digest);
    return r;
}

static int recover_use_segment(struct recover *v)
{
    _cleanup_free_ uint64_t *segments = NULL;
    int n = log_reader_segments(disk_dirfd(v->disk), &segments);

    if (n < 0)
        return n;
    return n > 0 ? disk_use_segment(v->disk, segments[n - 1]) : disk_new_segment(v->disk, v->ret->tiles.size);
}

/* The lines kept were written but perhaps not synced; a checkpoint may name them only when they are. */
static int recover_sync_segments(struct recover *v)
{
    char name[LOG_SEGMENT_NAME_MAX];
    _cleanup_close_ int fd = -EBADF;

    log_segment_name(v->segment, name);
    fd = openat(disk_dirfd(v->disk), name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    return fsync(fd) < 0 ? -errno : 0;
}

static int recover_keep(struct recover *v)
{
    int r = recover_sync_segments(v);

    if (r < 0)
        return r;
    buf_clear(&v->ret->note);
    r = recover_note(v->keys, v->origin, &v->ret->tree, &v->ret->note);
    return r < 0 ? r : disk_write_file(v->disk, DISK_CHECKPOINT, buf_str(&v->ret->note));
}

static int recover_old(struct recover *v)
{
    int r = recover_tree(v);

    if (r < 0)
        return r;
    r = recover_tail(v);
    v->reader = log_reader_free(v->reader);
    if (r == 0)
        tiles_merkle(&v->ret->tiles, &v->ret->tree);
    if (r == 0)
        r = recover_cut(v);
    if (r == 0 && v->ret->kept > 0)
        r = recover_keep(v);
    v->ret->fresh = v->ret->tiles.size == 0 && v->ret->torn_bytes == 0;
    return r < 0 ? log_errno(r, "cannot recover the log") : 0;
}

int recover_log(struct disk *d, struct keys *keys, const char *origin, struct recovered *ret)
{
    struct recover v = {.disk = d, .keys = keys, .origin = origin, .ret = ret};
    int r;

    memset(ret, 0, sizeof(*ret));
    buf_init(&ret->note, CHECKPOINT_NOTE_MAX);
    r = recover_checkpoint(&v);
    if (r == -ENOENT) {
        r = recover_may_init(&v);
        if (r == 0)
            r = recover_init(&v);
    } else if (r == 0) {
        r = recover_old(&v);
    } else if (r != -EBADMSG) {
        log_errno(r, "cannot read log/checkpoint");
    }
    log_reader_free(v.reader);
    if (r == 0) {
        r = recover_use_segment(&v);
        if (r == 0)
            r = disk_make_spare(d, buf_str(&ret->note));
        if (r < 0)
            log_errno(r, "cannot prepare the log's files");
    }
    if (r < 0)
        buf_done(&ret->note);
    return r;
}
