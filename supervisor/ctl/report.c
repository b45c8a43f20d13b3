/* SPDX-License-Identifier: MIT */
/* cellctl report: a run as one page for people and one document for machines. Reads a log, which is foreign
 * text, with public keys alone; the page checks what it holds again in the browser. */
#include <stdio.h>

#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/report_audit.h"
#include "supervisor/ctl/report_html.h"
#include "supervisor/ctl/report_out.h"
#include "supervisor/ctl/run_find.h"

#define REPORT_DEFAULT "report.html"

#define REPORT_HELP                                                                                          \
    "usage: cellctl report [RUN] [-o FILE] [--audit FILE] [--key KEY|--keyset FILE]\n\n"                     \
    "Writes what a run did: what it asked for, what it reached and was denied, what it used, and the "       \
    "signed\n"                                                                                               \
    "evidence. RUN is a run id, the end of one, a cell's name (its newest run), or the path of a log;\n"     \
    "without it the newest run of this user. The log is verified first, as `cellctl verify` does.\n\n"       \
    "  -o FILE       the page, one HTML file that loads nothing; default " REPORT_DEFAULT                    \
    ", \"-\" is standard\n"                                                                                  \
    "                output. Its button computes every digest, signature and inclusion proof again in the\n" \
    "                browser (Chromium 137, Firefox 129, Safari 17 or later; a file:// page will do)\n"      \
    "  --audit FILE  the same for machines: audit.json (docs/report.md). Alone it writes no page\n"          \
    "  --run ID      in a log of many runs: this one, or the newest of the cell with this id\n"              \
    "  --key KEY, --keyset FILE\n"                                                                           \
    "                what to trust, as for `cellctl verify`\n\n"                                             \
    "A file is written whole or not at all, readable by its owner alone. A run with more than 50000 "        \
    "events\n"                                                                                               \
    "is counted in full; the page holds those that matter most. Only what the last checkpoint covers is "    \
    "seen.\n"                                                                                                \
    "Exit status: 0; 4 the log did not verify (the files say so too); 2 no such run or file; 1 usage.\n"

struct report_args {
    const char *word, *run, *html, *audit, *key, *keyset;
};

static int parse(int argc, char **argv, struct report_args *ret)
{
    for (int i = 1; i < argc; i++) {
        const char **value = strcmp(argv[i], "-o") == 0         ? &ret->html
                             : strcmp(argv[i], "--audit") == 0  ? &ret->audit
                             : strcmp(argv[i], "--key") == 0    ? &ret->key
                             : strcmp(argv[i], "--keyset") == 0 ? &ret->keyset
                             : strcmp(argv[i], "--run") == 0    ? &ret->run
                                                                : NULL;
        if (value) {
            if (++i == argc)
                return ctl_fail(CTL_USAGE, "report", "%s needs a value", argv[i - 1]);
            *value = argv[i];
        } else if (argv[i][0] == '-') {
            return ctl_fail(CTL_USAGE, "report", "unknown flag %s: see `cellctl report --help`", argv[i]);
        } else if (ret->word) {
            return ctl_fail(CTL_USAGE, "report", "one run only, %s is a second one", argv[i]);
        } else {
            ret->word = argv[i];
        }
    }
    if (!ret->html && !ret->audit)
        ret->html = REPORT_DEFAULT;
    if (ret->html && ret->audit && strcmp(ret->html, ret->audit) == 0)
        return ctl_fail(CTL_USAGE, "report", "-o and --audit name the same file");
    return CTL_OK;
}

static int write_one(const struct report *r, const char *path, int (*write)(FILE *f, const struct report *r))
{
    struct report_out o;
    int e = report_out_open(&o, path);
    if (e == 0)
        e = write(o.file, r);
    if (e == 0)
        e = report_out_close(&o);
    report_out_done(&o);
    if (e == -EEXIST)
        return ctl_fail(CTL_FAILED, "report", "%s is there and no file (- is standard output)", path);
    if (e < 0)
        return ctl_fail(CTL_FAILED, "report", "cannot write %s: %s", path, strerrordesc_np(-e));
    if (strcmp(path, "-") != 0)
        (void)fprintf(stderr, "cellctl report: wrote %s\n", path);
    return CTL_OK;
}

static int check(struct report *r, const char *path, const struct report_args *a)
{
    static const struct quorum none = {.n = 0};
    struct key_choice keys;
    struct verify_context c = {
        .keys = &keys, .quorum = &none, .outside = buf_str(&r->head->note), .color = false};
    int e = key_choice_find("report", a->key, a->keyset, &keys);
    if (e != CTL_OK)
        return e;
    e = verify_quietly(&c, path, &r->verdict);
    r->key_from = keys.from;
    key_choice_done(&keys);
    /* It may name a file of the log, and goes into documents. */
    char safe[sizeof(r->verdict.why)];
    memcpy(r->verdict.why, str_escape(safe, sizeof(safe), r->verdict.why, strlen(r->verdict.why)),
           sizeof(safe));
    if (e < 0)
        return ctl_fail(CTL_FAILED, "report", "cannot read %s: %s", path, strerrordesc_np(-e));
    return CTL_OK;
}

static int report(const struct report_args *a, const char *path, const char *run)
{
    struct report *r = calloc(1, sizeof(*r));
    if (!r)
        return ctl_fail(CTL_FAILED, "report", "out of memory");
    int e = report_open(r, path);
    if (e == CTL_OK)
        e = check(r, path, a);
    if (e == CTL_OK)
        e = report_load(r, path, run);
    if (e == CTL_OK && a->html)
        e = write_one(r, a->html, report_html);
    if (e == CTL_OK && a->audit)
        e = write_one(r, a->audit, report_audit);
    if (e == CTL_OK && r->verdict.verdict != LOG_GOOD)
        e = ctl_fail(CTL_TAMPERED, "report", "the log did not verify: %s; see `cellctl verify %s`",
                     r->verdict.why, path);
    report_done(r);
    free(r);
    return e;
}

static int report_run(int argc, char **argv)
{
    struct report_args a = {.word = NULL};
    char path[PATH_MAX];
    int e = parse(argc, argv, &a);
    if (e == CTL_OK && (digest_init() < 0 || ed25519_init() < 0))
        e = ctl_fail(CTL_FAILED, "report", "libcrypto or libsodium does not start");
    if (e == CTL_OK)
        e = run_find_log("report", a.word, path);
    if (e != CTL_OK)
        return e;
    bool is_path = a.word && (strchr(a.word, '/') || strcmp(a.word, ".") == 0);
    return report(&a, path, a.run ? a.run : is_path ? NULL : a.word);
}

const struct ctl_verb ctl_verb_report = {
    "report",
    "a run as one page that checks itself, and as audit.json",
    REPORT_HELP,
    report_run,
};
