/* SPDX-License-Identifier: MIT */
#include "common/evidence/zst_reader.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zstd.h>

#define ZST_INPUT (64u << 10)
#define ZST_HEAD_MAX                                                                                         \
    14u /* magic, descriptor, window, content size: RFC 8878 section 3.1.1, no dictionary                    \
         */
#define ZST_BLOCK_MAX  (128u << 10) /* bytes of one block there */
#define ZST_BLOCKS_MAX 65536u       /* of one frame; content at its longest fills 128 */

struct zst_reader {
    int fd;             /* borrowed */
    uint64_t size, pos; /* of the file; of the next byte that was not decoded */
    uint64_t line;      /* index of the next frame's first line */
    uint64_t offset;    /* content before that frame */
    ZSTD_DCtx *ctx;
    /* the frame under way */
    bool inside;
    uint64_t left;  /* content still due */
    uint64_t lines; /* and line feeds: at most that many, exactly that many when another frame follows */
    bool at_end_of_line;
    size_t in_pos, in_len; /* undecoded part of input */
    uint8_t input[ZST_INPUT];
};

struct zst_head {
    size_t len;
    uint64_t content;
    bool checksum;
};

int zst_reader_new(int fd, uint64_t first, struct zst_reader **ret)
{
    struct zst_reader *r;
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    r = malloc(sizeof(*r));
    if (!r)
        return -ENOMEM;
    memset(r, 0, offsetof(struct zst_reader, input));
    r->fd = fd;
    r->size = (uint64_t)st.st_size;
    r->line = first;
    r->ctx = ZSTD_createDCtx();
    if (!r->ctx || ZSTD_isError(ZSTD_DCtx_setParameter(r->ctx, ZSTD_d_windowLogMax, ZST_WINDOW_LOG))) {
        (void)zst_reader_free(r);
        return -ENOMEM;
    }
    *ret = r;
    return 0;
}

struct zst_reader *zst_reader_free(struct zst_reader *r)
{
    if (r) {
        ZSTD_freeDCtx(r->ctx);
        free(r);
    }
    return NULL;
}

