/* SPDX-License-Identifier: MIT */
/* The control line of an embedded suite and the cells that run over it: one for `cellctl run`, many for
 * `cellctl work`. Watches the four daemons; the death of one is the end of the suite. */
#pragma once

#include "proto/endpoint.h"
#include "proto/messages.h"
#include "supervisor/ctl/launcher.h"

struct suite_run;

struct suite_request {
    const char *run_id; /* UUID_TEXT_LEN characters, one that this suite has not seen */
    struct str document;
    const char *name;                      /* the cell's id in events when the document has no usable one */
    const struct attachments *attachments; /* the files that the document names */
    int stdio[3];                          /* of the workload; borrowed */
};

struct suite_outcome {
    uint32_t
        result; /* enum run_result; an outcome that is not RUN_SUITE_FAILED has its last event in the log */
    uint32_t fail; /* enum fail when the supervisor did not take the request; else 0 */
    unsigned exit_code, signal;
    char text[LIMIT_ERROR_TEXT + 1]; /* one sentence, "" = nothing to say */
    uint64_t l7_denied, dns_denied;
    char checkpoint[1025]; /* "" = none came */
};

struct suite_ops {
    void (*step)(void *self, const struct control_step *step);             /* may be NULL */
    void (*rejected)(void *self, const struct control_rejected *rejected); /* may be NULL; all of one cell's
                                                                              come right before its outcome */
    /* The suite is over, for this reason; nothing else is called any more. */
    void (*failed)(void *self, const char *text);
};

struct suite {
    struct ev_loop *loop;
    struct launcher *l;
    const struct suite_ops *ops;
    void *self;
    struct endpoint *control;
    ev_io daemons[_LAUNCHER_MAX];
    ev_timer
        patience; /* after a daemon's death: how long the supervisor may take to end the cells in order */
    struct suite_run *runs;
    char text[128]; /* whose death it was */
    bool over;
};

typedef void suite_outcome_fn(void *data, const struct suite_outcome *o);

/* Takes l->control and begins to watch; l stays the caller's, who ends it after suite_close(). 0 or a
 * negative errno, and nothing to close. */
int suite_open(struct ev_loop *loop, struct launcher *l, const struct suite_ops *ops, void *self,
               struct suite *ret) MUST_CHECK;

/* Starts a cell. done comes once, from the loop, unless the suite fails or is closed before. 0 or -errno. */
int suite_start_cell(struct suite *s, const struct suite_request *req, suite_outcome_fn *done,
                     void *data) MUST_CHECK;

/* A signal for the workload; SIGKILL ends the cell, and reason (NULL: the operator) is what its log says. */
void suite_signal(struct suite *s, const char *run_id, int signal, const char *reason);

/* True once a daemon has died: what runs is being ended, nothing new is taken. */
bool suite_is_failing(const struct suite *s);

/* Closes the line, at which the supervisor ends its cells and the suite itself. NULL-safe and harmless when
 * it is closed already. */
void suite_close(struct suite *s);
