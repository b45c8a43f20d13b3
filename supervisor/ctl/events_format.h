/* SPDX-License-Identifier: MIT */
/* One event as one readable line. */
#pragma once

#include "common/evidence/envelope.h"

struct events_format {
    bool color;
    bool has_start;
    uint64_t start_ms; /* of the first event shown for this run: offsets count from here */
    char run_id[UUID_TEXT_LEN + 1];
};

/* Prints the event on stdout; a line with the run and the cell comes first when the run is another than
 * before. Foreign text is escaped. Data that are no JSON object are shown as they are, escaped. */
void events_format(struct events_format *f, const struct envelope *e);
