/* SPDX-License-Identifier: MIT */
/* One job from its arrival to its answer. The order is the contract with the queue: cell, its end durable in
 * the log, result, answer - and nothing of that any more once the lease is lost. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>

#include "common/base/clock.h"
#include "supervisor/ctl/attachments.h"
#include "supervisor/ctl/work.h"
#include "supervisor/spec/parse.h"

/* ---- what it is ---- */

/* As much as `cellctl run` would read: a bigger one is the supervisor's to refuse. */
static struct str document(const struct job *j)
{
    int n = natsMsg_GetDataLength(j->msg);
    size_t len = n > 0 ? (size_t)n : 0;
    return (struct str){natsMsg_GetData(j->msg), len > LIMIT_SPEC ? LIMIT_SPEC + 1 : len};
}

/* The publisher's id, else the spec's own, else its place in the stream. */
static void name_job(struct job *j, uint64_t sequence)
{
    const char *id = NULL;
    if (natsMsgHeader_Get(j->msg, "Nats-Msg-Id", &id) == NATS_OK && work_message_job_ok(str_of(id)))
        snprintf(j->id, sizeof(j->id), "%.*s", (int)WORK_JOB_MAX, id);
    else if (work_message_job_ok(str_of(j->external_run_id)))
        snprintf(j->id, sizeof(j->id), "%.*s", (int)WORK_JOB_MAX, j->external_run_id);
    else
        snprintf(j->id, sizeof(j->id), "%s:%llu", j->w->f->names.stream, (unsigned long long)sequence);
}

/* What a good spec says about itself; a bad one stays nameless and is refused by the supervisor. */
static void read_spec(struct job *j)
{
    _cleanup_(violations_done) struct violations found = {0};
    _cleanup_(spec_freep) struct spec *s = NULL;
    struct spec_operator specs = {.metadata = j->w->op->config->network.metadata};
    struct str doc = document(j);
    work_message_digest(doc, j->digest);
    if (spec_parse(doc, &specs, &s, &found) != SPEC_OK)
        return;
    snprintf(j->cell, sizeof(j->cell), "%.*s", (int)s->id.len, s->id.p);
    if (s->correlation && s->correlation->external_run_id.p)
        snprintf(j->external_run_id, sizeof(j->external_run_id), "%.*s",
                 (int)s->correlation->external_run_id.len, s->correlation->external_run_id.p);
}

void job_free(struct job *j)
{
    struct worker *w = j->w;
    w->running -= j->state == JOB_RUNS;
    w->jobs[j->slot] = NULL;
    output_close(&j->output);
    natsMsg_Destroy(j->msg);
    free(j->result);
    free(j);
    work_hurry(w); /* the slot is free */
}

/* ---- its answer ---- */

static void say_answer(const struct job *j)
{
    static const char *const words[] = {"done", "given back", "taken out of the queue"};
    work_detail(j->w, "job %s: %s", j->id, words[j->answer]);
}

static void send_answer(struct job *j)
{
    char text[64];
    if (j->answer == JOB_AGAIN && j->delay_ms > 0)
        snprintf(text, sizeof(text), "-NAK {\"delay\": %llu}", j->delay_ms * 1000000ull);
    else
        snprintf(text, sizeof(text), "%s",
                 j->answer == JOB_DONE ? "+ACK" : (j->answer == JOB_AGAIN ? "-NAK" : "+TERM"));
    j->request_id = link_request(&j->w->link, natsMsg_GetReply(j->msg), text);
}

static void send_result(struct job *j)
{
    char subject[WORK_SUBJECT_MAX + WORK_TOKEN_LEN + 16], token[WORK_TOKEN_LEN + 1];
    bool final = j->answer != JOB_AGAIN && !j->lost;
    work_message_token(j->id, token);
    snprintf(subject, sizeof(subject), "%s.%s.%s", j->w->f->names.results, token,
             final ? "final" : "attempt");
    j->request_id = link_publish(&j->w->link, subject, j->run_id[0] ? j->run_id : NULL, str_of(j->result));
}

static void send_dead_letter(struct job *j)
{
    char id[WORK_JOB_MAX + 8];
    snprintf(id, sizeof(id), "dead:%s", j->id);
    j->request_id = link_publish(&j->w->link, j->w->f->names.dead, id, document(j));
}

