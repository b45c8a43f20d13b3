/* SPDX-License-Identifier: MIT */
/* What a work queue is on a JetStream server: three streams and a consumer. Waits for the server: for the
 * start of a verb only. */
#pragma once

#include "supervisor/ctl/jetstream.h"

#define WORK_NAME_ROOM       256u /* for a stream of any name, with NUL */
#define WORK_STREAM_MAX      32u  /* bytes of the name of a stream or a consumer */
#define WORK_SUBJECT_MAX     128u /* of a subject that a flag names */
#define WORK_CONSUMER        "cellos-work"
#define WORK_DEAD            "cellos.work.dead"
#define WORK_DEAD_STREAM     "CELLOS_DEAD"
#define WORK_RESULTS_DAYS    30
#define WORK_WAITING_MAX     16384 /* questions of all hosts at the server */
#define WORK_PENDING_MAX     100000u
#define WORK_PENDING_DEFAULT 1000u

struct work_names {
    const char *stream;
    const char *consumer;
    char results[WORK_SUBJECT_MAX + 1]; /* results go to subjects below it; "" = none are wanted */
    char dead[WORK_SUBJECT_MAX + 1];
};

/* A subject without wildcards: 1...WORK_SUBJECT_MAX of A-Z a-z 0-9 _ - in tokens with dots between. */
bool work_subject_ok(const char *s);

/* Makes what is missing of: the queue (work-queue retention: a job is there until it is answered, and then
 * gone), the stream of its results, and the one for dead letters. Leaves alone what is there. 0 or -EIO. */
int work_streams_create(struct jetstream *js, const struct work_names *n,
                        char why[static JETSTREAM_WHY_MAX]) MUST_CHECK;

/* The subject a job is published to: the queue's own, if it has exactly one. 0; -EIO; -ENOENT when the stream
 * has several or a wildcard. */
int work_streams_subject(struct jetstream *js, const char *stream, char dst[static WORK_SUBJECT_MAX + 1],
                         char why[static JETSTREAM_WHY_MAX]) MUST_CHECK;

/* The durable consumer all hosts share, made when missing. lease_s: 0 = the consumer's own, or the default
 * for a new one. -EEXIST when it is there and cannot serve, -EIO. */
int work_streams_consumer(struct jetstream *js, const struct work_names *n, uint64_t lease_s,
                          uint64_t max_pending, uint64_t *ret_lease_us,
                          char why[static JETSTREAM_WHY_MAX]) MUST_CHECK;

/* The stream that keeps what is published to this subject: its name, or "" when there is none. False: none,
 * or the server did not say. */
bool work_streams_keep(struct jetstream *js, const char *subject, char name[static WORK_NAME_ROOM]);
