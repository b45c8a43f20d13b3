/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/line_stream.h"

#include "common/base/io.h"

_Static_assert(LINE_STREAM_BUFFER > LOG_READER_LINE_MAX + 1, "a whole line fits");

static int line_stream_fill(struct line_stream *s)
{
    ssize_t n;

    memmove(s->buffer, s->buffer + s->pos, s->len);
    s->pos = 0;
    do
        n = read(s->fd, s->buffer + s->len, sizeof(s->buffer) - s->len);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    s->eof = n == 0;
    s->len += (size_t)n;
    s->bytes += (uint64_t)n;
    return 0;
}

int line_stream_peek(struct line_stream *s, struct str *ret)
{
    while (!s->eof && s->len < sizeof(s->buffer) && !memchr(s->buffer, '\n', s->len)) {
        int r = line_stream_fill(s);

        if (r < 0)
            return r;
    }
    *ret = (struct str){s->buffer, s->len};
    return 0;
}

int line_stream_next(void *arg, struct log_line *ret)
{
    struct line_stream *s = arg;

    for (;;) {
        const char *start = s->buffer + s->pos;
        const char *lf = s->len ? memchr(start, '\n', s->len) : NULL;
        size_t n = lf ? (size_t)(lf - start) : s->len;

        if (n > LOG_READER_LINE_MAX) {
            *ret = (struct log_line){.index = s->lines};
            return LOG_READ_TOO_LONG;
        }
        if (!lf && !s->eof) {
            int r = line_stream_fill(s);

            if (r < 0)
                return r;
            continue;
        }
        if (!lf && n == 0)
            return LOG_READ_END;
        *ret = (struct log_line){.text = {start, n}, .index = s->lines++};
        s->pos += n + (lf ? 1 : 0);
        s->len -= n + (lf ? 1 : 0);
        return LOG_READ_LINE;
    }
}

int line_stream_rest(struct line_stream *s, size_t max, struct buf *b)
{
    buf_init(b, max);
    buf_put(b, s->buffer + s->pos, s->len);
    return b->err ? b->err : io_read_to_end(s->fd, b);
}
