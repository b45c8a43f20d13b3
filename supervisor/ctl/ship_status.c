/* SPDX-License-Identifier: MIT */
/* cellctl ship --status: how far a destination is, without touching it. */
#include <inttypes.h>
#include <stdio.h>

#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/ship.h"

static void told(void *arg, int status, const char *why)
{
    int *worst = arg;

    (void)ctl_fail(status, "ship", "%s", why);
    if (status > *worst)
        *worst = status;
}

static void print(const struct ship_logs *logs)
{
    for (size_t i = 0; i < logs->n; i++) {
        const struct ship_log *l = logs->log[i];

        if (l->origin[0] && !l->failed)
            (void)printf("%s: shipped %" PRIu64 " of %" PRIu64 ", behind %" PRIu64 ", checkpoint %" PRIu64
                         "\n",
                         l->origin, l->cursor.next, l->size, l->size - l->cursor.next, l->cursor.noted);
    }
}

int ship_status(const struct ship_args *a)
{
    char id[SHIP_DESTINATION_MAX + 1];
    struct ship_state state;
    struct ship_logs logs;
    int worst = CTL_OK, dead, r;
    const struct ship_told t = {.fn = told, .arg = &worst};

    ship_args_id(a, id);
    r = ship_state_look(a->state, id, &state);
    if (r == -ENOENT)
        return ctl_fail(CTL_FAILED, "ship", "nothing was ever shipped to %s (no %s/%s)", a->to, a->state, id);
    if (r < 0)
        return ctl_fail(CTL_FAILED, "ship", "cannot read %s/%s: %s", a->state, id, strerror(-r));
    dead = ship_dead_count(&state);
    r = ship_logs_open(a->dir, false, &logs);
    if (r == 0) {
        r = ship_logs_look(&logs, &state, &t);
        print(&logs);
        (void)printf("%zu log%s, behind %" PRIu64 ", dead letters %d\n", logs.n, logs.n == 1 ? "" : "s",
                     ship_logs_lag(&logs), dead);
        ship_logs_done(&logs);
    }
    ship_state_done(&state);
    if (r < 0)
        return ctl_fail(CTL_FAILED, "ship", "cannot read %s: %s", a->dir, strerror(-r));
    return worst;
}
