/* SPDX-License-Identifier: MIT */
/* proxyd's end of a cell's who line: which process made the socket with these ends. Never a guess: an answer
 * that is late (LIMIT_WHO_MS), missing or malformed means unknown. PID 1 of the cell answers; the workload
 * cannot reach the line. */
#pragma once

#include <ev.h>

#include "common/net/addr.h"
#include "proto/messages.h"

struct process_line;
struct process_ask;

/* fd: connected SEQPACKET socket, taken also on failure. 0 or -errno. */
int process_line_new(struct ev_loop *loop, int fd, struct process_line **ret) MUST_CHECK;
/* Open questions are forgotten. NULL-safe; returns NULL. */
struct process_line *process_line_free(struct process_line *l);

/* process: NULL = unknown; borrowed for the call. */
typedef void (*process_done)(void *self, const struct ev_process *process);

/* Asks; done is called once, never from inside, and not after process_cancel. local: the client's end. A line
 * that is gone, or has LIMIT_WHO_IN_FLIGHT questions open, answers unknown from the loop. 0 or -ENOMEM. */
int process_ask(struct process_line *l, enum transport t, const struct endpoint_addr *local,
                const struct endpoint_addr *remote, process_done done, void *self,
                struct process_ask **ret) MUST_CHECK;
void process_cancel(struct process_ask *a); /* NULL-safe */
