/* SPDX-License-Identifier: MIT */
#include "common/evidence/log_check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "common/base/encoding.h"
#include "common/evidence/json_check.h"

#define LOG_CHECK_BUCKETS 4096
#define LOG_DESTROYED     LOG_TYPE_PREFIX "lifecycle.v1.destroyed"
#define LOG_RECOVERED     LOG_TYPE_PREFIX "log.v1.recovered"

struct log_run {
    struct log_run *next;
    char run_id[UUID_TEXT_LEN];
    uint8_t subject_len;
    char subject[255];
    uint64_t cellsequence; /* of its last line */
};

struct log_check {
    struct merkle tree;
    bool from_start;
    size_t open;
    uint64_t runs;
    struct log_run *bucket[LOG_CHECK_BUCKETS];
};

void log_check_alone(struct str line, const struct keyring *ring, const struct log_check_sig *sig,
                     struct log_check_line *ret)
{
    ret->error = envelope_parse(line, &ret->parsed);
    merkle_leaf(line.p, line.len, ret->leaf);
    if (ret->error != ENVELOPE_OK)
        return;
    if (ret->parsed.dssematerial.p) {
        ret->error = envelope_verify(line, &ret->parsed, ring);
        return;
    }
    ret->error = envelope_verify_bare(line, &ret->parsed);
    if (ret->error == ENVELOPE_OK && sig)
        ret->error = envelope_verify_signature(&ret->parsed.e, sig->key, sig->sig);
}

struct log_check *log_check_new(const struct merkle *tree)
{
    struct log_check *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->from_start = !tree;
    if (tree)
        c->tree = *tree;
    return c;
}

struct log_check *log_check_free(struct log_check *c)
{
    if (!c)
        return NULL;
    for (size_t i = 0; i < LOG_CHECK_BUCKETS; i++)
        while (c->bucket[i]) {
            struct log_run *run = c->bucket[i];

            c->bucket[i] = run->next;
            free(run);
        }
    free(c);
    return NULL;
}

void log_check_freep(struct log_check **c)
{
    *c = log_check_free(*c);
}

static int __attribute__((format(printf, 2, 3))) log_check_wrong(char *why, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(why, LOG_CHECK_WHY_MAX, fmt, ap);
    va_end(ap);
    return -EBADMSG;
}

static struct log_run **log_run_find(struct log_check *c, struct str run_id)
{
    uint32_t h = 2166136261u; /* FNV-1a: the keys are ids of our own making, a collision costs time only */
    struct log_run **run;

    for (size_t i = 0; i < run_id.len; i++)
        h = (h ^ (uint8_t)run_id.p[i]) * 16777619u;
    for (run = &c->bucket[h % LOG_CHECK_BUCKETS]; *run; run = &(*run)->next)
        if (memcmp((*run)->run_id, run_id.p, UUID_TEXT_LEN) == 0)
            break;
    return run;
}

/* data must begin with the stamps that repeat the envelope: {"cellId":"X","specId":"X","runId":"R" */
static bool log_check_stamps(const struct envelope *e)
{
    const size_t urn = sizeof(ENVELOPE_SUBJECT) - 1;
    char want[ENVELOPE_ATTR_MAX * 2 + 128];
    int n;

    if (e->subject.len <= urn || memcmp(e->subject.p, ENVELOPE_SUBJECT, urn) != 0)
        return false;
    n = snprintf(want, sizeof(want), "{\"cellId\":\"%.*s\",\"specId\":\"%.*s\",\"runId\":\"%.*s\"",
                 (int)(e->subject.len - urn), e->subject.p + urn, (int)(e->subject.len - urn),
                 e->subject.p + urn, (int)e->runid.len, e->runid.p);
    return n > 0 && (size_t)n < sizeof(want) && e->data.len > (size_t)n &&
           memcmp(e->data.p, want, (size_t)n) == 0 && (e->data.p[n] == ',' || e->data.p[n] == '}');
}

static int log_check_new_run(struct log_check *c, struct log_run **place, const struct envelope *e, char *why)
{
    struct log_run *run;

    if (c->from_start && e->cellsequence != 1)
        return log_check_wrong(
            why, "cellsequence is %" PRIu64 " where 1 is due: no event of run %.*s is open before it",
            e->cellsequence, (int)e->runid.len, e->runid.p);
    if (c->open == LOG_CHECK_RUNS_MAX)
        return log_check_wrong(why, "more than %d runs are open at once", LOG_CHECK_RUNS_MAX);
    if (e->subject.len > sizeof(run->subject))
        return log_check_wrong(why, "the subject is too long");
    run = calloc(1, sizeof(*run));
    if (!run)
        return -ENOMEM;
    memcpy(run->run_id, e->runid.p, UUID_TEXT_LEN);
    memcpy(run->subject, e->subject.p, e->subject.len);
    run->subject_len = (uint8_t)e->subject.len;
    run->cellsequence = e->cellsequence;
    *place = run;
    c->open++;
    c->runs++;
    return 0;
}

