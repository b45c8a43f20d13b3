/* SPDX-License-Identifier: MIT */
/* The lifecycle of one cell: a table of steps in exactly the order of the vocabulary's section 4. Start-up
 * steps run one after the other; the first failure, a kill or a dead sibling jumps to the first ending step.
 * Ending steps always run, every one of them, whatever failed before: from secrets on, a cell is destroyed,
 * revoked and reported. */
#pragma once

#include "common/base/uuid.h"
#include "common/ipc/frame.h"
#include "proto/secret_record.h"
#include "supervisor/manager.h"
#include "supervisor/spec/violation.h"

enum cell_state {
    CELL_NEW,
    CELL_DECLARE,  /* signerd knows the cell; network_scope and identity.materialized are on their way */
    CELL_SPAWN,    /* zygote: namespaces, cgroup; from here on cell init sets up the files by itself */
    CELL_DECLARED, /* what was declared is durable */
    CELL_SECRETS,  /* broker reads, sent to cell init, which takes them at the barrier */
    CELL_ATTACH,   /* netd: nft, routes, sockets */
    CELL_PROXY,    /* proxyd: policy, sockets */
    CELL_SETUP,    /* cell init: files are made, it is at the barrier */
    CELL_STARTED,  /* lifecycle.started is durable */
    CELL_RUN,      /* barrier open, until the workload ends */
    CELL_KILL,     /* first ending step: every process of the cell is gone */
    CELL_COMPLETED,
    CELL_UNPROXY,
    CELL_DETACH,    /* netd claims the counters and lets go of the cell */
    CELL_DESTROYED, /* revoked, homeostasis, compliance, evidence bundle, destroyed: one wait for all */
    CELL_HEAD,      /* the last checkpoint, for the caller */
    CELL_REJECT,    /* instead of all that: one rejection event, then CELL_HEAD */
    CELL_DONE,
    _CELL_STATE_MAX,
};

#define CELL_REFS_MAX 16 /* own events an evidence bundle can name */

struct cell {
    struct manager *m;
    struct cell *next;
    char run_id[UUID_TEXT_LEN + 1];
    char id[LIMIT_CELL_ID + 1];
    char spec_digest[LIMIT_DIGEST + 1];
    struct spec *spec;
    struct violations violations;
    uint64_t seq; /* of the control request that waits for the end */
    int stdio[3];
    int id_lock; /* flock on the id's file while the cell lives */

    enum cell_state state;
    bool entered;   /* the state's step has begun; until then nothing can finish it */
    ev_timer timer; /* deadline of the step */
    ev_timer
        deadline;  /* TTL or timeout, armed here a second time: a stopped cell init does not prolong a cell */
    ev_timer kick; /* moves on from the loop, never from inside a callback's callee */
    uint64_t begun_us, started_us, ended_us; /* CLOCK_BOOTTIME */

    struct endpoint *init; /* line to PID 1 of the cell */
    int pidfd;
    ev_io pid_watch;
    bool pid_gone;
    int netns, userns;
    int who; /* proxyd's end of the who line, until proxyd has it */
    int sockets[NETD_CELL_SOCKETS];
    bool has_sockets;
    struct cgroup_cell *cgroup;

    /* what has been done and must be undone or reported */
    bool declared, init_ready, attached, proxied, started, go, ran;
    struct cell_claim *claims; /* not acknowledged yet */
    size_t open_claims;
    int claim_error;            /* the first refusal */
    struct secret_marks *marks; /* of the cell's secrets; NULL: it has none */
    bool farewell;              /* lifecycle.destroyed is claimed */

    /* how it ended */
    bool failed;     /* the suite's fault */
    bool forced;     /* somebody had to kill */
    uint32_t result; /* enum run_result; 0 while it runs */
    unsigned exit_code, signal;
    char text[LIMIT_ERROR_TEXT]; /* one sentence: why */
    struct ev_isolation isolation;
    struct arena arena;           /* strings of isolation and other things that live as long as the cell */
    struct policy policy;         /* what proxyd was told last; in the arena, or in live */
    struct policy_live *live;     /* NULL until the policy has been changed */
    struct policy_change *change; /* one that is under way; NULL = none */
    struct ev_usage usage;
    uint64_t connections, l7_denied, dns_allowed, dns_denied;
    struct opt_uint bytes_sent, bytes_received; /* as proxyd counted them */
    struct ev_dns_apex apexes[LIMIT_APEXES];    /* names in the arena */
    size_t napexes;
    bool rule_used[LIMIT_EGRESS_RULES]; /* of the policy's rules as they are at the end */
    struct ev_reference refs[CELL_REFS_MAX];
    size_t nrefs;
    char residue[256]; /* what could not be removed */
    char checkpoint[1025];
};

/* A new cell for a control request: parses the document, takes the id's lock and starts. files: what the
 * document names, borrowed for the call. The stdio fds are taken. The cell answers the control request itself
 * when it is done. 0, or a negative errno (nothing was started). */
