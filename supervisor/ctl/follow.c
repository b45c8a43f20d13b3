/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/follow.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>

#include "common/base/io.h"
#include "common/base/num.h"
#include "common/evidence/log_reader.h"

#define CHECKPOINT_FILE "checkpoint"
#define CHECKPOINT_MAX  4096u

int follow_open(const char *path, struct follow *ret)
{
    struct follow f = {.log_dir = -EBADF, .out = -EBADF, .inotify = -EBADF};
    if (path && strcmp(path, "-") == 0)
        f.out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    else if (path)
        f.out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (path && f.out < 0)
        return -errno;
    buf_init(&f.rest, LOG_READER_LINE_MAX + 1);
    *ret = f;
    return 0;
}

int follow_start(struct follow *f, int log_dir)
{
    char path[64];
    if (f->out < 0)
        return 0;
    f->log_dir = log_dir;
    f->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (f->inotify < 0)
        return -errno;
    snprintf(path, sizeof(path), "/proc/self/fd/%d",
             log_dir); /* the directory by its fd: inotify knows only paths */
    return inotify_add_watch(f->inotify, path, IN_MOVED_TO | IN_ONLYDIR) < 0 ? -errno : 0;
}

/* The tree size of the newest checkpoint: its second line. 0 when there is none yet. */
static uint64_t durable_size(const struct follow *f)
{
    _cleanup_close_ int fd = openat(f->log_dir, CHECKPOINT_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    _cleanup_(buf_done) struct buf b = {0};
    buf_init(&b, CHECKPOINT_MAX);
    if (fd < 0 || io_read_to_end(fd, &b) < 0)
        return 0;
    const char *text = buf_cstr(&b);
    const char *line = text ? strchr(text, '\n') : NULL;
    const char *end = line ? strchr(line + 1, '\n') : NULL;
    uint64_t size = 0;
    if (!end || num_parse_u64((struct str){line + 1, (size_t)(end - line - 1)}, 0, UINT64_MAX, &size) < 0)
        return 0;
    return size;
}

/* False when out takes no more just now, or for ever. A pipe that poll(2) calls writable takes PIPE_BUF bytes
 * at once, so without wait nothing here blocks. */
static bool write_rest(struct follow *f, bool wait)
{
    while (f->rest.len > 0) {
        struct pollfd p = {.fd = f->out, .events = POLLOUT};
        if (poll(&p, 1, wait ? -1 : 0) == 0)
            return false;
        ssize_t n = write(f->out, f->rest.data, f->rest.len < PIPE_BUF ? f->rest.len : PIPE_BUF);
        if (n < 0 && (errno == EINTR || (wait && errno == EAGAIN)))
            continue;
        if (n <= 0) {
            f->failed = n == 0 || errno != EAGAIN;
            return false;
        }
        buf_consume(&f->rest, (size_t)n);
    }
    return true;
}

static void copy_lines(struct follow *f, uint64_t size, bool wait)
{
    _cleanup_(log_reader_freep) struct log_reader *r = NULL;
    struct log_line line;
    if (!write_rest(f, wait) || f->next >= size || log_reader_open(f->log_dir, f->next, &r) < 0)
        return;
    while (f->next < size && log_reader_next(r, &line) == LOG_READ_LINE) {
        buf_clear(&f->rest);
        buf_put_str(&f->rest, line.text);
        buf_putc(&f->rest, '\n');
        f->next = line.index + 1;
        if (!write_rest(f, wait))
            return;
    }
}

void follow_step(struct follow *f, bool wait)
{
    char skip[4096];
    if (f->out < 0 || f->failed)
        return;
    while (f->inotify >= 0 && read(f->inotify, skip, sizeof(skip)) > 0) {
    }
    copy_lines(f, durable_size(f), wait);
}

void follow_done(struct follow *f)
{
    cleanup_closep(&f->out);
    cleanup_closep(&f->inotify);
    f->out = f->inotify = -EBADF;
    buf_done(&f->rest);
}
