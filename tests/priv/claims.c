/* SPDX-License-Identifier: MIT */
#include "tests/priv/claims.h"

#include <stdio.h>
#include <sys/wait.h>

#include "common/base/uuid.h"
#include "tests/priv/record.h"
#include "tests/priv/suspect.h"

#define PATIENCE_MS 20000

enum claims_state { UNKNOWN, OPENED, STARTED, ENDED, CLOSED, _STATE_MAX };
static const char *const state_names[_STATE_MAX] = {"unknown", "opened", "started", "ended", "closed"};

struct claimant {
    struct suspect s;
    uint64_t seq, counter[SUSPECT_LINES];
    char answer[64];
};

/* 0: it was taken. */
static uint32_t first_fail(const struct signer_claims_rep *rep)
{
    return rep->results.n == 1 ? rep->results.v[0].fail : FAIL_INVALID;
}

static const char *words(uint32_t fail)
{
    return enum_text(&enum_fail, fail);
}

/* The first answer that is not a hello; its words are in c->answer, "ok" when it is no refusal. any: of
 * whichever request, else of the last one. */
static void hear(struct claimant *c, size_t line, bool any)
{
    static struct frame f;
    _cleanup_(arena_done) struct arena a = {0};
    struct msg m;

    arena_init(&a, LIMIT_ARENA);
    snprintf(c->answer, sizeof(c->answer), "none");
    while (suspect_recv(&c->s, line, &f, PATIENCE_MS) > 0) {
        int r =
            iface_decode(&iface_signer, FROM_SERVER, ROLE_SIGNERD, LINE_READY, f.data, f.len, f.nfds, &a, &m);
        if (r == -EPROTO)
            continue; /* its hello */
        if (r < 0)
            snprintf(c->answer, sizeof(c->answer), "broken");
        else if (m.row->id == MSG_ERROR)
            snprintf(c->answer, sizeof(c->answer), "%s", words(((const struct error *)m.rec)->fail));
        else if (m.row->id == MSG_SIGNER_CLAIMS_REP && first_fail(m.rec))
            snprintf(c->answer, sizeof(c->answer), "%s", words(first_fail(m.rec)));
        else
            snprintf(c->answer, sizeof(c->answer), any || m.seq == c->seq ? "ok" : "out of order");
        return;
    }
}

static void send_request(struct claimant *c, size_t line, uint32_t id, const void *rec)
{
    _cleanup_(buf_done) struct buf b = {0};

    buf_init(&b, LIMIT_FRAME);
    if (iface_encode(iface_row(&iface_signer, id), ++c->seq, rec, &b) < 0)
        exit(2);
    suspect_send(&c->s, line, b.data, b.len, 0);
}

/* A claim without waiting for its answer. */
static void tell(struct claimant *c, size_t line, const char *run_id, uint32_t type)
{
    const struct schema *s = event_row(type)->data;
    _cleanup_(arena_done) struct arena a = {0};
    _cleanup_(buf_done) struct buf body = {0};

    arena_init(&a, LIMIT_ARENA);
    buf_init(&body, LIMIT_CLAIM_BODY);
    void *rec = record_least(s, &a);
    if (!rec || codec_encode(s, rec, &body) < 0)
        exit(2);
    struct signer_claim one = {++c->counter[line], str_of(run_id), type, buf_str(&body)};
    struct signer_claims_req req = {.claims = {&one, 1}};
    send_request(c, line, MSG_SIGNER_CLAIMS_REQ, &req);
}

static void claim(struct claimant *c, size_t line, const char *run_id, uint32_t type)
{
    tell(c, line, run_id, type);
    hear(c, line, /* any= */ false);
}

static void open_run(struct claimant *c, const char *run_id)
{
    struct signer_cell_open_req req = {.run_id = str_of(run_id), .cell_id = STR_LIT("claims-1")};

    send_request(c, 0, MSG_SIGNER_CELL_OPEN_REQ, &req);
    hear(c, 0, /* any= */ false);
}

/* A fresh run, brought into this state by its supervisor. */
static void bring(struct claimant *c, enum claims_state state, char run_id[UUID_TEXT_LEN + 1])
{
    static const uint32_t steps[_STATE_MAX] = {
        [STARTED] = EVENT_STARTED, [ENDED] = EVENT_COMPLETED, [CLOSED] = EVENT_DESTROYED};

    uuid_v7(run_id);
    if (state >= OPENED)
        open_run(c, run_id);
    for (int s = STARTED; s <= (int)state; s++) {
        claim(c, 0, run_id, steps[s]);
        if (strcmp(c->answer, "ok") != 0) {
            fprintf(stderr, "a run could not be brought to state %s: %s\n", state_names[state], c->answer);
            exit(2);
        }
    }
}

/* As fast as signerd takes them, with so many frames unanswered as a line may have. */
static void claim_many(struct claimant *c, size_t line, const char *run_id, uint32_t type, size_t count)
{
    size_t sent = 0, heard = 0;

    while (heard < count) {
        for (; sent < count && sent - heard < LIMIT_CLAIM_CALLS; sent++)
            tell(c, line, run_id, type);
        hear(c, line, /* any= */ true);
        if (strcmp(c->answer, "ok") != 0) {
            fprintf(stderr, "claim %zu of %zu: %s\n", heard, count, c->answer);
            exit(2);
        }
        heard++;
    }
}

static int claims_end(struct claimant *c)
{
    bool late;

    for (size_t line = 0; line < c->s.kind->nlines; line++)
        suspect_close(&c->s, line);
    return suspect_end(&c->s, PATIENCE_MS, &late) != 0 || late;
}

int claims_many(size_t count, const char *bin_dir, const char *dir)
{
    struct claimant c = {};
    char run_id[UUID_TEXT_LEN + 1];

    suspect_start(suspect_kind("signerd"), bin_dir, dir, &c.s);
    for (size_t line = 0; line < c.s.kind->nlines; line++)
        suspect_hello(&c.s, line);
    bring(&c, STARTED, run_id);
    claim_many(&c, 2, run_id, EVENT_DNS_QUERY, count);
    claim(&c, 0, run_id, EVENT_COMPLETED);
    claim(&c, 0, run_id, EVENT_DESTROYED);
    return claims_end(&c);
}

int claims(const char *bin_dir, const char *dir)
{
    struct claimant c = {};
    char run_id[UUID_TEXT_LEN + 1];

    suspect_start(suspect_kind("signerd"), bin_dir, dir, &c.s);
    for (size_t line = 0; line < c.s.kind->nlines; line++)
        suspect_hello(&c.s, line);
    for (int state = UNKNOWN; state < _STATE_MAX; state++)
        for (uint32_t type = EVENT_NONE + 1; type < _EVENT_TYPE_MAX; type++)
            for (size_t line = 0; line < c.s.kind->nlines; line++) {
                bring(&c, (enum claims_state)state, run_id);
                claim(&c, line, run_id, type);
                printf("{\"role\": \"%s\", \"type\": \"%s\", \"state\": \"%s\", \"answer\": \"%s\"}\n",
                       c.s.kind->line_names[line], event_row(type)->suffix, state_names[state], c.answer);
            }
    return claims_end(&c);
}
