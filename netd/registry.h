/* SPDX-License-Identifier: MIT */
/* The cells netd knows, by runId. What netd may touch on request is in here and nowhere else. */
#pragma once

#include "netd/flowlog.h"
#include "netd/routed/routed.h"
#include "proto/limits.h"

enum registry_state {
    REGISTRY_ATTACHING, /* the child works, or the event network_enforcement is on its way */
    REGISTRY_ATTACHED,  /* nothing under way */
    REGISTRY_COUNTING,  /* the child reads the counters */
    REGISTRY_REPORTING, /* flow events are on their way */
    _REGISTRY_STATE_MAX,
};

/* A request of the supervisor that waits for its answer; id 0: none. */
struct registry_request {
    uint32_t id;
    uint64_t seq;
};

struct netd;

struct registry_cell {
    struct registry_cell *next;
    struct netd *netd;
    char run_id[LIMIT_RUN_ID + 1];
    enum registry_state state;
    enum net_mode mode;
    const struct ruleset *rs;   /* of the mode; without logs when this kernel has none */
    int userns;                 /* U1; owned */
    int counter_sock;           /* made in the cell's network namespace; owned */
    int sockets[_SOCKETS_MAX];  /* owned until the attach reply */
    struct routed_cell *routed; /* mode routed: the host's side */
    struct flowlog *flowlog;    /* from the attach on, when rs has logs */
    struct worker *worker;
    struct registry_request request;
    uint64_t since_s;                              /* of the attach, seconds of the epoch */
    bool reported[RULESET_ROWS_MAX];               /* an event with the count below is durable or under way */
    struct ruleset_count counts[RULESET_ROWS_MAX]; /* as of the last reading */
    unsigned claims;                               /* events not yet acknowledged */
    bool recount;                                  /* detach came while a reading was under way */
    uint32_t fail;                                 /* enum fail: the first thing that went wrong, or 0 */
    char fail_text[160];
};

struct registry {
    struct registry_cell *cells;
    size_t n; /* at most LIMIT_CELLS */
};

struct registry_cell *registry_find(const struct registry *r, struct str run_id);

/* A new cell in state ATTACHING. 0; -EEXIST; -EDQUOT when LIMIT_CELLS are there; -EINVAL when run_id is not a
 * UUIDv7; -ENOMEM. */
int registry_add(struct registry *r, struct str run_id, struct registry_cell **ret) MUST_CHECK;

/* Ends its child, closes its fds, forgets it. The pointer is dead afterwards. */
void registry_remove(struct registry *r, struct registry_cell *cell);

/* Closes the sockets that wait for the attach reply. */
void registry_close_sockets(struct registry_cell *cell);
