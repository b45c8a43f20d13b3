/* SPDX-License-Identifier: MIT */
#include "common/evidence/log_reader.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "common/base/dir.h"
#include "common/base/num.h"

#define LOG_READER_BUFFER (256 * 1024) /* several lines a read; more than one whole line with its LF */

_Static_assert(LOG_READER_BUFFER > LOG_READER_LINE_MAX + 1, "a whole line fits");

struct log_reader {
    int dirfd; /* borrowed, or -EBADF when only one file is read */
    uint64_t *segments;
    size_t nsegments;
    size_t next_segment;
    uint64_t due_from;      /* the next segment is the first one that begins here or behind */
    int fd;                 /* of the present segment; -EBADF between two */
    struct zst_reader *zst; /* when that is compressed */
    bool eof;
    struct log_line at; /* of the next line */
    uint64_t from;
    size_t pos, len; /* unread part of buffer */
    uint8_t buffer[LOG_READER_BUFFER];
};

void log_segment_name(uint64_t first, char dst[static LOG_SEGMENT_NAME_MAX])
{
    (void)snprintf(dst, LOG_SEGMENT_NAME_MAX, "%020" PRIu64 LOG_SEGMENT_SUFFIX, first);
}

void log_segment_zst_name(uint64_t first, char dst[static LOG_SEGMENT_ZST_MAX])
{
    (void)snprintf(dst, LOG_SEGMENT_ZST_MAX, "%020" PRIu64 LOG_SEGMENT_SUFFIX ZST_SUFFIX, first);
}

static bool segment_name_parse(const char *name, uint64_t *ret)
{
    size_t zeros = 0;

    if (strlen(name) < 20 ||
        (strcmp(name + 20, LOG_SEGMENT_SUFFIX) != 0 && strcmp(name + 20, LOG_SEGMENT_SUFFIX ZST_SUFFIX) != 0))
        return false;
    while (zeros < 19 && name[zeros] == '0')
        zeros++;
    return num_parse_u64((struct str){name + zeros, 20 - zeros}, 0, UINT64_MAX, ret) == 0;
}

static int segment_order(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static int segments_add(uint64_t **list, size_t *n, uint64_t first)
{
    if (*n == LOG_READER_SEGMENTS_MAX)
        return -EFBIG;
    if ((*n & (*n - 1)) == 0) { /* grows at every power of two */
        uint64_t *more = reallocarray(*list, *n ? *n * 2 : 1, sizeof(**list));

        if (!more)
            return -ENOMEM;
        *list = more;
    }
    (*list)[(*n)++] = first;
    return 0;
}

/* Ascending, without the repeats of segments in both forms. How many are left. */
static size_t segments_order(uint64_t *list, size_t n)
{
    size_t kept = 0;

    if (n > 0)
        qsort(list, n, sizeof(*list), segment_order);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || list[kept - 1] != list[i])
            list[kept++] = list[i];
    return kept;
}

int log_reader_segments(int dirfd, uint64_t **ret)
{
    _cleanup_free_ uint64_t *list = NULL;
    _cleanup_(dir_closep) DIR *dir = NULL;
    size_t n = 0;
    int r = dir_open(dirfd, ".", &dir);

    if (r < 0)
        return r;
    for (;;) {
        struct dirent *e;
        uint64_t first;

        errno = 0;
        e = readdir(dir);
        if (!e && errno)
            return -errno;
        if (!e)
            break;
        if (!segment_name_parse(e->d_name, &first))
            continue;
        r = segments_add(&list, &n, first);
        if (r < 0)
            return r;
    }
    n = segments_order(list, n);
    *ret = TAKE_PTR(list);
    return (int)n;
}

static int reader_new(int dirfd, uint64_t from, struct log_reader **ret)
{
    struct log_reader *r = malloc(sizeof(*r));

    if (!r)
        return -ENOMEM;
    /* Not the buffer: a quarter of a megabyte that is written before it is read. */
    memset(r, 0, offsetof(struct log_reader, buffer));
    r->dirfd = dirfd;
    r->fd = -EBADF;
    r->from = from;
    *ret = r;
    return 0;
}