/* What the state says again and again until it is confirmed. */
static void send_request(struct job *j)
{
    j->request_us = clock_boottime_us();
    j->request_id = 0;
    if (j->state == JOB_BURIES)
        send_dead_letter(j);
    else if (j->state == JOB_REPORTS)
        send_result(j);
    else if (j->state == JOB_ANSWERS)
        send_answer(j);
}

static void enter(struct job *j, enum job_state s)
{
    j->w->running -= j->state == JOB_RUNS;
    j->w->running += s == JOB_RUNS;
    j->state = s;
    j->tries = 0;
    send_request(j);
}

static void make_result(struct job *j, const char *outcome, const char *reason, const struct suite_outcome *o)
{
    struct worker *w = j->w;
    struct work_result r = {.job = j->id,
                            .external_run_id = j->external_run_id,
                            .run_id = j->run_id,
                            .host = w->host,
                            .spec_digest = j->digest,
                            .delivery = j->delivered,
                            .outcome = outcome,
                            .reason = reason,
                            .final = j->answer != JOB_AGAIN && !j->lost,
                            .ended = o,
                            .log_path = j->run_id[0] ? w->launcher.log_path : NULL,
                            .output = j->run_id[0] ? &j->output : NULL};
    if (o && o->result == RUN_REJECTED)
        r.violations = &w->rejected;
    free(j->result);
    j->result = w->f->names.results[0] ? work_result_text(&r) : NULL;
}

/* The result first, so that whoever waits for it finds it when the job is gone. Of a job that goes to another
 * host, nobody waits for it. */
static void conclude(struct job *j)
{
    struct worker *w = j->w;
    if (j->answer == JOB_AGAIN || j->lost) {
        if (j->result)
            send_result(j);
        if (j->lost) {
            job_free(j);
            return;
        }
        w->again++;
        enter(j, JOB_ANSWERS);
        return;
    }
    enter(j, j->result ? JOB_REPORTS : JOB_ANSWERS);
}

static void give_back(struct job *j, const char *outcome, const char *reason, const struct suite_outcome *o,
                      unsigned delay_ms)
{
    j->answer = JOB_AGAIN;
    j->delay_ms = delay_ms;
    make_result(j, outcome, reason, o);
    work_say(j->w, "job %s: given back: %s", j->id, reason);
    conclude(j);
}

/* ---- its cell ---- */

/* The id is in use by a cell that is not ours: it ends some time. */
static void wait_for_id(struct job *j)
{
    j->busy++;
    j->again_us = clock_boottime_us() + WORK_BUSY_US;
    enter(j, JOB_WAITS);
}

static void on_refused(struct job *j, const struct suite_outcome *o)
{
    if (j->w->rejected_busy && j->w->rejected.n == 1 && j->busy < WORK_BUSY_TRIES) {
        output_close(&j->output);
        wait_for_id(j);
        return;
    }
    if (j->w->rejected_busy && j->w->rejected.n == 1) {
        give_back(j, "suiteFailed", "a cell of this id is running here", o, WORK_NAK_MS);
        return;
    }
    j->answer = JOB_NEVER;
    make_result(j, "rejected", "the spec was refused: nothing was started", o);
    j->w->refused++;
    if (j->w->rejected.n > 0)
        work_say(j->w, "job %s: the spec was refused: %s %s", j->id, j->w->rejected.v[0].path,
                 j->w->rejected.v[0].message);
    conclude(j);
}

static void on_ended(struct job *j, const struct suite_outcome *o)
{
    const char *outcome = enum_text(&enum_run_result, o->result);
    if (j->lost) {
        make_result(j, j->killed ? j->killed : outcome, o->text, o);
        conclude(j);
    } else if (o->result == RUN_SUITE_FAILED || !o->checkpoint[0]) {
        give_back(j, "suiteFailed", o->text[0] ? o->text : "the suite failed", o, WORK_NAK_MS);
    } else if (j->killed) {
        give_back(j, j->killed, o->text, o, 0);
    } else if (o->result == RUN_REJECTED) {
        on_refused(j, o);
    } else {
        j->answer = JOB_DONE;
        make_result(j, outcome, o->text, o);
        j->w->done++;
        conclude(j);
    }
}

static void on_outcome(void *data, const struct suite_outcome *o)
{
    struct job *j = data;
    struct worker *w = j->w;
    output_finish(&j->output);
    work_detail(w, "job %s: run %s ended: %s", j->id, j->run_id, enum_text(&enum_run_result, o->result));
    on_ended(j, o);
    violations_done(&w->rejected);
    w->rejected_busy = false;
    work_hurry(w); /* somebody may have waited for it */
}

