/* SPDX-License-Identifier: MIT */
/* Everything a report is made of, out of the log of one run. */
#pragma once

#include <limits.h>

#include "supervisor/ctl/loghead.h"
#include "supervisor/ctl/verify_log.h"
#include "supervisor/ctl/why.h"

#define REPORT_EVENTS_MAX 50000u      /* embedded in a page; more are counted */
#define REPORT_BYTES_MAX  (96u << 20) /* of their lines */
#define REPORT_LIST_MAX   10000u      /* events of one type kept whole for audit.json */
#define REPORT_TYPES_MAX  128u        /* pairs of type and decision that are counted */

/* What is left out first when a run has more events than a page takes: the last of these. */
enum report_class { REPORT_RARE, REPORT_DENIED, REPORT_ALLOWED, _REPORT_CLASS_MAX };

struct report_event {
    uint64_t sequence;
    char *line; /* owned; with the event's own signature where it has one */
    size_t len;
    bool bare; /* seal: batch: the leaf is the line without dssematerial */
};

struct report_count {
    char type[64];
    char action[8]; /* allow, deny or "" */
    uint64_t count, embedded;
};

struct report {
    char path[PATH_MAX];
    char run[UUID_TEXT_LEN + 1];
    char cell[160];
    struct loghead *head;
    bool whole; /* the log is of this run alone: every line of it is here */
    bool cut;   /* not all of the run's events are in events */
    uint64_t total;
    char began[24], last[24]; /* times of the run's first and last event */
    struct report_event *events;
    size_t n;
    struct report_count counts[REPORT_TYPES_MAX];
    size_t ncounts;
    json_t *first; /* suffix -> data of the first event of the type */
    json_t *lists; /* suffix -> [data with "time" and "sequence"], of the types that come more than once */
    json_t *rows;  /* egress rows (report_rows.h) of all events, at most REPORT_EVENTS_MAX */
    uint64_t rows_left_out, allowed, denied, redacted;
    struct why_report why;
    struct log_report verdict;
    enum key_from key_from;
};

/* First: the checkpoint that all of it is about. The log may go on, so it is the one that is to be verified.
 */
int report_open(struct report *r, const char *path) MUST_CHECK;

/* Reads the run out of the log at path; run: its id, or NULL for the newest one there. CTL_OK, or an exit
 * status after the reason has been told. */
int report_load(struct report *r, const char *path, const char *run) MUST_CHECK;
void report_done(struct report *r);

/* The verifier keys of the log, as an array of vkeys; the caller owns it. NULL when memory is out. */
json_t *report_vkeys(const struct report *r);
