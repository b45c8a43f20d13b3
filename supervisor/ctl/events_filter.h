/* SPDX-License-Identifier: MIT */
/* Which events are wanted: every condition that is set must hold. */
#pragma once

#include <jansson.h>

#include "common/evidence/envelope.h"

#define EVENTS_TYPES_MAX 32u
#define EVENTS_TYPE_MAX  128u

struct events_filter {
    const char *run;                               /* run id, the end of one, or a cell's id; NULL: any */
    const char *cell;                              /* cell id, "*" and "?" allowed; NULL: any */
    char types[EVENTS_TYPES_MAX][EVENTS_TYPE_MAX]; /* patterns, any of which must match */
    size_t ntypes;
    uint64_t since_ms, until_ms; /* until_ms 0: no end */
    bool deny;                   /* only what was refused */
};

/* "dns_*", "started", "lifecycle.*" or a whole type; several with commas. 0; -EINVAL when no event this
 * version knows has such a type, then *ret_bad is the pattern (static memory); -E2BIG. */
int events_filter_types(struct events_filter *f, const char *words, const char **ret_bad) MUST_CHECK;

/* The nearest name of a type to a word that is none, or NULL. */
const char *events_filter_nearest(const char *word);

/* data: of the event, NULL when it is no JSON object. */
bool events_filter_match(const struct events_filter *f, const struct envelope *e, const json_t *data);

/* Whether the event is of that run or of that cell. */
bool events_filter_is_run(const struct envelope *e, const char *word);
