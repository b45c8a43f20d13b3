/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/ship_log.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "common/base/clock.h"
#include "common/base/num.h"
#include "common/evidence/trust.h"
#include "supervisor/ctl/logdir.h"
#include "supervisor/ctl/ship_file.h"

#define CHECKPOINT_FILE "checkpoint"
#define ORIGIN_FILE     "origin"

struct ship_log *ship_log_new(const char *path)
{
    struct ship_log *l = calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    l->path = strdup(path);
    l->dirfd = -EBADF;
    buf_init(&l->note, CHECKPOINT_NOTE_MAX);
    buf_init(&l->held_text, LOG_READER_LINE_MAX);
    return l->path ? l : ship_log_free(l);
}

struct ship_log *ship_log_free(struct ship_log *l)
{
    if (l) {
        ship_log_rest(l);
        buf_done(&l->note);
        buf_done(&l->held_text);
        free(l->ring);
        free(l->path);
        free(l);
    }
    return NULL;
}

void ship_log_rest(struct ship_log *l)
{
    l->reader = log_reader_free(l->reader);
    l->sidecar = sidecar_reader_free(l->sidecar);
    ship_claims_end(l);
    cleanup_closep(&l->dirfd);
    l->dirfd = -EBADF;
}

static int trouble(int outcome, char why[static SHIP_WHY_MAX], const struct ship_log *l, const char *text)
{
    (void)snprintf(why, SHIP_WHY_MAX, "%.300s: %s", l->path, text);
    return outcome;
}

/* The origin and how far it was shipped. */
static int first_sight(struct ship_log *l, int dirfd, const struct ship_state *s,
                       char why[static SHIP_WHY_MAX])
{
    _cleanup_(buf_done) struct buf b = {.data = NULL};
    int r;

    buf_init(&b, SHIP_STATE_FILE_MAX);
    r = ship_file_read(dirfd, ORIGIN_FILE, &b);
    if (r < 0)
        return trouble(SHIP_LOOK_FAILED, why, l, "its origin cannot be read");
    if (b.len > 0 && b.data[b.len - 1] == '\n')
        b.len--;
    if (!checkpoint_name_ok(buf_str(&b)))
        return trouble(SHIP_LOOK_TAMPERED, why, l, "its origin is no name of a log");
    memcpy(l->origin, b.data, b.len);
    l->origin[b.len] = '\0';
    r = ship_cursor_load(s, l->origin, &l->cursor);
    if (r < 0) {
        char name[SHIP_STATE_NAME_MAX + 1];

        ship_cursor_name(l->origin, name);
        (void)snprintf(
            why, SHIP_WHY_MAX,
            "the cursor %.120s/%.240s cannot be used (%s): removing it ships this log from its beginning",
            s->path, name, strerror(-r));
        l->origin[0] = '\0';
        return SHIP_LOOK_FAILED;
    }
    l->read = l->cursor.next;
    l->noted = l->cursor.noted;
    return SHIP_LOOK_NEW;
}

/* The first two lines of a note: origin and size. Whether it is signed, and by whom, is the receiver's
 * question. */
static bool note_head(struct str note, const char *origin, uint64_t *ret_size)
{
    const char *lf = note.len ? memchr(note.p, '\n', note.len) : NULL;
    const char *end;

    if (!lf || !str_is((struct str){note.p, (size_t)(lf - note.p)}, origin))
        return false;
    end = memchr(lf + 1, '\n', note.len - (size_t)(lf + 1 - note.p));
    return end && num_parse_u64((struct str){lf + 1, (size_t)(end - lf - 1)}, 0, UINT64_MAX, ret_size) == 0;
}

