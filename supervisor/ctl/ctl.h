/* SPDX-License-Identifier: MIT */
/* cellctl: one file a verb. Each verb exports one struct; the table in verbs.c lists them all. Messages to
 * the operator go to stderr, data to stdout. */
#pragma once

#include "common/base/cleanup.h"
#include "common/base/str.h"

/* Exit status of every verb but run, which has its own (vocabulary 3). */
enum ctl_exit {
    CTL_OK = 0,
    CTL_USAGE = 1,   /* unknown verb or flag, a missing argument */
    CTL_FAILED = 2,  /* a service or the host cannot do it */
    CTL_INVALID = 3, /* a spec that breaks a rule */
    CTL_TAMPERED = 4 /* verification failed */
};

/* Exit status of `cellctl run` (vocabulary 3); 128 + n when signal n ended the workload. */
enum ctl_run_exit {
    CTL_RUN_REFUSED = 3, /* bad spec, policy, authority, seccomp */
    CTL_RUN_TIMEOUT = 124,
    CTL_RUN_SUITE = 125, /* the suite failed, and usage errors */
    CTL_RUN_NOT_EXECUTABLE = 126,
    CTL_RUN_NOT_FOUND = 127
};

struct ctl_verb {
    const char *name;
    const char *summary; /* one line of `cellctl --help` */
    const char *help;    /* `cellctl VERB --help`: "usage: cellctl VERB ...\n\n..." ending in "\n" */
    int (*run)(int argc,
               char **argv); /* argv[0] is the verb; answers the exit status; never sees --help before "--" */
};

extern const struct ctl_verb ctl_verb_run;         /* run.c */
extern const struct ctl_verb ctl_verb_validate;    /* validate.c */
extern const struct ctl_verb ctl_verb_verify;      /* verify.c */
extern const struct ctl_verb ctl_verb_prove;       /* prove.c */
extern const struct ctl_verb ctl_verb_consistency; /* consistency.c */
extern const struct ctl_verb ctl_verb_tiles;       /* tiles.c */
extern const struct ctl_verb ctl_verb_witness;     /* witness.c */
extern const struct ctl_verb ctl_verb_events;      /* events.c */
extern const struct ctl_verb ctl_verb_why;         /* why.c */
extern const struct ctl_verb ctl_verb_report;      /* report.c */
extern const struct ctl_verb ctl_verb_key;         /* key.c */
extern const struct ctl_verb ctl_verb_policy;      /* policy.c */
extern const struct ctl_verb ctl_verb_ship;        /* ship.c */
extern const struct ctl_verb ctl_verb_work;        /* work.c */
extern const struct ctl_verb ctl_verb_submit;      /* submit.c */
extern const struct ctl_verb ctl_verb_doctor;      /* doctor.c */
extern const struct ctl_verb ctl_verb_version;     /* version.c */

/* All of them, in the order of --help; NULL-terminated. */
extern const struct ctl_verb *const ctl_verbs[];

/* What main does: finds the verb, serves --help and --version, hints at the nearest verb. Answers the exit
 * status. */
int ctl_dispatch(int argc, char **argv);

/* "cellctl VERB: message\n" to stderr, foreign bytes of the message escaped; the remedy belongs into the
 * sentence. Returns status. */
int ctl_fail(int status, const char *verb, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
