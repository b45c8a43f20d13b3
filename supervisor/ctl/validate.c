/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "proto/limits.h"
#include "supervisor/ctl/attachments.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/document.h"
#include "supervisor/ctl/paths.h"
#include "supervisor/spec/parse.h"

#define REPORT_MAX (256u << 10)

static void print_count(size_t n, const char *one, const char *many)
{
    (void)printf(", %zu %s", n, n == 1 ? one : many);
}

static void print_summary(const struct spec *s)
{
    (void)printf("ok: cell %.*s", (int)s->id.len, s->id.p);
    print_count(s->negress, "egress rule", "egress rules");
    if (s->dns)
        print_count(s->dns->names.n, "DNS name", "DNS names");
    print_count(s->secrets.n, "secret", "secrets");
    if (!s->run)
        (void)printf(", nothing to run");
    (void)printf(", at most %llu s\n", (unsigned long long)s->ttl_s);
}

static int check(struct str document)
{
    _cleanup_(violations_done) struct violations found = {0};
    _cleanup_(spec_freep) struct spec *s = NULL;
    char state[PATH_MAX];
    const char *paths[] = {state};
    struct spec_operator op = {.paths = paths, .npaths = paths_state(state) == 0 ? 1 : 0};
    _cleanup_(arena_done) struct arena arena = {0};
    struct attachments files;
    arena_init(&arena, LIMIT_ATTACHMENTS_DOC + LIMIT_ARENA);
    int r = attachments_read("validate", document, &op, &arena, &files);
    if (r == 0)
        r = spec_parse(document, &op, &s, &found);
    if (r == SPEC_OK)
        r = spec_attach(s, &files, &found) < 0 ? -ENOMEM : found.n > 0 ? SPEC_INVALID : SPEC_OK;
    if (r < 0)
        return ctl_fail(CTL_FAILED, "validate", "cannot check the document: %s", strerrordesc_np(-r));
    if (r == SPEC_OK) {
        print_summary(s);
        return CTL_OK;
    }
    _cleanup_(buf_done) struct buf b = {0};
    buf_init(&b, REPORT_MAX);
    violations_print(&found, &b);
    (void)fwrite(b.data, 1, b.len, stdout);
    return CTL_INVALID;
}

static int run(int argc, char **argv)
{
    int first = argc > 1 && strcmp(argv[1], "--") == 0 ? 2 : 1;
    if (argc - first != 1)
        return ctl_fail(CTL_USAGE, "validate", "give one spec document, or - for standard input");
    const char *path = argv[first];
    if (first == 1 && path[0] == '-' && path[1] != '\0')
        return ctl_fail(CTL_USAGE, "validate",
                        "unknown flag \"%s\": `cellctl validate --help` shows the usage", path);
    _cleanup_(buf_done) struct buf b = {0};
    buf_init(&b, LIMIT_SPEC + 65536);
    int r = document_read(path, &b);
    if (r < 0)
        return ctl_fail(CTL_FAILED, "validate", "cannot read %s: %s", path, strerrordesc_np(-r));
    return check(buf_str(&b));
}

const struct ctl_verb ctl_verb_validate = {
    .name = "validate",
    .summary = "checks a spec document and prints every violation",
    .help = "usage: cellctl validate SPEC.json|-\n\n"
            "Checks a spec document without running it. Prints \"ok\" and a summary, or every violation as\n"
            "\"path: message\" on standard output.\n"
            "Exit status: 0 valid, 1 usage, 2 not readable, 3 invalid.\n",
    .run = run,
};
