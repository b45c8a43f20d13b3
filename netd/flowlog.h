/* SPDX-License-Identifier: MIT */
/* One cell's flows as events, while it runs: every dropped packet and every new accepted flow at once, and
 * each accepted flow's totals when it has ended.
 *
 * These events inform; no packet waits for them. At most LIMIT_FLOWS_PER_SEC are claimed in a second of a
 * cell; repeats of one row and tuple within it are one more event with their number, and the rest is one gap
 * with its exact count. What netd itself does is bounded too: the rules log only some of many new flows, and
 * a cell that floods with packets that are dropped is not read any more until the second is over. How many
 * that left out is known from the rules' counters, which are read after such a second, and again at the end.
 */
#pragma once

#include <ev.h>

#include "netd/worker.h"
#include "proto/limits.h"

/* Unacknowledged claims of one flow log; netd's other claims of a cell have the rest of LIMIT_CLAIM_CREDITS.
 */
#define FLOWLOG_IN_FLIGHT 112u

/* Records read in one second although none of them can be an event any more; then reading stops. */
#define FLOWLOG_SURPLUS 1000u

/* Children of all flow logs that read counters at one time; others' gaps come a second later. */
#define FLOWLOG_READINGS 8u

/* Datagrams read in one turn of the loop. */
#define FLOWLOG_TURN 32u

struct registry_cell;
struct flowlog;

/* Takes sock (of a WORKER_ATTACH). cell: outlives it. settled: called each time the last open claim has been
 * answered. 0 or -errno. */
int flowlog_new(struct registry_cell *cell, int sock, const struct ruleset *rs,
                void (*settled)(struct registry_cell *cell), struct flowlog **ret) MUST_CHECK;

/* NULL-safe; open claims get no callback. */
struct flowlog *flowlog_free(struct flowlog *f);

/* The end: nothing is sent in the cell any more. Reads what is left, claims everything that is still to be
 * said, and reads no more. counted: a WORKER_COUNT with_flows made after the last packet, or NULL when that
 * failed: then nothing is known beyond what the log said. */
void flowlog_finish(struct flowlog *f, const struct worker_result *counted);

/* No child of the flow log uses the counter socket any more, until flowlog_resume(). */
void flowlog_pause(struct flowlog *f);
void flowlog_resume(struct flowlog *f);

/* Claims that are not answered yet. */
unsigned flowlog_claims(const struct flowlog *f);
