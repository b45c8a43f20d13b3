/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/verify_log.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "common/base/encoding.h"
#include "common/base/num.h"
#include "common/base/uuid.h"
#include "common/evidence/log_reader.h"
#include "common/evidence/note.h"
#include "proto/events.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/logdir.h"
#include "supervisor/ctl/term.h"

#define VERIFY_PATH_SHOWN 1024

struct verify_log {
    const struct verify_context *c;
    const char *path;
    struct progress progress;
    struct quorum_seen seen;
    uint64_t open_runs;
    char open_run[UUID_TEXT_LEN + 1]; /* one of them */
};

int verify_rule(void *arg, const struct envelope *e, char why[static LOG_CHECK_WHY_MAX])
{
    const size_t prefix = sizeof(EVENT_TYPE_PREFIX) - 1, start = sizeof("/cellos/") - 1;
    const struct event_row *row = event_row_by_suffix((struct str){e->type.p + prefix, e->type.len - prefix});
    const char *end;
    uint32_t role;

    (void)arg;
    end = e->source.len > start && memcmp(e->source.p, "/cellos/", start) == 0
              ? memchr(e->source.p + start, '/', e->source.len - start)
              : NULL;
    role = end ? enum_value(&enum_role_name,
                            (struct str){e->source.p + start, (size_t)(end - e->source.p) - start})
               : 0;
    if (role == 0) {
        (void)snprintf(why, LOG_CHECK_WHY_MAX, "its source is none of the suite's processes");
        return -EBADMSG;
    }
    if (row && !(row->roles & 1u << role)) {
        (void)snprintf(why, LOG_CHECK_WHY_MAX, "%s may not say %s", enum_text(&enum_role_name, role),
                       row->suffix);
        return -EBADMSG;
    }
    return 0;
}

static void verify_progress(void *arg, uint64_t done, uint64_t size)
{
    progress_show(&((struct verify_log *)arg)->progress, done, size);
}

static int verify_witnessed(void *arg, const char *name, struct str note, const struct checkpoint *c)
{
    struct verify_log *l = arg;

    (void)name;
    return quorum_look(l->c->quorum, note, c->size, &l->seen);
}

static void verify_open_run(void *arg, struct str run_id, struct str cell_id, uint64_t cellsequence)
{
    struct verify_log *l = arg;

    (void)cell_id;
    (void)cellsequence;
    if (l->open_runs++ == 0)
        (void)snprintf(l->open_run, sizeof(l->open_run), "%.*s", (int)run_id.len, run_id.p);
}

static void verify_print_path(const char *path)
{
    char safe[VERIFY_PATH_SHOWN];

    (void)printf("%s", str_escape(safe, sizeof(safe), path, strlen(path)));
}

static void verify_note(const struct verify_context *c, const char *text)
{
    (void)printf("  %snote%s  %s\n", term_code(c->color, TERM_YELLOW), term_code(c->color, TERM_PLAIN), text);
}

/* Where and why. */
static void verify_print_bad(const struct verify_context *c, const struct log_report *r)
{
    char name[LOG_SEGMENT_ZST_MAX], why[4 * LOG_CHECK_WHY_MAX];

    (void)printf("  %sBAD%s   ", term_code(c->color, TERM_RED), term_code(c->color, TERM_PLAIN));
    if (r->compressed)
        log_segment_zst_name(r->segment, name);
    else
        log_segment_name(r->segment, name);
    if (r->verdict == LOG_BAD_LINE)
        (void)printf("line %" PRIu64 " (%s, line %" PRIu64 "): ", r->line, name, r->segment_line);
    else if (r->verdict == LOG_BAD_SEGMENT)
        (void)printf("segment %s: ", name);
    (void)printf("%s\n", str_escape(why, sizeof(why), r->why, strlen(r->why)));
    if (r->verdict == LOG_BAD_LINE && r->line > 1)
        (void)printf("        the %" PRIu64 " lines before it are good\n", r->line - 1);
}

