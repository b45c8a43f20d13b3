/* SPDX-License-Identifier: MIT */
/* The naive model of a log: a list of what was claimed, in order, and what was answered. After a crash the
 * log of the disk is held against it. Needs fault_calls.h for the moments of the answers. */
#pragma once

#include "common/evidence/json_check.h"
#include "common/evidence/log_reader.h"
#include "common/evidence/sidecar.h"
#include "tests/unit/fault_calls.h"
#include "tests/unit/signerd_rig.h"

#define HISTORY_MAX   8192
#define HISTORY_LINES (8u << 20)

struct history_entry {
    struct rig_ack ack; /* first: rig_watch gets it */
    char *json;
    bool submitted; /* and not refused at once */
};

struct history {
    struct history_entry e[HISTORY_MAX];
    size_t n;
    size_t known; /* so many were answered before the journal began */
};

static struct history history;
static char history_where[256]; /* what is being tried: for messages */

static void history_watch(struct rig_ack *ack, struct str json)
{
    struct history_entry *e = (struct history_entry *)(void *)ack;

    if (json.p) {
        e->json = strndup(json.p, json.len);
        assert_non_null(e->json);
    } else {
        faults_mark((uint64_t)(e - history.e));
    }
}

static inline void history_begin(void)
{
    for (size_t i = 0; i < history.n; i++)
        free(history.e[i].json);
    memset(history.e, 0, history.n * sizeof(history.e[0]));
    history.n = history.known = 0;
    rig_watch = history_watch;
}

static inline void history_end(void)
{
    history_begin();
    rig_watch = NULL;
}

static inline void history_record(struct journal *j, int dirfd)
{
    history.known = history.n;
    faults_record(j, dirfd);
}

enum history_what { CLAIM_STARTED, CLAIM_L7, CLAIM_COMPLETED, CLAIM_DESTROYED };

/* Claims an event that no other is like. elog_submit's result. */
static inline int history_claim(struct rig *r, enum history_what what, struct cell *cell)
{
    struct history_entry *e = &history.e[history.n];
    char host[64];
    int err = -EINVAL;

    assert_true(history.n < HISTORY_MAX);
    switch (what) {
    case CLAIM_STARTED:
        err = rig_started(r, cell, &e->ack);
        break;
    case CLAIM_L7:
        (void)snprintf(host, sizeof(host), "number-%zu.example.test", history.n);
        err = rig_l7(r, cell, host, &e->ack);
        break;
    case CLAIM_COMPLETED:
        err = rig_completed(r, cell, &e->ack);
        break;
    case CLAIM_DESTROYED:
        err = rig_destroyed(r, cell, &e->ack);
        break;
    }
    e->submitted = err == 0;
    if (err < 0) { /* nothing of it may ever be in the log */
        e->ack = (struct rig_ack){.done = true, .err = -ENOSPC};
        faults_mark(history.n);
    }
    history.n++;
    return err;
}

/* As a role would claim it: not what the cell's state does not allow, and on after a refusal. */
static inline void history_attempt(struct rig *r, enum history_what what, struct cell *cell)
{
    static const enum event_type type[] = {EVENT_STARTED, EVENT_L7, EVENT_COMPLETED, EVENT_DESTROYED};
    uint32_t role = what == CLAIM_L7 ? ROLE_PROXYD : ROLE_SUPERVISOR;

    if (authority_judge(role, event_row(type[what]), cell->state) == AUTHORITY_OK)
        (void)history_claim(r, what, cell);
}

static inline void history_run(struct rig *r, const char *name)
{
    struct cell *cell = rig_cell(r, name);

    history_attempt(r, CLAIM_STARTED, cell);
    rig_flush(r);
    history_attempt(r, CLAIM_L7, cell);
    rig_flush(r);
    for (unsigned i = 0; i < 3; i++)
        history_attempt(r, CLAIM_L7, cell);
    history_attempt(r, CLAIM_COMPLETED, cell);
    rig_flush(r);
    history_attempt(r, CLAIM_DESTROYED, cell);
    rig_flush(r);
}

/* Who asked does not know: what was answered behind the cut was not. */
static inline void history_forget(const struct journal *j, size_t cut)
{
    for (size_t i = cut; i < j->nops; i++)
        if (j->op[i].kind == JOURNAL_MARK)
            history.e[j->op[i].at].ack.done = false;
    for (size_t i = 0; i < history.n; i++)
        if (!history.e[i].ack.done)
            history.e[i].ack.err = 0;
}

