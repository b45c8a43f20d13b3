/* SPDX-License-Identifier: MIT */
/* What a report shows of an event, as plain texts: the columns of the egress table and the facts at the top.
 * report/rows.js derives the same ones in the browser, and the page's check compares the two. */
#pragma once

#include <jansson.h>

#include "common/evidence/envelope.h"

/* The columns in the order of the table; a row is an object with these members, all texts, and "sequence"
 * (text) and "internal" (bool: packets that only reached the cell's own proxy or itself). */
#define REPORT_COLUMNS 11
extern const char *const report_columns[REPORT_COLUMNS];

/* The row of an event; the caller owns it. NULL when the event is no decision about egress (or memory is
 * out). */
json_t *report_row(struct str suffix, const json_t *data, struct str time, uint64_t sequence);

/* The facts: an array of [label, text], empty texts left out. first: the data of the first event of each
 * type, by suffix. NULL when memory is out. */
json_t *report_facts(const char *run, const char *cell, const json_t *first);

/* The event's type without the prefix of ours, or all of it. */
struct str report_suffix(const struct envelope *e);

/* Whether the event tells of something that was refused: a denied decision, a removed answer, a refused
 * system call, document or claim. Totals of a kernel rule that no packet met are none. */
bool report_is_denial(struct str suffix, const json_t *data);

/* Whether the event is a decision that let something out of the cell: a question, a connection, packets of a
 * raw rule. */
bool report_is_allowed(struct str suffix, const json_t *data);
