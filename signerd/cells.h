/* SPDX-License-Identifier: MIT */
/* The runs the supervisor has opened, by run id, and the ids of those that were closed: a run id is never
 * used twice. */
#pragma once

#include "common/base/uuid.h"
#include "proto/events.h"
#include "proto/secret_mark.h"
#include "signerd/quota.h"

struct cell {
    struct cell *next;
    char run_id[UUID_TEXT_LEN + 1];
    char cell_id[LIMIT_CELL_ID + 1];
    char policy_digest[LIMIT_DIGEST + 1]; /* "" = absent */
    char correlation_id[LIMIT_LABEL + 1]; /* "" = absent */
    uint32_t state;                  /* of accepted claims, durable or not: CELL_STATE_*, AUTHORITY_CLOSED */
    uint64_t cellsequence;           /* of the last line given out */
    uint64_t reserve;                /* bytes of disk still reserved for it */
    bool rewound;                    /* used while the log takes back what the disk refused */
    uint32_t claims;                 /* not yet durable; a cell is freed only at 0 */
    uint32_t credits[ROLE_INIT + 1]; /* the same, by role */
    struct quota quota[ROLE_PROXYD + 1];
    struct secret_marks *secrets; /* values no event of it may hold; NULL: none */
};

struct cells;

int cells_new(struct cells **ret) MUST_CHECK; /* 0 or -ENOMEM */
struct cells *cells_free(struct cells *c);    /* NULL-safe; returns NULL */

struct cell *cells_find(const struct cells *c, struct str run_id); /* or NULL */

/* True when the run was closed in this process's life, as far as it is remembered (ret_unsure: it may have
 * been one of the forgotten ones). */
bool cells_was_closed(const struct cells *c, struct str run_id, bool *ret_unsure);

struct cells_open {
    struct str run_id;
    struct str cell_id;
    struct str policy_digest;
    struct str correlation_id;
};

/* A new cell in state opened. 0; -EINVAL for ids that break their form; -EEXIST; -EDQUOT at LIMIT_CELLS;
 * -ENOMEM. */
int cells_add(struct cells *c, const struct cells_open *o, struct cell **ret) MUST_CHECK;

/* Forgets a cell and, when its end is in the log (state closed), remembers that run id as used up. */
void cells_remove(struct cells *c, struct cell *cell);

size_t cells_count(const struct cells *c);
