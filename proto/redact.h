/* SPDX-License-Identifier: MIT */
/* What an operator has redacted: names of fields of events, whose values are left out before an event is
 * sealed. A name stands for every field so called, at any depth of data, in every event that supervisor, netd
 * or proxyd claim. The events that signerd alone says (log.v1.*) hold signerd's own words, verification reads
 * them, and they are left as they are. Pure: signerd renders by it, cellctl and the supervisor check an
 * operator's words with it. */
#pragma once

#include "common/base/cleanup.h"
#include "proto/events.h"

#define REDACT_DEFAULTS "defaults" /* stands for argv, path, reason */
#define REDACT_SHOWN    "[redacted]"
#define REDACT_WHY_MAX  256u
#define REDACT_SLOTS    1024u /* a hash table of the fields; far more than there are fields */

struct redact {
    size_t n;                               /* 0: nothing is redacted, and nothing is looked up */
    struct str name[LIMIT_REDACT_NAMES];    /* of the tables: constant texts */
    size_t nslots;                          /* in use */
    const struct field *slot[REDACT_SLOTS]; /* every field with one of the names */
};

enum { REDACT_OK = 0, REDACT_REFUSED = 1 };

/* Adds one name, or REDACT_DEFAULTS; twice is once. REDACT_OK; REDACT_REFUSED with one sentence in why (no
 * such field, and the nearest one; one that may not be redacted, and why not) and *r as before. */
int redact_add(struct redact *r, struct str name, char why[static REDACT_WHY_MAX]) MUST_CHECK;

/* The same for a list with commas between, "argv,path" or "defaults,host". *r is empty at first. */
int redact_parse(struct redact *r, struct str text, char why[static REDACT_WHY_MAX]) MUST_CHECK;

/* The names with commas between: what redact_parse() makes the same of. Returns dst. */
#define REDACT_TEXT_MAX (LIMIT_REDACT_NAMES * (LIMIT_REDACT_NAME + 1) + 1)
const char *redact_format(const struct redact *r, char dst[static REDACT_TEXT_MAX]);

/* Whether the value of this field of an event's schema is left out. */
bool redact_has(const struct redact *r, const struct field *f);
