/* SPDX-License-Identifier: MIT */
#include "common/evidence/log_verify.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include "common/base/io.h"
#include "common/evidence/judge.h"
#include "common/evidence/log_locate.h"
#include "common/evidence/log_pruned.h"
#include "common/evidence/log_reader.h"
#include "common/evidence/log_tiles.h"
#include "common/evidence/log_witnessed.h"

#define VERIFY_PROGRESS     256 /* lines between two calls of the caller's progress */
#define VERIFY_ANOTHER_LINE "it is not the line that the checkpoint signs at this place"

struct verify {
    const struct log_verify_options *o;
    struct log_report *report;
    struct trust trust;
    const struct keyring_key *signer; /* of the checkpoint */
    int dirfd;
    struct log_check *check;
    struct judge_log *lines;
    struct judge *judge;
    struct log_tiles *tiles;
    struct log_witnessed *witnessed;
    struct checkpoint outside;
    bool has_outside, outside_met;
    struct log_pruned pruned;
    uint8_t root[DIGEST_LEN]; /* of the first checkpoint.size lines */
};

static int __attribute__((format(printf, 3, 4)))
verify_verdict(struct log_report *r, enum log_verdict v, const char *fmt, ...)
{
    va_list ap;

    r->verdict = v;
    va_start(ap, fmt);
    (void)vsnprintf(r->why, sizeof(r->why), fmt, ap);
    va_end(ap);
    return 0;
}

int log_verify_read_file(int dirfd, const char *name, struct buf *b)
{
    _cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;

    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0)
        return -errno;
    return S_ISREG(st.st_mode) ? io_read_to_end(fd, b) : -EBADMSG;
}

int log_verify_origin(int dirfd, const struct checkpoint *c, char why[static LOG_CHECK_WHY_MAX])
{
    _cleanup_(buf_done) struct buf origin = {.data = NULL};
    int e;

    buf_init(&origin, LOG_FILE_MAX);
    e = log_verify_read_file(dirfd, "origin", &origin);
    if (e < 0 && e != -ENOENT && e != -EBADMSG && e != -EFBIG && e != -ELOOP)
        return e;
    if (e == 0 && origin.len >= 2 && origin.data[origin.len - 1] == '\n' &&
        str_eq((struct str){(const char *)origin.data, origin.len - 1}, str_of(c->origin)))
        return 0;
    (void)snprintf(why, LOG_CHECK_WHY_MAX,
                   "the checkpoint is of the log %s, which the origin file does not say", c->origin);
    return -EBADMSG;
}

/* ---- key, checkpoint, origin ---- */

static int verify_key(struct verify *v, int dirfd)
{
    char why[LOG_CHECK_WHY_MAX] = "";
    int e = trust_open(dirfd, &v->o->trust, &v->trust, why);

    v->report->self_declared = v->trust.self_declared;
    return e == -EBADMSG ? verify_verdict(v->report, LOG_BAD_KEY, "%s", why) : e;
}

/* First of all: see log_witnessed.h. */
static int verify_witnessed(struct verify *v, int dirfd)
{
    v->witnessed = malloc(sizeof(*v->witnessed));
    if (!v->witnessed)
        return -ENOMEM;
    return log_witnessed_load(dirfd, v->witnessed);
}

static int verify_checkpoint(struct verify *v, int dirfd)
{
    _cleanup_(buf_done) struct buf note = {.data = NULL};
    struct log_report *r = v->report;
    char why[LOG_CHECK_WHY_MAX];
    int e;

    buf_init(&note, CHECKPOINT_NOTE_MAX);
    e = log_verify_read_file(dirfd, "checkpoint", &note);
    if (e == -ENOENT)
        return verify_verdict(r, LOG_BAD_CHECKPOINT,
                              "there is no checkpoint: nothing says how long this log was");
    if (e < 0 && e != -EBADMSG && e != -EFBIG && e != -ELOOP)
        return e;
    e = e < 0 ? CHECKPOINT_E_FORM
              : checkpoint_open_ring(buf_str(&note), &v->trust.ring, &r->checkpoint, &v->signer);
    if (e != CHECKPOINT_OK || !v->signer)
        return verify_verdict(r, LOG_BAD_CHECKPOINT, "the checkpoint: %s", checkpoint_error_text(e));
    r->has_checkpoint = true;
    r->key = v->signer->vkey;
    e = log_verify_origin(dirfd, &r->checkpoint, why);
    return e == -EBADMSG ? verify_verdict(r, LOG_BAD_CHECKPOINT, "%s", why) : e;
}

