/* SPDX-License-Identifier: MIT */
/* The part of a timeline's line behind the decision: what an event says, shortened. */
#pragma once

#include <jansson.h>

#include "common/base/buf.h"

/* " name=value ..." of the fields that are worth it; no value takes more than columns (at least 8). raw: the
 * bytes when data is NULL. */
void events_text_fields(struct buf *out, struct str suffix, const json_t *data, struct str raw,
                        unsigned columns);

/* Escaped text of at most so many columns: what is longer loses its middle. */
void events_text_short(struct buf *out, struct str text, unsigned columns);

/* Text that is already escaped, cut behind so many columns. */
void events_text_cut(struct buf *out, struct str text, unsigned columns);
