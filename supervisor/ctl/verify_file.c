/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/verify_file.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "common/base/io.h"
#include "common/evidence/judge.h"
#include "common/evidence/proof_text.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/line_stream.h"
#include "supervisor/ctl/progress.h"
#include "supervisor/ctl/proof_check.h"
#include "supervisor/ctl/term.h"
#include "supervisor/ctl/verify_log.h"

#define VERB       "verify"
#define SHOWN_MAX  20 /* bad lines that are named; the others are counted */
#define PATH_SHOWN 1024

/* ---- events, one a line ---- */

struct lines {
    const struct verify_file *v;
    struct trust trust;
    struct progress progress;
    uint64_t good, bad, total_bytes;
    uint64_t first, last; /* sequences, of good lines */
    bool gaps, disorder;
    /* While the lines are a log's from its first on: its tree, with sealed leaves and with bare ones. */
    bool whole;
    struct merkle sealed, bare;
    struct checkpoint outside;
    bool has_outside, met, fits;
};

static void lines_bad(struct lines *l, uint64_t index, const char *why)
{
    if (++l->bad > SHOWN_MAX)
        return;
    term_status_clear();
    (void)printf("  %sBAD%s   line %" PRIu64 ": %s\n", term_code(l->v->color, TERM_RED),
                 term_code(l->v->color, TERM_PLAIN), index + 1, why);
}

static void lines_tree_met(struct lines *l)
{
    uint8_t a[DIGEST_LEN], b[DIGEST_LEN];

    if (!l->has_outside || l->sealed.size != l->outside.size)
        return;
    merkle_root(&l->sealed, a);
    merkle_root(&l->bare, b);
    l->met = true;
    l->fits = memcmp(a, l->outside.root, DIGEST_LEN) == 0 || memcmp(b, l->outside.root, DIGEST_LEN) == 0;
}

static void lines_tree(struct lines *l, const struct judged *j)
{
    uint8_t bare[DIGEST_LEN];

    if (!l->whole || !l->has_outside)
        return;
    if (proof_check_bare_leaf(j->line.text, &j->check.parsed, bare) < 0) {
        l->whole = false;
        return;
    }
    merkle_append(&l->sealed, j->check.leaf);
    merkle_append(&l->bare, bare);
    lines_tree_met(l);
}

static void lines_order(struct lines *l, uint64_t sequence)
{
    if (l->good == 0) {
        l->first = sequence;
        l->whole = l->whole && sequence == 0;
    } else if (sequence <= l->last) {
        l->disorder = true;
    } else if (sequence != l->last + 1) {
        l->gaps = true;
    }
    if (l->gaps || l->disorder)
        l->whole = false;
    l->last = sequence;
    l->good++;
}

static void lines_one(struct lines *l, const struct judged *j)
{
    char why[LOG_CHECK_WHY_MAX] = "";
    int e = j->check.error;

    if (e == ENVELOPE_OK && j->bare)
        e = ENVELOPE_E_UNSIGNED;
    if (e != ENVELOPE_OK) {
        l->whole = false;
        lines_bad(l, j->line.index, envelope_error_text(e));
        return;
    }
    if (verify_rule(NULL, &j->check.parsed.e, why) < 0) {
        l->whole = false;
        lines_bad(l, j->line.index, why);
        return;
    }
    lines_order(l, j->check.parsed.e.sequence);
    lines_tree(l, j);
}

static int lines_all(struct lines *l, struct judge *judge, const struct line_stream *s)
{
    const struct judged *j;
    int r;

    while ((r = judge_next(judge, &j)) == LOG_READ_LINE) {
        if (j->check.error < 0)
            return j->check.error;
        lines_one(l, j);
        if ((l->good + l->bad) % 256 == 0)
            progress_show(&l->progress, l->good + l->bad,
                          l->total_bytes ? (uint64_t)((double)(l->good + l->bad) / (double)s->bytes *
                                                      (double)l->total_bytes)
                                         : 0);
    }
    if (r == LOG_READ_TOO_LONG)
        lines_bad(l, j->line.index, "longer than 65535 bytes: nothing behind it was read");
    term_status_clear();
    return r < 0 ? r : 0;
}

static void lines_note(const struct lines *l, const char *text)
{
    (void)printf("  %snote%s  %s\n", term_code(l->v->color, TERM_YELLOW), term_code(l->v->color, TERM_PLAIN),
                 text);
}