/* ---- the lines of a directory ---- */

struct lines_of {
    struct buf text; /* each with its LF */
    size_t *start, n;
};

static inline void lines_read(int dirfd, struct lines_of *l)
{
    struct log_reader *reader;
    struct log_line line;

    *l = (struct lines_of){.n = 0};
    buf_init(&l->text, HISTORY_LINES);
    if (log_reader_open(dirfd, 0, &reader) < 0)
        return;
    while (log_reader_next(reader, &line) == LOG_READ_LINE) {
        l->start = journal_grow(l->start, l->n, sizeof(*l->start));
        l->start[l->n++] = l->text.len;
        buf_put_str(&l->text, line.text);
        buf_putc(&l->text, '\n');
    }
    assert_int_equal(l->text.err, 0);
    log_reader_free(reader);
}

static inline struct str lines_at(const struct lines_of *l, size_t i)
{
    size_t end = i + 1 < l->n ? l->start[i + 1] : l->text.len;

    return (struct str){(const char *)l->text.data + l->start[i], end - l->start[i] - 1};
}

static inline void lines_done(struct lines_of *l)
{
    buf_done(&l->text);
    free(l->start);
}

static inline struct envelope lines_event(const struct lines_of *l, size_t i)
{
    struct envelope_line e;

    if (envelope_parse(lines_at(l, i), &e) != ENVELOPE_OK)
        fail_msg("%s: line %zu does not parse", history_where, i + 1);
    return e.e;
}

static inline bool lines_is_own(const struct envelope *e)
{
    return memmem(e->type.p, e->type.len, ".log.v1.", 8) != NULL;
}

/* ---- the log against the model ---- */

/* Every acknowledged event has its place; nothing that was refused is there; nothing is there that nobody
 * claimed; the order is that of the claims. j, cut: which answers had been given (NULL: all). */
static inline void history_compare(const struct lines_of *l, const struct journal *j, size_t cut)
{
    bool *answered = calloc(HISTORY_MAX, sizeof(*answered));
    size_t next = 0;

    assert_non_null(answered);
    for (size_t i = 0; i < history.n; i++)
        answered[i] = (!j || i < history.known) && history.e[i].ack.done;
    for (size_t i = 0; j && i < cut; i++)
        if (j->op[i].kind == JOURNAL_MARK)
            answered[j->op[i].at] = true;
    for (size_t i = 0; i < history.n; i++) {
        const struct history_entry *e = &history.e[i];

        if (!answered[i] || e->ack.err)
            continue;
        if (e->ack.sequence >= l->n)
            fail_msg("%s: acknowledged as line %llu, but there are %zu", history_where,
                     (unsigned long long)e->ack.sequence + 1, l->n);
        if (!str_is(lines_event(l, e->ack.sequence).data, e->json))
            fail_msg("%s: line %llu is not the event that was acknowledged", history_where,
                     (unsigned long long)e->ack.sequence + 1);
    }
    for (size_t i = 0; i < l->n; i++) {
        struct envelope e = lines_event(l, i);

        if (lines_is_own(&e))
            continue;
        /* What was refused may have been claimed again in the same words. */
        while (next < history.n && (!str_is(e.data, history.e[next].json) ||
                                    (answered[next] && history.e[next].ack.err == -ENOSPC)))
            next++;
        if (next == history.n)
            fail_msg("%s: line %zu was never claimed, was refused, or is not in this order", history_where,
                     i + 1);
        next++;
    }
    free(answered);
}

static inline void history_number(const struct envelope *e, const char *name, uint64_t want)
{
    char text[32];
    struct str got;

    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)want);
    if (json_check_member(e->data, name, &got) < 0 || !str_is(got, text))
        fail_msg("%s: %s of log.v1.recovered is not %s", history_where, name, text);
}

