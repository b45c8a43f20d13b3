/* SPDX-License-Identifier: MIT */
/* What a JetStream server says in its messages, read from their bytes: foreign. */
#pragma once

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "proto/limits.h"

#define WORK_JOB_MAX       128u  /* bytes of a job's id; a longer one is not taken over */
#define WORK_TOKEN_LEN     32u   /* of a job's id as one token of a subject */
#define WORK_ACK_MAX       1024u /* bytes of the subject that answers a job */
#define WORK_ANSWER_MAX    65536u
#define WORK_ANSWER_WHY    256u
#define WORK_ACK_TOKENS    9u  /* $JS.ACK.stream.consumer.delivered.streamseq.consumerseq.time.pending */
#define WORK_ACK_TOKENS_V2 11u /* with domain and account before the stream; perhaps a random one behind */

/* What the subject that answers a job says about it. */
struct work_ack {
    uint64_t delivered; /* how often, this time included: from 1 */
    uint64_t sequence;  /* in the stream */
};

/* 0 or -EBADMSG. */
int work_message_ack(struct str reply, struct work_ack *ret) MUST_CHECK;

/* The answer to a publish: 0 (stored, or known already); -EREMOTEIO with the server's words, escaped, in why;
 * -EBADMSG. */
int work_message_stored(struct str body, char why[static WORK_ANSWER_WHY]) MUST_CHECK;

/* True when the text may be the id of a job: 1...WORK_JOB_MAX printable ASCII bytes, no blank. */
bool work_message_job_ok(struct str id);

/* "sha256:" and the digest of the bytes in hex. */
void work_message_digest(struct str bytes, char dst[static LIMIT_DIGEST + 1]);

/* The id as one token of a subject: WORK_TOKEN_LEN hex digits of its SHA-256. */
void work_message_token(const char *job, char dst[static WORK_TOKEN_LEN + 1]);
