/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/work_flags.h"

#include <stdio.h>

#include "common/base/num.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/work_lease.h"
#include "supervisor/ctl/work_link.h"
#include "supervisor/ctl/work_output.h"

#define RUN_ARGS_MAX 24

const char work_flags_help[] =
    "usage: cellctl work --nats URL --stream NAME [FLAGS]\n"
    "\n"
    "Takes cell specs from a JetStream work queue and runs them here, until it is told to stop. A spec "
    "leaves the\n"
    "queue when the end of its cell is durable in the log; a host that dies gives its specs back when their "
    "lease\n"
    "is over. Many hosts can share one queue.\n"
    "\n"
    "  --nats URL[,URL]   nats://HOST[:PORT] or tls://HOST[:PORT]\n"
    "  --stream NAME      the queue: a stream with work-queue retention\n"
    "  --consumer NAME    what all hosts of the queue share; cellos-work unless given\n"
    "  --create           makes the streams and the consumer where they are missing\n"
    "  --parallel N       cells at the same time; 4 unless given\n"
    "  --lease SECONDS    of a new consumer, 2 to 3600; 30 unless given. It is renewed while the cell lives\n"
    "  --max-pending N    of a new consumer: specs that all hosts together may hold; 1000 unless given\n"
    "  --max-deliver N    a spec that was given out more often goes to the dead letters; 5 unless given\n"
    "  --results SUBJECT  results go below it; cellos.results.STREAM unless given; \"none\"\n"
    "  --dead SUBJECT     dead letters; cellos.work.dead unless given\n"
    "  --grace SECONDS    how long running cells may go on after SIGTERM; 30 unless given\n"
    "  --output-max BYTES what is kept of a workload's stdout and of its stderr; 16777216 unless given\n"
    "  --output-keep N    of how many runs; 1000 unless given\n"
    "  -v                 a line for each step\n"
    "\n" JETSTREAM_FLAGS_HELP "\n"
    "  --network MODE, --upstream-proxy URL, --config FILE, --evidence MODE, --seal MODE   as for `cellctl "
    "run`\n"
    "\n"
    "SIGTERM: takes nothing new and lets running cells finish; once more: ends them and gives their specs "
    "back.\n"
    "Exit status: 0 after SIGTERM, 1 usage, 2 the suite, the server or the queue cannot be used.\n";

static int usage(const char *flag, const char *text)
{
    return ctl_fail(CTL_USAGE, "work", "%s %s", flag, text);
}

/* ---- numbers ---- */

struct number {
    const char *name;
    size_t at;
    uint64_t lo, hi, preset;
};

#define NUMBER(name, field, lo, hi, preset)                                                                  \
    {                                                                                                        \
        name, offsetof(struct work_flags, field), lo, hi, preset                                             \
    }

static const struct number numbers[] = {
    NUMBER("--parallel", parallel, 1, LINK_SLOTS_MAX, WORK_PARALLEL_DEFAULT),
    NUMBER("--lease", lease_s, LEASE_MIN_S, LEASE_MAX_S, 0),
    NUMBER("--max-deliver", max_deliver, 1, WORK_DELIVER_MAX, WORK_DELIVER_DEFAULT),
    NUMBER("--max-pending", max_pending, 1, WORK_PENDING_MAX, WORK_PENDING_DEFAULT),
    NUMBER("--grace", grace_s, 0, WORK_GRACE_MAX_S, WORK_GRACE_DEFAULT_S),
    NUMBER("--output-max", output_max, 0, UINT32_MAX, OUTPUT_MAX_DEFAULT),
    NUMBER("--output-keep", output_keep, 0, OUTPUT_KEEP_MAX, OUTPUT_KEEP_DEFAULT),
};

static uint64_t *number_at(struct work_flags *f, const struct number *n)
{
    return (uint64_t *)(void *)((char *)f + n->at);
}

static const struct number *find_number(const char *flag)
{
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        if (strcmp(numbers[i].name, flag) == 0)
            return &numbers[i];
    return NULL;
}

static int take_number(struct work_flags *f, const struct number *n, const char *value)
{
    char text[128];
    if (num_parse_u64(str_of(value), n->lo, n->hi, number_at(f, n)) == 0)
        return CTL_OK;
    snprintf(text, sizeof(text), "must be a number from %llu to %llu", (unsigned long long)n->lo,
             (unsigned long long)n->hi);
    return usage(n->name, text);
}

/* ---- names ---- */

static int take_subject(const char *flag, const char *value, char dst[static WORK_SUBJECT_MAX + 1])
{
    if (!work_subject_ok(value))
        return usage(flag, "must be a subject: letters, digits, \"_\" and \"-\", with dots between");
    snprintf(dst, WORK_SUBJECT_MAX + 1, "%s", value);
    return CTL_OK;
}

