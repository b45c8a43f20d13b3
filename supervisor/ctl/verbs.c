/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>

#include "common/base/nearest.h"
#include "proto/limits.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/term.h"

/* One a line, in the order of --help. */
/* clang-format off */
const struct ctl_verb *const ctl_verbs[] = {&ctl_verb_run,     &ctl_verb_validate,    &ctl_verb_verify,
                                            &ctl_verb_prove,   &ctl_verb_consistency, &ctl_verb_tiles,
                                            &ctl_verb_witness, &ctl_verb_events,      &ctl_verb_why,
                                            &ctl_verb_report,  &ctl_verb_key,         &ctl_verb_policy,
                                            &ctl_verb_ship,    &ctl_verb_work,        &ctl_verb_submit,
                                            &ctl_verb_doctor,  &ctl_verb_version,     NULL};
/* clang-format on */

int ctl_fail(int status, const char *verb, const char *fmt, ...)
{
    char text[4 * LIMIT_ERROR_TEXT], safe[4 * LIMIT_ERROR_TEXT];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    bool color = term_colors(STDERR_FILENO);
    (void)fprintf(stderr, "%scellctl%s%s:%s %s\n", term_code(color, TERM_RED), verb ? " " : "",
                  verb ? verb : "", term_code(color, TERM_PLAIN),
                  str_escape(safe, sizeof(safe), text, strlen(text)));
    return status;
}

static int help(void)
{
    (void)printf("usage: cellctl VERB [ARGUMENTS]\n\n"
                 "Runs one command in an execution cell with exactly the declared authority, and signed "
                 "evidence.\n\n");
    for (size_t i = 0; ctl_verbs[i]; i++)
        (void)printf("  %-9s %s\n", ctl_verbs[i]->name, ctl_verbs[i]->summary);
    (void)printf("\n`cellctl VERB --help` shows a verb's arguments.\n"
                 "Exit status: 0 ok, 1 usage, 2 failed, 3 invalid spec, 4 verification failed; see `run "
                 "--help` for run.\n");
    return CTL_OK;
}

static const struct ctl_verb *find(const char *name)
{
    for (size_t i = 0; ctl_verbs[i]; i++)
        if (strcmp(ctl_verbs[i]->name, name) == 0)
            return ctl_verbs[i];
    return NULL;
}

static int unknown(const char *name)
{
    const char *words[32];
    size_t n = 0;
    for (; n < ARRAY_LEN(words) && ctl_verbs[n]; n++)
        words[n] = ctl_verbs[n]->name;
    const char *near = nearest_word(name, words, n);
    if (near)
        return ctl_fail(CTL_USAGE, NULL, "unknown verb \"%s\", did you mean \"%s\"?", name, near);
    return ctl_fail(CTL_USAGE, NULL, "unknown verb \"%s\": `cellctl --help` lists them", name);
}

static bool wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

static bool is_word(const char *arg, const char *long_name, const char *short_name)
{
    return strcmp(arg, long_name) == 0 || strcmp(arg, long_name + 2) == 0 || strcmp(arg, short_name) == 0;
}

int ctl_dispatch(int argc, char **argv)
{
    if (argc < 2) {
        (void)ctl_fail(CTL_USAGE, NULL, "a verb is missing: `cellctl --help` lists them");
        return CTL_USAGE;
    }
    const struct ctl_verb *v = NULL;
    if (is_word(argv[1], "--help", "-h")) {
        if (argc == 2)
            return help();
        v = find(argv[2]);
        if (!v)
            return unknown(argv[2]);
        (void)fputs(v->help, stdout);
        return CTL_OK;
    }
    v = find(strcmp(argv[1], "--version") == 0 ? "version" : argv[1]);
    if (!v)
        return unknown(argv[1]);
    if (wants_help(argc - 1, argv + 1)) {
        (void)fputs(v->help, stdout);
        return CTL_OK;
    }
    return v->run(argc - 1, argv + 1);
}