/* Whether the checkpoint that was given covers exactly what was read. */
static bool lines_tell_tree(const struct lines *l)
{
    if (!l->has_outside) {
        lines_note(
            l, "each event is signed as it stands here; that none is missing, and that they are in a log, "
               "shows only a proof (`cellctl prove`) or a checkpoint (--checkpoint FILE, from event 0 on)");
        return true;
    }
    if (l->met && l->fits)
        (void)printf("        %s the %" PRIu64 " events that the checkpoint of %s signs%s\n",
                     l->good > l->outside.size ? "the first of these are" : "these are", l->outside.size,
                     l->outside.origin, l->good > l->outside.size ? "; it says nothing of the others" : "");
    else
        (void)printf(
            "  %sBAD%s   %s\n", term_code(l->v->color, TERM_RED), term_code(l->v->color, TERM_PLAIN),
            l->met ? "these are not the events that the checkpoint signs"
                   : "the checkpoint signs a log from event 0 to its end, of which this is only a part");
    return l->met && l->fits;
}

/* The witnesses of the checkpoint, which was verified with the key. */
static int lines_tell_witnesses(const struct lines *l)
{
    struct quorum_seen seen = {.when = {0}};

    if (quorum_look(l->v->quorum, l->v->checkpoint, l->outside.size, &seen) < 0)
        return ctl_fail(CTL_FAILED, VERB, "out of memory");
    return quorum_print(l->v->quorum, &seen, l->v->color) ? CTL_OK : CTL_TAMPERED;
}

static int lines_tell(const struct lines *l)
{
    char safe[PATH_SHOWN];
    bool fits = true;
    int r = CTL_OK;

    (void)printf("%s\n", str_escape(safe, sizeof(safe), l->v->path, strlen(l->v->path)));
    if (l->bad > SHOWN_MAX)
        (void)printf("  ...and %" PRIu64 " more\n", l->bad - SHOWN_MAX);
    if (l->bad > 0 || l->good == 0) {
        (void)printf("  %sBAD%s   %" PRIu64 " of %" PRIu64 " lines\n", term_code(l->v->color, TERM_RED),
                     term_code(l->v->color, TERM_PLAIN), l->bad, l->bad + l->good);
        return CTL_TAMPERED;
    }
    (void)printf("  %sok%s    %" PRIu64 " event%s, sequence %" PRIu64 " to %" PRIu64 "%s\n",
                 term_code(l->v->color, TERM_GREEN), term_code(l->v->color, TERM_PLAIN), l->good,
                 l->good == 1 ? "" : "s", l->first, l->last,
                 l->disorder ? ", not in order"
                 : l->gaps   ? ", with gaps"
                             : "");
    (void)printf("        key%s\n", key_choice_text(l->v->keys->from));
    fits = lines_tell_tree(l);
    if (l->v->quorum->n > 0)
        r = lines_tell_witnesses(l);
    return fits ? r : CTL_TAMPERED;
}

static int lines_trust(struct lines *l)
{
    struct trust_root root = key_choice_root(l->v->keys);
    char why[LOG_CHECK_WHY_MAX] = "";
    const struct keyring_key *signer;
    int r;

    if (l->v->keys->from == KEY_SELF)
        return ctl_fail(CTL_USAGE, VERB, "events alone bring no key along: give one with --key");
    r = trust_open_texts(STR_NONE, STR_NONE, &root, &l->trust, why);
    if (r < 0)
        return ctl_fail(CTL_FAILED, VERB, "%s", r == -EBADMSG ? why : strerror(-r));
    if (!l->v->checkpoint.p)
        return CTL_OK;
    r = checkpoint_open_ring(l->v->checkpoint, &l->trust.ring, &l->outside, &signer);
    if (r != CHECKPOINT_OK)
        return ctl_fail(CTL_TAMPERED, VERB, "the checkpoint: %s", checkpoint_error_text(r));
    l->has_outside = true;
    return CTL_OK;
}

static int lines_judge(struct lines *l, struct line_stream *s)
{
    struct judge_source source = {.next = line_stream_next, .arg = s};
    _cleanup_(judge_freep) struct judge *judge = NULL;
    int r = lines_trust(l);

    if (r != CTL_OK)
        return r;
    progress_start(&l->progress, l->v->path, "events");
    r = judge_open(&source, &l->trust.ring, 0, &judge);
    if (r == 0)
        r = lines_all(l, judge, s);
    if (r < 0)
        return ctl_fail(CTL_FAILED, VERB, "cannot read %s: %s", l->v->path, strerror(-r));
    lines_tree_met(l); /* nothing at all may be what the checkpoint signs */
    return lines_tell(l);
}