static int verify_outside(struct verify *v)
{
    const struct keyring_key *signer;
    struct log_report *r = v->report;
    int e;

    if (v->o->outside) {
        v->outside = *v->o->outside;
    } else if (v->o->outside_note.p) {
        e = checkpoint_open_ring(v->o->outside_note, &v->trust.ring, &v->outside, &signer);
        if (e != CHECKPOINT_OK)
            return verify_verdict(r, LOG_BAD_OUTSIDE, "the checkpoint from outside: %s",
                                  checkpoint_error_text(e));
    } else {
        return 0;
    }
    v->has_outside = true;
    if (strcmp(v->outside.origin, r->checkpoint.origin) != 0)
        return verify_verdict(r, LOG_BAD_OUTSIDE, "the checkpoint from outside is of another log: %s",
                              v->outside.origin);
    if (v->outside.size > r->checkpoint.size)
        return verify_verdict(r, LOG_BAD_OUTSIDE,
                              "the log was cut: it had %" PRIu64
                              " lines once, its checkpoint now says %" PRIu64,
                              v->outside.size, r->checkpoint.size);
    return 0;
}

/* ---- lines ---- */

static int verify_bad_line(struct log_report *r, const struct log_line *l, const char *why)
{
    r->line = l->index + 1;
    r->segment = l->segment;
    r->segment_line = l->segment_line;
    r->compressed = l->compressed;
    return verify_verdict(r, LOG_BAD_LINE, "%s", why);
}

/* ---- what was pruned ---- */

static int verify_tile(struct verify *v, const struct tile_fault *f)
{
    char why[LOG_PRUNED_WHY_MAX];

    log_pruned_fault(f, why);
    return verify_verdict(v->report, LOG_BAD_TILE, "%s", why);
}

/* The tree of the lines before the first one there is. */
static int verify_pruned(struct verify *v, int dirfd)
{
    _cleanup_free_ uint64_t *segments = NULL;
    int n = log_reader_segments(dirfd, &segments), e;
    struct tile_fault fault;

    if (n < 0)
        return n;
    v->pruned = (struct log_pruned){.first = 0};
    if (n == 0 || segments[0] == 0)
        return 0;
    if (segments[0] > v->report->checkpoint.size) {
        v->report->segment = segments[0];
        return verify_verdict(v->report, LOG_BAD_SEGMENT, "the first line is not below the checkpoint");
    }
    e = log_pruned_load(dirfd, segments[0], v->report->checkpoint.size,
                        v->has_outside ? v->outside.size : UINT64_MAX, &v->pruned, &fault);
    if (e == -ENOENT && fault.level == 0 && fault.index == 0) {
        /* Not even the first tile: a segment was taken away rather than pruned. */
        v->report->segment = segments[0];
        return verify_verdict(v->report, LOG_BAD_SEGMENT,
                              "lines 1 to %" PRIu64
                              " are missing, and so is tile/0/000, which would stand for them if they had "
                              "been pruned: restore both from a copy of the log",
                              segments[0]);
    }
    if (e == -ENOENT || e == -EBADMSG)
        return verify_tile(v, &fault);
    v->report->pruned = segments[0];
    return e;
}

static int verify_outside_root(struct verify *v, const uint8_t root[static DIGEST_LEN])
{
    v->outside_met = true;
    if (memcmp(root, v->outside.root, DIGEST_LEN) == 0)
        return 0;
    return verify_verdict(v->report, LOG_BAD_OUTSIDE,
                          "the log's first %" PRIu64 " lines are not those the checkpoint from outside signs",
                          v->outside.size);
}

/* The lines from the first to the last lead to a signed root, or do not: are it the tiles? */
static int verify_pruned_end(struct verify *v, bool good)
{
    char why[LOG_PRUNED_WHY_MAX];

    if (v->pruned.first == 0)
        return 0;
    if (v->pruned.doubt)
        return verify_tile(v, good ? &v->pruned.upper : &v->pruned.lower);
    if (!good || log_pruned_end(&v->pruned, why) == 0)
        return 0;
    v->report->segment = v->pruned.first;
    return verify_verdict(v->report, LOG_BAD_SEGMENT, "%s", why);
}

/* The tree has just reached a size that somebody signed. */
static int verify_sizes(struct verify *v)
{
    const struct merkle *tree = log_check_tree(v->check);
    uint8_t root[DIGEST_LEN];

    if (v->has_outside && !v->outside_met && tree->size == v->outside.size) {
        merkle_root(tree, root);
        int e = verify_outside_root(v, root);
        if (v->report->verdict != LOG_GOOD)
            return e;
    }
    if (tree->size == v->report->checkpoint.size)
        merkle_root(tree, v->root);
    return 0;
}