static int new_checkpoint(struct ship_log *l, int dirfd, const struct stat *st, char why[static SHIP_WHY_MAX])
{
    uint64_t size = 0;

    buf_clear(&l->note);
    if (ship_file_read(dirfd, CHECKPOINT_FILE, &l->note) < 0)
        return trouble(SHIP_LOOK_FAILED, why, l, "its checkpoint cannot be read");
    if (!note_head(buf_str(&l->note), l->origin, &size))
        return trouble(SHIP_LOOK_TAMPERED, why, l,
                       "its checkpoint is not one of this log: see `cellctl verify`");
    if (size < l->size || size < l->cursor.next || size < l->cursor.noted) {
        (void)snprintf(why, SHIP_WHY_MAX,
                       "%.200s was rolled back: its checkpoint covers %" PRIu64 " lines, %" PRIu64
                       " were shipped already: see `cellctl verify`",
                       l->path, size, l->cursor.next > l->cursor.noted ? l->cursor.next : l->cursor.noted);
        return SHIP_LOOK_TAMPERED;
    }
    l->reader = log_reader_free(l->reader);
    l->size = size;
    l->mtime = st->st_mtim;
    l->inode = st->st_ino;
    return SHIP_LOOK_NEW;
}

int ship_log_look(struct ship_log *l, const struct ship_state *s, char why[static SHIP_WHY_MAX])
{
    _cleanup_close_ int dirfd = -EBADF;
    struct stat st;
    char path[PATH_MAX];
    int r;

    if (snprintf(path, sizeof(path), "%s/" CHECKPOINT_FILE, l->path) >= PATH_MAX || lstat(path, &st) < 0)
        return SHIP_LOOK_NO_LOG;
    if (l->origin[0] && st.st_ino == l->inode && st.st_mtim.tv_sec == l->mtime.tv_sec &&
        st.st_mtim.tv_nsec == l->mtime.tv_nsec)
        return SHIP_LOOK_SAME;
    dirfd = logdir_open(l->path);
    if (dirfd < 0)
        return trouble(SHIP_LOOK_FAILED, why, l, strerror(-dirfd));
    if (!l->origin[0]) {
        r = first_sight(l, dirfd, s, why);
        if (r != SHIP_LOOK_NEW)
            return r;
    }
    return new_checkpoint(l, dirfd, &st, why);
}

/* A reader in the segment of the line before, without reading that segment again. False when it must be
 * looked for. */
