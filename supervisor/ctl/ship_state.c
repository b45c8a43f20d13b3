/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/ship_state.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "common/base/io.h"
#include "supervisor/ctl/paths.h"
#include "supervisor/ctl/ship_file.h"

#define LOCK_FILE        "lock"
#define DESTINATION_FILE "destination"
#define POSITION_FILE    "position"
#define CURSOR_SUFFIX    ".cursor"
#define CURSOR_HEAD      "cellos-ship-cursor 1\n"
#define POSITION_HEAD    "cellos-ship-position 1\n"

/* "pid\n" in the lock, for the one who is refused. */
static int lock_owner(int fd)
{
    char text[24] = "";
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    uint64_t pid = 0;

    if (n < 2 || text[n - 1] != '\n' ||
        num_parse_u64((struct str){text, (size_t)n - 1}, 1, INT_MAX, &pid) < 0)
        return 0;
    return (int)pid;
}

static int take_lock(struct ship_state *s, int *ret_pid)
{
    char text[24];
    int n;

    s->lock = openat(s->dir, LOCK_FILE, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (s->lock < 0)
        return -errno;
    if (flock(s->lock, LOCK_EX | LOCK_NB) < 0) {
        *ret_pid = lock_owner(s->lock);
        return errno == EWOULDBLOCK ? -EBUSY : -errno;
    }
    n = snprintf(text, sizeof(text), "%d\n", getpid());
    if (ftruncate(s->lock, 0) < 0 || pwrite(s->lock, text, (size_t)n, 0) != n)
        return -EIO;
    return 0;
}

static int write_destination(const struct ship_state *s, const char *destination)
{
    _cleanup_(buf_done) struct buf b = {.data = NULL};

    buf_init(&b, SHIP_STATE_FILE_MAX);
    buf_printf(&b, "%s\n", destination);
    return ship_file_write(s->dir, DESTINATION_FILE, &b);
}

static int open_below(const char *base, const char *name, struct ship_state *s)
{
    int n = snprintf(s->path, sizeof(s->path), "%s/%s", base, name);

    if (n < 0 || n >= PATH_MAX)
        return -ENAMETOOLONG;
    s->dir = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dir < 0)
        return -errno;
    s->dead = openat(s->dir, "dead", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return s->dead < 0 ? -errno : 0;
}

int ship_state_look(const char *base, const char *name, struct ship_state *ret)
{
    struct ship_state s = {.dir = -EBADF, .dead = -EBADF, .lock = -EBADF};
    int r = open_below(base, name, &s);

    if (r < 0) {
        ship_state_done(&s);
        return r;
    }
    *ret = s;
    return 0;
}

int ship_state_open(const char *base, const char *name, const char *destination, struct ship_state *ret,
                    int *ret_pid)
{
    struct ship_state s = {.dir = -EBADF, .dead = -EBADF, .lock = -EBADF};
    char path[PATH_MAX];
    int r = paths_make(base, name, path);

    if (r == 0)
        r = paths_make(path, "dead", path);
    if (r == 0)
        r = open_below(base, name, &s);
    if (r == 0)
        r = take_lock(&s, ret_pid);
    if (r == 0)
        r = write_destination(&s, destination);
    if (r < 0) {
        ship_state_done(&s);
        return r;
    }
    *ret = s;
    return 0;
}

void ship_state_done(struct ship_state *s)
{
    cleanup_closep(&s->dir);
    cleanup_closep(&s->dead);
    cleanup_closep(&s->lock);
    s->dir = s->dead = s->lock = -EBADF;
}

void ship_cursor_name(const char *origin, char dst[static SHIP_STATE_NAME_MAX + 1])
{
    ship_file_name(origin, CURSOR_SUFFIX, dst);
}

int ship_cursor_load(const struct ship_state *s, const char *origin, struct ship_cursor *ret)
{
    _cleanup_(buf_done) struct buf b = {.data = NULL};
    struct ship_cursor c = {.next = 0};
    char name[SHIP_STATE_NAME_MAX + 1];
    struct str text, value;
    int r;

    buf_init(&b, SHIP_STATE_FILE_MAX);
    if (strlen(origin) > CHECKPOINT_NAME_MAX)
        return -EINVAL;
    memcpy(c.origin, origin, strlen(origin) + 1);
    ship_cursor_name(origin, name);
    r = ship_file_read(s->dir, name, &b);
    if (r == -ENOENT) {
        *ret = c;
        return 0;
    }
    if (r < 0)
        return r;
    text = buf_str(&b);
    if (!ship_file_head(&text, CURSOR_HEAD) || !ship_file_field(&text, "origin", &value) ||
        !str_is(value, origin) || !ship_file_number(&text, "next", &c.next) ||
        !ship_file_number(&text, "noted", &c.noted) || text.len > 0)
        return -EBADMSG;
    *ret = c;
    return 0;
}

int ship_cursor_save(const struct ship_state *s, const struct ship_cursor *c)
{
    _cleanup_(buf_done) struct buf b = {.data = NULL};
    char name[SHIP_STATE_NAME_MAX + 1];

    buf_init(&b, SHIP_STATE_FILE_MAX);
    buf_printf(&b, CURSOR_HEAD "origin %s\nnext %" PRIu64 "\nnoted %" PRIu64 "\n", c->origin, c->next,
               c->noted);
    ship_cursor_name(c->origin, name);
    return ship_file_write(s->dir, name, &b);
}

int ship_position_load(const struct ship_state *s, struct ship_position *ret)
{
    _cleanup_(buf_done) struct buf b = {.data = NULL};
    struct ship_position p = {.stream = ""};
    struct str text, stream;
    int r;

    buf_init(&b, SHIP_STATE_FILE_MAX);
    r = ship_file_read(s->dir, POSITION_FILE, &b);
    if (r < 0 && r != -ENOENT)
        return r;
    text = buf_str(&b);
    if (r == 0) {
        if (!ship_file_head(&text, POSITION_HEAD) || !ship_file_field(&text, "stream", &stream) ||
            stream.len == 0 || stream.len > SHIP_STREAM_MAX ||
            !ship_file_number(&text, "created", &p.created) ||
            !ship_file_number(&text, "sequence", &p.sequence) || text.len > 0)
            return -EBADMSG;
        memcpy(p.stream, stream.p, stream.len);
    }
    *ret = p;
    return 0;
}

int ship_position_save(const struct ship_state *s, const struct ship_position *p)
{
    _cleanup_(buf_done) struct buf b = {.data = NULL};

    buf_init(&b, SHIP_STATE_FILE_MAX);
    buf_printf(&b, POSITION_HEAD "stream %s\ncreated %" PRIu64 "\nsequence %" PRIu64 "\n", p->stream,
               p->created, p->sequence);
    return ship_file_write(s->dir, POSITION_FILE, &b);
}