/* The key of the checkpoint must count for its last line, and for every line that nothing else signs. */
static int verify_signer(struct verify *v, const struct judged *j)
{
    const struct envelope *e = &j->check.parsed.e;
    char why[LOG_CHECK_WHY_MAX];
    uint64_t size = log_check_tree(v->check)->size;
    bool alone = j->bare && !j->has_sig;

    if (size > v->report->checkpoint.size || (size < v->report->checkpoint.size && !alone) ||
        trust_check_signer(v->signer, e, why) == 0)
        return 0;
    return verify_verdict(v->report, LOG_BAD_CHECKPOINT, "%s", why);
}

/* A line is wrong; perhaps only because of one before it, which looks good by itself. */
static int verify_wrong_line(struct verify *v, const struct log_line *l, const char *why)
{
    struct log_line first;
    int e = log_locate(v->dirfd, &v->report->checkpoint, v->pruned.first, &first);

    if (e > 0 && first.index < l->index)
        return verify_bad_line(v->report, &first, VERIFY_ANOTHER_LINE);
    return verify_bad_line(v->report, l, why);
}

/* A line that is good. */
static void verify_count(struct verify *v, const struct judged *j)
{
    struct log_report *r = v->report;

    if (log_check_tree(v->check)->size > r->checkpoint.size) {
        r->uncovered++;
        return;
    }
    r->lines++;
    if (j->bare && !j->has_sig) {
        r->bare++;
        r->bare_older += keyring_judge_time(v->signer, j->check.parsed.e.time) == KEYRING_NOT_YET;
    }
    log_tiles_next(v->tiles, j->check.leaf);
}

static int verify_line(struct verify *v, const struct judged *j)
{
    const struct log_line *l = &j->line;
    char why[LOG_CHECK_WHY_MAX] = "";
    int e = log_check_next(v->check, &j->check, why);

    if (e == 0)
        e = judged_unsigned(j, why);
    if (e >= 0)
        e = trust_check_event(&v->trust, &j->check.parsed.e, why);
    if (e == 0 && v->o->rule)
        e = v->o->rule(v->o->arg, &j->check.parsed.e, why);
    if (e == 0 && l->index < v->report->checkpoint.size && log_pruned_is_event(&j->check.parsed.e))
        e = log_pruned_event(&v->pruned, &j->check.parsed.e, why);
    if (e == -EBADMSG) {
        e = verify_pruned_end(v, false);
        return v->report->verdict == LOG_GOOD ? verify_wrong_line(v, l, why) : e;
    }
    if (e < 0)
        return e;
    verify_count(v, j);
    e = verify_signer(v, j);
    return e < 0 || v->report->verdict != LOG_GOOD ? e : verify_sizes(v);
}

/* What the reader stopped at, once all lines before it are good. */
static int verify_end(struct verify *v, int end, const struct log_line *l)
{
    struct log_report *r = v->report;

    switch (end) {
    case LOG_READ_END:
        return 0;
    case LOG_READ_TORN:
        if (l->index >= r->checkpoint.size) {
            r->torn_bytes = l->text.len;
            return 0;
        }
        return verify_bad_line(r, l, "the line is cut off: no line feed behind it");
    case LOG_READ_TOO_LONG:
        return verify_bad_line(r, l, "the line is longer than 65535 bytes");
    case LOG_READ_BAD_SEGMENT:
        r->segment = l->segment;
        return verify_verdict(r, LOG_BAD_SEGMENT,
                              "line %" PRIu64 " is due, but the next segment begins with line %" PRIu64,
                              l->index + 1, l->segment + 1);
    case LOG_READ_DAMAGED:
        r->segment = l->segment;
        r->compressed = true;
        return verify_verdict(r, LOG_BAD_SEGMENT,
                              "the compressed segment is damaged: it cannot be read from line %" PRIu64 " on",
                              l->index + 1);
    default:
        return end;
    }
}

static int verify_lines(struct verify *v)
{
    const struct judged *j;
    int end;

    while ((end = judge_next(v->judge, &j)) == LOG_READ_LINE) {
        int e = verify_line(v, j);

        if (e < 0 || v->report->verdict != LOG_GOOD)
            return e;
        v->report->segments += j->line.segment_line == 1;
        if (v->o->progress && (j->line.index + 1) % VERIFY_PROGRESS == 0)
            v->o->progress(v->o->arg, log_check_tree(v->check)->size, v->report->checkpoint.size);
    }
    return end < 0 ? end : verify_end(v, end, &j->line);
}

