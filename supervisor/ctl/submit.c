/* SPDX-License-Identifier: MIT */
/* cellctl submit: specs into the queue of `cellctl work`, and what became of them. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/num.h"
#include "common/base/uuid.h"
#include "supervisor/ctl/backoff.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/document.h"
#include "supervisor/ctl/term.h"
#include "supervisor/ctl/work_message.h"
#include "supervisor/ctl/work_result.h"
#include "supervisor/ctl/work_streams.h"

#define SUBMIT_MAX    1000u /* specs of one call */
#define LOOK_FIRST_MS 50u   /* for a result; doubles */
#define LOOK_MAX_MS   1000u
#define TRIES         8 /* of one publish: the id makes a repeat harmless */
#define TIMEOUT_MAX_S 31536000u
#define DIGEST_IN_ID  16

static const char submit_help[] =
    "usage: cellctl submit --nats URL --stream NAME [FLAGS] SPEC.json|- ...\n"
    "\n"
    "Puts specs into the queue that `cellctl work` takes them from, and prints one line a job: its id.\n"
    "\n"
    "  --nats URL[,URL]   nats://HOST[:PORT] or tls://HOST[:PORT]\n"
    "  --stream NAME      the queue\n"
    "  --create           makes the streams where they are missing\n"
    "  --subject SUBJECT  the job's; the stream's only one unless given\n"
    "  --id ID            of one spec; the same id twice within the stream's window (2 minutes) is one job.\n"
    "                     A new one unless given\n"
    "  --wait             until every job is over; prints a line for each\n"
    "  --timeout SECONDS  of --wait; for ever unless given\n"
    "  --json             with --wait: the results as they are\n"
    "  --results SUBJECT  where the results are; cellos.results.STREAM unless given\n"
    "\n" JETSTREAM_FLAGS_HELP "\n"
    "Exit status: 0 submitted, 1 usage, 2 the server or the queue cannot be used. With --wait that of the "
    "first\n"
    "job that did not end with 0, as `cellctl run` would give it; 125 for a dead letter, 124 for "
    "--timeout.\n";

struct submit {
    struct jetstream_options nats;
    struct work_names names;
    char subject[WORK_SUBJECT_MAX + 1];
    const char *id;
    const char **specs;
    size_t nspecs;
    uint64_t timeout_s;
    bool create, wait, json;
    struct jetstream *js;
    char (*jobs)[WORK_JOB_MAX + 1];
    uint64_t before; /* --id: sequence of the result that an older job of this name left behind; 0: none */
};

static void submit_done(struct submit *s)
{
    s->js = jetstream_free(s->js);
    free((void *)s->specs);
    free(s->jobs);
}

/* ---- flags ---- */

static int take_value(struct submit *s, const char *flag, const char *value)
{
    const char **nats = jetstream_flag(&s->nats, flag);
    bool good = true;
    if (nats)
        *nats = value;
    else if (strcmp(flag, "--nats") == 0)
        s->nats.urls = value;
    else if (strcmp(flag, "--stream") == 0 && (good = jetstream_token_ok(value, WORK_STREAM_MAX)))
        s->names.stream = value;
    else if (strcmp(flag, "--subject") == 0 && (good = work_subject_ok(value)))
        snprintf(s->subject, sizeof(s->subject), "%s", value);
    else if (strcmp(flag, "--results") == 0 && (good = work_subject_ok(value)))
        snprintf(s->names.results, sizeof(s->names.results), "%s", value);
    else if (strcmp(flag, "--id") == 0 && (good = work_message_job_ok(str_of(value))))
        s->id = value;
    else if (strcmp(flag, "--timeout") == 0 &&
             (good = num_parse_u64(str_of(value), 1, TIMEOUT_MAX_S, &s->timeout_s) == 0))
        s->wait = true;
    else if (good)
        return ctl_fail(CTL_USAGE, "submit", "unknown flag \"%s\": `cellctl submit --help` lists them", flag);
    return good ? CTL_OK
                : ctl_fail(CTL_USAGE, "submit", "%s \"%.80s\": not a value it can have", flag, value);
}