static int take_name(const char *flag, const char *value, const char **to)
{
    if (!jetstream_token_ok(value, WORK_STREAM_MAX))
        return usage(flag, "must be 1 to 32 letters, digits, \"_\" and \"-\"");
    *to = value;
    return CTL_OK;
}
_Static_assert(WORK_STREAM_MAX == 32, "the sentence above names it");

/* ---- all ---- */

static const char *const run_flag_names[] = {"--network", "--upstream-proxy", "--config", "--evidence",
                                             "--seal"};

static bool is_run_flag(const char *flag)
{
    for (size_t i = 0; i < ARRAY_LEN(run_flag_names); i++)
        if (strcmp(run_flag_names[i], flag) == 0)
            return true;
    return false;
}

struct work_parser {
    struct work_flags *f;
    const char *run_argv[RUN_ARGS_MAX]; /* for run_flags_parse() */
    int run_argc;
    bool results;
};

static int take_value(struct work_parser *p, const char *flag, const char *value)
{
    struct work_flags *f = p->f;
    const struct number *n = find_number(flag);
    const char **nats = jetstream_flag(&f->nats, flag);
    if (n)
        return take_number(f, n, value);
    if (nats)
        *nats = value;
    else if (strcmp(flag, "--nats") == 0)
        f->nats.urls = value;
    else if (strcmp(flag, "--stream") == 0)
        return take_name(flag, value, &f->names.stream);
    else if (strcmp(flag, "--consumer") == 0)
        return take_name(flag, value, &f->names.consumer);
    else if (strcmp(flag, "--dead") == 0)
        return take_subject(flag, value, f->names.dead);
    else if (strcmp(flag, "--results") == 0) {
        p->results = true;
        return strcmp(value, "none") == 0 ? CTL_OK : take_subject(flag, value, f->names.results);
    } else if (is_run_flag(flag) && p->run_argc + 3 < RUN_ARGS_MAX) {
        p->run_argv[p->run_argc++] = flag;
        p->run_argv[p->run_argc++] = value;
    } else
        return ctl_fail(CTL_USAGE, "work", "unknown flag \"%s\": `cellctl work --help` lists them", flag);
    return CTL_OK;
}

static int take_all(struct work_parser *p, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *flag = argv[i];
        if (strcmp(flag, "-v") == 0 || strcmp(flag, "--verbose") == 0) {
            p->f->verbose = true;
            continue;
        }
        if (strcmp(flag, "--create") == 0) {
            p->f->create = true;
            continue;
        }
        if (strncmp(flag, "--", 2) != 0)
            return ctl_fail(CTL_USAGE, "work", "\"%s\" is no flag: specs come from the queue", flag);
        if (i + 1 >= argc)
            return usage(flag, "needs a value");
        int r = take_value(p, flag, argv[++i]);
        if (r != CTL_OK)
            return r;
    }
    return CTL_OK;
}

static int check(struct work_parser *p)
{
    char why[JETSTREAM_WHY_MAX];
    struct work_flags *f = p->f;
    if (!f->nats.urls || !f->names.stream)
        return ctl_fail(CTL_USAGE, "work", "%s is missing: `cellctl work --help`",
                        f->nats.urls ? "--stream NAME" : "--nats URL");
    if (!p->results)
        snprintf(f->names.results, sizeof(f->names.results), "cellos.results.%s", f->names.stream);
    return jetstream_check(&f->nats, why) < 0 ? ctl_fail(CTL_USAGE, "work", "%s", why) : CTL_OK;
}

/* The flags of the suite go the way they go for `cellctl run`, which wants something to run. */
static int take_run_flags(struct work_parser *p)
{
    char run_id[UUID_TEXT_LEN + 1], error[RUN_FLAGS_ERROR_MAX];
    p->run_argv[p->run_argc++] = "-";
    uuid_v7(run_id);
    int r = run_flags_parse(p->run_argc, (char **)(void *)p->run_argv, run_id, &p->f->operator, error);
    if (r < 0)
        return ctl_fail(CTL_FAILED, "work", "out of memory");
    p->f->operator.verbose = p->f->verbose;
    return r == RUN_FLAGS_OK ? CTL_OK : ctl_fail(CTL_USAGE, "work", "%s", error);
}

int work_flags_parse(int argc, char **argv, struct work_flags *ret)
{
    *ret = (struct work_flags){.nats = {.name = "cellctl work", .reconnect = true},
                               .names = {.consumer = WORK_CONSUMER, .dead = WORK_DEAD}};
    struct work_parser p = {.f = ret, .run_argv = {"work"}, .run_argc = 1};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        *number_at(ret, &numbers[i]) = numbers[i].preset;
    int r = take_all(&p, argc, argv);
    if (r == CTL_OK)
        r = check(&p);
    if (r == CTL_OK)
        r = take_run_flags(&p);
    return r;
}

void work_flags_done(struct work_flags *f)
{
    run_flags_done(&f->operator);
}