/* What is beside the lines: the tiles, and what witnesses have seen. */
static int verify_beside(struct verify *v)
{
    struct log_report *r = v->report;
    char path[TILE_PATH_MAX], why[LOG_WITNESSED_WHY_MAX] = "";
    int e = log_tiles_wrong(v->tiles, path, &r->tiles_missing);

    if (e < 0)
        return e;
    if (e > 0)
        return verify_verdict(
            r, LOG_BAD_TILE, "%s is not what its lines are hashed to: remove it, it can be made again", path);
    e = log_witnessed_check(v->witnessed, v->dirfd, &v->trust.ring, &r->checkpoint, v->o->witnessed,
                            v->o->arg, why);
    return e == -EBADMSG ? verify_verdict(r, LOG_BAD_OUTSIDE, "%s", why) : e;
}

/* Every line is good, but the checkpoint signs another tree. */
static int verify_bad_root(struct verify *v)
{
    struct log_line l;
    int e = log_locate(v->dirfd, &v->report->checkpoint, v->pruned.first, &l);

    if (e < 0)
        return e;
    if (e > 0)
        return verify_bad_line(v->report, &l, VERIFY_ANOTHER_LINE);
    return verify_verdict(v->report, LOG_BAD_ROOT,
                          "every line is good, but the checkpoint signs another tree");
}

static int verify_tree(struct verify *v)
{
    struct log_report *r = v->report;

    r->runs = log_check_runs(v->check);
    r->open_runs = log_check_open_runs(v->check);
    if (v->o->open_run)
        log_check_each_open(v->check, v->o->open_run, v->o->arg);
    if (r->pruned + r->lines < r->checkpoint.size)
        return verify_verdict(r, LOG_BAD_SHORT,
                              "the log is shorter than its checkpoint: %" PRIu64 " whole lines of %" PRIu64,
                              r->pruned + r->lines, r->checkpoint.size);
    bool good = memcmp(v->root, r->checkpoint.root, DIGEST_LEN) == 0;
    int e = verify_pruned_end(v, good);
    return !good && r->verdict == LOG_GOOD ? verify_bad_root(v) : e;
}

static void verify_done(struct verify *v)
{
    judge_free(v->judge);
    judge_log_free(v->lines);
    log_tiles_free(v->tiles);
    log_check_free(v->check);
    if (v->witnessed)
        log_witnessed_done(v->witnessed);
    free(v->witnessed);
}

static int verify_open(struct verify *v)
{
    struct judge_source source;
    int e = log_tiles_open(v->dirfd, v->pruned.first, &v->tiles);

    if (e < 0)
        return e;
    e = judge_log_open(v->dirfd, v->pruned.first, &v->trust.ring, &v->lines);
    if (e < 0)
        return e == -ENOENT ? 0 : e; /* no lines at all */
    source = judge_log_source(v->lines);
    return judge_open(&source, &v->trust.ring, v->o->threads, &v->judge);
}

static int verify_all(struct verify *v, int dirfd)
{
    int e = verify_outside(v);

    if (e < 0 || v->report->verdict != LOG_GOOD)
        return e;
    v->dirfd = dirfd;
    e = verify_pruned(v, dirfd);
    if (e == 0 && v->pruned.marked)
        e = verify_outside_root(v, v->pruned.mark_root);
    if (e < 0 || v->report->verdict != LOG_GOOD)
        return e;
    v->check = log_check_new(v->pruned.first > 0 ? &v->pruned.tree : NULL);
    if (!v->check)
        return -ENOMEM;
    e = verify_sizes(v); /* the empty tree may be what was signed */
    if (e < 0 || v->report->verdict != LOG_GOOD)
        return e;
    e = verify_open(v);
    if (e < 0)
        return e;
    e = v->judge ? verify_lines(v) : 0;
    if (e < 0 || v->report->verdict != LOG_GOOD)
        return e;
    e = verify_tree(v);
    return e < 0 || v->report->verdict != LOG_GOOD ? e : verify_beside(v);
}

int log_verify(int dirfd, const struct log_verify_options *o, struct log_report *ret)
{
    struct verify v = {.o = o, .report = ret};
    int e;

    *ret = (struct log_report){.verdict = LOG_GOOD};
    e = digest_init();
    if (e == 0)
        e = ed25519_init();
    if (e == 0)
        e = verify_witnessed(&v, dirfd);
    if (e == 0)
        e = verify_key(&v, dirfd);
    if (e == 0 && ret->verdict == LOG_GOOD)
        e = verify_checkpoint(&v, dirfd);
    if (e == 0 && ret->verdict == LOG_GOOD)
        e = verify_all(&v, dirfd);
    verify_done(&v);
    return e;
}
