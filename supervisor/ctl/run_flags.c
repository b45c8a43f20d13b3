/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>

#include "common/base/nearest.h"
#include "common/base/num.h"
#include "supervisor/ctl/run_document.h"
#include "supervisor/ctl/run_flags.h"
#include "supervisor/ctl/run_operator.h"
#include "supervisor/spec/doc.h"
#include "supervisor/spec/spec.h"

struct parser {
    struct run_flags *flags;
    struct run_document doc;
    const char *name;     /* --name */
    const char *builder;  /* the first flag that builds a document */
    const char *document; /* the positional argument */
    char *error;
};

typedef int flag_fn(struct parser *p, const char *value, char *why, size_t cap);

static int usage(struct parser *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int usage(struct parser *p, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(p->error, RUN_FLAGS_ERROR_MAX, fmt, ap);
    va_end(ap);
    return RUN_FLAGS_USAGE;
}

static int wrong(char *why, size_t cap, const char *text)
{
    (void)snprintf(why, cap, "%s", text);
    return 1;
}

/* ---- one function a flag ---- */

static int on_allow(struct parser *p, const char *value, char *why, size_t cap)
{
    return run_document_allow(&p->doc, value, why, cap);
}

static int on_dns(struct parser *p, const char *value, char *why, size_t cap)
{
    return run_document_dns(&p->doc, value, why, cap);
}

static int on_dnssec(struct parser *p, const char *value, char *why, size_t cap)
{
    (void)value, (void)why, (void)cap;
    p->doc.dnssec = true;
    return 0;
}

static int on_max_connections(struct parser *p, const char *value, char *why, size_t cap)
{
    return run_document_quota(&p->doc, "maxConnections", value, why, cap);
}

static int on_max_bytes(struct parser *p, const char *value, char *why, size_t cap)
{
    return run_document_quota(&p->doc, "maxBytes", value, why, cap);
}

static int on_max_rate(struct parser *p, const char *value, char *why, size_t cap)
{
    return run_document_quota(&p->doc, "maxBytesPerSecond", value, why, cap);
}

static int on_answer(struct parser *p, const char *value, char *why, size_t cap)
{
    return run_document_answer(&p->doc, value, why, cap);
}

static int on_ro(struct parser *p, const char *value, char *why, size_t cap)
{
    return run_document_path(&p->doc, p->doc.read_only, value, why, cap);
}

static int on_rw(struct parser *p, const char *value, char *why, size_t cap)
{
    return run_document_path(&p->doc, p->doc.read_write, value, why, cap);
}

static int on_secret(struct parser *p, const char *value, char *why, size_t cap)
{
    return run_document_secret(&p->doc, value, why, cap);
}

static int on_cwd(struct parser *p, const char *value, char *why, size_t cap)
{
    return run_document_cwd(&p->doc, value, why, cap);
}

static int on_ttl(struct parser *p, const char *value, char *why, size_t cap)
{
    if (num_parse_u64(str_of(value), 1, LIMIT_TTL_S, &p->doc.ttl_s) < 0)
        return wrong(why, cap, "must be a number of seconds between 1 and 31536000");
    return 0;
}
_Static_assert(LIMIT_TTL_S == 31536000, "the sentence above names it");

static int on_timeout(struct parser *p, const char *value, char *why, size_t cap)
{
    if (num_parse_u64(str_of(value), 1, SPEC_TIMEOUT_MAX_MS, &p->doc.timeout_ms) < 0)
        return wrong(why, cap, "must be a number of milliseconds from 1 on");
    return 0;
}

static int on_memory(struct parser *p, const char *value, char *why, size_t cap)
{
    return run_document_memory(&p->doc, value, why, cap);
}

static int on_pids(struct parser *p, const char *value, char *why, size_t cap)
{
    return run_document_pids(&p->doc, value, why, cap);
}

static int on_cpu(struct parser *p, const char *value, char *why, size_t cap)
{
    return run_document_cpu(&p->doc, value, why, cap);
}

/* The rule of spec.id (validate_id.c): this text is also the cell's name when the document has none. */
static int on_name(struct parser *p, const char *value, char *why, size_t cap)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    if (*value == '\0' || strlen(value) > LIMIT_CELL_ID)
        return wrong(why, cap, "must be 1 to 128 bytes");
    if (strspn(value, letters) != strlen(value) || strchr("._-", *value) || strstr(value, ".."))
        return wrong(
            why, cap,
            "must be letters, digits, \".\", \"_\" and \"-\", begin with a letter or digit, without \"..\"");
    p->name = value;
    return 0;
}
_Static_assert(LIMIT_CELL_ID == 128, "the sentence above names it");

