/* SPDX-License-Identifier: MIT */
/* cellctl verify: checks logs, parts of logs, exported events and proofs with public keys alone. Everything
 * it reads is foreign; it never writes. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "common/base/io.h"
#include "common/base/num.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/logdir.h"
#include "supervisor/ctl/progress.h"
#include "supervisor/ctl/term.h"
#include "supervisor/ctl/verify_file.h"
#include "supervisor/ctl/verify_log.h"

#define VERB "verify"
#define VERIFY_HELP                                                                                          \
    "usage: cellctl verify [DIR] [--from N] [--to M] [--checkpoint FILE] [-v]\n"                             \
    "       cellctl verify FILE|-\n\n"                                                                       \
    "Checks a log, or every log below a directory: each line's signature, digests and form, the numbering\n" \
    "of the log and of every run, the tree, its tiles, and the checkpoint that signs it. Nothing but the\n"  \
    "public key is needed. Without DIR the logs of this user's runs are checked.\n\n"                        \
    "FILE is a proof (`cellctl prove`, `cellctl consistency -o`), a c2sp.org/tlog-proof, or events, one a\n" \
    "line (`cellctl events --json`); - is standard input, of any length.\n\n"                                \
    "  --key KEY          public key to trust: a vkey (name+id+base64) or a file with one. Without it the\n" \
    "                     key of this user's state directory, else the one the log or proof declares\n"      \
    "  --keyset FILE      a trust keyset instead (`cellctl key export`), and what newer versions of it "     \
    "say\n"                                                                                                  \
    "  --checkpoint FILE  a checkpoint kept elsewhere (cellctl run --checkpoint): only with one can it be\n" \
    "                     seen that a log was rolled back or cut. Those in the log's witness/ are checked\n" \
    "                     as well\n"                                                                         \
    "  --from N --to M    only these events (sequence numbers) and their path to the signed root\n"          \
    "  --witness VKEY     a checkpoint must carry this witness's cosignature; may be given several times\n"  \
    "                     (a note in witness/, the checkpoint from outside, or that of a proof)\n"           \
    "  --quorum N         of N of these witnesses; all, unless given\n"                                      \
    "  --event FILE       the event that a bare tlog-proof is about\n"                                       \
    "  -v                 more about each log\n\n"                                                           \
    "Exit status: 0 all good, 4 something is wrong, 2 a log cannot be read, 1 usage.\n"

struct verify_args {
    const char *path, *key, *keyset, *checkpoint, *from, *to, *quorum, *event;
    bool verbose;
    struct quorum witnesses;
    struct verify_range range;
};

static const char **verify_flag(struct verify_args *a, const char *word)
{
    const struct {
        const char *name;
        const char **value;
    } flags[] = {{"--key", &a->key},    {"--keyset", &a->keyset}, {"--checkpoint", &a->checkpoint},
                 {"--from", &a->from},  {"--to", &a->to},         {"--quorum", &a->quorum},
                 {"--event", &a->event}};

    for (size_t i = 0; i < ARRAY_LEN(flags); i++)
        if (strcmp(word, flags[i].name) == 0)
            return flags[i].value;
    return NULL;
}

static int verify_word(struct verify_args *a, const char *word)
{
    if (strcmp(word, "-v") == 0) {
        a->verbose = true;
    } else if (word[0] == '-' && word[1] != '\0') {
        return ctl_fail(CTL_USAGE, VERB, "unknown flag %s: see `cellctl verify --help`", word);
    } else if (a->path) {
        return ctl_fail(CTL_USAGE, VERB, "one directory or file only, %s is a second one", word);
    } else {
        a->path = word;
    }
    return CTL_OK;
}

static int verify_parse(int argc, char **argv, struct verify_args *a)
{
    int r = CTL_OK;

    for (int i = 1; r == CTL_OK && i < argc; i++) {
        bool witness = strcmp(argv[i], "--witness") == 0;
        const char **value = verify_flag(a, argv[i]);

        if ((witness || value) && i + 1 == argc)
            return ctl_fail(CTL_USAGE, VERB, "%s needs a value", argv[i]);
        if (witness)
            r = quorum_add(VERB, &a->witnesses, argv[++i]);
        else if (value)
            *value = argv[++i];
        else
            r = verify_word(a, argv[i]);
    }
    return r == CTL_OK ? quorum_need(VERB, &a->witnesses, a->quorum) : r;
}

static int verify_numbers(struct verify_args *a)
{
    a->range.to = UINT64_MAX;
    if ((a->from && num_parse_u64(str_of(a->from), 0, UINT64_MAX - 1, &a->range.from) < 0) ||
        (a->to && num_parse_u64(str_of(a->to), a->range.from, UINT64_MAX - 1, &a->range.to) < 0))
        return ctl_fail(CTL_USAGE, VERB, "--from and --to are sequence numbers, --to not below --from");
    return CTL_OK;
}

static int verify_read_checkpoint(const char *path, struct buf *note)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    int r = fd < 0 ? -errno : io_read_to_end(fd, note);

    if (r < 0)
        return ctl_fail(CTL_FAILED, VERB, "cannot read the checkpoint %s: %s", path, strerror(-r));
    return CTL_OK;
}

/* The worst of two outcomes: a wrong log outweighs one that cannot be read. */
static int verify_worse(int a, int b)
{
    return a > b ? a : b;
}

