/* SPDX-License-Identifier: MIT */
#include <fcntl.h>

#include "proto/limits.h"
#include "supervisor/ctl/document.h"

int document_read(const char *path, struct buf *b)
{
    bool standard_input = strcmp(path, "-") == 0;
    _cleanup_close_ int fd =
        standard_input ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    while (b->len <= LIMIT_SPEC) {
        size_t want = LIMIT_SPEC + 1 - b->len < 65536 ? LIMIT_SPEC + 1 - b->len : 65536;
        uint8_t *room = buf_reserve(b, want);
        if (!room)
            return b->err;
        ssize_t n = read(fd, room, want);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        b->len += (size_t)n;
    }
    return 0;
}
