/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/verify_range.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "common/evidence/judge.h"
#include "common/evidence/log_reader.h"
#include "common/evidence/log_verify.h"
#include "common/evidence/tile_reader.h"
#include "supervisor/ctl/verify_log.h"

struct range {
    const struct verify_range *o;
    const struct trust *trust;
    const struct keyring_key *signer; /* of the checkpoint */
    struct verify_range_report *report;
    int dirfd;
    uint64_t to; /* the last line */
    struct tile_reader *tiles;
    struct log_check *check;
    struct judge_log *log;
    struct judge *judge;
};

static int __attribute__((format(printf, 2, 3))) range_bad(struct range *r, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(r->report->why, sizeof(r->report->why), fmt, ap);
    va_end(ap);
    return 0;
}

static void range_done(struct range *r)
{
    r->judge = judge_free(r->judge);
    r->log = judge_log_free(r->log);
    r->check = log_check_free(r->check);
    r->tiles = tile_reader_free(r->tiles);
}

/* 1: go on; 0: a verdict was given; -errno. */
static int range_head(struct range *r)
{
    struct verify_range_report *report = r->report;
    _cleanup_(buf_done) struct buf note = {.data = NULL};
    int e;

    buf_init(&note, CHECKPOINT_NOTE_MAX);
    e = log_verify_read_file(r->dirfd, "checkpoint", &note);
    if (e == -ENOENT)
        return range_bad(r, "there is no checkpoint: nothing says which lines are the log's");
    if (e < 0 && e != -EBADMSG && e != -EFBIG && e != -ELOOP)
        return e;
    e = e < 0 ? CHECKPOINT_E_FORM
              : checkpoint_open_ring(buf_str(&note), &r->trust->ring, &report->checkpoint, &r->signer);
    if (e != CHECKPOINT_OK || !r->signer)
        return range_bad(r, "the checkpoint: %s", checkpoint_error_text(e));
    report->key = r->signer->vkey;
    e = log_verify_origin(r->dirfd, &report->checkpoint, report->why);
    if (e < 0)
        return e == -EBADMSG ? 0 : e;
    if (report->checkpoint.size == 0 || r->o->from >= report->checkpoint.size)
        return range_bad(r, "the log has %" PRIu64 " events: there is no event %" PRIu64,
                         report->checkpoint.size, r->o->from);
    r->to = r->o->to == UINT64_MAX ? report->checkpoint.size - 1 : r->o->to;
    if (r->to < r->o->from || r->to >= report->checkpoint.size)
        return range_bad(r, "the log has %" PRIu64 " events: there is no range from %" PRIu64 " to %" PRIu64,
                         report->checkpoint.size, r->o->from, r->to);
    return 1;
}

/* The frontier before the first line, out of tiles that are not trusted yet: what comes of it is. */
static int range_open(struct range *r, enum tile_reader_from from)
{
    struct judge_source source;
    struct proof_source tree;
    struct merkle before;
    int e = tile_reader_open(r->dirfd, r->report->checkpoint.size, from, &r->tiles);

    if (e < 0)
        return e;
    tree = tile_reader_source(r->tiles);
    e = proof_frontier(&tree, r->o->from, &before);
    if (e < 0)
        return e;
    r->check = log_check_new(r->o->from > 0 ? &before : NULL);
    if (!r->check)
        return -ENOMEM;
    e = judge_log_open(r->dirfd, r->o->from, &r->trust->ring, &r->log);
    if (e < 0)
        return e;
    source = judge_log_source(r->log);
    return judge_open(&source, &r->trust->ring, 0, &r->judge);
}

