/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>

#include "common/base/clock.h"
#include "supervisor/ctl/backoff.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/ship.h"
#include "supervisor/ctl/term.h"

#define IDLE_MS 1000

struct window {
    struct ship_item item[SHIP_WINDOW_MAX];
    size_t n, bytes;
};

struct loop {
    struct ship *ship;
    struct ship_dest *dest;
    struct window w;
    unsigned failures; /* in a row */
    unsigned dead_row; /* dead letters without an accepted event in between */
    uint64_t progress_at, saved_at, told_at;
    uint64_t rate_at, rate_sent;
    double rate;
    char told[SHIP_WHY_MAX]; /* the trouble that was told last */
    bool unsaved;
};

bool ship_stopping(struct ship *s, bool *ret_late)
{
    struct signalfd_siginfo info;

    while (read(s->signals.fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (!s->signals.stop)
            s->signals.until = clock_boottime_us() + SHIP_DRAIN_MS * 1000ull;
        else
            s->signals.until = 0; /* a second one: now */
        s->signals.stop = true;
    }
    if (ret_late)
        *ret_late = s->signals.stop && clock_boottime_us() >= s->signals.until;
    return s->signals.stop;
}

/* Its subject is one of our tenant, which the server lets only those publish to who may. */
static bool is_our_subject(const struct ship *s, const struct ship_claim *c)
{
    struct ship_item i = {.checkpoint = c->checkpoint};
    char subject[SHIP_SUBJECT_MAX];

    ship_item_subject(&i, s->args.tenant, subject); /* of an event all but its type */
    return c->checkpoint ? strcmp(c->subject, subject) == 0
                         : strncmp(c->subject, subject, strlen(subject)) == 0;
}

static bool is_our_checkpoint(const struct ship *s, const struct ship_claim *c)
{
    char id[SHIP_ID_MAX + 1];

    (void)snprintf(id, sizeof(id), "%s+%" PRIu64, c->origin, c->index);
    return strcmp(c->id, id) == 0 && is_our_subject(s, c);
}

bool ship_found(struct ship *s, const struct ship_claim *c)
{
    struct ship_log *l = ship_logs_find(&s->logs, c->origin);

    if (!c->checkpoint && ship_dead_remove(&s->state, c->index, c->id) > 0)
        return true;
    if (!l || c->index >= l->size + c->checkpoint)
        return false; /* another's, or more than this log has: not to be believed */
    if (c->checkpoint
            ? c->index <= l->cursor.noted || !is_our_checkpoint(s, c)
            : c->index < l->cursor.next || !ship_log_claimed(l, c->index, c->id, is_our_subject(s, c)))
        return false;
    ship_log_skip(l, c->checkpoint ? 0 : c->index + 1, c->checkpoint ? c->index : 0);
    return true;
}

void ship_found_all(struct ship *s)
{
    for (size_t i = 0; i < s->logs.n; i++)
        ship_claims_end(s->logs.log[i]);
}

/* Sleeps until the time is over, a signal comes, or (with wake) a log has something new. */
static void nap(struct loop *l, uint32_t ms, bool wake)
{
    struct pollfd p[2] = {{.fd = l->ship->signals.fd, .events = POLLIN},
                          {.fd = wake ? l->ship->logs.inotify : -1, .events = POLLIN}};

    (void)poll(p, 2, (int)ms);
}

/* Cursors first, then the position that relies on them. */
static int save(struct loop *l, bool force)
{
    struct ship *s = l->ship;
    uint64_t now = clock_boottime_us();
    int r = 0;

    if (!l->unsaved || (!force && l->dest->ops->lazy && now - l->saved_at < SHIP_SAVE_MS * 1000u))
        return 0;
    for (size_t i = 0; r == 0 && i < s->logs.n; i++) {
        struct ship_log *log = s->logs.log[i];

        if (log->dirty)
            r = ship_cursor_save(&s->state, &log->cursor);
        if (r == 0)
            log->dirty = false;
    }
    if (r == 0 && l->dest->ops->saved)
        r = l->dest->ops->saved(l->dest);
    if (r < 0)
        return ctl_fail(CTL_FAILED, "ship", "cannot write the cursors below %s: %s", s->state.path,
                        strerror(-r));
    l->saved_at = now;
    l->unsaved = false;
    return CTL_OK;
}

/* Drops n items from the front. */
static void drop(struct window *w, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        w->bytes -= w->item[i].len;
        ship_item_done(&w->item[i]);
    }
    memmove(w->item, w->item + n, (w->n - n) * sizeof(*w->item));
    w->n -= n;
}

