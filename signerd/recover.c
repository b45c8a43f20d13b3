/* SPDX-License-Identifier: MIT */
#include "signerd/recover_internal.h"

#include <fcntl.h>
#include <stdio.h>

#include "common/base/log.h"
#include "common/evidence/log_verify.h"
#include "signerd/segments.h"

int recover_note(struct keys *keys, const char *origin, const struct merkle *tree, struct buf *b)
{
    _cleanup_(buf_done) struct buf text = {.data = NULL};
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
    _cleanup_(buf_done) struct buf vkey = {.data = NULL};
    int r;

    buf_init(&vkey, CHECKPOINT_VKEY_MAX + 1);
    vkey_render(keys_vkey(v->keys), &vkey);
    if (!buf_cstr(&vkey))
        return vkey.err;
    tiles_init(&v->ret->tiles);
    merkle_init(&v->ret->tree);
    v->ret->fresh = true;
    v->ret->keyset_changed = false;
    r = recover_write_line(v, "origin", v->origin);
    if (r == 0)
        r = disk_write_file(v->disk, KEYSET_FILE, keys_keyset(v->keys));
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
    const struct keyring_key *signer;
    int r = log_verify_read_file(disk_dirfd(v->disk), DISK_CHECKPOINT, &v->ret->note);

    if (r < 0)
        return r;
    r = checkpoint_open_ring(buf_str(&v->ret->note), keys_ring(v->keys), &v->checkpoint, &signer);
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

static int recover_use_segment(struct recover *v)
{
    _cleanup_free_ uint64_t *segments = NULL;
    int n = log_reader_segments(disk_dirfd(v->disk), &segments), r;
    uint64_t since_s = 0;

    if (n < 0)
        return n;
    v->ret->closed = n > 1 || (n == 1 && !segment_is_plain(disk_dirfd(v->disk), segments[0]));
    if (n == 0 || !segment_is_plain(disk_dirfd(v->disk), segments[n - 1]))
        return disk_new_segment(v->disk, v->ret->tiles.size);
    r = segment_since(disk_dirfd(v->disk), segments[n - 1], &since_s);
    /* A first line that says nothing of its time is for verify to judge; the segment is closed as an old one.
     */
    return r < 0 && r != -ENOENT && r != -EBADMSG ? r : disk_use_segment(v->disk, segments[n - 1], since_s);
}

static int recover_write_again(int fd, uint64_t from, uint64_t to)
{
    uint8_t chunk[RECOVER_CHUNK];

    while (from < to) {
        size_t want = to - from < sizeof(chunk) ? (size_t)(to - from) : sizeof(chunk);
        ssize_t n = pread(fd, chunk, want, (off_t)from);

        if (n > 0)
            n = pwrite(fd, chunk, (size_t)n, (off_t)from);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        from += (uint64_t)n;
    }
    return 0;
}

/* The lines kept were written but perhaps not synced; a checkpoint may name them only when they are. They are
 * written again first: where the sync of them had failed, the kernel shows them but will not store them any
 * more, and the next sync says that all is well (fsync(2)). Only those of the last segment: it was begun
 * after the sync of what is before it had succeeded. */
static int recover_sync_segments(struct recover *v)
{
    char name[LOG_SEGMENT_NAME_MAX];
    _cleanup_close_ int fd = -EBADF;
    int r;

    log_segment_name(v->segment, name);
    fd = openat(disk_dirfd(v->disk), name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    r = recover_write_again(fd, v->segment == v->kept_segment ? v->kept_from : 0, v->end);
    if (r < 0)
        return r;
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
    if (r == 0 && v->ret->keyset_changed)
        r = recover_write_keyset(v);
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
    r = recover_keyset(&v);
    if (r == 0)
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