static bool take_switch(struct submit *s, const char *flag)
{
    const struct {
        const char *name;
        bool *to;
    } switches[] = {{"--create", &s->create}, {"--wait", &s->wait}, {"--json", &s->json}};
    for (size_t i = 0; i < ARRAY_LEN(switches); i++)
        if (strcmp(switches[i].name, flag) == 0)
            return *switches[i].to = true;
    return false;
}

static int check(struct submit *s)
{
    char why[JETSTREAM_WHY_MAX];
    if (!s->nats.urls || !s->names.stream)
        return ctl_fail(CTL_USAGE, "submit", "%s is missing: `cellctl submit --help`",
                        s->nats.urls ? "--stream NAME" : "--nats URL");
    if (s->nspecs == 0 || s->nspecs > SUBMIT_MAX)
        return ctl_fail(CTL_USAGE, "submit", "1 to %u documents are needed", SUBMIT_MAX);
    if (s->id && s->nspecs > 1)
        return ctl_fail(CTL_USAGE, "submit", "--id is for one document");
    if (!s->names.results[0])
        snprintf(s->names.results, sizeof(s->names.results), "cellos.results.%s", s->names.stream);
    return jetstream_check(&s->nats, why) < 0 ? ctl_fail(CTL_USAGE, "submit", "%s", why) : CTL_OK;
}

static int parse(int argc, char **argv, struct submit *s)
{
    s->specs = calloc((size_t)argc, sizeof(*s->specs));
    s->jobs = calloc((size_t)argc, sizeof(*s->jobs));
    if (!s->specs || !s->jobs)
        return ctl_fail(CTL_FAILED, "submit", "out of memory");
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-' || argv[i][1] == '\0') {
            s->specs[s->nspecs++] = argv[i];
            continue;
        }
        if (take_switch(s, argv[i]))
            continue;
        if (i + 1 >= argc)
            return ctl_fail(CTL_USAGE, "submit", "%s is unknown, or needs a value", argv[i]);
        int r = take_value(s, argv[i], argv[i + 1]);
        if (r != CTL_OK)
            return r;
        i++;
    }
    return check(s);
}

/* ---- into the queue ---- */

static void sleep_ms(unsigned ms)
{
    struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};
    (void)nanosleep(&t, NULL);
}

static natsStatus last_result(const struct submit *s, const char *stream, const char *job, natsMsg **ret)
{
    char subject[WORK_SUBJECT_MAX + WORK_TOKEN_LEN + 16], token[WORK_TOKEN_LEN + 1];
    work_message_token(job, token);
    snprintf(subject, sizeof(subject), "%s.%s.final", s->names.results, token);
    return js_GetLastMsg(ret, s->js->js, stream, subject, NULL, NULL);
}

static bool result_stream(const struct submit *s, char name[static WORK_NAME_ROOM])
{
    char probe[WORK_SUBJECT_MAX + 16];
    snprintf(probe, sizeof(probe), "%s.x.final", s->names.results);
    return work_streams_keep(s->js, probe, name);
}

/* Ids of one's choice come back, every night for example: what is there now is not this job's result. */
static void look_before(struct submit *s, const char *job)
{
    char stream[WORK_NAME_ROOM];
    natsMsg *msg = NULL;
    if (s->wait && s->id && result_stream(s, stream) && last_result(s, stream, job, &msg) == NATS_OK)
        s->before = natsMsg_GetSequence(msg);
    natsMsg_Destroy(msg);
}