/* Drops what the destination is known to have by now. */
static void drop_known(struct window *w)
{
    size_t kept = 0;

    for (size_t i = 0; i < w->n; i++) {
        if (w->item[i].log && ship_log_has(w->item[i].log, &w->item[i])) {
            w->bytes -= w->item[i].len;
            ship_item_done(&w->item[i]);
        } else {
            w->item[kept++] = w->item[i];
        }
    }
    w->n = kept;
}

static void fill(struct loop *l)
{
    struct ship *s = l->ship;
    struct window *w = &l->w;

    if (ship_stopping(s, NULL))
        return;
    while (w->n < SHIP_WINDOW_MAX && w->bytes < SHIP_WINDOW_BYTES_MAX) {
        if (ship_logs_next(&s->logs, !s->args.no_checkpoints, s->args.once, &w->item[w->n], &s->told) !=
            SHIP_NEXT_ITEM)
            break;
        w->bytes += w->item[w->n].len;
        w->n++;
    }
}

static void accept_front(struct loop *l, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct ship_item *item = &l->w.item[i];

        if (item->log)
            ship_log_accept(item->log, item);
        else if (ship_dead_remove(&l->ship->state, item->index, item->id) < 0)
            l->ship->told.fn(l->ship->told.arg, CTL_FAILED,
                             "a dead letter was accepted but cannot be removed");
        l->ship->sent += !item->checkpoint;
    }
    drop(&l->w, n);
    if (n > 0) {
        l->unsaved = true;
        l->failures = l->dead_row = 0;
        l->progress_at = clock_boottime_us();
        l->told[0] = '\0';
    }
}

/* The first item never will be accepted. An exit status. */
static int bury(struct loop *l, const char *why)
{
    struct ship_item *item = &l->w.item[0];
    struct ship_dead d = {item->origin, item->index, item->id, why, {item->data, item->len}};
    char text[2 * SHIP_WHY_MAX];
    int r;

    (void)snprintf(text, sizeof(text), "%s of %s is a dead letter: %s", item->id, item->origin, why);
    if (item->log) {
        r = ship_dead_put(&l->ship->state, &d);
        if (r < 0)
            return ctl_fail(CTL_FAILED, "ship", "cannot write a dead letter below %s: %s",
                            l->ship->state.path, strerror(-r));
        ship_log_accept(item->log, item);
    }
    l->ship->told.fn(l->ship->told.arg, CTL_FAILED, text);
    l->ship->dead++;
    l->dead_row++;
    l->unsaved = true;
    l->progress_at = clock_boottime_us();
    drop(&l->w, 1);
    return CTL_OK;
}

/* Tells a trouble when it is a new one, or an old one after a minute. */
static void tell_wait(struct loop *l, const char *why, uint32_t ms)
{
    uint64_t now = clock_boottime_us();

    if (strcmp(l->told, why) == 0 && !l->ship->args.verbose && now - l->told_at < 60000000u)
        return;
    term_status_clear();
    (void)ctl_fail(CTL_OK, "ship", "%s (try %u, the next one in %" PRIu32 ".%" PRIu32 " s)", why, l->failures,
                   ms / 1000, ms % 1000 / 100);
    (void)snprintf(l->told, sizeof(l->told), "%s", why);
    l->told_at = now;
}