static bool reader_resume(struct ship_log *l)
{
    char name[LOG_SEGMENT_NAME_MAX];
    int fd;

    if (l->offset == 0)
        return false;
    log_segment_name(l->segment, name);
    fd = openat(l->dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return false; /* it is compressed by now */
    if (lseek(fd, (off_t)l->offset, SEEK_SET) < 0) {
        close(fd);
        return false;
    }
    l->in_segment = log_reader_open_fd(fd, l->read, &l->reader) == 0;
    l->base = l->offset;
    return l->in_segment;
}

/* A reader that stands before line `read`. */
static int reader_open(struct ship_log *l)
{
    l->reader = log_reader_free(l->reader);
    l->in_segment = false;
    return log_reader_open(l->dirfd, l->read, &l->reader);
}

/* The next line of the reader; where it is in a file is that also when the reader sees a part of it only. */
static int reader_next(struct ship_log *l, struct log_line *ret)
{
    int r = log_reader_next(l->reader, ret);

    if (r == LOG_READ_LINE && l->in_segment) {
        ret->segment = l->segment;
        ret->offset += l->base;
    }
    if (r == LOG_READ_LINE) {
        l->segment = ret->segment;
        l->offset = ret->offset + ret->text.len + 1;
    }
    return r;
}

/* The line to read is gone. Its remedy, or goes on with the first line that is there. */
static int pruned(struct ship_log *l, char why[static SHIP_WHY_MAX])
{
    _cleanup_free_ uint64_t *segments = NULL;
    int n = l->skip_pruned ? log_reader_segments(l->dirfd, &segments) : 0;

    for (int i = 0; i < n; i++)
        if (segments[i] > l->read && segments[i] <= l->size) {
            (void)snprintf(why, SHIP_WHY_MAX,
                           "%.200s: lines %" PRIu64 " to %" PRIu64 " were pruned, they are not shipped",
                           l->path, l->read + 1, segments[i]);
            ship_log_skip(l, segments[i], 0);
            return SHIP_NEXT_PRUNED;
        }
    (void)snprintf(why, SHIP_WHY_MAX,
                   "%.200s: line %" PRIu64 " is gone, retention removed it before it was shipped: "
                   "--skip-pruned goes on behind the gap",
                   l->path, l->read + 1);
    return SHIP_NEXT_GONE;
}

/* A line below the checkpoint is there in full. */
static int read_line(struct ship_log *l, struct log_line *ret, char why[static SHIP_WHY_MAX])
{
    int r = LOG_READ_END;

    if (l->dirfd < 0)
        l->dirfd = logdir_open(l->path);
    if (l->dirfd < 0)
        return trouble(SHIP_NEXT_FAILED, why, l, strerror(-l->dirfd));
    if (l->reader || reader_resume(l))
        r = reader_next(l, ret);
    if (r != LOG_READ_LINE &&
        (r == LOG_READ_END || l->in_segment)) { /* the next segment, or the first look */
        r = reader_open(l);
        if (r == -ENOENT)
            return pruned(l, why);
        if (r == 0)
            r = reader_next(l, ret);
    }
    if (r == LOG_READ_LINE && ret->index == l->read)
        return SHIP_NEXT_ITEM;
    if (r < 0)
        return trouble(SHIP_NEXT_FAILED, why, l, strerror(-r));
    (void)snprintf(why, SHIP_WHY_MAX,
                   "%.200s ends after %" PRIu64 " of %" PRIu64 " lines: see `cellctl verify`", l->path,
                   l->read, l->size);
    return SHIP_NEXT_TAMPERED;
}

static int take_data(struct ship_item *i, struct str data)
{
    i->data = malloc(data.len + 1);
    if (!i->data)
        return -ENOMEM;
    if (data.len > 0)
        memcpy(i->data, data.p, data.len);
    i->len = data.len;
    return 0;
}

/* The ring of the log's own keys: for their names only, the receiver has the keys it trusts. */
static int read_ring(struct ship_log *l)
{
    static const struct trust_root own_word = {.ring = NULL};
    _cleanup_free_ struct trust *t = malloc(sizeof(*t));
    char why[LOG_CHECK_WHY_MAX];
    int r;

    if (!t)
        return -ENOMEM;
    r = trust_open(l->dirfd, &own_word, t, why);
    if (r < 0)
        return r;
    if (!l->ring)
        l->ring = malloc(sizeof(*l->ring));
    if (!l->ring)
        return -ENOMEM;
    *l->ring = t->ring;
    return 0;
}

/* The line with its signature. 0; -ENODATA: it has none yet; -errno. */
static int seal(struct ship_log *l, const struct log_line *line, struct buf *b)
{
    int r = 0;

    if (l->dirfd < 0)
        l->dirfd = logdir_open(l->path);
    if (l->dirfd < 0)
        return l->dirfd;
    if (!l->ring)
        r = read_ring(l);
    if (r == 0 && !l->sidecar)
        r = sidecar_reader_new(l->dirfd, &l->sidecar);
    if (r == 0)
        r = sidecar_sealed_line(l->sidecar, line, l->ring, b);
    if (r == -ENOKEY) { /* a key that came later */
        r = read_ring(l);
        buf_clear(b);
        if (r == 0)
            r = sidecar_sealed_line(l->sidecar, line, l->ring, b);
    }
    return r;
}

/* Keeps the line until it is signed. */
static int hold(struct ship_log *l, const struct log_line *line)
{
    if (!l->held) {
        buf_clear(&l->held_text);
        buf_put_str(&l->held_text, line->text);
        if (l->held_text.err)
            return l->held_text.err;
        l->line = *line;
        l->line.text = buf_str(&l->held_text);
        l->held = true;
    }
    return -ENODATA;
}

static int next_line(struct ship_log *l, struct ship_item *i, char why[static SHIP_WHY_MAX])
{
    _cleanup_(buf_done) struct buf sealed = {.data = NULL};
    struct log_line line = l->line;
    int r = l->held ? SHIP_NEXT_ITEM : read_line(l, &line, why);

    buf_init(&sealed, ENVELOPE_LINE_MAX);
    if (r != SHIP_NEXT_ITEM)
        return r;
    if (!ship_item_event(line.text, i) || i->index != l->read) {
        (void)snprintf(why, SHIP_WHY_MAX,
                       "line %" PRIu64 " of %.200s is no event of this place: see `cellctl verify`",
                       l->read + 1, l->path);
        return SHIP_NEXT_TAMPERED;
    }
    r = i->bare ? seal(l, &line, &sealed) : 0;
    if (r == -ENODATA)
        r = hold(l, &line);
    if (r == -ENODATA)
        return SHIP_NEXT_UNSIGNED;
    if (r == 0)
        r = take_data(i, i->bare ? buf_str(&sealed) : line.text);
    if (r < 0)
        return trouble(SHIP_NEXT_FAILED, why, l,
                       r == -ENOKEY ? "signed by a key it does not name" : strerror(-r));
    l->held = false;
    l->read++;
    return SHIP_NEXT_ITEM;
}

static int next_note(struct ship_log *l, struct ship_item *i, char why[static SHIP_WHY_MAX])
{
    i->checkpoint = true;
    i->index = l->size;
    (void)snprintf(i->id, sizeof(i->id), "%s+%" PRIu64, l->origin, l->size);
    if (take_data(i, buf_str(&l->note)) < 0)
        return trouble(SHIP_NEXT_FAILED, why, l, "out of memory");
    l->noted = l->size;
    l->noted_at = clock_boottime_us();
    return SHIP_NEXT_ITEM;
}

int ship_log_next(struct ship_log *l, bool checkpoints, bool final, struct ship_item *ret,
                  char why[static SHIP_WHY_MAX])
{
    struct ship_item i = {.log = l};
    int r = SHIP_NEXT_NONE;

    if (l->failed || !l->origin[0])
        return SHIP_NEXT_NONE;
    memcpy(i.origin, l->origin, sizeof(i.origin));
    if (l->read < l->size)
        r = next_line(l, &i, why);
    else if (checkpoints && l->size > l->noted &&
             (final || clock_boottime_us() - l->noted_at >= SHIP_CHECKPOINT_GAP_MS * 1000u))
        r = next_note(l, &i, why);
    if (r == SHIP_NEXT_ITEM)
        *ret = i;
    else
        ship_item_done(&i);
    return r;
}

void ship_log_accept(struct ship_log *l, const struct ship_item *i)
{
    if (i->checkpoint)
        ship_log_skip(l, 0, i->index);
    else
        ship_log_skip(l, i->index + 1, 0);
}

void ship_log_skip(struct ship_log *l, uint64_t next, uint64_t noted)
{
    if (next > l->cursor.next) {
        l->cursor.next = next;
        l->dirty = true;
    }
    if (noted > l->cursor.noted) {
        l->cursor.noted = noted;
        l->dirty = true;
    }
    if (l->cursor.next > l->read) {
        l->held = false;
        l->offset = 0;
        l->read = l->cursor.next;
        l->reader = log_reader_free(l->reader);
    }
    if (l->cursor.noted > l->noted)
        l->noted = l->cursor.noted;
}

bool ship_log_has(const struct ship_log *l, const struct ship_item *i)
{
    return i->checkpoint ? i->index <= l->cursor.noted : i->index < l->cursor.next;
}