static int publish(struct submit *s, const char *job, struct str doc)
{
    char why[JETSTREAM_WHY_MAX];
    jsPubOptions o;
    jsErrCode e = 0;
    natsStatus st = jsPubOptions_Init(&o);
    o.MsgId = job;
    for (unsigned i = 0; st == NATS_OK && i < TRIES; i++) {
        jsPubAck *ack = NULL;
        st = js_Publish(&ack, s->js->js, s->subject, doc.p, (int)doc.len, &o, &e);
        if (st == NATS_OK && ack->Duplicate) {
            s->before = 0; /* it is that very job */
            (void)ctl_fail(0, "submit", "job %s is in the queue, or was, already", job);
        }
        jsPubAck_Destroy(ack);
        if (st == NATS_OK)
            return CTL_OK;
        if (st != NATS_TIMEOUT && st != NATS_CONNECTION_DISCONNECTED && st != NATS_NO_RESPONDERS)
            break;
        if (i + 1 < TRIES)
            st = NATS_OK;
        sleep_ms(backoff_ms(i));
    }
    return ctl_fail(CTL_FAILED, "submit", "%s", jetstream_error(st, e, "publishing", why));
}

static int submit_one(struct submit *s, size_t i)
{
    char digest[LIMIT_DIGEST + 1], run_id[UUID_TEXT_LEN + 1];
    _cleanup_(buf_done) struct buf doc = {0};
    buf_init(&doc, LIMIT_SPEC + 2);
    int r = document_read(s->specs[i], &doc);
    if (r == 0 && doc.len > LIMIT_SPEC)
        r = -EFBIG;
    if (r < 0)
        return ctl_fail(CTL_USAGE, "submit", "cannot read %s: %s", s->specs[i], strerror(-r));
    work_message_digest(buf_str(&doc), digest);
    uuid_v7(run_id);
    if (s->id)
        snprintf(s->jobs[i], sizeof(s->jobs[i]), "%s", s->id);
    else
        snprintf(s->jobs[i], sizeof(s->jobs[i]), "%.*s-%s", DIGEST_IN_ID, digest + sizeof("sha256:") - 1,
                 run_id);
    look_before(s, s->jobs[i]);
    r = publish(s, s->jobs[i], buf_str(&doc));
    if (r == CTL_OK && !s->wait)
        (void)puts(s->jobs[i]);
    return r;
}

/* ---- what became of it ---- */

/* As `cellctl run` would end. */
static int exit_status(const json_t *o)
{
    const char *text = json_string_value(json_object_get(o, "outcome"));
    json_int_t code = json_integer_value(json_object_get(o, "exitCode"));
    json_int_t signal = json_integer_value(json_object_get(o, "signal"));
    switch (text ? enum_value(&enum_run_result, str_of(text)) : 0) {
    case RUN_EXITED:
        return code >= 0 && code <= 255 ? (int)code : CTL_RUN_SUITE;
    case RUN_SIGNALED:
        return signal > 0 && signal <= 64 ? 128 + (int)signal : CTL_RUN_SUITE;
    case RUN_NOTHING:
        return 0;
    case RUN_TIMED_OUT:
        return CTL_RUN_TIMEOUT;
    case RUN_NOT_FOUND:
        return CTL_RUN_NOT_FOUND;
    case RUN_NOT_EXECUTABLE:
        return CTL_RUN_NOT_EXECUTABLE;
    case RUN_REJECTED:
        return CTL_RUN_REFUSED;
    default:
        return CTL_RUN_SUITE;
    }
}

static const char *text_of(const json_t *o, const char *key, char *dst, size_t cap)
{
    const char *text = json_string_value(json_object_get(o, key));
    return str_escape(dst, cap, text ? text : "-", text ? strlen(text) : 1);
}

