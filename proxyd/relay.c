/* SPDX-License-Identifier: MIT */
#include "proxyd/relay.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "common/base/log.h"

#define RELAY_BURST                                                                                          \
    16 /* fills of one direction in one turn of the loop, so that no connection starves the others */

/* What is read through memory at once. Copying so little costs less than two splices; a direction that fills
 * it has more to come, and is spliced from then on. */
#define RELAY_COPY 16384u

struct flow {
    struct relay *r;
    int src, dst;
    struct ev_io reader, writer; /* on src, on dst */
    struct pipe_pair pipe;       /* held only while in_pipe > 0 */
    size_t in_pipe;
    struct buf waiting; /* what was read through memory and dst did not take */
    bool copy;          /* splice does not work here */
    bool bulk;          /* much is under way: splice */
    bool eof;           /* nothing more will be read */
    bool ended;         /* everything is delivered and dst knows that this was all */
    uint64_t bytes;
};

struct relay {
    struct relay_config cfg;
    struct flow up, down;
    struct ev_timer idle;
    struct ev_timer pause; /* until the quota lets more bytes through */
    ev_tstamp moved_at;
    bool kept_alive; /* the kernel looks after the upstream */
};

enum { FLOW_BLOCKED = 0, FLOW_GOES_ON = 1, FLOW_PAUSED = 2 };

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
    ev_timer_stop(cfg.loop, &r->pause);
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

/* False: the cell's bytes are used up, and these are not passed on. */
static bool flow_count(struct flow *f, size_t n)
{
    return !f->r->cfg.quota || quota_count(f->r->cfg.quota, f == &f->r->up ? QUOTA_SENT : QUOTA_RECEIVED, n);
}

/* Bytes read (0: end of stream), or -errno, -EDQUOT; -ENOTSUP when there is no pipe or no splice for this
 * socket. */
static ssize_t flow_fill_pipe(struct flow *f)
{
    struct pipes *pipes = &f->r->cfg.pool->pipes;

    if (!f->bulk || f->copy || !pipes_get(pipes, &f->pipe))
        return -ENOTSUP;
    ssize_t n = splice(f->src, NULL, f->pipe.w, NULL, PIPE_BYTES, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (n > 0) {
        f->in_pipe = (size_t)n;
        return flow_count(f, (size_t)n) ? n : -EDQUOT;
    }
    int err = n < 0 ? -errno : 0;
    pipes_put(pipes, &f->pipe, true);
    f->copy = err == -EINVAL;
    return err == -EINVAL ? -ENOTSUP : err;
}

static ssize_t flow_fill_copy(struct flow *f)
{
    uint8_t *scratch = f->r->cfg.pool->scratch;
    ssize_t n = recv(f->src, scratch, f->bulk ? PIPE_BYTES : RELAY_COPY, MSG_DONTWAIT);

    if (n <= 0)
        return n < 0 ? -errno : 0;
    if (!flow_count(f, (size_t)n))
        return -EDQUOT;
    ssize_t sent = flow_send(f, scratch, (size_t)n);
    if (sent < 0 && sent != -EAGAIN)
        sent = 0; /* the next drain sees the same error and knows whose it is */
    size_t done = sent > 0 ? (size_t)sent : 0;
    buf_init(&f->waiting, PIPE_BYTES);
    if ((size_t)n > done)
        buf_put(&f->waiting, scratch + done, (size_t)n - done);
    return f->waiting.err < 0 ? f->waiting.err : n;
}

/* The next bytes must wait for the cell's bandwidth: nothing is read until then (back-pressure). */
static bool flow_paused(struct flow *f)
{
    struct relay *r = f->r;
    double wait = r->cfg.quota ? quota_wait(r->cfg.quota) : 0;

    if (wait <= 0)
        return false;
    if (!ev_is_active(&r->pause)) {
        ev_timer_set(&r->pause, wait, 0);
        ev_timer_start(r->cfg.loop, &r->pause);
    }
    return true;
}

/* FLOW_GOES_ON when there is something new to do; FLOW_BLOCKED; FLOW_PAUSED; -EDQUOT; -errno of src. */
static int flow_fill(struct flow *f)
{
    if (flow_paused(f))
        return FLOW_PAUSED;
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
    f->bulk = n >= RELAY_COPY;
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
    struct relay *r = f->r;
    bool last = f == &r->up ? r->down.ended : r->up.ended;

    flow_watch(f, false, false);
    if (!last)                           /* else the owner's close says it */
        (void)shutdown(f->dst, SHUT_WR); /* fails only when dst is gone, which its own reader reports */
    f->ended = true;
}

/* Moves what can be moved. 0, or a negative errno: break the relay off. */
static int flow_run(struct flow *f)
{
    bool last = false;

    for (int i = 0; i < RELAY_BURST && !f->ended; i++) {
        int r = flow_drain(f);
        if (r < 0)
            return flow_dst_failed(f);
        if (r == FLOW_BLOCKED) {
            flow_watch(f, false, true);
            return 0;
        }
        if (last)
            break;
        if (f->eof) {
            flow_end(f);
        } else {
            r = flow_fill(f);
            if (r < 0)
                return r;
            if (r == FLOW_PAUSED) {
                flow_watch(f, false, false);
                return 0;
            }
            if (r == FLOW_BLOCKED)
                break;
            last = !f->bulk && !f->eof; /* a short read: the loop says when there is more */
        }
    }
    if (!f->ended)
        flow_watch(f, true, f->in_pipe > 0 || f->waiting.len > 0);
    return 0;
}

static void relay_step(struct relay *r, struct flow *f)
{
    int e = flow_run(f);

    if (e < 0)
        relay_finish(r, e == -EDQUOT ? RELAY_QUOTA : RELAY_BROKEN);
    else if (r->down.ended && r->up.ended)
        relay_finish(r, RELAY_CLEAN);
}

static void on_io(struct ev_loop *loop, struct ev_io *w, int events)
{
    struct flow *f = w->data;

    (void)loop;
    (void)events;
    relay_step(f->r, f);
}

/* Whatever was paused goes on; a direction that is not ready finds nothing to do. */
static void on_pause(struct ev_loop *loop, struct ev_timer *w, int events)
{
    struct relay *r = w->data;

    (void)loop;
    (void)events;
    if (!r->up.ended)
        flow_watch(&r->up, true, r->up.in_pipe > 0 || r->up.waiting.len > 0);
    if (!r->down.ended)
        flow_watch(&r->down, true, r->down.in_pipe > 0 || r->down.waiting.len > 0);
}

static void relay_keep_alive(struct relay *r)
{
    static const int on = 1, idle_s = RELAY_KEEPALIVE_MS / 1000;
    int fd = r->cfg.upstream;

    r->kept_alive = true;
    if (setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s)) < 0)
        log_debug("no keep-alive on a relayed connection");
}

