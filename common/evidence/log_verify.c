/* SPDX-License-Identifier: MIT */
#include "common/evidence/log_verify.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include "common/base/clock.h"
#include "common/base/io.h"
#include "common/evidence/log_locate.h"
#include "common/evidence/log_pruned.h"
#include "common/evidence/log_reader.h"
#include "common/evidence/sidecar.h"

#define LOG_VERIFY_BATCH       1024       /* lines that are read, then judged on all threads */
#define LOG_VERIFY_BATCH_BYTES (4u << 20) /* and their bytes; one line more always fits behind */
#define VERIFY_ANOTHER_LINE    "it is not the line that the checkpoint signs at this place"
#define LOG_VERIFY_BATCH_ALONE 64 /* so few are judged on this thread */

/* One batch of lines, copied out of the reader. */
struct verify_batch {
    struct log_line line[LOG_VERIFY_BATCH];
    struct log_check_sig sig[LOG_VERIFY_BATCH]; /* of bare lines that have one; else key is NULL */
    int sig_error[LOG_VERIFY_BATCH];            /* why a bare line has none: -ENODATA, -ENOKEY */
    struct log_check_line judged[LOG_VERIFY_BATCH];
    size_t n;
    int end; /* an enum log_read (not LINE) once the reader has no more, else LOG_READ_LINE; or -errno */
    struct log_line end_line;
    size_t used;
    char text[LOG_VERIFY_BATCH_BYTES + LOG_READER_LINE_MAX];
};

struct verify_share {
    struct verify_batch *batch;
    const struct keyring *ring;
    size_t from, to;
    int error;
};