static int range_line(struct range *r, const struct judged *j)
{
    char why[LOG_CHECK_WHY_MAX] = "";
    int e = log_check_next(r->check, &j->check, why);

    if (e == 0)
        e = judged_unsigned(j, why);
    r->report->bare += e > 0;
    /* The key of the checkpoint must count for the last of them, and for what nothing else signs. */
    if (e > 0 || (e == 0 && j->line.index == r->to))
        e = trust_check_signer(r->signer, &j->check.parsed.e, why);
    if (e == 0)
        e = trust_check_event(r->trust, &j->check.parsed.e, why);
    if (e == 0)
        e = verify_rule(NULL, &j->check.parsed.e, why);
    if (e == -EBADMSG)
        return range_bad(r, "event %" PRIu64 ": %s", j->line.index, why);
    if (e < 0)
        return e;
    r->report->lines++;
    return 1;
}

/* 1, 0, -errno as above. */
static int range_lines(struct range *r)
{
    uint64_t want = r->to - r->o->from + 1;

    while (r->report->lines < want) {
        const struct judged *j;
        int e = judge_next(r->judge, &j);

        if (e < 0)
            return e;
        if (e != LOG_READ_LINE)
            return range_bad(r, "the log ends before line %" PRIu64 ", which its checkpoint signs",
                             r->o->from + r->report->lines + 1);
        e = range_line(r, j);
        if (e <= 0)
            return e;
        if (r->o->progress && r->report->lines % 256 == 0)
            progress_show(r->o->progress, r->report->lines, want);
    }
    return 1;
}

/* The tree up to the last line, of which the lines were read here, begins the signed tree. */
static int range_link(struct range *r)
{
    const struct checkpoint *c = &r->report->checkpoint;
    const struct merkle *tree = log_check_tree(r->check);
    struct proof_source s = tile_reader_source(r->tiles);
    uint8_t root[DIGEST_LEN];
    struct proof proof;
    int e = proof_consistency(&s, tree->size, c->size, &proof);

    if (e < 0)
        return e;
    merkle_root(tree, root);
    r->report->good = proof_consistency_check(tree->size, root, c->size, c->root, &proof);
    if (!r->report->good)
        return range_bad(
            r, "the events are good by themselves, but no path leads from them to the root that the "
               "checkpoint signs");
    return 1;
}

static int range_try(struct range *r, enum tile_reader_from from)
{
    int e = range_open(r, from);

    if (e == 0)
        e = range_lines(r);
    if (e > 0)
        e = range_link(r);
    range_done(r);
    return e;
}

/* What it means that something is missing: lines that retention took, or a log that was damaged. */
static int range_missing(struct range *r, int error)
{
    _cleanup_free_ uint64_t *segments = NULL;
    int n = log_reader_segments(r->dirfd, &segments);

    if (n > 0 && segments[0] > r->o->from)
        return range_bad(r,
                         "event %" PRIu64 " is not in the log any more: it begins with event %" PRIu64
                         " (`cellctl verify` says whether what was before was pruned)",
                         r->o->from, segments[0]);
    if (error == -ENOENT || error == -EBADMSG)
        return range_bad(r,
                         "the log does not have all lines that its checkpoint signs: see `cellctl verify`");
    return error;
}

int verify_range_run(int dirfd, const struct trust *t, const struct verify_range *o,
                     struct verify_range_report *ret)
{
    struct range r = {.o = o, .trust = t, .report = ret, .dirfd = dirfd};
    struct verify_range_report first;
    int e;

    *ret = (struct verify_range_report){.good = false};
    e = range_head(&r);
    if (e <= 0)
        return e;
    e = range_try(&r, TILE_READER_TILES);
    if (e < 0)
        return range_missing(&r, e);
    if (ret->good)
        return 0;
    /* A damaged tile is not the lines' fault: once more without tiles, where the lines before are there. */
    first = *ret;
    *ret = (struct verify_range_report){.checkpoint = ret->checkpoint, .key = ret->key};
    e = range_try(&r, TILE_READER_LINES);
    if (e == -ENOENT || e == -EBADMSG) {
        *ret = first;
        return 0;
    }
    return e < 0 ? e : 0;
}
