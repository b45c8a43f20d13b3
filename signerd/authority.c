/* SPDX-License-Identifier: MIT */
#include "signerd/authority.h"

#include "common/base/cleanup.h"

static const char *const authority_texts[_AUTHORITY_MAX] = {
    [AUTHORITY_OK] = "ok",
    [AUTHORITY_E_TYPE] = "no such event type",
    [AUTHORITY_E_ROLE] = "this role may not claim it",
    [AUTHORITY_E_CELL] = "no cell with this run id is open",
    [AUTHORITY_E_STATE] = "not in the state the cell is in",
};

enum authority_verdict authority_judge(uint32_t role, const struct event_row *row, uint32_t state)
{
    if (!row)
        return AUTHORITY_E_TYPE;
    if (role == 0 || role >= 32 || !(row->roles & 1u << role))
        return AUTHORITY_E_ROLE;
    if (state == AUTHORITY_CLOSED)
        return AUTHORITY_E_CELL;
    return row->states & state ? AUTHORITY_OK : AUTHORITY_E_STATE;
}

uint32_t authority_next(enum event_type type, uint32_t state)
{
    switch (type) {
    case EVENT_STARTED:
        return CELL_STATE_STARTED;
    case EVENT_COMPLETED:
        return CELL_STATE_ENDED;
    case EVENT_DESTROYED:
        return AUTHORITY_CLOSED;
    default:
        return state;
    }
}

const char *authority_text(enum authority_verdict v)
{
    return v < _AUTHORITY_MAX ? authority_texts[v] : "refused";
}

bool authority_is_end(enum event_type type)
{
    static const enum event_type ends[] = {
        EVENT_COMPLETED, EVENT_DESTROYED,   EVENT_REVOKED, EVENT_FLOW,
        EVENT_SUMMARY,   EVENT_HOMEOSTASIS, EVENT_BUNDLE,  EVENT_RESIDUE_REMOVED,
    };

    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        if (ends[i] == type)
            return true;
    return false;
}
