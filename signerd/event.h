/* SPDX-License-Identifier: MIT */
/* The data object of an event: JSON rendered from the typed fields a claim carries, by the same schema that
 * decoded them. */
#pragma once

#include "common/base/buf.h"
#include "proto/events.h"
#include "proto/redact.h"

/* What signerd adds in front of the fields, in this order. cell_id absent: an event of the log, nothing is
 * stamped. specId is the cell's id (decisions 36). */
struct event_stamps {
    struct str cell_id;
    struct str run_id;
    struct str policy_digest;    /* may be absent */
    struct str correlation_id;   /* may be absent */
    const struct redact *redact; /* what is left out of the fields; NULL: nothing */
};

/* Appends one compact JSON object (RFC 8259): members in the order of the schema, integers in decimal, bytes
 * in base64, an absent field is left out. Control characters (C0, DEL, C1) and the line separators U+2028/9
 * are always escaped, so a line of the log is harmless on a terminal. A field whose name is redacted shows
 * "[redacted]" if it is a scalar, ["[redacted]"] if a list, {} if an object; what is absent stays absent. 0;
 * -EMSGSIZE when it grows over LIMIT_EVENT_DATA; b's error. */
int event_render(const struct event_row *row, const void *rec, const struct event_stamps *stamps,
                 struct buf *b) MUST_CHECK;

/* Appends a JSON string with its quotes. s must be valid UTF-8 (the codec checked it). */
void event_put_string(struct buf *b, struct str s);