static int lines_run(const struct verify_file *v, struct line_stream *s, uint64_t total)
{
    struct lines *l;
    int r;

    if (v->event)
        return ctl_fail(CTL_USAGE, VERB, "--event is the event of a tlog-proof, which %s is not", v->path);
    if (v->quorum->n > 0 && !v->checkpoint.p)
        return ctl_fail(CTL_USAGE, VERB,
                        "events alone are cosigned by nobody: --witness goes with --checkpoint FILE");
    l = calloc(1, sizeof(*l));
    if (!l)
        return ctl_fail(CTL_FAILED, VERB, "out of memory");
    l->v = v;
    l->whole = true;
    l->total_bytes = total;
    r = lines_judge(l, s);
    free(l);
    return r;
}

/* ---- proofs ---- */

static struct proof_check lines_proof(const struct verify_file *v)
{
    return (struct proof_check){
        .verb = VERB, .path = v->path, .keys = v->keys, .quorum = v->quorum, .color = v->color};
}

static int lines_proof_file(const struct verify_file *v, struct str text)
{
    struct proof_check c = lines_proof(v);
    struct proof_file f;
    int r = proof_file_get(text, &f);

    if (r < 0)
        return ctl_fail(r == -ENOMEM ? CTL_FAILED : CTL_TAMPERED, VERB,
                        "%s looks like a proof, but is not in the form that `cellctl prove` writes", v->path);
    r = proof_check(&c, &f);
    proof_file_done(&f);
    return r;
}

static int lines_proof_text(const struct verify_file *v, struct str text)
{
    _cleanup_(buf_done) struct buf line = {.data = NULL};
    _cleanup_close_ int fd = -EBADF;
    struct proof_check c = lines_proof(v);
    int r;

    if (!v->event)
        return ctl_fail(CTL_USAGE, VERB,
                        "%s is a tlog-proof: the event that it is about is needed too (--event FILE)",
                        v->path);
    buf_init(&line, ENVELOPE_LINE_MAX + 1);
    fd = open(v->event, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    r = fd < 0 ? -errno : io_read_to_end(fd, &line);
    if (r < 0)
        return ctl_fail(CTL_FAILED, VERB, "cannot read %s: %s", v->event, strerror(-r));
    if (line.len > 0 && line.data[line.len - 1] == '\n')
        line.len--;
    return proof_check_text(&c, text, buf_str(&line));
}

/* ---- what is it? ---- */

static bool lines_is_text(struct str head)
{
    const size_t n = sizeof(PROOF_TEXT_HEAD "\n") - 1;

    return head.len >= n && memcmp(head.p, PROOF_TEXT_HEAD "\n", n) == 0;
}

static int lines_kind(const struct verify_file *v, struct line_stream *s, uint64_t total)
{
    _cleanup_(buf_done) struct buf text = {.data = NULL};
    struct str head;
    int r = line_stream_peek(s, &head);

    if (r == 0 && !proof_file_is(head) && !lines_is_text(head))
        return lines_run(v, s, total);
    if (r == 0 && v->checkpoint.p)
        return ctl_fail(CTL_USAGE, VERB,
                        "%s is a proof and has its own checkpoint: --checkpoint is for logs and events",
                        v->path);
    if (r == 0 && v->event && proof_file_is(head))
        return ctl_fail(CTL_USAGE, VERB, "%s has its event in it: --event is for a bare tlog-proof", v->path);
    if (r == 0)
        r = line_stream_rest(s, PROOF_FILE_MAX, &text);
    if (r < 0)
        return ctl_fail(CTL_FAILED, VERB, "cannot read %s: %s", v->path, strerror(-r));
    return proof_file_is(head) ? lines_proof_file(v, buf_str(&text)) : lines_proof_text(v, buf_str(&text));
}

int verify_file_run(const struct verify_file *v)
{
    bool standard_input = strcmp(v->path, "-") == 0;
    _cleanup_close_ int fd =
        standard_input ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : open(v->path, O_RDONLY | O_CLOEXEC);
    struct line_stream *s;
    struct stat st;
    int r;

    if (fd < 0 || fstat(fd, &st) < 0)
        return ctl_fail(CTL_FAILED, VERB, "cannot open %s: %s", v->path, strerror(errno));
    s = malloc(sizeof(*s));
    if (!s)
        return ctl_fail(CTL_FAILED, VERB, "out of memory");
    memset(s, 0, offsetof(struct line_stream, buffer));
    s->fd = fd;
    r = lines_kind(v, s, S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0);
    free(s);
    return r;
}