static int on_print_spec(struct parser *p, const char *value, char *why, size_t cap)
{
    (void)value, (void)why, (void)cap;
    p->flags->print_spec = true;
    return 0;
}

static int on_evidence(struct parser *p, const char *value, char *why, size_t cap)
{
    p->flags->evidence = enum_value(&enum_evidence, str_of(value));
    return p->flags->evidence ? 0 : wrong(why, cap, "must be strict or async");
}

static int on_seal(struct parser *p, const char *value, char *why, size_t cap)
{
    p->flags->seal = enum_value(&enum_seal_mode, str_of(value));
    return p->flags->seal ? 0 : wrong(why, cap, "must be event or batch");
}

static int on_redact(struct parser *p, const char *value, char *why, size_t cap)
{
    char reason[REDACT_WHY_MAX];
    return redact_parse(&p->flags->redact, str_of(value), reason) == REDACT_OK ? 0 : wrong(why, cap, reason);
}

static int on_file(const char **to, const char *value, char *why, size_t cap)
{
    if (*value == '\0')
        return wrong(why, cap, "must name a file");
    *to = value;
    return 0;
}

static int on_network(struct parser *p, const char *value, char *why, size_t cap)
{
    p->flags->network = enum_value(&enum_net_mode, str_of(value));
    return p->flags->network ? 0 : wrong(why, cap, "must be intercept, none or routed");
}

static int on_proxy(struct parser *p, const char *value, char *why, size_t cap)
{
    return run_operator_proxy(value, &p->flags->proxy_kind, p->flags->proxy_endpoint, why, cap);
}

static int on_ca_file(struct parser *p, const char *value, char *why, size_t cap)
{
    return on_file(&p->flags->ca_file, value, why, cap);
}

static int on_config(struct parser *p, const char *value, char *why, size_t cap)
{
    return on_file(&p->flags->config, value, why, cap);
}

static int on_events(struct parser *p, const char *value, char *why, size_t cap)
{
    return on_file(&p->flags->events, value, why, cap);
}

static int on_checkpoint(struct parser *p, const char *value, char *why, size_t cap)
{
    return on_file(&p->flags->checkpoint, value, why, cap);
}

static int on_verbose(struct parser *p, const char *value, char *why, size_t cap)
{
    (void)value, (void)why, (void)cap;
    p->flags->verbose = true;
    return 0;
}

/* ---- the table ---- */

static const struct flag {
    const char *name;
    bool builds; /* part of the document: excludes one as argument */
    bool value;
    bool once;
    flag_fn *run;
} table[] = {
    {"--allow", true, true, false, on_allow},
    {"--dns", true, true, false, on_dns},
    {"--dnssec", true, false, false, on_dnssec},
    {"--max-connections", true, true, true, on_max_connections},
    {"--max-bytes", true, true, true, on_max_bytes},
    {"--max-rate", true, true, true, on_max_rate},
    {"--allow-answer", true, true, false, on_answer},
    {"--ro", true, true, false, on_ro},
    {"--rw", true, true, false, on_rw},
    {"--secret", true, true, false, on_secret},
    {"--cwd", true, true, true, on_cwd},
    {"--ttl", true, true, true, on_ttl},
    {"--timeout-ms", true, true, true, on_timeout},
    {"--memory", true, true, true, on_memory},
    {"--pids", true, true, true, on_pids},
    {"--cpu", true, true, true, on_cpu},
    {"--name", true, true, true, on_name},
    {"--print-spec", true, false, false, on_print_spec},
    {"--network", false, true, true, on_network},
    {"--upstream-proxy", false, true, true, on_proxy},
    {"--ca-file", false, true, true, on_ca_file},
    {"--config", false, true, true, on_config},
    {"--evidence", false, true, true, on_evidence},
    {"--seal", false, true, true, on_seal},
    {"--redact", false, true, true, on_redact},
    {"--events", false, true, true, on_events},
    {"--checkpoint", false, true, true, on_checkpoint},
    {"--verbose", false, false, false, on_verbose},
    {"-v", false, false, false, on_verbose},
};

static const struct flag *find(const char *arg, size_t n)
{
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (strlen(table[i].name) == n && strncmp(table[i].name, arg, n) == 0)
            return &table[i];
    return NULL;
}

/* The dashes are no help in finding what was meant. */
static const char *bare(const char *flag)
{
    return flag + strspn(flag, "-");
}

