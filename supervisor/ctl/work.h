/* SPDX-License-Identifier: MIT */
/* One worker: a queue, a suite, and the jobs that are under way. Between work.c (start, loop, end),
 * work_suite.c (the suite and its restarts) and work_job.c (one job). */
#pragma once

#include "supervisor/ctl/run_operator.h"
#include "supervisor/ctl/suite.h"
#include "supervisor/ctl/work_flags.h"
#include "supervisor/ctl/work_lease.h"
#include "supervisor/ctl/work_link.h"
#include "supervisor/ctl/work_output.h"
#include "supervisor/ctl/work_result.h"
#include "supervisor/spec/violation.h"

#define WORK_TICK_S        0.1
#define WORK_ASK_MAX_MS    10000u   /* how long the server may keep a question; less with a short lease */
#define WORK_PAUSE_US      2000000u /* before a slot asks again after a reason why there is nothing */
#define WORK_REPEAT_US     1000000u /* what is not confirmed is said again after this */
#define WORK_REPEAT_MAX_US 30000000u
#define WORK_KILL_US       10000000u /* a killed cell is over by then, or the suite is broken */
#define WORK_NAK_MS        5000u     /* for a job this host could not do: others first */
#define WORK_DEAD_RETRY_MS 60000u    /* for a dead letter that nobody keeps */
#define WORK_BUSY_US       2000000u  /* a spec whose id is in use on this host is tried again after this */
#define WORK_BUSY_TRIES    15u
#define WORK_STABLE_US     60000000u /* a suite that lived so long starts the back-off anew */

enum job_state {
    JOB_WAITS,   /* a cell of the same id is running */
    JOB_RUNS,    /* its cell */
    JOB_BURIES,  /* a dead letter is on its way */
    JOB_REPORTS, /* the result is on its way */
    JOB_ANSWERS, /* the queue hears what became of it */
    _JOB_STATE_MAX,
};

enum job_answer { JOB_DONE, JOB_AGAIN, JOB_NEVER }; /* +ACK, -NAK, +TERM */

struct job {
    struct worker *w;
    unsigned slot;
    natsMsg *msg; /* owned: the document and the subject to answer on */
    char id[WORK_JOB_MAX + 1];
    char external_run_id[LIMIT_LABEL + 1]; /* the spec's, if it has one */
    char cell[LIMIT_CELL_ID + 1];          /* the spec's id; "" when it is no good spec */
    char digest[LIMIT_DIGEST + 1];
    uint64_t delivered;
    struct lease lease;
    uint64_t renewal_id, renewal_us; /* the last one that was asked for */
    enum job_state state;

    char run_id[UUID_TEXT_LEN + 1]; /* of this attempt; "" before its first */
    struct output output;
    uint64_t kill_us;   /* when its cell was told to end; 0 = it was not */
    const char *killed; /* the outcome that makes of it */
    bool lost;          /* the lease is: nothing more is answered */
    unsigned busy;      /* tries that found its id in use */
    uint64_t again_us;  /* JOB_WAITS: the next try */

    enum job_answer answer;
    unsigned delay_ms;   /* of JOB_AGAIN */
    char *result;        /* the message, owned; NULL: none */
    uint64_t request_id; /* what is on its way and not confirmed; 0 = it could not be sent */
    uint64_t request_us;
    unsigned tries;
};

struct worker {
    struct ev_loop *loop;
    const struct work_flags *f;
    const struct run_operator *op;
    struct jetstream *js;
    struct link link;
    uint64_t lease_us;
    char host[RESULT_HOST_MAX + 1];
    char work_dir[PATH_MAX];

    struct launcher launcher;
    struct suite suite;
    bool suite_up, suite_failed;
    char suite_text[LIMIT_ERROR_TEXT + 1];
    uint64_t suite_since_us, suite_next_us;
    unsigned suite_failures;
    struct violations rejected; /* of the cell whose outcome comes next */
    bool rejected_busy;

    struct job *jobs[LINK_SLOTS_MAX];
    uint64_t pause_until_us[LINK_SLOTS_MAX];
    unsigned running;
    uint64_t done, refused, again, dead, lost; /* jobs, since the start */

    ev_timer tick;
    ev_signal signals[2];
    ev_io connection;
    bool was_up, said_none;
    unsigned stop; /* signals so far: 1 = nothing new, 2 = now */
    uint64_t stop_us, kill_us;
};

/* work.c: a line for the operator, always or only with -v. The text is escaped. */
void work_say(const struct worker *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void work_detail(const struct worker *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Looks at everything again at once, not with the next tick. */
void work_hurry(struct worker *w);

/* work_suite.c */
int work_suite_start(struct worker *w, char *error, size_t cap) MUST_CHECK;
void work_suite_tick(struct worker *w,
                     uint64_t now_us); /* buries a dead one, starts the next when it is time */
void work_suite_end(struct worker *w);
bool work_suite_ready(const struct worker *w);
void work_suite_broken(struct worker *w, const char *text); /* it is ended from the next tick */

/* work_job.c */
void job_new(struct worker *w, unsigned slot, uint64_t asked_us, natsMsg *msg);
void job_tick(struct job *j, uint64_t now_us);
void job_replied(struct job *j, uint64_t id, enum link_reply r, struct str body);
void job_kill(struct job *j, const char *outcome, const char *reason); /* its cell, if it has one */
void job_suite_died(struct job *j, const char *text);
void job_free(struct job *j); /* says nothing to anybody */