/* An exit status other than CTL_OK when the ship gives up. */
static int back_off(struct loop *l, const struct ship_result *res)
{
    uint32_t ms = backoff_ms(l->failures);
    uint64_t silent = clock_boottime_us() - l->progress_at;

    if (ms < res->wait_ms)
        ms = res->wait_ms;
    l->failures++;
    if (l->ship->args.give_up_s > 0 && silent >= l->ship->args.give_up_s * 1000000u)
        return ctl_fail(CTL_FAILED, "ship", "given up after %" PRIu64 " s without progress: %s",
                        l->ship->args.give_up_s, res->why);
    if (ship_stopping(l->ship, NULL))
        return CTL_OK;
    tell_wait(l, res->why, ms);
    for (uint64_t until = clock_boottime_us() + ms * 1000ull, now;
         !ship_stopping(l->ship, NULL) && (now = clock_boottime_us()) < until;)
        nap(l, (uint32_t)((until - now) / 1000 + 1), false);
    return CTL_OK;
}

static void show(struct loop *l)
{
    struct ship *s = l->ship;
    uint64_t now = clock_boottime_us();

    if (now - l->rate_at >= 1000000) {
        l->rate = (double)(s->sent - l->rate_sent) * 1e6 / (double)(now - l->rate_at);
        l->rate_at = now;
        l->rate_sent = s->sent;
    }
    term_status("shipped %" PRIu64 "  behind %" PRIu64 "  %.0f/s  dead letters %" PRIu64, s->sent,
                ship_logs_lag(&s->logs), l->rate, s->dead);
}

/* Delivers the window once. */
static int deliver(struct loop *l)
{
    struct ship_result res = {.done = 0, .verdict = SHIP_ALL};
    int r;

    l->dest->ops->deliver(l->dest, l->w.item, l->w.n, &res);
    accept_front(l, res.done);
    if (res.verdict == SHIP_AGAIN) {
        l->unsaved = true;
        drop_known(&l->w);
    }
    if (res.verdict == SHIP_DEAD && l->dead_row >= SHIP_DEAD_ROW_MAX)
        res.verdict = SHIP_WAIT;
    r = res.verdict == SHIP_DEAD ? bury(l, res.why) : CTL_OK;
    if (r == CTL_OK)
        r = save(l, false);
    if (r == CTL_OK && res.verdict == SHIP_STOP && l->ship->args.once)
        r = ctl_fail(CTL_FAILED, "ship", "%s", res.why);
    else if (r == CTL_OK && (res.verdict == SHIP_WAIT || res.verdict == SHIP_STOP))
        r = back_off(l, &res);
    show(l);
    return r;
}

static void loop_start(struct loop *l, struct ship *s, struct ship_dest *d)
{
    *l = (struct loop){
        .ship = s, .dest = d, .progress_at = clock_boottime_us(), .rate_at = clock_boottime_us()};
}

static int worse(int a, int b)
{
    return a > b ? a : b;
}

/* The end: what was accepted is written down. */
static int loop_end(struct loop *l, int status)
{
    l->unsaved = true;
    status = worse(status, save(l, true));
    drop(&l->w, l->w.n);
    term_status_clear();
    return worse(status, l->ship->status);
}

/* seal: batch: what --once had to leave. */
static void tell_unsigned(struct loop *l)
{
    uint64_t lag = ship_logs_lag(&l->ship->logs);

    if (lag > 0 && l->ship->status == CTL_OK && !ship_stopping(l->ship, NULL))
        (void)ctl_fail(
            CTL_OK, "ship",
            "%" PRIu64 " events have no signature of their own yet, they are left for the next time", lag);
}