/* Reads the names (again). 0 or -errno. */
static int reader_list(struct log_reader *r)
{
    _cleanup_free_ uint64_t *segments = NULL;
    int n = log_reader_segments(r->dirfd, &segments);

    if (n < 0)
        return n;
    free(r->segments);
    r->segments = TAKE_PTR(segments);
    r->nsegments = (size_t)n;
    r->next_segment = 0;
    while (r->next_segment < r->nsegments && r->segments[r->next_segment] < r->due_from)
        r->next_segment++;
    return 0;
}

/* Finds the segment with line from. */
static int reader_find(struct log_reader *r)
{
    int e;

    r->due_from = r->from;
    e = reader_list(r);
    if (e < 0)
        return e;
    if (r->next_segment == r->nsegments || r->segments[r->next_segment] > r->from) {
        if (r->next_segment == 0)
            return -ENOENT;
        r->next_segment--;
    }
    r->at.index = r->segments[r->next_segment];
    r->due_from = r->at.index;
    return 0;
}

int log_reader_open(int dirfd, uint64_t from, struct log_reader **ret)
{
    struct log_reader *r = NULL;
    int e = reader_new(dirfd, from, &r);

    if (e < 0)
        return e;
    e = reader_find(r);
    if (e < 0) {
        log_reader_free(r);
        return e;
    }
    *ret = r;
    return 0;
}

int log_reader_open_oldest(int dirfd, struct log_reader **ret, uint64_t *ret_first)
{
    _cleanup_free_ uint64_t *segments = NULL;
    int n = log_reader_segments(dirfd, &segments);

    if (n <= 0)
        return n < 0 ? n : -ENOENT;
    n = log_reader_open(dirfd, segments[0], ret);
    if (n == 0)
        *ret_first = segments[0];
    return n;
}

int log_reader_open_fd(int fd, uint64_t first, struct log_reader **ret)
{
    int n = reader_new(-EBADF, first, ret);

    if (n < 0) {
        close(fd);
        return n;
    }
    (*ret)->fd = fd;
    (*ret)->at = (struct log_line){.index = first, .segment = first, .segment_line = 1};
    return 0;
}

static void reader_close_segment(struct log_reader *r)
{
    r->zst = zst_reader_free(r->zst);
    cleanup_closep(&r->fd);
    r->fd = -EBADF;
}

struct log_reader *log_reader_free(struct log_reader *r)
{
    if (r) {
        reader_close_segment(r);
        free(r->segments);
        free(r);
    }
    return NULL;
}

void log_reader_freep(struct log_reader **r)
{
    *r = log_reader_free(*r);
}

/* Puts the decoder before r->fd, and that before the frame with line from. */
static int reader_decode(struct log_reader *r, uint64_t first)
{
    int e = zst_reader_new(r->fd, first, &r->zst);

    if (e == 0)
        e = zst_reader_seek(r->zst, r->from, &r->at.index, &r->at.offset);
    r->at.segment_line = r->at.index - first + 1;
    r->at.compressed = true;
    return e;
}

int log_reader_open_zst(int fd, uint64_t first, uint64_t from, struct log_reader **ret)
{
    struct log_reader *r;
    int e = log_reader_open_fd(fd, first, &r);

    if (e < 0)
        return e;
    r->from = from;
    e = reader_decode(r, first);
    if (e < 0) {
        log_reader_free(r);
        return e;
    }
    *ret = r;
    return 0;
}