static void print_result(const struct submit *s, const json_t *o)
{
    char job[2 * WORK_JOB_MAX], outcome[64], host[128], run[64], reason[LIMIT_ERROR_TEXT];
    if (s->json) {
        (void)json_dumpf(o, stdout, JSON_COMPACT);
        (void)putchar('\n');
        return;
    }
    (void)printf("%s  %s", text_of(o, "job", job, sizeof(job)),
                 text_of(o, "outcome", outcome, sizeof(outcome)));
    if (json_is_integer(json_object_get(o, "exitCode")))
        (void)printf(" %" JSON_INTEGER_FORMAT, json_integer_value(json_object_get(o, "exitCode")));
    (void)printf("  run %s on %s", text_of(o, "runId", run, sizeof(run)),
                 text_of(o, "host", host, sizeof(host)));
    if (json_is_string(json_object_get(o, "reason")))
        (void)printf(": %s", text_of(o, "reason", reason, sizeof(reason)));
    (void)putchar('\n');
}

/* True when its final result is there; its exit status then. */
static bool look(struct submit *s, const char *stream, const char *job, int *ret_status)
{
    natsMsg *msg = NULL;
    if (last_result(s, stream, job, &msg) != NATS_OK)
        return false;
    if (natsMsg_GetSequence(msg) <= s->before) {
        natsMsg_Destroy(msg);
        return false;
    }
    json_t *o =
        json_loadb(natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg), JSON_REJECT_DUPLICATES, NULL);
    natsMsg_Destroy(msg);
    if (!json_is_object(o)) {
        *ret_status = ctl_fail(CTL_RUN_SUITE, "submit", "job %s: its result cannot be read", job);
    } else {
        print_result(s, o);
        *ret_status = exit_status(o);
    }
    json_decref(o);
    return true;
}

static int wait_for_all(struct submit *s)
{
    char stream[WORK_NAME_ROOM];
    uint64_t until_us = clock_boottime_us() + s->timeout_s * UINT64_C(1000000);
    unsigned pause_ms = LOOK_FIRST_MS;
    int status = CTL_OK;
    if (!result_stream(s, stream))
        return ctl_fail(CTL_FAILED, "submit", "no stream keeps results (%s.>): make one, e.g. with --create",
                        s->names.results);
    for (size_t done = 0; done < s->nspecs;) {
        int one = CTL_OK;
        if (look(s, stream, s->jobs[done], &one)) {
            status = status == CTL_OK ? one : status;
            done++;
            pause_ms = LOOK_FIRST_MS;
            continue;
        }
        if (s->timeout_s > 0 && clock_boottime_us() >= until_us)
            return ctl_fail(CTL_RUN_TIMEOUT, "submit", "%zu of %zu jobs are not over", s->nspecs - done,
                            s->nspecs);
        term_status("%zu of %zu jobs are over", done, s->nspecs);
        sleep_ms(pause_ms);
        pause_ms = pause_ms * 2 < LOOK_MAX_MS ? pause_ms * 2 : LOOK_MAX_MS;
    }
    term_status_clear();
    return status;
}

static int submit_all(struct submit *s)
{
    char why[JETSTREAM_WHY_MAX];
    int r = CTL_OK;
    if (jetstream_connect(&s->nats, &s->js, why) < 0 ||
        (s->create && work_streams_create(s->js, &s->names, why) < 0) ||
        (!s->subject[0] && work_streams_subject(s->js, s->names.stream, s->subject, why) < 0))
        return ctl_fail(CTL_FAILED, "submit", "%s", why);
    for (size_t i = 0; i < s->nspecs && r == CTL_OK; i++)
        r = submit_one(s, i);
    return r == CTL_OK && s->wait ? wait_for_all(s) : r;
}

static int submit_run(int argc, char **argv)
{
    struct submit s = {.nats = {.name = "cellctl submit", .reconnect = true},
                       .names = {.consumer = WORK_CONSUMER, .dead = WORK_DEAD}};
    int r = parse(argc, argv, &s);
    if (r == CTL_OK)
        r = submit_all(&s);
    submit_done(&s);
    return r;
}

const struct ctl_verb ctl_verb_submit = {"submit", "put cells into a queue", submit_help, submit_run};
