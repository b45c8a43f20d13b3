/* SPDX-License-Identifier: MIT */
/* Who may say what, when: the table of proto/events.h (role x type x state of the cell) and the states a cell
 * walks through.
 *
 *   SIGNER_CELL_OPEN      -> opened
 *   lifecycle.started     -> started
 *   command.completed     -> ended
 *   lifecycle.destroyed   -> closed: nothing more is accepted for that run, ever
 *
 * An event may skip forward only where its row allows the state it comes in (a cell that never started is
 * destroyed from opened). Pure functions over a row and a state. */
#pragma once

#include "proto/events.h"

#define AUTHORITY_CLOSED 0u /* no CELL_STATE_* bit: no row allows it */

enum authority_verdict {
    AUTHORITY_OK = 0,
    AUTHORITY_E_TYPE = 1, /* no such event */
    AUTHORITY_E_ROLE,     /* this role may not claim it */
    AUTHORITY_E_CELL,     /* for a cell that is not open */
    AUTHORITY_E_STATE,    /* not in the state the cell is in */
    _AUTHORITY_MAX,
};

/* row NULL: no such type. state: one CELL_STATE_* bit, AUTHORITY_CLOSED when no such run is open. */
enum authority_verdict authority_judge(uint32_t role, const struct event_row *row, uint32_t state);

/* The state behind an accepted event. */
uint32_t authority_next(enum event_type type, uint32_t state);

/* One short phrase, e.g. "this role may not claim it". */
const char *authority_text(enum authority_verdict v);

/* True for what is still written to a full disk, out of the space reserved when the cell started. */
bool authority_is_end(enum event_type type);