static bool id_in_use(const struct job *j)
{
    for (unsigned i = 0; j->cell[0] && i < j->w->link.nslots; i++) {
        const struct job *other = j->w->jobs[i];
        if (other && other != j && other->state == JOB_RUNS && strcmp(other->cell, j->cell) == 0)
            return true;
    }
    return false;
}

static int start_cell(struct job *j)
{
    _cleanup_(arena_done) struct arena arena = {0};
    _cleanup_close_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct spec_operator specs = {.metadata = j->w->op->config->network.metadata};
    struct attachments files = {0};
    char name[LIMIT_CELL_ID + 1];
    int fds[2] = {-EBADF, -EBADF};
    arena_init(&arena, LIMIT_ATTACHMENTS_DOC + LIMIT_ARENA);
    int r = null < 0 ? -errno : attachments_read("work", document(j), &specs, &arena, &files);
    if (r >= 0)
        r = output_open(&j->output, j->w->work_dir, j->run_id, j->w->f->output_max, fds);
    if (r < 0)
        return r;
    snprintf(name, sizeof(name), "run-%s", j->run_id + UUID_TEXT_LEN - 12);
    struct suite_request req = {.run_id = j->run_id,
                                .document = document(j),
                                .name = name,
                                .attachments = &files,
                                .stdio = {null, fds[0], fds[1]}};
    r = suite_start_cell(&j->w->suite, &req, on_outcome, j);
    close(fds[0]);
    close(fds[1]);
    return r;
}

static void run(struct job *j)
{
    struct worker *w = j->w;
    if (!work_suite_ready(w)) {
        give_back(j, "suiteFailed", "this host has no suite just now", NULL, WORK_NAK_MS);
        return;
    }
    if (id_in_use(j)) {
        j->again_us = 0; /* as soon as that one has ended */
        enter(j, JOB_WAITS);
        return;
    }
    uuid_v7(j->run_id);
    output_prune(w->work_dir, w->f->output_keep > w->link.nslots ? w->f->output_keep : w->link.nslots);
    int r = start_cell(j);
    if (r < 0) {
        output_close(&j->output);
        char text[LIMIT_ERROR_TEXT];
        snprintf(text, sizeof(text), "the run could not be requested: %s", strerror(-r));
        j->run_id[0] = '\0';
        give_back(j, "suiteFailed", text, NULL, WORK_NAK_MS);
        return;
    }
    enter(j, JOB_RUNS);
    work_detail(w, "job %s: run %s, delivery %llu", j->id, j->run_id, (unsigned long long)j->delivered);
}

static void bury(struct job *j)
{
    char text[160];
    snprintf(text, sizeof(text),
             "given out %llu times, more than %llu: hosts died over it, or none could run it",
             (unsigned long long)j->delivered, (unsigned long long)j->w->f->max_deliver);
    j->answer = JOB_NEVER;
    make_result(j, "dead", text, NULL);
    work_say(j->w, "job %s: dead letter: %s", j->id, text);
    enter(j, JOB_BURIES);
}

void job_new(struct worker *w, unsigned slot, uint64_t asked_us, natsMsg *msg)
{
    struct work_ack ack;
    struct job *j = calloc(1, sizeof(*j));
    const char *reply = natsMsg_GetReply(msg);
    if (!j || !reply || work_message_ack(str_of(reply), &ack) < 0) {
        work_say(w, "a message that is no job of a queue was dropped");
        free(j);
        natsMsg_Destroy(msg);
        return;
    }
    j->w = w;
    j->slot = slot;
    j->msg = msg;
    j->delivered = ack.delivered;
    j->state = JOB_WAITS;
    output_init(&j->output, w->loop);
    lease_begin(&j->lease, w->lease_us, asked_us);
    w->jobs[slot] = j;
    if (lease_step(&j->lease, clock_boottime_us()) == LEASE_LOST) {
        work_say(w, "a job came too late: another host may have it by now");
        w->lost++;
        job_free(j);
        return;
    }
    read_spec(j);
    name_job(j, ack.sequence);
    if (w->stop > 0)
        give_back(j, "stopped", "this host is stopping", NULL, 0);
    else if (j->delivered > w->f->max_deliver)
        bury(j);
    else
        run(j);
}

/* ---- its time ---- */

void job_kill(struct job *j, const char *outcome, const char *reason)
{
    if (j->state != JOB_RUNS || j->kill_us > 0)
        return;
    j->killed = outcome;
    j->kill_us = clock_boottime_us();
    suite_signal(&j->w->suite, j->run_id, SIGKILL, reason);
}

