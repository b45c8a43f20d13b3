/* SPDX-License-Identifier: MIT */
/* The launch document as cell init uses it: strings with a NUL behind them, argv and environment as execve
 * wants them. */
#pragma once

#include "proto/codec.h"
#include "proto/documents.h"

#define CELL_PLAN_HOSTNAME_MAX 64u /* uname(2) */

struct cell_plan {
    struct buf bytes;
    struct arena arena;
    struct launch launch;                      /* every string NUL-terminated */
    char **argv;                               /* NULL: nothing is run */
    char hostname[CELL_PLAN_HOSTNAME_MAX + 1]; /* the cell's id, cut */
};

/* Reads the document from its memfd. 0 or -errno. p is initialised in any case. */
int cell_plan_read(struct cell_plan *p, int memfd, struct str sha256) MUST_CHECK;
void cell_plan_done(struct cell_plan *p);

/* The environment of the workload: PATH, then the secrets, whose memory is locked and wiped. */
struct cell_env {
    char *v[1 + LIMIT_SECRETS + 1]; /* v[0] is constant; the rest sodium_malloc'ed "NAME=value" */
    size_t n;
};

void cell_env_init(struct cell_env *e);
/* -EINVAL for a name that is no environment variable name, is PATH, is there already, or a value with a NUL;
 * -EDQUOT over LIMIT_SECRETS; -ENOMEM. */
int cell_env_add(struct cell_env *e, struct str name, struct str value) MUST_CHECK;
void cell_env_done(struct cell_env *e);