int ship_loop(struct ship *s, struct ship_dest *d)
{
    _cleanup_free_ struct loop *l = malloc(sizeof(*l));
    bool looked = false;
    int r = CTL_OK;

    if (!l)
        return ctl_fail(CTL_FAILED, "ship", "out of memory");
    loop_start(l, s, d);
    while (r == CTL_OK && !ship_stopping(s, NULL)) {
        int e = s->args.once && looked ? 0 : ship_logs_look(&s->logs, &s->state, &s->told);

        looked = true; /* once: what is there now, not what comes while it is sent */
        if (e < 0)
            r = ctl_fail(CTL_FAILED, "ship", "cannot read %s: %s", s->args.dir, strerror(-e));
        fill(l);
        if (r == CTL_OK && l->w.n > 0) {
            r = deliver(l);
            continue;
        }
        if (r == CTL_OK)
            r = save(l, true);
        if (s->args.once) {
            tell_unsigned(l);
            break;
        }
        l->progress_at = clock_boottime_us(); /* nothing to do is no lack of progress */
        show(l);
        nap(l, ship_logs_note_due(&s->logs) ? IDLE_MS / 4 : IDLE_MS, true);
    }
    return loop_end(l, r);
}

/* Up to a window of dead letters into the window, from the one at *at on. */
static int fill_dead(struct loop *l, char **names, size_t n, size_t *at)
{
    _cleanup_(buf_done) struct buf line = {.data = NULL};

    buf_init(&line, ENVELOPE_LINE_MAX + 1);
    for (; *at < n && l->w.n < SHIP_WINDOW_MAX; ++*at) {
        struct ship_item i = {.log = NULL};

        buf_clear(&line);
        if (ship_dead_load(&l->ship->state, names[*at], &line, i.origin, &i.index) < 0 ||
            !ship_item_event(buf_str(&line), &i)) {
            (void)ctl_fail(CTL_FAILED, "ship", "dead letter %s cannot be read: it stays", names[*at]);
            l->ship->status = worse(l->ship->status, CTL_FAILED);
            continue;
        }
        i.data = malloc(line.len);
        if (!i.data)
            return ctl_fail(CTL_FAILED, "ship", "out of memory");
        memcpy(i.data, line.data, line.len);
        i.len = line.len;
        l->w.bytes += i.len;
        l->w.item[l->w.n++] = i;
    }
    return CTL_OK;
}

/* Items whose dead letter is gone: found in the stream. */
static void drop_removed(struct loop *l)
{
    size_t kept = 0;

    for (size_t i = 0; i < l->w.n; i++) {
        char name[SHIP_STATE_NAME_MAX + 1];

        ship_dead_name(l->w.item[i].index, l->w.item[i].id, name);
        if (faccessat(l->ship->state.dead, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
            ship_item_done(&l->w.item[i]);
        else
            l->w.item[kept++] = l->w.item[i];
    }
    l->w.n = kept;
}

static int dead_all(struct loop *l, char **names, size_t n)
{
    struct ship *s = l->ship;
    size_t at = 0;
    int r = CTL_OK;

    if (ship_logs_look(&s->logs, &s->state, &s->told) < 0)
        r = ctl_fail(CTL_FAILED, "ship", "cannot read %s", s->args.dir);
    while (r == CTL_OK && !ship_stopping(s, NULL)) {
        r = fill_dead(l, names, n, &at);
        if (l->w.n == 0)
            break;
        if (r == CTL_OK)
            r = deliver(l);
        drop_removed(l);
    }
    return r;
}

int ship_loop_dead(struct ship *s, struct ship_dest *d)
{
    char **names = NULL;
    int r, n = ship_dead_list(&s->state, &names);
    struct loop *l = n < 0 ? NULL : malloc(sizeof(*l));

    if (l) {
        loop_start(l, s, d);
        r = loop_end(l, dead_all(l, names, (size_t)n));
    } else {
        r = ctl_fail(CTL_FAILED, "ship", "cannot read the dead letters below %s", s->state.path);
    }
    for (int i = 0; i < n; i++)
        free(names[i]);
    free(names);
    free(l);
    return r;
}