static inline uint64_t history_sizes(const struct rig *r, const char *dir, const char *suffix)
{
    int fd = openat(r->log_dir, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    uint64_t n = 0;
    struct stat st;

    if (!d)
        return 0;
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.' && strstr(e->d_name, suffix) && fstatat(fd, e->d_name, &st, 0) == 0)
            n += (uint64_t)st.st_size;
    closedir(d);
    return n;
}

static inline uint64_t history_torn_bytes(const struct rig *r)
{
    return history_sizes(r, "torn", "");
}

/* Recovery moves bytes, it never removes any: this does not get less. */
static inline uint64_t history_bytes(const struct rig *r)
{
    return history_sizes(r, ".", ".jsonl") + history_torn_bytes(r);
}

/* seal: batch: once a signer has ended, every line has a signature beside it, whatever was lost of them
 * before. */
static inline void history_signed(const struct rig *r)
{
    uint8_t sig[ED25519_SIG_LEN];
    const struct keyring_key *key;
    struct sidecar_reader *sigs;
    struct log_reader *lines;
    struct log_line line;

    assert_int_equal(sidecar_reader_new(r->log_dir, &sigs), 0);
    assert_int_equal(log_reader_open(r->log_dir, 0, &lines), 0);
    while (log_reader_next(lines, &line) == LOG_READ_LINE) {
        struct envelope_line parsed;

        if (envelope_parse(line.text, &parsed) != ENVELOPE_OK || parsed.dssematerial.p)
            continue;
        int e = sidecar_read(sigs, &line, keys_ring(r->keys), &key, sig);

        if (e < 0)
            fail_msg("%s: line %llu has no signature: %d", history_where, (unsigned long long)line.index + 1,
                     e);
    }
    log_reader_free(lines);
    sidecar_reader_free(sigs);
}

/* Starts on what a crash left in r->log_dir, and ends: must work, keep what was good byte for byte, say what
 * it found, and leave a log that verifies. */
static inline void history_recover(struct rig *r, const struct journal *j, size_t cut)
{
    struct lines_of before, after;
    struct log_report report;
    int e;

    lines_read(r->log_dir, &before);
    uint64_t torn = history_torn_bytes(r);
    e = rig_open(r);
    if (e < 0)
        fail_msg("%s: cannot be opened: %d", history_where, e);
    rig_close(r);
    torn = history_torn_bytes(r) - torn;
    lines_read(r->log_dir, &after);
    rig_verify(r, &report);
    if (report.verdict != LOG_GOOD || report.uncovered || report.torn_bytes || report.lines != after.n)
        fail_msg("%s: does not verify: %s", history_where, report.why);
    if (after.n > 0) {
        struct envelope last = lines_event(&after, after.n - 1);
        size_t kept = after.start[after.n - 1];

        if (!str_is(last.type, "dev.cellos.events.cell.log.v1.recovered"))
            fail_msg("%s: the start was not sealed", history_where);
        history_number(&last, "previousSize", after.n - 1);
        history_number(&last, "tornBytes", torn);
        if (kept > before.text.len || (kept > 0 && memcmp(before.text.data, after.text.data, kept) != 0))
            fail_msg("%s: the lines before the crash are not what they were", history_where);
    }
    if (r->config.seal == SEAL_BATCH && after.n > 0)
        history_signed(r);
    history_compare(&after, j, cut);
    lines_done(&before);
    lines_done(&after);
}

/* A directory of its own below the rig's, in the place of its log. */
static inline int history_case(struct rig *r)
{
    char path[96];
    int before = r->log_dir;

    (void)snprintf(path, sizeof(path), "%s/case", r->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    r->log_dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(r->log_dir >= 0);
    return before;
}

static inline void history_case_done(struct rig *r, int before)
{
    char path[96];

    (void)snprintf(path, sizeof(path), "%s/case", r->dir);
    close(r->log_dir);
    r->log_dir = before;
    rig_remove(path);
}

/* The machine stops behind the first `cut` calls: the directory, and its recovery (or what else is tried of
 * it). */
static inline void history_cut(struct rig *r, struct journal *j, size_t cut, enum loss loss, uint64_t seed,
                               void (*try)(struct rig *r, struct journal *j, size_t cut, struct rng *g))
{
    static const char *const loss_name[_LOSS_MAX] = {"kill",       "all lost",  "names lost",
                                                     "bytes lost", "cut short", "some lost"};
    struct rng g = {.s = seed};
    struct image im;

    (void)snprintf(history_where, sizeof(history_where), "call %zu, %s, seed %llu", cut, loss_name[loss],
                   (unsigned long long)seed);
    journal_image(j, cut, loss, &g, &im);
    int before = history_case(r);
    image_store(j, &im, r->log_dir);
    image_done(&im);
    if (try)
        try(r, j, cut, &g);
    else
        history_recover(r, j, cut);
    history_case_done(r, before);
}
