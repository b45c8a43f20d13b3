/* SPDX-License-Identifier: MIT */
/* A compressed segment of a foreign log. Input: two bytes for the index of its first line, two for where to
 * read from, then the file. */
#include <stdlib.h>

#include "common/base/io.h"
#include "common/evidence/log_reader.h"

#define LINES_MAX 4096 /* whose lengths are compared */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    uint64_t n;
    size_t len[LINES_MAX];
    int end;
};

/* What a reader makes of the file from a line on. */
static void fuzz_read(const uint8_t *data, size_t size, uint64_t first, uint64_t from, struct seen *ret)
{
    struct log_reader *reader;
    struct log_line l;
    int fd = io_memfd_sealed("segment", data, size);
    uint64_t due = from;

    *ret = (struct seen){.n = 0};
    if (fd < 0)
        abort();
    ret->end = log_reader_open_zst(fd, first, from, &reader);
    if (ret->end < 0) {
        if (ret->end != -EBADMSG)
            abort();
        return;
    }
    while ((ret->end = log_reader_next(reader, &l)) == LOG_READ_LINE) {
        if (l.index != due++ || l.text.len > LOG_READER_LINE_MAX || !l.compressed)
            abort();
        if (ret->n < LINES_MAX)
            ret->len[ret->n] = l.text.len;
        ret->n++;
    }
    if (ret->end != LOG_READ_END && ret->end != LOG_READ_DAMAGED && ret->end != LOG_READ_TOO_LONG &&
        ret->end != LOG_READ_TORN)
        abort();
    log_reader_free(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct seen whole, part;
    uint64_t first, from;

    if (size < 4)
        return 0;
    first = (uint64_t)data[0] << 8 | data[1];
    from = first + ((uint64_t)data[2] << 8 | data[3]) % LINES_MAX;
    fuzz_read(data + 4, size - 4, first, first, &whole);
    if (whole.end != LOG_READ_END)
        return 0;
    /* Of a file that is good the frames passed over change nothing. */
    fuzz_read(data + 4, size - 4, first, from, &part);
    if (part.end != LOG_READ_END || (from - first < whole.n ? whole.n - (from - first) : 0) != part.n)
        abort();
    for (uint64_t i = 0; i < part.n && from - first + i < LINES_MAX; i++)
        if (part.len[i] != whole.len[from - first + i])
            abort();
    return 0;
}
