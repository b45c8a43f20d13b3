/* SPDX-License-Identifier: MIT */
/* cellctl why: what a run was denied, and the line that would allow it. One file a kind of denial turns
 * events into findings; the report groups equal ones. Events are foreign text: everything printed is escaped.
 */
#pragma once

#include <jansson.h>

#include "common/evidence/envelope.h"
#include "common/net/addr.h"

#define WHY_FINDINGS_MAX  1024u /* different ones that are kept; more are counted */
#define WHY_TEXT_MAX      512u
#define WHY_PROCESSES_MAX 4u
#define WHY_NAMES_MAX     65536u /* addresses with the names they were answered for */

/* One denial as an event tells it. Texts are copied by why_add. */
struct why_finding {
    const char *kind; /* "l7", "dns", "flow", "syscall" or "spec" */
    const char *by;   /* who refused */
    const char *code; /* reason code; NULL = none */
    char what[WHY_TEXT_MAX];
    char reason[WHY_TEXT_MAX];
    char flag[WHY_TEXT_MAX];  /* of cellctl run, e.g. "--allow a.test:443"; "" = no flag says it */
    bool rule;                /* flag is an egress rule: it can be added while the cell runs */
    char path[128];           /* where in a spec; "" = nothing in a spec would allow it */
    json_t *entry;            /* what to put there; owned by the finding until why_add takes it */
    char never[WHY_TEXT_MAX]; /* why no rule could allow it, or what else helps; "" = one can */
    uint64_t count;
    const json_t *process; /* of the event; borrowed; NULL = the event has none */
};

struct why_report {
    json_t *findings; /* grouped, in the order of their first event */
    json_t *index;    /* key -> position */
    json_t *names;    /* address -> the name that was answered with it */
    json_t *told; /* rule of the kernel -> [packets that had events of their own, the findings they became] */
    uint64_t more;   /* findings beyond WHY_FINDINGS_MAX */
    uint64_t lost;   /* events that a rate limit left out, from gap events */
    bool ended;      /* lifecycle.v1.destroyed was seen */
    bool no_network; /* mode none */
    bool failed;     /* out of memory */
    char run[40], cell[160];
};

/* 0 or -ENOMEM; why_report_done in either case. */
int why_report_init(struct why_report *w) MUST_CHECK;
void why_report_done(struct why_report *w);

/* Looks at one event; failed says when memory ran out. */
void why_see(struct why_report *w, const struct envelope *e);

/* Everything as one object, which the caller owns; NULL when memory is out. */
json_t *why_json(const struct why_report *w);

/* Takes f->entry. time: of the event. Answers the finding it became or was counted to; NULL beyond
 * WHY_FINDINGS_MAX. */
json_t *why_add(struct why_report *w, struct why_finding *f, struct str time);

/* Fills flag, rule, path and entry with an egress rule; protocol NULL = any of the three that prove a name.
 */
void why_advise_rule(struct why_finding *f, const char *host, unsigned port, const char *protocol);
/* Fills flag, path and entry with an answer that may be private. */
void why_advise_answer(struct why_finding *f, const char *host, const char *address);
/* The entry of a list in the spec that no flag speaks of. */
void why_advise_entry(struct why_finding *f, const char *path, json_t *entry);

/* The sentence for an address that no rule can allow; NULL when one can. */
const char *why_never_address(const struct addr *a);

/* Each looks at the data of its types; suffix is that of the type. */
void why_see_l7(struct why_report *w, const json_t *data, struct str time);
void why_see_dns(struct why_report *w, struct str suffix, const json_t *data, struct str time);
void why_see_other(struct why_report *w, struct str suffix, const json_t *data, struct str time);

/* A member of data as text, "" when there is none or it is no string. */
const char *why_text(const json_t *data, const char *key);