struct verify {
    const struct log_verify_options *o;
    struct log_report *report;
    struct trust trust;
    const struct keyring_key *signer; /* of the checkpoint */
    int dirfd;
    struct log_check *check;
    struct log_reader *reader;
    struct sidecar_reader *sidecar;
    struct verify_batch *batch;
    unsigned threads;
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

/* ---- key, checkpoint, origin ---- */

static int verify_key(struct verify *v, int dirfd)
{
    char why[LOG_CHECK_WHY_MAX] = "";
    int e = trust_open(dirfd, &v->o->trust, &v->trust, why);

    v->report->self_declared = v->trust.self_declared;
    return e == -EBADMSG ? verify_verdict(v->report, LOG_BAD_KEY, "%s", why) : e;
}

static int verify_checkpoint(struct verify *v, int dirfd)
{
    _cleanup_(buf_done) struct buf note = {.data = NULL}, origin = {.data = NULL};
    struct log_report *r = v->report;
    int e;

    buf_init(&note, CHECKPOINT_NOTE_MAX);
    buf_init(&origin, LOG_FILE_MAX);
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
    e = log_verify_read_file(dirfd, "origin", &origin);
    if (e < 0 && e != -ENOENT && e != -EBADMSG && e != -EFBIG && e != -ELOOP)
        return e;
    if (e < 0 || origin.len < 2 || origin.data[origin.len - 1] != '\n' ||
        !str_eq((struct str){(const char *)origin.data, origin.len - 1}, str_of(r->checkpoint.origin)))
        return verify_verdict(r, LOG_BAD_CHECKPOINT,
                              "the checkpoint is of the log %s, which the origin file does not say",
                              r->checkpoint.origin);
    return 0;
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

static void *verify_judge(void *arg)
{
    struct verify_share *s = arg;

    s->error = digest_init();
    for (size_t i = s->from; s->error == 0 && i < s->to; i++)
        log_check_alone(s->batch->line[i].text, s->ring, s->batch->sig[i].key ? &s->batch->sig[i] : NULL,
                        &s->batch->judged[i]);
    return NULL;
}

static void *verify_judge_thread(void *arg)
{
    (void)verify_judge(arg);
    digest_done();
    return NULL;
}

/* Judges the lines of the batch on all threads; the calling one takes a share too. */
static int verify_judge_batch(struct verify *v)
{
    unsigned n = v->batch->n <= LOG_VERIFY_BATCH_ALONE ? 1 : v->threads;
    struct verify_share share[LOG_VERIFY_THREADS_MAX];
    pthread_t thread[LOG_VERIFY_THREADS_MAX];
    bool started[LOG_VERIFY_THREADS_MAX] = {false};

    for (unsigned i = 0; i < n; i++) {
        share[i] = (struct verify_share){.batch = v->batch,
                                         .ring = &v->trust.ring,
                                         .from = v->batch->n * i / n,
                                         .to = v->batch->n * (i + 1) / n};
        if (i > 0)
            started[i] = pthread_create(&thread[i], NULL, verify_judge_thread, &share[i]) == 0;
    }
    for (unsigned i = 0; i < n; i++)
        if (!started[i])
            (void)verify_judge(&share[i]); /* the own share, and those no thread could be had for */
    for (unsigned i = 0; i < n; i++)
        if (started[i])
            pthread_join(thread[i], NULL);
    for (unsigned i = 0; i < n; i++)
        if (share[i].error < 0)
            return share[i].error;
    return 0;
}

/* A bare line ends with data, a sealed one with a string. Its form is looked at later, on another thread. */
static bool verify_is_bare(struct str line)
{
    return line.len >= 2 && line.p[line.len - 2] == '}';
}

static int verify_read_sig(struct verify *v, const struct log_line *l, struct log_check_sig *ret)
{
    int e = verify_is_bare(l->text) ? sidecar_read(v->sidecar, l, &v->trust.ring, &ret->key, ret->sig) : 0;

    if (e < 0)
        ret->key = NULL;
    return e;
}

static void verify_read_batch(struct verify *v)
{
    struct verify_batch *b = v->batch;

    b->n = 0;
    b->used = 0;
    b->end = LOG_READ_LINE;
    while (b->n < LOG_VERIFY_BATCH && b->used < LOG_VERIFY_BATCH_BYTES) {
        struct log_line l;

        b->end = log_reader_next(v->reader, &l);
        if (b->end != LOG_READ_LINE) {
            b->end_line = l;
            return;
        }
        if (l.segment_line == 1)
            v->report->segments++;
        memcpy(b->text + b->used, l.text.p, l.text.len);
        l.text.p = b->text + b->used;
        b->used += l.text.len;
        b->sig[b->n].key = NULL;
        b->sig_error[b->n] = verify_read_sig(v, &l, &b->sig[b->n]);
        b->line[b->n++] = l;
    }
}

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

/* A checkpoint has no time of its own; it is as old as the last line it covers, or younger. A key whose time
 * was over when that line was made cannot vouch for it; one whose time had not begun can. */
static int verify_signer(struct verify *v, const struct log_line *l, const struct envelope *e)
{
    enum keyring_judgement j = KEYRING_EXPIRED;
    uint64_t when;

    if (log_check_tree(v->check)->size != v->report->checkpoint.size)
        return 0;
    if (clock_parse_rfc3339(e->time, &when) == 0)
        j = keyring_judge(v->signer, when);
    if (j == KEYRING_OK || j == KEYRING_NOT_YET)
        return 0;
    return verify_verdict(v->report, LOG_BAD_CHECKPOINT,
                          "the checkpoint covers line %" PRIu64 ", but the key %s that signed it %s by then",
                          l->index + 1, v->signer->vkey.name,
                          j == KEYRING_REVOKED ? "was revoked" : "had ended");
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

/* What is to be said of a bare line that has no signature that could be verified. */
static int verify_no_sig(struct verify *v, size_t i, char why[static LOG_CHECK_WHY_MAX])
{
    switch (v->batch->sig_error[i]) {
    case 0:
        return 0;
    case -ENODATA:
        v->report->bare++;
        return 0;
    case -ENOKEY:
        (void)snprintf(why, LOG_CHECK_WHY_MAX, "%s", envelope_error_text(ENVELOPE_E_KEY));
        return -EBADMSG;
    case -ELOOP:
    case -EFBIG:
    case -EBADMSG:
        (void)snprintf(why, LOG_CHECK_WHY_MAX,
                       "the signatures beside its segment are not a file, or too many files");
        return -EBADMSG;
    default:
        return v->batch->sig_error[i];
    }
}

static int verify_line(struct verify *v, size_t i)
{
    const struct log_line *l = &v->batch->line[i];
    char why[LOG_CHECK_WHY_MAX] = "";
    int e = log_check_next(v->check, &v->batch->judged[i], why);

    if (e == 0)
        e = verify_no_sig(v, i, why);
    if (e == 0)
        e = trust_check_event(&v->trust, &v->batch->judged[i].parsed.e, why);
    if (e == 0 && v->o->rule)
        e = v->o->rule(v->o->arg, &v->batch->judged[i].parsed.e, why);
    if (e == 0 && l->index < v->report->checkpoint.size && log_pruned_is_event(&v->batch->judged[i].parsed.e))
        e = log_pruned_event(&v->pruned, &v->batch->judged[i].parsed.e, why);
    if (e == -EBADMSG) {
        e = verify_pruned_end(v, false);
        return v->report->verdict == LOG_GOOD ? verify_wrong_line(v, l, why) : e;
    }
    if (e < 0)
        return e;
    if (log_check_tree(v->check)->size <= v->report->checkpoint.size)
        v->report->lines++;
    else
        v->report->unacknowledged++;
    e = verify_signer(v, l, &v->batch->judged[i].parsed.e);
    return e < 0 || v->report->verdict != LOG_GOOD ? e : verify_sizes(v);
}

/* What the reader stopped at, once all lines before it are good. */
static int verify_end(struct verify *v)
{
    const struct log_line *l = &v->batch->end_line;
    struct log_report *r = v->report;

    switch (v->batch->end) {
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
        return v->batch->end;
    }
}

static int verify_lines(struct verify *v)
{
    do {
        int e;

        verify_read_batch(v);
        e = verify_judge_batch(v);
        if (e < 0)
            return e;
        for (size_t i = 0; i < v->batch->n && v->report->verdict == LOG_GOOD; i++) {
            e = verify_line(v, i);
            if (e < 0)
                return e;
        }
        if (v->o->progress)
            v->o->progress(v->o->arg, log_check_tree(v->check)->size, v->report->checkpoint.size);
    } while (v->batch->end == LOG_READ_LINE && v->report->verdict == LOG_GOOD);
    return v->report->verdict == LOG_GOOD ? verify_end(v) : 0;
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
    log_check_free(v->check);
    log_reader_free(v->reader);
    sidecar_reader_free(v->sidecar);
    free(v->batch);
}

static unsigned verify_threads(unsigned wanted)
{
    long n = wanted ? (long)wanted : sysconf(_SC_NPROCESSORS_ONLN);

    return n < 1 ? 1 : n > LOG_VERIFY_THREADS_MAX ? LOG_VERIFY_THREADS_MAX : (unsigned)n;
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
    v->batch = malloc(sizeof(*v->batch));
    if (!v->check || !v->batch)
        return -ENOMEM;
    v->threads = verify_threads(v->o->threads);
    e = verify_sizes(v); /* the empty tree may be what was signed */
    if (e < 0 || v->report->verdict != LOG_GOOD)
        return e;
    e = sidecar_reader_new(dirfd, &v->sidecar);
    if (e < 0)
        return e;
    e = log_reader_open(dirfd, v->pruned.first, &v->reader);
    if (e < 0 && e != -ENOENT)
        return e;
    e = v->reader ? verify_lines(v) : 0;
    if (e < 0 || v->report->verdict != LOG_GOOD)
        return e;
    return verify_tree(v);
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
        e = verify_key(&v, dirfd);
    if (e == 0 && ret->verdict == LOG_GOOD)
        e = verify_checkpoint(&v, dirfd);
    if (e == 0 && ret->verdict == LOG_GOOD)
        e = verify_all(&v, dirfd);
    verify_done(&v);
    return e;
}