int cell_new(struct manager *m, uint64_t seq, const struct control_run_req *req, struct str document,
             const struct attachments *files, int stdio[3]) MUST_CHECK;

/* Ends it as the suite's failure, with this sentence. Harmless on one that is ending already. */
void cell_abort(struct cell *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A signal for the workload; SIGKILL ends the whole cell at once, and reason (absent: the operator) is what
 * the log says. */
void cell_signal(struct cell *c, unsigned signal, struct str reason);

/* Frees; the cell must be in CELL_DONE or CELL_NEW. */
void cell_free(struct cell *c);

/* ---- between cell.c (the table), cell_start.c, cell_end.c and cell_events.c ---- */

enum { CELL_STEP_WAIT = 0, CELL_STEP_NEXT = 1 };

/* The step `s` is through: go on to the next one. Ignored when the cell is elsewhere by now, or has not begun
 * it yet: a late acknowledgement must not finish a step that has yet to make its own claims. */
void cell_step_done(struct cell *c, enum cell_state s);

/* The step failed as the suite's fault: sentence, then the ending steps. In an ending step: noted, and on. */
void cell_step_failed(struct cell *c, enum cell_state s, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Claims an event. The acknowledgement counts down c->open_claims; with none open, a step that waits for them
 * goes on. */
int cell_claim(struct cell *c, enum event_type type, const void *rec) MUST_CHECK;

/* The cell goes: open claims are answered to nobody. */
void cell_forget_claims(struct cell *c);

/* cell_secrets.c: recognising secret values in events. cell_mark_secrets: c->marks from the values, before
 * the cell is opened at signerd; key: for cell_send_marks, once it is, and to be wiped. 0 or a negative
 * errno. cell_mask_body: a claim's body without the texts that hold a value; -EKEYREJECTED: there is none. */
int cell_mark_secrets(struct cell *c, uint8_t key[static SECRET_KEY_LEN]) MUST_CHECK;
int cell_send_marks(struct cell *c, const uint8_t key[static SECRET_KEY_LEN]) MUST_CHECK;
int cell_mask_body(const struct cell *c, enum event_type type, struct str body, struct buf *ret) MUST_CHECK;

/* cell_check.c: SPEC_OK with c->spec and c->policy, SPEC_INVALID with c->violations, or a negative errno.
 * Takes the id's lock, which cell_unlock_id gives back. */
int cell_check(struct cell *c, struct str document, const struct attachments *files) MUST_CHECK;
void cell_unlock_id(struct cell *c);

/* Progress for the operator's -v. */
void cell_say(struct cell *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* cell_start.c: one function a step; CELL_STEP_* or a negative errno with c->text set */
int cell_enter_declare(struct cell *c);
int cell_enter_spawn(struct cell *c);
int cell_enter_setup(struct cell *c);
int cell_enter_declared(struct cell *c);
int cell_enter_secrets(struct cell *c);
int cell_enter_attach(struct cell *c);
int cell_enter_proxy(struct cell *c);
int cell_enter_started(struct cell *c);
int cell_enter_run(struct cell *c);
int cell_enter_reject(struct cell *c);

/* cell_end.c */
int cell_enter_kill(struct cell *c);
int cell_enter_completed(struct cell *c);
int cell_enter_unproxy(struct cell *c);
int cell_enter_detach(struct cell *c);
int cell_enter_destroyed(struct cell *c);
int cell_enter_head(struct cell *c);
void cell_say_farewell(struct cell *c); /* everything else is answered: lifecycle.destroyed */
void cell_answer(struct cell *c);       /* the control reply */

/* cell_init_line.c: the supervisor's end of the init line */
int cell_open_init_line(struct cell *c, int sock) MUST_CHECK;

/* policy_change.c */
struct policy_change *
policy_change_drop(struct policy_change *p); /* the cell goes: NULL-safe, returns NULL */

/* cell_events.c: claims that need more than a line */
void cell_digest_text(const uint8_t sha256[32], char dst[LIMIT_DIGEST + 1]);
int cell_set_isolation(struct cell *c,
                       const struct init_ready *r) MUST_CHECK; /* what lifecycle.started will say */
int cell_claim_bundle(struct cell *c) MUST_CHECK;
int cell_claim_network_scope(struct cell *c) MUST_CHECK;
int cell_claim_identity(struct cell *c, enum event_type type) MUST_CHECK;
int cell_claim_started(struct cell *c) MUST_CHECK;
int cell_claim_completed(struct cell *c) MUST_CHECK;
int cell_claim_summary(struct cell *c) MUST_CHECK;
int cell_claim_homeostasis(struct cell *c) MUST_CHECK;
int cell_claim_destroyed(struct cell *c) MUST_CHECK;
int cell_claim_rejected(struct cell *c) MUST_CHECK;