/* Up to n bytes at a place of the file: how many, or -errno. */
static ssize_t zst_pread(const struct zst_reader *r, void *p, size_t n, uint64_t at)
{
    ssize_t got;

    do
        got = pread(r->fd, p, n, (off_t)at);
    while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

/* ---- the form of a frame ---- */

static uint64_t zst_le(const uint8_t *p, size_t n)
{
    uint64_t v = 0;

    while (n-- > 0)
        v = v << 8 | p[n];
    return v;
}

/* The window a frame with content size and window descriptor w needs fits. */
static bool zst_window_fits(bool single, uint8_t w, uint64_t content)
{
    uint64_t base = 1ull << (10 + (w >> 3));

    return (single ? content : base + base / 8 * (w & 7)) <= 1ull << ZST_WINDOW_LOG;
}

static int zst_head_parse(const uint8_t *p, size_t n, struct zst_head *ret)
{
    static const size_t content_len[2][4] = {{0, 2, 4, 8}, {1, 2, 4, 8}};
    uint8_t flags = n >= 5 ? p[4] : 0;
    bool single = flags >> 5 & 1;
    size_t len = content_len[single][flags >> 6], at = single ? 5 : 6;

    /* Bits 0 and 1: a dictionary; bit 3: reserved. */
    if (n < 5 || zst_le(p, 4) != ZSTD_MAGICNUMBER || flags & 0x0b || len == 0 || n < at + len)
        return -EBADMSG;
    ret->content = zst_le(p + at, len) + (len == 2 ? 256 : 0);
    ret->checksum = flags >> 2 & 1;
    ret->len = at + len;
    if (ret->content == 0 || ret->content > ZST_FRAME_MAX || !zst_window_fits(single, p[5], ret->content))
        return -EBADMSG;
    return 0;
}

/* The head of the frame at pos. 1; 0 at the end of the file; -EBADMSG; -errno. */
static int zst_head(const struct zst_reader *r, struct zst_head *ret)
{
    uint8_t head[ZST_HEAD_MAX];
    ssize_t n;
    int e;

    if (r->pos >= r->size)
        return 0;
    n = zst_pread(r, head, sizeof(head), r->pos);
    if (n < 0)
        return (int)n;
    e = zst_head_parse(head, (size_t)n, ret);
    return e < 0 ? e : 1;
}

/* From the first block of a frame to behind its last one. */
static int zst_pass_blocks(const struct zst_reader *r, uint64_t *at)
{
    for (unsigned i = 0; i < ZST_BLOCKS_MAX; i++) {
        uint8_t head[3];
        ssize_t n = zst_pread(r, head, sizeof(head), *at);

        if (n != sizeof(head))
            return n < 0 ? (int)n : -EBADMSG;
        uint32_t h = (uint32_t)zst_le(head, sizeof(head)), type = h >> 1 & 3, size = h >> 3;
        if (type == 3 || size > ZST_BLOCK_MAX)
            return -EBADMSG;
        *at += sizeof(head) + (type == 1 ? 1 : size); /* type 1: one byte that repeats */
        if (*at > r->size)
            return -EBADMSG;
        if (h & 1)
            return 0;
    }
    return -EBADMSG;
}

static uint64_t zst_next_frame_line(uint64_t line)
{
    return (line / ZST_FRAME_LINES + 1) * ZST_FRAME_LINES;
}

int zst_reader_seek(struct zst_reader *r, uint64_t line, uint64_t *ret_line, uint64_t *ret_offset)
{
    while (zst_next_frame_line(r->line) <= line) {
        struct zst_head head;
        int e = zst_head(r, &head);

        if (e <= 0)
            break; /* at the end there is nothing more to pass over; what is wrong the next read says */
        uint64_t at = r->pos + head.len;
        e = zst_pass_blocks(r, &at);
        if (e < 0)
            return e;
        at += head.checksum ? 4 : 0;
        if (at >= r->size)
            break; /* the last frame need not be full */
        r->pos = at;
        r->offset += head.content;
        r->line = zst_next_frame_line(r->line);
    }
    *ret_line = r->line;
    *ret_offset = r->offset;
    return 0;
}

/* ---- content ---- */

/* 1; 0 at the end of the file; -EBADMSG; -errno. */
static int zst_begin_frame(struct zst_reader *r)
{
    struct zst_head head;
    int e = zst_head(r, &head);

    if (e <= 0)
        return e;
    ZSTD_DCtx_reset(r->ctx, ZSTD_reset_session_only);
    r->inside = true;
    r->left = head.content;
    r->lines = zst_next_frame_line(r->line) - r->line;
    r->line += r->lines;
    return 1;
}

/* Counts what was decoded against what the frame may hold. */
static int zst_account(struct zst_reader *r, const uint8_t *p, size_t n)
{
    const uint8_t *end = p + n;

    if (n == 0)
        return 0;
    if (n > r->left)
        return -EBADMSG;
    r->left -= n;
    r->at_end_of_line = end[-1] == '\n';
    while ((p = memchr(p, '\n', (size_t)(end - p)))) {
        if (r->lines-- == 0)
            return -EBADMSG;
        if (++p == end)
            break;
    }
    return 0;
}

static int zst_end_frame(struct zst_reader *r)
{
    bool last = r->pos == r->size;

    r->inside = false;
    return r->left == 0 && r->at_end_of_line && (r->lines == 0 || last) ? 0 : -EBADMSG;
}

/* Something to decode. 1, -EBADMSG or -errno. */
static int zst_fill(struct zst_reader *r)
{
    ssize_t n;

    if (r->in_pos < r->in_len)
        return 1;
    n = zst_pread(r, r->input, sizeof(r->input), r->pos);
    if (n <= 0)
        return n < 0 ? (int)n : -EBADMSG; /* the file ends inside a frame */
    r->in_pos = 0;
    r->in_len = (size_t)n;
    return 1;
}

ssize_t zst_reader_read(struct zst_reader *r, void *p, size_t n)
{
    ZSTD_outBuffer out = {p, n, 0};

    while (out.pos == 0) {
        int e = r->inside ? 1 : zst_begin_frame(r);

        if (e == 1)
            e = zst_fill(r);
        if (e <= 0)
            return e;
        ZSTD_inBuffer in = {r->input, r->in_len, r->in_pos};
        size_t hint = ZSTD_decompressStream(r->ctx, &out, &in);
        r->pos += in.pos - r->in_pos;
        r->in_pos = in.pos;
        if (ZSTD_isError(hint))
            return -EBADMSG;
        e = zst_account(r, p, out.pos);
        if (e == 0 && hint == 0)
            e = zst_end_frame(r);
        if (e < 0)
            return e;
    }
    return (ssize_t)out.pos;
}