static int unknown(struct parser *p, const char *arg)
{
    const char *words[ARRAY_LEN(table)];
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        words[i] = bare(table[i].name);
    const char *near = nearest_word(bare(arg), words, ARRAY_LEN(words));
    for (size_t i = 0; near && i < ARRAY_LEN(table); i++)
        if (near == words[i])
            return usage(p, "unknown flag \"%s\", did you mean \"%s\"?", arg, table[i].name);
    return usage(p, "unknown flag \"%s\": `cellctl run --help` lists them; a command goes behind \"--\"",
                 arg);
}

/* One flag at argv[*i], with its value in the same or in the next argument. */
static int take_flag(struct parser *p, int argc, char **argv, int *i, uint64_t *seen)
{
    char why[RUN_FLAGS_ERROR_MAX] = "";
    const char *arg = argv[*i], *value = NULL;
    size_t n = strcspn(arg, "=");
    const struct flag *f = find(arg, n);
    if (!f)
        return unknown(p, arg);
    if (f->value && arg[n] == '=')
        value = arg + n + 1;
    else if (f->value && *i + 1 < argc && strcmp(argv[*i + 1], "--") != 0)
        value = argv[++*i];
    if (f->value && !value)
        return usage(p, "%s needs a value", f->name);
    if (!f->value && arg[n] == '=')
        return usage(p, "%s takes no value", f->name);
    uint64_t bit = UINT64_C(1) << (f - table);
    if (f->once && (*seen & bit))
        return usage(p, "%s is given twice", f->name);
    *seen |= bit;
    if (f->builds && !p->builder)
        p->builder = f->name;
    int r = f->run(p, value, why, sizeof(why));
    return r == 1 ? usage(p, "%s \"%.160s\": %s", f->name, value ? value : "", why) : r;
}
_Static_assert(ARRAY_LEN(table) <= 64, "one bit each");

static int take_command(struct parser *p, int argc, char **argv, int first)
{
    char why[64];
    for (int i = first; i < argc; i++) {
        int r = run_document_argument(&p->doc, argv[i], why, sizeof(why));
        if (r == 1)
            return usage(p, "argument %d of the command is not UTF-8 text, which a spec document cannot hold",
                         i - first);
        if (r < 0)
            return r;
    }
    return 0;
}

static int take_all(struct parser *p, int argc, char **argv)
{
    uint64_t seen = 0;
    int i = 1;
    for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
        bool positional = argv[i][0] != '-' || argv[i][1] == '\0';
        if (positional && p->document)
            return usage(p, "only one document can be run: a command goes behind \"--\"");
        if (positional) {
            p->document = argv[i];
            continue;
        }
        int r = take_flag(p, argc, argv, &i, &seen);
        if (r != 0)
            return r;
    }
    bool command = i + 1 < argc;
    if (p->document && p->builder)
        return usage(p, "%s builds a document: it cannot be combined with %s", p->builder, p->document);
    if (p->document && i < argc)
        return usage(p, "the document %s has the command already: leave out \"--\" and what follows",
                     p->document);
    if (!p->document && !command)
        return usage(p, "there is nothing to run: give `-- COMMAND`, or a document");
    return take_command(p, argc, argv, i + 1);
}

static int finish(struct parser *p, const char *run_id)
{
    char why[RUN_FLAGS_ERROR_MAX];
    struct run_flags *f = p->flags;
    if (p->name)
        (void)snprintf(f->name, sizeof(f->name), "%s", p->name);
    else
        (void)snprintf(f->name, sizeof(f->name), "run-%s", run_id + UUID_TEXT_LEN - 12);
    if (p->document) {
        f->document = strdup(p->document);
        return f->document ? 0 : -ENOMEM;
    }
    int r = run_document_finish(&p->doc, f->name, &f->json, why, sizeof(why));
    return r == 1 ? usage(p, "%s", why) : r;
}

int run_flags_parse(int argc, char **argv, const char *run_id, struct run_flags *ret,
                    char error[RUN_FLAGS_ERROR_MAX])
{
    *ret = (struct run_flags){.verb = argv[0]};
    struct parser p = {.flags = ret, .error = error};
    int r = run_document_init(&p.doc);
    p.doc.ttl_s = RUN_FLAGS_TTL_S;
    if (r == 0)
        r = take_all(&p, argc, argv);
    if (r == 0)
        r = finish(&p, run_id);
    run_document_done(&p.doc);
    if (r != 0)
        run_flags_done(ret);
    return r;
}

void run_flags_done(struct run_flags *f)
{
    free(f->document);
    free(f->json);
    *f = (struct run_flags){0};
}
