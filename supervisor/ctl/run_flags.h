/* SPDX-License-Identifier: MIT */
/* The command line of `cellctl run` (decisions 32): flags build a spec document, or a document is named and
 * the flags that would build one are refused. Nothing is started or opened here; only --ro and --rw look at
 * the file system (realpath). */
#pragma once

#include "common/base/cleanup.h"
#include "common/base/uuid.h"
#include "common/net/addr.h"
#include "proto/limits.h"
#include "proto/redact.h"
#include "proto/words.h"

#define RUN_FLAGS_TTL_S     3600u
#define RUN_FLAGS_ERROR_MAX 512u

struct run_flags {
    const char *verb; /* argv[0]: under which mistakes are told */
    char *document;   /* the path of a document, or "-"; NULL when the flags built one; owned */
    char *json;       /* the built document (LF at the end); NULL when document is set; owned */
    bool print_spec;  /* print json and stop */
    bool verbose;
    uint32_t evidence;    /* enum evidence; 0 = not given */
    uint32_t seal;        /* enum seal_mode; 0 = not given */
    struct redact redact; /* n == 0: not given */
    uint32_t network;     /* enum net_mode; 0 = not given */
    const char *config;   /* NULL or a path; borrowed from argv */
    const char *ca_file;  /* NULL or a path; borrowed from argv */
    uint32_t proxy_kind;  /* enum upstream_proxy; 0 = not given */
    char proxy_endpoint[ADDR_ENDPOINT_MAX];
    const char *events;     /* NULL, "-", or a path; borrowed from argv */
    const char *checkpoint; /* NULL or a path; borrowed from argv */
    char name[LIMIT_CELL_ID +
              1]; /* --name, else "run-" and the last 12 digits of the run id; for a document: the latter */
};

enum { RUN_FLAGS_OK = 0, RUN_FLAGS_USAGE = 1 };

/* argv[0] is the verb. run_id: UUID_TEXT_LEN characters. RUN_FLAGS_OK (release *ret with run_flags_done);
 * RUN_FLAGS_USAGE with one sentence in error and *ret zero; -ENOMEM. */
int run_flags_parse(int argc, char **argv, const char *run_id, struct run_flags *ret,
                    char error[RUN_FLAGS_ERROR_MAX]) MUST_CHECK;

void run_flags_done(struct run_flags *f);

/* The text of `cellctl run --help`. */
extern const char run_flags_help[];