/* Whether the trusted keyset, or key, is that one's. */
static bool verify_trusts(const struct verify_context *c, const struct vkey *k)
{
    struct trust_root root = key_choice_root(c->keys);
    _cleanup_(buf_done) struct buf text = {.data = NULL};

    if (root.key)
        return memcmp(root.key->public, k->public, ED25519_PUBLIC_LEN) == 0;
    buf_init(&text, CHECKPOINT_VKEY_MAX);
    vkey_render(k, &text);
    return !text.err && root.keyset.len > 0 &&
           memmem(root.keyset.p, root.keyset.len, text.data, text.len) != NULL;
}

/* A log of another machine under this user's key: say whose it claims to be. */
static void verify_print_foreign(const struct verify_context *c, int dirfd, const struct log_report *r)
{
    _cleanup_(buf_done) struct buf text = {.data = NULL};
    struct vkey own;

    buf_init(&text, LOG_FILE_MAX);
    if ((r->verdict != LOG_BAD_CHECKPOINT && r->verdict != LOG_BAD_KEY) || r->has_checkpoint ||
        c->keys->from != KEY_STATE)
        return;
    if (log_verify_read_file(dirfd, "vkey", &text) < 0)
        return;
    if (text.len > 0 && text.data[text.len - 1] == '\n')
        text.len--;
    if (vkey_parse(buf_str(&text), &own) == 0 && !verify_trusts(c, &own))
        (void)printf("        it declares the key %s; if you trust that key: --key %.*s\n", own.name,
                     (int)text.len, (const char *)text.data);
}

static const char *verify_plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

static void verify_print_root(const uint8_t *root)
{
    _cleanup_(buf_done) struct buf hex = {.data = NULL};

    buf_init(&hex, 2 * DIGEST_LEN);
    encoding_hex_put(&hex, root, DIGEST_LEN);
    (void)printf("        root sha256:%.*s\n", (int)hex.len, hex.data ? (const char *)hex.data : "");
}

static void verify_print_good(const struct verify_context *c, const struct log_report *r)
{
    (void)printf("  %sok%s    %" PRIu64 " event%s, %" PRIu64 " run%s, %" PRIu64 " segment%s\n",
                 term_code(c->color, TERM_GREEN), term_code(c->color, TERM_PLAIN), r->lines,
                 verify_plural(r->lines), r->runs, verify_plural(r->runs), r->segments,
                 verify_plural(r->segments));
    verify_print_root(r->checkpoint.root);
    (void)printf("        key %s%s\n", r->key.name,
                 key_choice_text(r->self_declared ? KEY_SELF : c->keys->from));
}

/* Lines that are good through the checkpoint only. */
static void verify_note_bare(const struct verify_context *c, uint64_t bare, uint64_t older)
{
    char text[384];

    if (bare == 0)
        return;
    (void)snprintf(text, sizeof(text),
                   "%" PRIu64 " line%s no signature of %s own (seal: batch): the checkpoint alone signs %s",
                   bare, bare == 1 ? " has" : "s have", bare == 1 ? "its" : "their",
                   bare == 1 ? "it" : "them");
    verify_note(c, text);
    if (older == 0)
        return;
    (void)snprintf(text, sizeof(text),
                   "%" PRIu64
                   " of them %s older than the key that signed the checkpoint: that nobody with this key "
                   "wrote the past again shows only a checkpoint from before it (--checkpoint FILE)",
                   older, older == 1 ? "is" : "are");
    verify_note(c, text);
}