/* O_NONBLOCK: a FIFO with this name must not stop the reader. */
static int reader_open_file(struct log_reader *r, const char *name)
{
    struct stat st;

    r->fd = openat(r->dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (r->fd < 0)
        return -errno;
    if (fstat(r->fd, &st) < 0)
        return -errno;
    return S_ISREG(st.st_mode) ? 0 : -EBADMSG;
}

static int reader_open_segment(struct log_reader *r, uint64_t first)
{
    char name[LOG_SEGMENT_ZST_MAX];
    int e;

    log_segment_name(first, name);
    r->eof = false;
    r->at = (struct log_line){.index = r->at.index, .segment = first, .segment_line = 1};
    e = reader_open_file(r, name);
    if (e != -ENOENT)
        return e;
    log_segment_zst_name(first, name);
    e = reader_open_file(r, name);
    return e < 0 ? e : reader_decode(r, first);
}

static ssize_t reader_read(const struct log_reader *r, void *p, size_t size)
{
    ssize_t n;

    if (r->zst)
        return zst_reader_read(r->zst, p, size);
    do
        n = read(r->fd, p, size);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* Moves what is left to the front and reads more behind it. */
static int reader_fill(struct log_reader *r)
{
    ssize_t n;

    memmove(r->buffer, r->buffer + r->pos, r->len);
    r->pos = 0;
    n = reader_read(r, r->buffer + r->len, sizeof(r->buffer) - r->len);
    if (n < 0)
        return (int)n;
    r->eof = n == 0;
    r->len += (size_t)n;
    return 0;
}

/* The next line of the present segment: LOG_READ_LINE, _TORN, _TOO_LONG, _DAMAGED, _END (of the segment) or
 * -errno. */
static int reader_segment_line(struct log_reader *r, struct log_line *ret)
{
    for (;;) {
        const uint8_t *start = r->buffer + r->pos;
        const uint8_t *lf = r->len ? memchr(start, '\n', r->len) : NULL;
        size_t n = lf ? (size_t)(lf - start) : r->len;

        *ret = r->at;
        ret->text = (struct str){(const char *)start, n > LOG_READER_LINE_MAX ? LOG_READER_LINE_MAX + 1 : n};
        if (n > LOG_READER_LINE_MAX)
            return lf ? LOG_READ_TOO_LONG : LOG_READ_TORN;
        if (lf) {
            r->pos += n + 1;
            r->len -= n + 1;
            r->at.index++;
            r->at.segment_line++;
            r->at.offset += n + 1;
            return LOG_READ_LINE;
        }
        if (r->eof)
            return n > 0 ? LOG_READ_TORN : LOG_READ_END;
        int e = reader_fill(r);
        if (e < 0)
            return e == -EBADMSG ? LOG_READ_DAMAGED : e;
    }
}

/* Opens the segment that is due. 0; LOG_READ_END; LOG_READ_BAD_SEGMENT; LOG_READ_DAMAGED; -errno. */
static int reader_next_segment(struct log_reader *r, struct log_line *ret)
{
    for (bool again = false;; again = true) {
        uint64_t first = r->next_segment < r->nsegments ? r->segments[r->next_segment] : r->at.index;
        int e;

        if (r->next_segment == r->nsegments)
            return LOG_READ_END;
        e = first == r->at.index ? reader_open_segment(r, first) : -ENOENT;
        if (e == 0) {
            r->next_segment++;
            r->due_from = first + 1;
            return 0;
        }
        *ret = r->at;
        ret->segment = first;
        if (e == -EBADMSG && r->zst)
            return LOG_READ_DAMAGED;
        if (e != -ENOENT)
            return e;
        /* While the names were read a segment may have changed from one form to the other, and so have had
         * neither: look once more. */
        if (again)
            return LOG_READ_BAD_SEGMENT;
        e = reader_list(r);
        if (e < 0)
            return e;
    }
}

/* The segment that was last at the opening has been read: has the log gone on in a new one? The old one stays
 * open otherwise, and is read again when asked again. LOG_READ_LINE when there is one, LOG_READ_END, or as
 * reader_next_segment(). */
static int reader_look_again(struct log_reader *r, struct log_line *ret)
{
    struct zst_reader *zst = r->zst;
    struct log_line at = r->at;
    int fd = r->fd, e;

    r->eof = false;
    if (r->dirfd < 0 || at.segment == at.index)
        return LOG_READ_END;
    r->fd = -EBADF;
    r->zst = NULL;
    e = reader_open_segment(r, at.index);
    if (e == -ENOENT) {
        r->fd = fd;
        r->zst = zst;
        r->at = at;
        return LOG_READ_END;
    }
    (void)zst_reader_free(zst);
    close(fd);
    *ret = r->at;
    return e == -EBADMSG && r->zst ? LOG_READ_DAMAGED : e < 0 ? e : LOG_READ_LINE;
}

int log_reader_next(struct log_reader *r, struct log_line *ret)
{
    for (;;) {
        int e = r->fd < 0 ? reader_next_segment(r, ret) : 0;

        if (e != 0 || r->fd < 0)
            return e;
        e = reader_segment_line(r, ret);
        if (e == LOG_READ_LINE && ret->index < r->from)
            continue;
        if (e != LOG_READ_END)
            return e;
        if (r->next_segment < r->nsegments) {
            reader_close_segment(r);
            continue;
        }
        e = reader_look_again(r, ret);
        if (e != LOG_READ_LINE)
            return e;
    }
}
