/* SPDX-License-Identifier: MIT */
/* cellctl prove: one event with everything that shows it is in a log, in a file that `cellctl verify` takes
 * anywhere. */
#include <stdio.h>

#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/event_find.h"
#include "supervisor/ctl/outfile.h"
#include "supervisor/ctl/prover.h"

#define PROVE_HELP                                                                                           \
    "usage: cellctl prove EVENT [DIR] [-o FILE] [--tlog-proof]\n\n"                                          \
    "Writes a self-contained proof that one event is in a log: the event as it was sealed, its path to "     \
    "the\n"                                                                                                  \
    "root of the tree, the signed checkpoint with all signatures on it, and the log's keys. `cellctl "       \
    "verify\n"                                                                                               \
    "FILE` checks it anywhere, with nothing else but a key to trust.\n\n" EVENT_FIND_HELP                    \
    "DIR is a log or a directory with logs below; without it the logs of this user's runs.\n\n"              \
    "  -o FILE       write to FILE; without it to standard output\n"                                         \
    "  --tlog-proof  only the proof, in the form c2sp.org/tlog-proof, for tools that are not ours; it is\n"  \
    "                about the event's line, which `cellctl events --json` prints\n\n"                       \
    "A checkpoint that witnesses cosigned (`cellctl witness`) is preferred to the log's newest.\n"           \
    "Exit status: 0 done, 2 there is no such event, 4 the log does not hold what its checkpoint signs, 1\n"  \
    "usage.\n"

struct prove_args {
    const char *event, *dir, *out;
    bool tlog;
};

static int prove_parse(int argc, char **argv, struct prove_args *ret)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-o") == 0) {
            if (++i == argc)
                return ctl_fail(CTL_USAGE, "prove", "-o needs a file");
            ret->out = argv[i];
        } else if (strcmp(argv[i], "--tlog-proof") == 0) {
            ret->tlog = true;
        } else if (argv[i][0] == '-') {
            return ctl_fail(CTL_USAGE, "prove", "unknown flag %s: see `cellctl prove --help`", argv[i]);
        } else if (!ret->event) {
            ret->event = argv[i];
        } else if (!ret->dir) {
            ret->dir = argv[i];
        } else {
            return ctl_fail(CTL_USAGE, "prove", "one event and one directory only, %s is too much", argv[i]);
        }
    }
    return ret->event ? CTL_OK : ctl_fail(CTL_USAGE, "prove", "which event? See `cellctl prove --help`");
}

static int prove_write(const struct prove_args *a, const struct proof_file *f)
{
    _cleanup_(buf_done) struct buf json = {.data = NULL};

    if (a->tlog)
        return outfile_write("prove", a->out, 0644, buf_str(&f->proof));
    buf_init(&json, PROOF_FILE_MAX);
    if (proof_file_put(f, &json) < 0)
        return ctl_fail(CTL_FAILED, "prove", "out of memory");
    return outfile_write("prove", a->out, 0644, buf_str(&json));
}

static int prove_one(const struct prove_args *a, const char *path, uint64_t index)
{
    _cleanup_(prover_freep) struct prover *p = NULL;
    struct proof_file f;
    int r = prover_open("prove", path, &p);

    if (r == CTL_OK)
        r = prover_event(p, index, &f);
    if (r != CTL_OK)
        return r;
    r = prove_write(a, &f);
    proof_file_done(&f);
    return r;
}

static int prove_run(int argc, char **argv)
{
    _cleanup_(logdir_list_done) struct logdir_list logs = {.n = 0};
    struct prove_args a = {.event = NULL};
    const char *path = NULL;
    uint64_t index = 0;
    int r = prove_parse(argc, argv, &a);

    if (r == CTL_OK)
        r = logdir_find("prove", a.dir, &logs);
    if (r == CTL_OK)
        r = event_find("prove", a.event, &logs, &path, &index);
    return r == CTL_OK ? prove_one(&a, path, index) : r;
}

const struct ctl_verb ctl_verb_prove = {
    "prove",
    "write a proof that an event is in a log",
    PROVE_HELP,
    prove_run,
};
