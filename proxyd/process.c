/* SPDX-License-Identifier: MIT */
#include "proxyd/process.h"

#include "common/base/log.h"
#include "proto/endpoint.h"

/* Cell init is alone in its answers. One that is silent (a backend whose init knows no processes, one that is
 * stopped) must not delay every connection: after this many questions in a row without an answer ... */
#define PROCESS_SILENT_AFTER 3u
#define PROCESS_PROBE_S      1. /* ... only one in this time is still asked. */

struct process_ask {
    struct process_ask *next, **at; /* on the line's list */
    struct process_line *line;
    process_done done;
    void *self;
    bool unknown; /* nobody was asked: answered from the loop */
};

struct process_line {
    struct ev_loop *loop;
    struct endpoint *endpoint; /* NULL: gone */
    struct process_ask *asks;
    size_t in_flight; /* asked, with the peer */
    unsigned silent;  /* questions in a row that nobody answered */
    ev_tstamp probed_at;
    struct ev_timer now; /* answers what nobody was asked for */
};

static void ask_unlink(struct process_ask *a)
{
    *a->at = a->next;
    if (a->next)
        a->next->at = a->at;
    if (!a->unknown)
        a->line->in_flight--;
}

static void ask_answer(struct process_ask *a, const struct ev_process *process)
{
    process_done done = a->done;
    void *self = a->self;

    ask_unlink(a);
    free(a);
    done(self, process);
}

static void on_reply(void *data, const struct error *error, const void *rec, int *fds, size_t nfds)
{
    struct process_ask *a = data;

    (void)fds;
    (void)nfds;
    a->line->silent = error ? a->line->silent + 1 : 0;
    ask_answer(a, error ? NULL : ((const struct who_who_rep *)rec)->process);
}

static struct process_ask *first_unknown(const struct process_line *l)
{
    struct process_ask *a = l->asks;

    while (a && !a->unknown) /* NOLINT(clang-analyzer-unix.Malloc): who is answered is off the list */
        a = a->next;
    return a;
}

static void on_now(struct ev_loop *loop, struct ev_timer *w, int events)
{
    struct process_line *l = w->data;
    struct process_ask *a;

    (void)loop;
    (void)events;
    while ((a = first_unknown(l))) /* a callback may cancel or ask others */
        ask_answer(a, NULL);
}

/* Without PID 1 the cell is ending: its processes are unknown from now on. */
static void on_gone(void *self, struct endpoint *e, int err)
{
    struct process_line *l = self;

    (void)err;
    endpoint_free(e);
    l->endpoint = NULL;
}

int process_line_new(struct ev_loop *loop, int fd, struct process_line **ret)
{
    static const struct endpoint_ops ops = {.gone = on_gone};
    struct process_line *l = calloc(1, sizeof(*l));

    if (!l) {
        close(fd);
        return -ENOMEM;
    }
    l->loop = loop;
    ev_timer_init(&l->now, on_now, 0, 0);
    l->now.data = l;
    const struct endpoint_config cfg = {&iface_who, FROM_CLIENT, ROLE_PROXYD, ROLE_INIT, &ops, l};
    int r = endpoint_new(loop, fd, &cfg, &l->endpoint);
    if (r < 0) {
        free(l);
        return r;
    }
    *ret = l;
    return 0;
}

struct process_line *process_line_free(struct process_line *l)
{
    if (!l)
        return NULL;
    endpoint_free(l->endpoint);
    ev_timer_stop(l->loop, &l->now);
    for (struct process_ask *a = l->asks, *next; a; a = next) {
        next = a->next;
        free(a);
    }
    free(l);
    return NULL;
}

/* Is it worth to ask, and to wait for the answer? */
static bool line_answers(struct process_line *l)
{
    if (!l->endpoint || l->in_flight >= LIMIT_WHO_IN_FLIGHT)
        return false;
    if (l->silent < PROCESS_SILENT_AFTER)
        return true;
    if (ev_now(l->loop) - l->probed_at < PROCESS_PROBE_S)
        return false;
    l->probed_at = ev_now(l->loop);
    return true;
}

static int ask_send(struct process_ask *a, enum transport t, const struct endpoint_addr *local,
                    const struct endpoint_addr *remote)
{
    char local_text[ADDR_ENDPOINT_MAX], remote_text[ADDR_ENDPOINT_MAX];
    struct who_who_req req = {t, str_of(addr_endpoint_format(local, local_text)),
                              str_of(addr_endpoint_format(remote, remote_text))};

    return endpoint_call(a->line->endpoint, MSG_WHO_WHO_REQ, &req, NULL, 0, LIMIT_WHO_MS, on_reply, a);
}

int process_ask(struct process_line *l, enum transport t, const struct endpoint_addr *local,
                const struct endpoint_addr *remote, process_done done, void *self, struct process_ask **ret)
{
    struct process_ask *a = calloc(1, sizeof(*a));

    if (!a)
        return -ENOMEM;
    *a = (struct process_ask){.next = l->asks, .at = &l->asks, .line = l, .done = done, .self = self};
    a->unknown = !line_answers(l) || ask_send(a, t, local, remote) < 0;
    if (a->unknown && !ev_is_active(&l->now)) {
        ev_timer_set(&l->now, 0, 0);
        ev_timer_start(l->loop, &l->now);
    }
    if (!a->unknown)
        l->in_flight++;
    if (a->next)
        a->next->at = &a->next;
    l->asks = a;
    *ret = a;
    return 0;
}

void process_cancel(struct process_ask *a)
{
    if (!a)
        return;
    if (!a->unknown && a->line->endpoint)
        endpoint_forget(a->line->endpoint, a);
    ask_unlink(a);
    free(a);
}