static void verify_print_notes(const struct verify_log *l, const struct log_report *r)
{
    char text[256];

    verify_note_bare(l->c, r->bare, r->bare_older);
    if (r->uncovered > 0 || r->torn_bytes > 0) {
        (void)snprintf(text, sizeof(text),
                       "behind the checkpoint: %" PRIu64
                       " whole line%s%s, which it does not speak for (a run goes on, or was killed)",
                       r->uncovered, verify_plural(r->uncovered),
                       r->torn_bytes ? " and an unfinished one" : "");
        verify_note(l->c, text);
    }
    if (r->verdict == LOG_GOOD && r->pruned > 0) {
        (void)snprintf(text, sizeof(text),
                       "the first %" PRIu64
                       " event%s went by retention, which log.v1.pruned events say; their hashes "
                       "are in the tree",
                       r->pruned, verify_plural(r->pruned));
        verify_note(l->c, text);
    }
    if (r->verdict == LOG_GOOD && r->tiles_missing > 0) {
        (void)snprintf(text, sizeof(text), "%" PRIu64 " tile%s missing: proofs take longer, and are as good",
                       r->tiles_missing, verify_plural(r->tiles_missing));
        verify_note(l->c, text);
    }
    if (r->verdict == LOG_GOOD && l->open_runs > 0) {
        (void)snprintf(text, sizeof(text), "%" PRIu64 " run%s without a destroyed event: %s%s", l->open_runs,
                       verify_plural(l->open_runs), l->open_run, l->open_runs > 1 ? ", ..." : "");
        verify_note(l->c, text);
    }
}

static void verify_print(const struct verify_log *l, int dirfd, const struct log_report *r)
{
    const struct verify_context *c = l->c;

    term_status_clear();
    if (c->several && !c->verbose && r->verdict == LOG_GOOD) {
        (void)printf("%sok%s  ", term_code(c->color, TERM_GREEN), term_code(c->color, TERM_PLAIN));
        verify_print_path(l->path);
        (void)printf(": %" PRIu64 " event%s%s\n", r->lines, verify_plural(r->lines),
                     r->self_declared ? " (self-declared key)" : "");
    } else {
        verify_print_path(l->path);
        (void)printf("\n");
        if (r->verdict == LOG_GOOD)
            verify_print_good(c, r);
        else
            verify_print_bad(c, r);
        verify_print_foreign(c, dirfd, r);
    }
    verify_print_notes(l, r);
}

/* A directory with a run's name must hold that run's log: the log of another one in its place is as good as
 * any, line by line. Copies may be called what one likes. True, or a sentence. */
static bool verify_place(const char *path, const struct checkpoint *c, char why[static LOG_CHECK_WHY_MAX])
{
    char real[PATH_MAX];
    const char *name = realpath(path, real) ? strrchr(real, '/') + 1 : "";
    const char *run = strchr(c->origin, '/');

    run = run ? strchr(run + 1, '/') : NULL; /* cellos.local/KEY/RUNID */
    if (!run || !uuid_v7_valid(str_of(name)) || strcmp(name, run + 1) == 0)
        return true;
    (void)snprintf(why, LOG_CHECK_WHY_MAX, "the directory is that of run %s, the log in it is of run %s",
                   name, run + 1);
    return false;
}

/* What witnesses put on the checkpoint from outside, which was verified with the log. */
static int verify_look_outside(struct verify_log *l)
{
    struct str rest = l->c->outside, line;
    uint64_t size;

    if (!rest.p || !note_next_line(&rest, &line) || !note_next_line(&rest, &line) ||
        num_parse_u64(line, 0, UINT64_MAX, &size) < 0)
        return 0;
    return quorum_look(l->c->quorum, l->c->outside, size, &l->seen);
}

static int verify_log(const struct verify_context *c, int fd, struct verify_log *l, struct log_report *ret)
{
    struct log_verify_options o = {
        .trust = key_choice_root(c->keys),
        .outside_note = c->outside,
        .progress = verify_progress,
        .rule = verify_rule,
        .open_run = verify_open_run,
        .witnessed = verify_witnessed,
        .arg = l,
    };
    int r;

    progress_start(&l->progress, l->path, "events");
    r = fd < 0 ? fd : log_verify(fd, &o, ret);
    if (r == 0 && ret->verdict == LOG_GOOD && !verify_place(l->path, &ret->checkpoint, ret->why))
        ret->verdict = LOG_BAD_CHECKPOINT;
    return r;
}

