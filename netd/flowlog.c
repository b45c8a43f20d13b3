/* SPDX-License-Identifier: MIT */
#include "netd/flowlog.h"

#include <errno.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "netd/flowlog_internal.h"

/* Datagrams one drain reads at most: several times what NFLOG_BUFFER holds. */
#define FLOWLOG_DRAIN 8192u

/* ---- what the rules left out ---- */
static void settle_offered(struct flowlog *f, const struct ruleset_count *counts)
{
    uint64_t offered = 0;
    for (size_t i = 0; i < f->rs->nrows; i++)
        offered += counts[i].logged;
    if (offered <= f->accounted) /* more has come since the reading */
        return;
    f->lost += offered - f->accounted;
    f->accounted = offered;
}

/* All that waits, which the socket's buffer bounds. */
static void drain(struct flowlog *f)
{
    for (unsigned i = 0; i < FLOWLOG_DRAIN; i++) {
        int r = nflog_read(f->sock, f->rs, flowlog_on_record, f);
        if (r < 0 && r != -ENOBUFS)
            return;
    }
}

static void reading_done(struct flowlog *f)
{
    if (f->reading == NULL)
        return;
    f->reading = worker_free(f->reading);
    f->cell->netd->flow_readings--;
}

/* What was logged before the reading is read before it is compared. */
static void on_counts(void *self, struct worker_result *r)
{
    struct flowlog *f = self;
    reading_done(f);
    drain(f);
    f->incomplete = r->err < 0;
    if (r->err == 0)
        settle_offered(f, r->counts);
    flowlog_claim_gaps(f);
}

/* False: the gap is claimed without; a later reading, or the end, finds the rest. */
static bool read_counts(struct flowlog *f)
{
    struct registry_cell *c = f->cell;
    if (f->reading != NULL)
        return true;
    if (f->paused || c->netd->flow_readings >= FLOWLOG_READINGS)
        return false;
    const struct worker_task task = {
        .job = WORKER_COUNT,
        .rules = f->rs,
        .userns = c->userns,
        .netns = -EBADF,
        .counter_sock = c->counter_sock,
        .seq = ++c->netd->netlink_seq,
    };
    if (worker_start(c->netd->loop, &task, c->netd->self.cookie, on_counts, f, &f->reading) < 0)
        return false;
    c->netd->flow_readings++;
    return true;
}

void flowlog_pause(struct flowlog *f)
{
    if (f == NULL)
        return;
    reading_done(f);
    f->paused = true;
}

void flowlog_resume(struct flowlog *f)
{
    if (f != NULL)
        f->paused = false;
}

/* ---- reading ---- */
static void on_second(struct ev_loop *loop, ev_timer *t, int events)
{
    struct flowlog *f = t->data;
    bool busy = f->events > 0 || f->surplus > 0 || f->lost > 0 || f->lost_ends > 0 || f->incomplete;
    (void)events;
    f->events = 0; /* the repeats' events are the next second's: that bounds the rate of all */
    f->surplus = 0;
    flowlog_claim_repeats(f);
    if ((f->lost == 0 && !f->incomplete) || !read_counts(f))
        flowlog_claim_gaps(f);
    if (!busy) {
        ev_timer_stop(loop, t);
        free(f->repeats);
        f->repeats = NULL;
    }
    if (!ev_is_active(&f->readable))
        ev_io_start(loop, &f->readable);
}

static void on_readable(struct ev_loop *loop, ev_io *io, int events)
{
    struct flowlog *f = io->data;
    (void)events;
    for (unsigned i = 0; i < FLOWLOG_TURN; i++) {
        int r = nflog_read(f->sock, f->rs, flowlog_on_record, f);
        if (r == -EAGAIN)
            return;
        if (r == -ENOBUFS) {
            f->incomplete = true;
            flowlog_second_begin(f);
        } else if (r < 0) {
            log_errno(r, "cell %s: the flow log broke", f->cell->run_id);
            ev_io_stop(loop, io);
            return;
        }
        if (f->surplus >= FLOWLOG_SURPLUS) {
            ev_io_stop(loop, io); /* until the second is over */
            return;
        }
    }
}

/* ---- life ---- */
int flowlog_new(struct registry_cell *cell, int sock, const struct ruleset *rs,
                void (*settled)(struct registry_cell *cell), struct flowlog **ret)
{
    struct flowlog *f = calloc(1, sizeof(*f));
    if (f == NULL) {
        close(sock);
        return -ENOMEM;
    }
    *f = (struct flowlog){
        .cell = cell, .rs = rs, .sock = sock, .settled = settled, .since_s = clock_realtime_ms() / 1000};
    ev_io_init(&f->readable, on_readable, sock, EV_READ);
    f->readable.data = f;
    ev_io_start(cell->netd->loop, &f->readable);
    ev_timer_init(&f->second, on_second, 0., 1.);
    f->second.data = f;
    *ret = f;
    return 0;
}

static void stop(struct flowlog *f)
{
    ev_io_stop(f->cell->netd->loop, &f->readable);
    ev_timer_stop(f->cell->netd->loop, &f->second);
}

struct flowlog *flowlog_free(struct flowlog *f)
{
    if (f == NULL)
        return NULL;
    stop(f);
    reading_done(f);
    signer_forget(f->cell->netd->signer, f);
    cleanup_closep(&f->sock);
    free(f->repeats);
    free(f);
    return NULL;
}

unsigned flowlog_claims(const struct flowlog *f)
{
    return f == NULL ? 0 : f->claims;
}

/* Flows that were open when the cell ended have ended with it. Their number is bounded by the reading. */
static void report_open(struct flowlog *f, const struct worker_result *c)
{
    size_t n = c->nflows;
    for (size_t i = 0; i < n; i++) {
        bool good = c->flows[i].has_tuple && c->flows[i].row >= 0 && (size_t)c->flows[i].row < f->rs->nrows;
        if (good && flowlog_claim_flow(f, &c->flows[i]))
            f->ended++;
    }
}

/* Flows that the rules have let begin, and whose end nobody saw. */
static void settle_ends(struct flowlog *f, const struct ruleset_count *counts)
{
    uint64_t begun = 0;
    for (size_t i = 0; i < f->rs->nrows; i++)
        if (ruleset_row_action(&f->rs->rows[i]) == ACTION_ALLOW)
            begun += counts[i].logged;
    if (begun > f->ended)
        f->lost_ends += begun - f->ended;
    f->ended = begun;
}

void flowlog_finish(struct flowlog *f, const struct worker_result *counted)
{
    if (f == NULL)
        return;
    f->last = counted;
    drain(f);
    f->last = NULL;
    f->finished = true;
    stop(f);
    flowlog_claim_repeats(f);
    if (counted != NULL) {
        report_open(f, counted);
        settle_offered(f, counted->counts);
        settle_ends(f, counted->counts);
    }
    flowlog_claim_gaps(f);
}
