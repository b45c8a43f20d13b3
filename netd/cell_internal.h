/* SPDX-License-Identifier: MIT */
/* What cell.c (attach) and cell_report.c (counters and detach) share, and nobody else. */
#pragma once

#include "netd/cell.h"
#include "netd/evidence.h"

static inline bool cell_detaching(const struct registry_cell *c)
{
    return c->request.id == MSG_NETD_CELL_DETACH_REQ;
}

/* Why the request under way fails. Only the first reason is kept: the rest follows from it. */
void cell_note(struct registry_cell *c, uint32_t fail, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void cell_note_claim(struct registry_cell *c, int err, const char *event);
void cell_note_job(struct registry_cell *c, int err, const char *step);

/* The answer to the request under way: rec and fds, or what was noted. */
void cell_answer(struct registry_cell *c, const void *rec, const int *fds, size_t nfds);

void cell_forget(struct registry_cell *c);

/* Starts a reading of the counters; its end answers the request under way. */
void cell_count(struct registry_cell *c);

/* A detach while the attach is under way. */
void cell_detach_early(struct registry_cell *c);

/* The flow log's last open claim was answered. */
void cell_flows_settled(struct registry_cell *c);