static int verify_each(const struct logdir_list *logs, const struct verify_context *c)
{
    int status = CTL_OK;

    for (size_t i = 0; i < logs->n; i++)
        status = verify_worse(status, verify_one(c, logs->path[i]));
    term_status_clear();
    return status;
}

static int verify_logs(const struct verify_args *a, struct verify_context *c)
{
    _cleanup_(logdir_list_done) struct logdir_list logs = {.n = 0};
    int r = logdir_find(VERB, a->path, &logs);

    if (r != CTL_OK)
        return r;
    c->several = logs.n > 1;
    if (a->checkpoint && logs.n > 1)
        logdir_keep_origin(&logs, c->outside);
    if (logs.n == 0)
        return ctl_fail(CTL_TAMPERED, VERB, "no log here is the one %s is a checkpoint of", a->checkpoint);
    if (!a->from && !a->to) {
        r = verify_each(&logs, c);
        verify_summary(c, logs.n);
        return r;
    }
    if (logs.n > 1)
        return ctl_fail(CTL_USAGE, VERB, "--from and --to are about one log, here are %zu", logs.n);
    if (c->outside.p || c->quorum->n > 0)
        return ctl_fail(CTL_USAGE, VERB, "--from and --to go with neither --checkpoint nor --witness");
    return verify_part(c, logs.path[0], &a->range);
}

/* A flag that would mean nothing must not look as if it had been checked. */
static int verify_fits(const struct verify_args *a, bool file)
{
    if (file && (a->from || a->to))
        return ctl_fail(CTL_USAGE, VERB, "--from and --to are about a log, %s is none", a->path);
    if (!file && a->event)
        return ctl_fail(CTL_USAGE, VERB, "--event is the event of a tlog-proof, not of a log");
    return CTL_OK;
}

static bool verify_is_file(const char *path)
{
    struct stat st;

    return path && (strcmp(path, "-") == 0 || (stat(path, &st) == 0 && !S_ISDIR(st.st_mode)));
}

static int verify_with_keys(const struct verify_args *a, const struct key_choice *keys)
{
    _cleanup_(buf_done) struct buf note = {.data = NULL};
    bool color = term_colors(STDOUT_FILENO);
    struct verify_context c = {.keys = keys, .quorum = &a->witnesses, .verbose = a->verbose, .color = color};
    struct verify_file lines = {
        .path = a->path, .keys = keys, .quorum = &a->witnesses, .event = a->event, .color = color};
    bool file = verify_is_file(a->path);
    int r = verify_fits(a, file);

    buf_init(&note, CHECKPOINT_NOTE_MAX);
    if (r == CTL_OK && a->checkpoint) {
        r = verify_read_checkpoint(a->checkpoint, &note);
        c.outside = lines.checkpoint = buf_str(&note);
    }
    if (r != CTL_OK)
        return r;
    return file ? verify_file_run(&lines) : verify_logs(a, &c);
}

static int verify_run(int argc, char **argv)
{
    struct verify_args a = {.path = NULL};
    struct key_choice keys;
    int r = verify_parse(argc, argv, &a);

    if (r == CTL_OK)
        r = verify_numbers(&a);
    if (r == CTL_OK)
        r = key_choice_find(VERB, a.key, a.keyset, &keys);
    if (r != CTL_OK)
        return r;
    progress_interruptible();
    r = verify_with_keys(&a, &keys);
    key_choice_done(&keys);
    return r;
}

const struct ctl_verb ctl_verb_verify = {
    VERB,
    "check the signatures, the numbering and the tree of logs",
    VERIFY_HELP,
    verify_run,
};
