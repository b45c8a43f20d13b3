/* SPDX-License-Identifier: MIT */
#include "proxyd/relay.h"

#include <fcntl.h>
#include <sys/socket.h>

#define RELAY_BURST                                                                                          \
    16 /* fills of one direction in one turn of the loop, so that no connection starves the others */

struct flow {
    struct relay *r;
    int src, dst;
    struct ev_io reader, writer; /* on src, on dst */
    struct pipe_pair pipe;       /* held only while in_pipe > 0 */
    size_t in_pipe;
    struct buf waiting; /* what was read through memory and dst did not take */
    relay_filter filter;
    bool copy;    /* splice does not work here */
    bool shut;    /* the filter lets nothing more pass */
    bool refused; /* ... and something came nevertheless */
    bool eof;     /* nothing more will be read */
    bool ended;   /* everything is delivered and dst knows that this was all */
    uint64_t bytes;
};

struct relay {
    struct relay_config cfg;
    struct flow up, down;
    struct ev_timer idle;
    ev_tstamp moved_at;
};

enum { FLOW_BLOCKED = 0, FLOW_GOES_ON = 1 };

int relay_pool_init(struct relay_pool *p, size_t pipes_max)
{
    p->scratch = malloc(PIPE_BYTES);
    if (!p->scratch)
        return -ENOMEM;
    int r = pipes_init(&p->pipes, pipes_max);
    if (r < 0)
        relay_pool_done(p);
    return r;
}

void relay_pool_done(struct relay_pool *p)
{
    pipes_done(&p->pipes);
    free(p->scratch);
    p->scratch = NULL;
}

static void flow_stop(struct flow *f)
{
    ev_io_stop(f->r->cfg.loop, &f->reader);
    ev_io_stop(f->r->cfg.loop, &f->writer);
    pipes_put(&f->r->cfg.pool->pipes, &f->pipe, f->in_pipe == 0);
    f->in_pipe = 0;
    buf_done(&f->waiting);
}

static void relay_finish(struct relay *r, enum relay_end end)
{
    struct relay_config cfg = r->cfg; /* done() may free the relay */

    ev_timer_stop(cfg.loop, &r->idle);
    flow_stop(&r->up);
    flow_stop(&r->down);
    cfg.done(cfg.self, end);
}

/* ---- out: what was read before ---- */

