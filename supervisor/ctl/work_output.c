/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/work_output.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/io.h"
#include "common/base/uuid.h"
#include "supervisor/ctl/paths.h"

#define CHUNK       65536u
#define CHUNKS_PIPE 64 /* more than the biggest pipe holds */
#define CHUNKS_ONCE 16 /* a workload that never stops writing must not keep the loop from the others */

static const char *const names[2] = {"stdout", "stderr"};

/* False when the pipe has nothing more, now or for ever. */
static bool take(struct output_file *f, ssize_t *ret_n)
{
    char chunk[CHUNK];
    ssize_t n = read(f->pipe, chunk, sizeof(chunk));
    *ret_n = n;
    if (n <= 0)
        return false;
    size_t len = (size_t)n, room = f->written < f->max ? (size_t)(f->max - f->written) : 0;
    size_t keep = len < room ? len : room;
    if (keep > 0 && io_write_full(f->file, chunk, keep) < 0)
        keep = 0; /* a full disk: the count says that it is missing */
    f->written += keep;
    f->dropped += len - keep;
    return true;
}

static void on_readable(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)revents;
    struct output_file *f = w->data;
    ssize_t n = 0;
    for (int i = 0; i < CHUNKS_ONCE; i++)
        if (!take(f, &n))
            break;
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        ev_io_stop(loop, w);
}

void output_init(struct output *o, struct ev_loop *loop)
{
    *o = (struct output){.loop = loop};
    for (size_t i = 0; i < 2; i++) {
        o->files[i].pipe = o->files[i].file = -EBADF;
        ev_io_init(&o->files[i].watch, on_readable, -1, EV_READ);
    }
}

static int open_one(struct output *o, size_t i, int dir, uint64_t max, int *ret_fd)
{
    struct output_file *f = &o->files[i];
    int ends[2];
    f->max = max;
    f->file = openat(dir, names[i], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (f->file < 0 || pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    f->pipe = ends[0];
    *ret_fd = ends[1];
    if (fcntl(f->pipe, F_SETFL, O_NONBLOCK) < 0) /* ours; the workload's end waits, as it expects */
        return -errno;
    ev_io_set(&f->watch, f->pipe, EV_READ);
    f->watch.data = f;
    ev_io_start(o->loop, &f->watch);
    return 0;
}

int output_open(struct output *o, const char *work_dir, const char *run_id, uint64_t max,
                int ret_fds[static 2])
{
    char path[PATH_MAX];
    _cleanup_close_ int out = -EBADF, err = -EBADF;
    int r = paths_make(work_dir, run_id, path);
    if (r < 0)
        return r;
    _cleanup_close_ int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (dir < 0)
        return -errno;
    r = open_one(o, 0, dir, max, &out);
    if (r == 0)
        r = open_one(o, 1, dir, max, &err);
    if (r < 0) {
        output_close(o);
        return r;
    }
    ret_fds[0] = TAKE_FD(out);
    ret_fds[1] = TAKE_FD(err);
    return 0;
}

void output_finish(struct output *o)
{
    for (size_t i = 0; i < 2; i++) {
        ssize_t n = 0;
        for (int k = 0; k < CHUNKS_PIPE && o->files[i].pipe >= 0; k++)
            if (!take(&o->files[i], &n))
                break;
    }
    output_close(o);
}

void output_close(struct output *o)
{
    for (size_t i = 0; i < 2; i++) {
        struct output_file *f = &o->files[i];
        ev_io_stop(o->loop, &f->watch);
        cleanup_closep(&f->pipe);
        cleanup_closep(&f->file);
        f->pipe = f->file = -EBADF;
    }
}

/* ---- the oldest go ---- */

static int is_run(const struct dirent *d)
{
    return uuid_v7_valid(str_of(d->d_name));
}

static void remove_run(int work, const char *run_id)
{
    _cleanup_close_ int dir = openat(work, run_id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (dir < 0)
        return;
    for (size_t i = 0; i < 2; i++)
        (void)unlinkat(dir, names[i], 0);
    (void)unlinkat(work, run_id, AT_REMOVEDIR);
}

void output_prune(const char *work_dir, size_t keep)
{
    struct dirent **found = NULL;
    _cleanup_close_ int work = open(work_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    int n = work < 0 ? -1 : scandir(work_dir, &found, is_run, alphasort); /* by time: version 7 */
    for (int i = 0; i < n; i++) {
        if ((size_t)(n - i) > keep)
            remove_run(work, found[i]->d_name);
        free(found[i]);
    }
    free(found);
}
