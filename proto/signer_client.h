/* SPDX-License-Identifier: MIT */
/* The emitters' side of the signer line: typed claims, acknowledged when durable. Used by supervisor, netd
 * and proxyd. */
#pragma once

#include "proto/endpoint.h"

struct signer_client;

/* err 0: the event is durable under this sequence. Negative: -ETIMEDOUT (LIMIT_ACK_MS), -EPIPE (signerd is
 * gone), -ENOSPC (disk full), -EPERM / -EPROTO (refused), -EDQUOT (a quota), -EKEYREJECTED (it holds the
 * value of a secret). Then there is no evidence, and no effect may follow. Claims of one turn of the loop go
 * to signerd together, behind the first of them; one beyond LIMIT_CLAIMS_SENT waits in this process for its
 * turn, first come, first served; its deadline runs meanwhile. */
typedef void (*signer_ack_fn)(void *data, int err, uint64_t sequence);

/* Takes sock. gone: the line died (open claims have been answered with -EPIPE before), or, for the
 * supervisor, signerd said that its log cannot be written any more (err -ENOSPC or -EIO; the line lives on
 * for the end events). */
int signer_client_new(struct ev_loop *loop, int sock, uint32_t role, void (*gone)(void *self, int err),
                      void *self, struct signer_client **ret) MUST_CHECK;
struct signer_client *
signer_client_free(struct signer_client *s); /* NULL-safe; open claims get no callback */

/* Claims one event of a cell. rec is the record of the type's row. cb may be NULL (nobody waits). deadline:
 * whether LIMIT_ACK_MS applies. 0: cb will come (never from inside); negative errno: it will not. */
int signer_claim(struct signer_client *s, const char *run_id, enum event_type type, const void *rec,
                 bool deadline, signer_ack_fn cb, void *data) MUST_CHECK;

/* The same with the record's encoding (codec_encode with the schema of the type's row). */
int signer_claim_body(struct signer_client *s, const char *run_id, enum event_type type, struct str body,
                      bool deadline, signer_ack_fn cb, void *data) MUST_CHECK;

/* The owner of data goes away: its callbacks never come. */
void signer_forget(struct signer_client *s, const void *data);

/* Such an err as a phrase for people. */
const char *signer_error_text(int err);

/* The number of claims not yet answered. */
size_t signer_client_open(const struct signer_client *s);

/* For the supervisor's two other requests. */
struct endpoint *signer_client_endpoint(struct signer_client *s);
