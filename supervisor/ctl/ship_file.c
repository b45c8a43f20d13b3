/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/ship_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/encoding.h"
#include "common/base/io.h"
#include "common/evidence/digest.h"

#define TEMPORARY ".new"

int ship_file_write(int dirfd, const char *name, const struct buf *b)
{
    _cleanup_close_ int fd = -EBADF;
    int r;

    if (b->err)
        return b->err;
    fd = openat(dirfd, TEMPORARY, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    r = io_write_full(fd, b->data, b->len);
    if (r < 0)
        return r;
    if (fsync(fd) < 0 || renameat(dirfd, TEMPORARY, dirfd, name) < 0 || fsync(dirfd) < 0)
        return -errno;
    return 0;
}

int ship_file_read(int dirfd, const char *name, struct buf *b)
{
    /* O_NONBLOCK: a FIFO with this name must not stop the reader. */
    _cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    return S_ISREG(st.st_mode) ? io_read_to_end(fd, b) : -EBADMSG;
}

bool ship_file_head(struct str *text, const char *line)
{
    const size_t n = strlen(line);

    if (text->len < n || memcmp(text->p, line, n) != 0)
        return false;
    *text = (struct str){text->p + n, text->len - n};
    return true;
}

bool ship_file_field(struct str *text, const char *name, struct str *ret)
{
    const size_t n = strlen(name);
    const char *lf = text->len ? memchr(text->p, '\n', text->len) : NULL;

    if (!lf || (size_t)(lf - text->p) <= n || memcmp(text->p, name, n) != 0 || text->p[n] != ' ')
        return false;
    *ret = (struct str){text->p + n + 1, (size_t)(lf - text->p) - n - 1};
    *text = (struct str){lf + 1, text->len - (size_t)(lf + 1 - text->p)};
    return true;
}

bool ship_file_number(struct str *text, const char *name, uint64_t *ret)
{
    struct str value;

    return ship_file_field(text, name, &value) && num_parse_u64(value, 0, UINT64_MAX, ret) == 0;
}

void ship_file_name(const char *text, const char *suffix, char dst[static SHIP_STATE_NAME_MAX + 1])
{
    const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.";
    const size_t room = SHIP_STATE_NAME_MAX - strlen(suffix);
    size_t n = 0;

    for (const char *p = text; *p && n + 3 <= room; p++) {
        if (strchr(plain, *p) && (*p != '.' || p != text))
            dst[n++] = *p;
        else
            n += (size_t)snprintf(dst + n, 4, "%%%02X", (unsigned char)*p);
    }
    dst[n] = '\0';
    if (n + 3 > room) {
        _cleanup_(buf_done) struct buf hex = {.data = NULL};
        uint8_t digest[DIGEST_LEN];

        buf_init(&hex, 2 * DIGEST_LEN);
        digest_sha256(text, strlen(text), digest);
        encoding_hex_put(&hex, digest, sizeof(digest));
        n = (size_t)snprintf(dst, SHIP_STATE_NAME_MAX + 1, "sha256-%s", buf_cstr(&hex));
    }
    (void)snprintf(dst + n, SHIP_STATE_NAME_MAX + 1 - n, "%s", suffix);
}