int verify_quietly(const struct verify_context *c, const char *path, struct log_report *ret)
{
    _cleanup_close_ int fd = logdir_open(path);
    struct verify_log l = {.c = c, .path = path};
    int r = verify_log(c, fd, &l, ret);

    term_status_clear();
    return r;
}

int verify_one(const struct verify_context *c, const char *path)
{
    _cleanup_close_ int fd = logdir_open(path);
    struct verify_log l = {.c = c, .path = path};
    struct log_report report;
    int r = verify_log(c, fd, &l, &report);

    if (r < 0) {
        term_status_clear();
        return ctl_fail(CTL_FAILED, "verify", "cannot read %s: %s", path, strerror(-r));
    }
    verify_print(&l, fd, &report);
    if (report.verdict != LOG_GOOD)
        return CTL_TAMPERED;
    if (verify_look_outside(&l) < 0)
        return ctl_fail(CTL_FAILED, "verify", "out of memory");
    return quorum_print(c->quorum, &l.seen, c->color) ? CTL_OK : CTL_TAMPERED;
}

/* ---- a part of one ---- */

static void verify_part_print(const struct verify_context *c, const char *path,
                              const struct verify_range *range, const struct verify_range_report *r)
{
    char why[4 * LOG_CHECK_WHY_MAX];

    term_status_clear();
    verify_print_path(path);
    if (!r->good) {
        (void)printf("\n  %sBAD%s   %s\n", term_code(c->color, TERM_RED), term_code(c->color, TERM_PLAIN),
                     str_escape(why, sizeof(why), r->why, strlen(r->why)));
        return;
    }
    (void)printf("\n  %sok%s    events %" PRIu64 " to %" PRIu64 " of %" PRIu64
                 ", and their path to the signed root\n",
                 term_code(c->color, TERM_GREEN), term_code(c->color, TERM_PLAIN), range->from,
                 range->from + r->lines - 1, r->checkpoint.size);
    verify_print_root(r->checkpoint.root);
    (void)printf("        key %s%s\n", r->key.name, key_choice_text(c->keys->from));
    verify_note_bare(c, r->bare, 0);
    verify_summary(c, 1);
}

int verify_part(const struct verify_context *c, const char *path, const struct verify_range *range)
{
    struct trust_root root = key_choice_root(c->keys);
    _cleanup_close_ int fd = logdir_open(path);
    char why[LOG_CHECK_WHY_MAX] = "";
    struct verify_range_report report = {.good = false};
    struct verify_range with = *range;
    struct progress progress;
    struct trust trust;
    int r = fd < 0 ? fd : trust_open(fd, &root, &trust, why);

    if (r == -EBADMSG)
        return ctl_fail(CTL_TAMPERED, "verify", "%s: %s", path, why);
    progress_start(&progress, path, "events");
    with.progress = &progress;
    if (r == 0)
        r = verify_range_run(fd, &trust, &with, &report);
    if (r == 0 && report.good)
        report.good = verify_place(path, &report.checkpoint, report.why);
    if (r < 0)
        return ctl_fail(CTL_FAILED, "verify", "cannot read %s: %s", path, strerror(-r));
    verify_part_print(c, path, range, &report);
    return report.good ? CTL_OK : CTL_TAMPERED;
}

void verify_summary(const struct verify_context *c, size_t logs)
{
    if (logs > 1)
        (void)printf("%zu logs\n", logs);
    if (!c->outside.p && c->quorum->n == 0)
        verify_note(c, "rollback and truncation not excluded: no checkpoint from outside to compare with "
                       "(--checkpoint FILE)");
    if (c->keys->from == KEY_SELF)
        verify_note(
            c, "self-declared key: the logs prove only that one key signed all of them; trust needs --key");
}