void job_suite_died(struct job *j, const char *text)
{
    if (j->state != JOB_RUNS)
        return;
    output_finish(&j->output);
    if (!j->lost) {
        give_back(j, "suiteFailed", text, NULL, WORK_NAK_MS);
        return;
    }
    make_result(j, "suiteFailed", text, NULL);
    conclude(j);
}

static void lose(struct job *j)
{
    j->lost = true;
    j->w->lost++;
    if (j->state == JOB_RUNS) {
        work_say(j->w, "job %s: its lease could not be renewed in time: run %s is ended", j->id, j->run_id);
        job_kill(j, "leaseLost", "the lease of its job was lost: another host may have it now");
        return;
    }
    work_say(j->w, "job %s: its lease is over before the queue has its answer: another host gets it", j->id);
    job_free(j);
}

static void renew(struct job *j, uint64_t now_us)
{
    uint64_t id = link_request(&j->w->link, natsMsg_GetReply(j->msg), "+WPI");
    if (id == 0)
        return; /* no connection: the lease runs on */
    j->renewal_id = id;
    j->renewal_us = now_us;
    lease_asked(&j->lease, now_us);
}

static uint64_t repeat_us(const struct job *j)
{
    uint64_t us = (uint64_t)WORK_REPEAT_US << (j->tries < 5 ? j->tries : 5);
    return us < WORK_REPEAT_MAX_US ? us : WORK_REPEAT_MAX_US;
}

void job_tick(struct job *j, uint64_t now_us)
{
    if (j->kill_us > 0 && j->state == JOB_RUNS && now_us - j->kill_us >= WORK_KILL_US) {
        work_suite_broken(j->w, "a killed cell did not end");
        return;
    }
    if (j->lost)
        return;
    enum lease_step step = lease_step(&j->lease, now_us);
    if (step == LEASE_LOST) {
        lose(j);
        return;
    }
    if (step == LEASE_RENEW)
        renew(j, now_us);
    if (j->state == JOB_WAITS && now_us >= j->again_us && !id_in_use(j)) {
        run(j);
        return;
    }
    bool asks = j->state == JOB_BURIES || j->state == JOB_REPORTS || j->state == JOB_ANSWERS;
    if (asks && now_us - j->request_us >= (j->request_id > 0 ? repeat_us(j) : WORK_REPEAT_US / 4)) {
        j->tries++;
        send_request(j);
    }
}

/* ---- what is confirmed ---- */

static void on_buried(struct job *j, enum link_reply r)
{
    if (r == LINK_OK) {
        j->w->dead++;
        conclude(j);
        return;
    }
    work_say(j->w, "no stream keeps dead letters (%s): make one, e.g. with --create", j->w->f->names.dead);
    j->answer = JOB_AGAIN;
    j->delay_ms = WORK_DEAD_RETRY_MS;
    free(TAKE_PTR(j->result));
    conclude(j);
}

static void on_stored(struct job *j, enum link_reply r, struct str body)
{
    char why[WORK_ANSWER_WHY] = "an answer that is none";
    int stored = r == LINK_OK ? work_message_stored(body, why) : 0;
    if (stored < 0) {
        j->request_us = clock_boottime_us();
        if (j->tries == 0)
            work_say(j->w, "job %s: the server did not take the message: %s", j->id, why);
        return; /* again, later and later, as long as the lease holds */
    }
    if (j->state == JOB_BURIES) {
        on_buried(j, r);
        return;
    }
    if (r == LINK_NOBODY && !j->w->said_none) {
        work_say(j->w,
                 "no stream keeps results (%s.>): nobody will find them; make one, e.g. with --create, or "
                 "say --results none",
                 j->w->f->names.results);
        j->w->said_none = true;
    }
    enter(j, JOB_ANSWERS);
}

void job_replied(struct job *j, uint64_t id, enum link_reply r, struct str body)
{
    if (id == j->renewal_id && r == LINK_OK) {
        lease_confirmed(&j->lease, j->renewal_us, clock_boottime_us());
        return;
    }
    if (id != j->request_id)
        return;
    if (j->state == JOB_BURIES || j->state == JOB_REPORTS) {
        on_stored(j, r, body);
    } else if (j->state == JOB_ANSWERS && r == LINK_OK) {
        say_answer(j);
        job_free(j);
    }
}