static ssize_t flow_send(struct flow *f, const uint8_t *p, size_t n)
{
    ssize_t sent = send(f->dst, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (sent < 0)
        return errno == EINTR ? -EAGAIN : -errno;
    f->bytes += (uint64_t)sent;
    return sent;
}

static ssize_t flow_drain_pipe(struct flow *f)
{
    ssize_t n = splice(f->pipe.r, NULL, f->dst, NULL, f->in_pipe, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

    if (n < 0)
        return errno == EINTR ? -EAGAIN : -errno;
    f->in_pipe -= (size_t)n;
    f->bytes += (uint64_t)n;
    if (f->in_pipe == 0)
        pipes_put(&f->r->cfg.pool->pipes, &f->pipe, true);
    return n;
}

/* FLOW_GOES_ON when nothing waits any more; FLOW_BLOCKED; -errno of dst. */
static int flow_drain(struct flow *f)
{
    while (f->in_pipe > 0 || f->waiting.len > 0) {
        ssize_t n = f->in_pipe > 0 ? flow_drain_pipe(f) : flow_send(f, f->waiting.data, f->waiting.len);
        if (n == -EAGAIN)
            return FLOW_BLOCKED;
        if (n < 0)
            return (int)n;
        f->r->moved_at = ev_now(f->r->cfg.loop);
        if (f->in_pipe == 0 && f->waiting.len > 0) {
            buf_consume(&f->waiting, (size_t)n);
            if (f->waiting.len == 0)
                buf_done(&f->waiting); /* an idle connection holds no buffer */
        }
    }
    return FLOW_GOES_ON;
}

/* ---- in ---- */

/* Bytes read (0: end of stream), or -errno; -ENOTSUP when there is no pipe or no splice for this socket. */
static ssize_t flow_fill_pipe(struct flow *f)
{
    struct pipes *pipes = &f->r->cfg.pool->pipes;

    if (f->filter || f->copy || !pipes_get(pipes, &f->pipe))
        return -ENOTSUP;
    ssize_t n = splice(f->src, NULL, f->pipe.w, NULL, PIPE_BYTES, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (n > 0) {
        f->in_pipe = (size_t)n;
        return n;
    }
    int err = n < 0 ? -errno : 0;
    pipes_put(pipes, &f->pipe, true);
    f->copy = err == -EINVAL;
    return err == -EINVAL ? -ENOTSUP : err;
}

/* Lets the filter decide about n bytes in the scratch buffer; how many may pass. */
static ssize_t flow_judge(struct flow *f, size_t n)
{
    if (!f->filter)
        return (ssize_t)n;
    ssize_t pass = f->shut ? 0 : f->filter(f->r->cfg.self, f->r->cfg.pool->scratch, n);
    if (pass < 0 || (size_t)pass == n)
        return pass;
    f->shut = true;
    f->refused = true;
    return pass;
}

static ssize_t flow_fill_copy(struct flow *f)
{
    uint8_t *scratch = f->r->cfg.pool->scratch;
    ssize_t n = recv(f->src, scratch, PIPE_BYTES, MSG_DONTWAIT);

    if (n <= 0)
        return n < 0 ? -errno : 0;
    ssize_t pass = flow_judge(f, (size_t)n);
    if (pass < 0)
        return pass;
    ssize_t sent = pass > 0 ? flow_send(f, scratch, (size_t)pass) : 0;
    if (sent < 0 && sent != -EAGAIN)
        sent = 0; /* the next drain sees the same error and knows whose it is */
    size_t done = sent > 0 ? (size_t)sent : 0;
    buf_init(&f->waiting, PIPE_BYTES);
    if ((size_t)pass > done)
        buf_put(&f->waiting, scratch + done, (size_t)pass - done);
    return f->waiting.err < 0 ? f->waiting.err : n;
}

/* FLOW_GOES_ON when there is something new to do; FLOW_BLOCKED; -errno of src. */
static int flow_fill(struct flow *f)
{
    ssize_t n = flow_fill_pipe(f);

    if (n == -ENOTSUP)
        n = flow_fill_copy(f);
    if (n == -EAGAIN || n == -EINTR)
        return FLOW_BLOCKED;
    if (n < 0)
        return (int)n;
    if (n == 0)
        f->eof = true;
    f->r->moved_at = ev_now(f->r->cfg.loop);
    return FLOW_GOES_ON;
}

/* ---- one direction ---- */

static void flow_watch(struct flow *f, bool read, bool write)
{
    struct ev_loop *loop = f->r->cfg.loop;

    if (read)
        ev_io_start(loop, &f->reader);
    else
        ev_io_stop(loop, &f->reader);
    if (write)
        ev_io_start(loop, &f->writer);
    else
        ev_io_stop(loop, &f->writer);
}

/* dst takes no more. An upstream that has answered early is still heard; a client that is gone ends
 * everything. */
static int flow_dst_failed(struct flow *f)
{
    if (f == &f->r->down)
        return -ECONNRESET;
    flow_stop(f);
    f->eof = f->ended = true;
    return 0;
}

static void flow_end(struct flow *f)
{
    flow_watch(f, false, false);
    (void)shutdown(f->dst, SHUT_WR); /* fails only when dst is gone, which its own reader reports */
    f->ended = true;
}

/* The filter has stopped this direction and bytes came all the same: nobody reads them. */
static void flow_refuse(struct flow *f)
{
    flow_watch(f, false, false);
    f->refused = false;
    f->eof = f->ended = true;
    if (f->r->cfg.refused)
        f->r->cfg.refused(f->r->cfg.self);
}

/* Moves what can be moved. 0, or a negative errno: break the relay off. */
static int flow_run(struct flow *f)
{
    for (int i = 0; i < RELAY_BURST && !f->ended; i++) {
        int r = flow_drain(f);
        if (r < 0)
            return flow_dst_failed(f);
        if (r == FLOW_BLOCKED) {
            flow_watch(f, false, true);
            return 0;
        }
        if (f->eof) {
            flow_end(f);
        } else if (f->refused) {
            flow_refuse(f);
        } else {
            r = flow_fill(f);
            if (r < 0)
                return r;
            if (r == FLOW_BLOCKED)
                break;
        }
    }
    if (!f->ended)
        flow_watch(f, true, f->in_pipe > 0 || f->waiting.len > 0);
    return 0;
}

static void relay_step(struct relay *r, struct flow *f)
{
    if (flow_run(f) < 0)
        relay_finish(r, RELAY_BROKEN);
    else if (r->down.ended && (r->up.ended || r->up.filter))
        relay_finish(r, RELAY_CLEAN);
}

static void on_io(struct ev_loop *loop, struct ev_io *w, int events)
{
    struct flow *f = w->data;

    (void)loop;
    (void)events;
    relay_step(f->r, f);
}

static void on_idle(struct ev_loop *loop, struct ev_timer *w, int events)
{
    struct relay *r = w->data;
    ev_tstamp left = r->moved_at + r->cfg.idle_ms / 1000.0 - ev_now(loop);

    (void)events;
    if (left <= 0) {
        relay_finish(r, RELAY_IDLE);
        return;
    }
    ev_timer_set(w, left, 0);
    ev_timer_start(loop, w);
}

/* ---- life ---- */

static void flow_init(struct flow *f, struct relay *r, int src, int dst)
{
    *f = (struct flow){.r = r, .src = src, .dst = dst, .pipe = PIPE_NONE};
    buf_init(&f->waiting, PIPE_BYTES);
    ev_io_init(&f->reader, on_io, src, EV_READ);
    ev_io_init(&f->writer, on_io, dst, EV_WRITE);
    f->reader.data = f->writer.data = f;
}

int relay_new(const struct relay_config *cfg, struct buf *head, bool request_ended, struct relay **ret)
{
    struct relay *r = calloc(1, sizeof(*r));

    if (!r)
        return -ENOMEM;
    r->cfg = *cfg;
    flow_init(&r->up, r, cfg->client, cfg->upstream);
    flow_init(&r->down, r, cfg->upstream, cfg->client);
    r->up.filter = cfg->filter;
    r->up.shut = request_ended;
    r->up.waiting = *head;
    buf_init(head, head->max);
    r->moved_at = ev_now(cfg->loop);
    ev_timer_init(&r->idle, on_idle, cfg->idle_ms / 1000.0, 0);
    r->idle.data = r;
    ev_timer_start(cfg->loop, &r->idle);
    flow_watch(&r->up, true, r->up.waiting.len > 0);
    flow_watch(&r->down, true, false);
    *ret = r;
    return 0;
}

uint64_t relay_bytes_up(const struct relay *r)
{
    return r->up.bytes;
}

uint64_t relay_bytes_down(const struct relay *r)
{
    return r->down.bytes;
}

struct relay *relay_free(struct relay *r)
{
    if (!r)
        return NULL;
    ev_timer_stop(r->cfg.loop, &r->idle);
    flow_stop(&r->up);
    flow_stop(&r->down);
    free(r);
    return NULL;
}
