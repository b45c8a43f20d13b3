/* SPDX-License-Identifier: MIT */
#include "signerd/compress.h"

#include <fcntl.h>
#include <stdio.h>
#include <zstd.h>

#include "common/base/buf.h"
#include "common/base/io.h"
#include "common/evidence/digest.h"

struct compress {
    int out; /* borrowed */
    ZSTD_CCtx *ctx;
    struct buf lines; /* of the frame under way */
    struct buf frame;
    uint64_t unsynced;
    const atomic_bool *stop;
};

static int compress_init(struct compress *c, int out, const atomic_bool *stop)
{
    *c = (struct compress){.out = out, .ctx = ZSTD_createCCtx(), .stop = stop};
    buf_init(&c->lines, ZST_FRAME_MAX);
    buf_init(&c->frame, ZSTD_COMPRESSBOUND((size_t)ZST_FRAME_MAX));
    if (!c->ctx || ZSTD_isError(ZSTD_CCtx_setParameter(c->ctx, ZSTD_c_compressionLevel, COMPRESS_LEVEL)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(c->ctx, ZSTD_c_windowLog, ZST_WINDOW_LOG)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(c->ctx, ZSTD_c_checksumFlag, 1)))
        return -ENOMEM;
    return 0;
}

static void compress_done(struct compress *c)
{
    ZSTD_freeCCtx(c->ctx);
    buf_done(&c->lines);
    buf_done(&c->frame);
}

static int compress_frame(struct compress *c)
{
    const size_t bound = ZSTD_compressBound(c->lines.len);
    size_t n;
    int r;

    buf_clear(&c->frame);
    if (!buf_reserve(&c->frame, bound))
        return c->frame.err;
    n = ZSTD_compress2(c->ctx, c->frame.data, bound, c->lines.data, c->lines.len);
    if (ZSTD_isError(n))
        return -EIO;
    r = io_write_full(c->out, c->frame.data, n);
    if (r < 0)
        return r;
    c->unsynced += n;
    if (c->unsynced >= COMPRESS_SYNC) {
        c->unsynced = 0;
        if (fdatasync(c->out) < 0)
            return -errno;
    }
    digest_add(c->lines.data, c->lines.len);
    buf_clear(&c->lines);
    return atomic_load(c->stop) ? -ECANCELED : 0;
}

/* All frames; the digest under way takes in what goes into them. */
static int compress_lines(struct compress *c, struct log_reader *reader)
{
    struct log_line l;
    int r;

    while ((r = log_reader_next(reader, &l)) == LOG_READ_LINE) {
        buf_put_str(&c->lines, l.text);
        buf_putc(&c->lines, '\n');
        if (c->lines.err)
            return c->lines.err;
        if ((l.index + 1) % ZST_FRAME_LINES == 0) {
            r = compress_frame(c);
            if (r < 0)
                return r;
        }
    }
    if (r != LOG_READ_END)
        return r < 0 ? r : -EBADMSG;
    return c->lines.len > 0 ? compress_frame(c) : 0;
}

/* Reads back what was written: the digest of the content. */
static int compress_check(int fd, uint64_t first, const atomic_bool *stop, uint8_t ret[static DIGEST_LEN])
{
    _cleanup_(log_reader_freep) struct log_reader *reader = NULL;
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0), r;
    struct log_line l;

    if (copy < 0)
        return -errno;
    r = log_reader_open_zst(copy, first, first, &reader);
    if (r < 0)
        return r;
    digest_begin();
    while ((r = log_reader_next(reader, &l)) == LOG_READ_LINE && !atomic_load(stop)) {
        digest_add(l.text.p, l.text.len);
        digest_add("\n", 1);
    }
    digest_end(ret);
    return r == LOG_READ_END ? 0 : r == LOG_READ_LINE ? -ECANCELED : r < 0 ? r : -EIO;
}

/* Writes the compressed form into out, from the segment open as in (taken). */
static int compress_write(int in, int out, uint64_t first, const atomic_bool *stop)
{
    _cleanup_(log_reader_freep) struct log_reader *reader = NULL;
    uint8_t want[DIGEST_LEN], have[DIGEST_LEN];
    struct compress c;
    int r = log_reader_open_fd(in, first, &reader);

    if (r < 0)
        return r;
    r = compress_init(&c, out, stop);
    digest_begin();
    if (r == 0)
        r = compress_lines(&c, reader);
    digest_end(want);
    compress_done(&c);
    if (r == 0 && fsync(out) < 0)
        r = -errno;
    if (r == 0)
        r = compress_check(out, first, stop, have);
    if (r < 0)
        return r;
    return memcmp(want, have, DIGEST_LEN) == 0 ? 0 : -EIO;
}

int compress_segment(int dirfd, uint64_t first, const atomic_bool *stop)
{
    char plain[LOG_SEGMENT_NAME_MAX], zst[LOG_SEGMENT_ZST_MAX], tmp[SEGMENT_TMP_MAX];
    _cleanup_close_ int in = -EBADF, out = -EBADF;
    int r;

    log_segment_name(first, plain);
    log_segment_zst_name(first, zst);
    segment_tmp_name(first, tmp);
    r = segment_sync_sidecars(dirfd, first);
    if (r < 0)
        return r;
    in = openat(dirfd, plain, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (in < 0)
        return -errno;
    out = openat(dirfd, tmp, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (out < 0)
        return -errno;
    r = compress_write(TAKE_FD(in), out, first, stop);
    if (r == 0 && renameat(dirfd, tmp, dirfd, zst) < 0)
        r = -errno;
    if (r < 0) {
        (void)unlinkat(dirfd, tmp, 0);
        return r;
    }
    if (fsync(dirfd) < 0 || unlinkat(dirfd, plain, 0) < 0 || fsync(dirfd) < 0)
        return -errno;
    return 0;
}