/* When the timer must run next: to the keep-alive, or to the end. */
static ev_tstamp relay_quiet_until(const struct relay *r)
{
    unsigned ms = r->cfg.idle_ms;

    if (!r->kept_alive && ms > RELAY_KEEPALIVE_MS)
        ms = RELAY_KEEPALIVE_MS;
    return r->moved_at + ms / 1000.0;
}

static void relay_idle_arm(struct relay *r)
{
    ev_tstamp left = relay_quiet_until(r) - ev_now(r->cfg.loop);

    ev_timer_set(&r->idle, left > 0 ? left : 0, 0);
    ev_timer_start(r->cfg.loop, &r->idle);
}

static void on_idle(struct ev_loop *loop, struct ev_timer *w, int events)
{
    struct relay *r = w->data;

    (void)events;
    if (relay_quiet_until(r) <= ev_now(loop)) {
        if (r->kept_alive || r->cfg.idle_ms <= RELAY_KEEPALIVE_MS) {
            relay_finish(r, RELAY_IDLE);
            return;
        }
        relay_keep_alive(r);
    }
    relay_idle_arm(r);
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

int relay_new(const struct relay_config *cfg, struct buf *head, struct relay **ret)
{
    struct relay *r = calloc(1, sizeof(*r));

    if (!r)
        return -ENOMEM;
    r->cfg = *cfg;
    flow_init(&r->up, r, cfg->client, cfg->upstream);
    flow_init(&r->down, r, cfg->upstream, cfg->client);
    r->up.waiting = *head;
    (void)flow_count(&r->up, head->len); /* the next byte will find the quota used up */
    buf_init(head, head->max);
    r->moved_at = ev_now(cfg->loop);
    ev_timer_init(&r->idle, on_idle, 0, 0);
    ev_timer_init(&r->pause, on_pause, 0, 0);
    r->idle.data = r->pause.data = r;
    relay_idle_arm(r);
    int e = flow_drain(&r->up); /* mostly all of it; a failure is found again, and handled, by the writer */
    if (e < 0)
        log_debug("the first bytes of a relayed connection are not taken");
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
    ev_timer_stop(r->cfg.loop, &r->pause);
    flow_stop(&r->up);
    flow_stop(&r->down);
    free(r);
    return NULL;
}