static int log_check_run(struct log_check *c, const struct envelope *e, char *why)
{
    struct log_run **place, *run;
    int r;

    if (!log_check_stamps(e))
        return log_check_wrong(why, "data does not speak of the cell and run of its envelope");
    place = log_run_find(c, e->runid);
    if (!*place) {
        r = log_check_new_run(c, place, e, why);
        if (r < 0)
            return r;
    } else if (e->cellsequence != (*place)->cellsequence + 1) {
        return log_check_wrong(why, "cellsequence is %" PRIu64 " where %" PRIu64 " is due in run %.*s",
                               e->cellsequence, (*place)->cellsequence + 1, (int)e->runid.len, e->runid.p);
    } else if (!str_eq(e->subject, (struct str){(*place)->subject, (*place)->subject_len})) {
        return log_check_wrong(why, "run %.*s changes its cell", (int)e->runid.len, e->runid.p);
    }
    run = *place;
    run->cellsequence = e->cellsequence;
    if (str_is(e->type, LOG_DESTROYED)) {
        *place = run->next;
        free(run);
        c->open--;
    }
    return 0;
}

/* A start of signerd on a log that was not empty: it sealed what it found. */
static int log_check_recovered(const struct log_check *c, const struct envelope *e, char *why)
{
    _cleanup_(buf_done) struct buf want = {.data = NULL};
    uint8_t root[DIGEST_LEN];
    struct str size, text;

    buf_init(&want, 256);
    if (json_check_member(e->data, "previousSize", &size) < 0 ||
        json_check_member(e->data, "previousRoot", &text) < 0)
        return log_check_wrong(why, "log.v1.recovered without the size and root it found");
    buf_printf(&want, "%" PRIu64, c->tree.size);
    if (!want.err && !str_eq(size, buf_str(&want)))
        return log_check_wrong(why, "log.v1.recovered says the log had %.*s lines, it has %" PRIu64,
                               (int)(size.len < 32 ? size.len : 32), size.p, c->tree.size);
    buf_clear(&want);
    merkle_root(&c->tree, root);
    buf_puts(&want, "\"sha256:");
    encoding_hex_put(&want, root, sizeof(root));
    buf_putc(&want, '"');
    if (want.err)
        return want.err;
    if (!str_eq(text, buf_str(&want)))
        return log_check_wrong(why, "log.v1.recovered seals another root than the lines before it have");
    return 0;
}

int log_check_next(struct log_check *c, const struct log_check_line *l, char why[static LOG_CHECK_WHY_MAX])
{
    const struct envelope *e = &l->parsed.e;
    int r = 0;

    if (l->error < 0)
        return l->error;
    if (l->error != ENVELOPE_OK)
        return log_check_wrong(why, "%s", envelope_error_text(l->error));
    if (e->sequence != c->tree.size)
        return log_check_wrong(
            why, "sequence is %" PRIu64 " where %" PRIu64 " is due: a line is missing, repeated or moved",
            e->sequence, c->tree.size);
    if (e->type.len <= sizeof(LOG_TYPE_PREFIX) - 1 ||
        memcmp(e->type.p, LOG_TYPE_PREFIX, sizeof(LOG_TYPE_PREFIX) - 1) != 0)
        return log_check_wrong(why, "the type is not one of this log");
    if (e->subject.p)
        r = log_check_run(c, e, why);
    else if (str_is(e->type, LOG_RECOVERED))
        r = log_check_recovered(c, e, why);
    if (r < 0)
        return r;
    merkle_append(&c->tree, l->leaf);
    return 0;
}

const struct merkle *log_check_tree(const struct log_check *c)
{
    return &c->tree;
}

size_t log_check_open_runs(const struct log_check *c)
{
    return c->open;
}

uint64_t log_check_runs(const struct log_check *c)
{
    return c->runs;
}

void log_check_each_open(const struct log_check *c,
                         void (*fn)(void *arg, struct str run_id, struct str cell_id, uint64_t cellsequence),
                         void *arg)
{
    const size_t urn = sizeof(ENVELOPE_SUBJECT) - 1;

    for (size_t i = 0; i < LOG_CHECK_BUCKETS; i++)
        for (const struct log_run *r = c->bucket[i]; r; r = r->next)
            fn(arg, (struct str){r->run_id, UUID_TEXT_LEN},
               (struct str){r->subject + urn, r->subject_len - urn}, r->cellsequence);
}
