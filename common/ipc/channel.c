/* SPDX-License-Identifier: MIT */
#include "common/ipc/channel.h"

#include <assert.h>
#include <fcntl.h>
#include <string.h>

#define CHANNEL_BURST                                                                                        \
    32 /* most frames handled in one turn of the loop, so that no peer starves the others                    \
        */

struct channel_item {
    struct channel_item *next;
    size_t len, nfds;
    int *fds; /* owned duplicates, behind data */
    uint8_t data[];
};

struct channel {
    struct ev_loop *loop;
    const struct channel_ops *ops;
    void *self;
    int sock;
    int send_err; /* sending failed for good; what the peer had sent before is still delivered, then gone() */
    bool dead;    /* gone() was called, or channel_free() from inside a callback */
    bool
        free_me; /* channel_free() came from inside a callback: memory goes when that callback has returned */
    unsigned busy;
    struct ev_io reader, writer;
    struct channel_item *head, **tail;
    size_t queued, queue_max;
    struct frame *frame; /* while ops->frame() looks at it; else NULL */
};

/* One for all channels of the process: a frame is done with when its callback returns, callbacks do not run
 * the loop, and 64 KiB for each of a thousand cells would be most of what a cell costs. */
static struct frame channel_frame;
static bool channel_frame_used;

static void channel_item_freep(struct channel_item **i)
{
    if (!*i)
        return;
    for (size_t k = 0; k < (*i)->nfds; k++)
        cleanup_closep(&(*i)->fds[k]);
    free(*i);
}

/* Stops everything but keeps the memory. */
static void channel_shut(struct channel *c)
{
    c->dead = true;
    ev_io_stop(c->loop, &c->reader);
    ev_io_stop(c->loop, &c->writer);
    cleanup_closep(&c->sock);
    c->sock = -EBADF;
    if (c->frame)
        frame_close_fds(c->frame);
    while (c->head) {
        _cleanup_(channel_item_freep) struct channel_item *i = c->head;
        c->head = i->next;
    }
    c->tail = &c->head;
    c->queued = 0;
}

static void channel_enter(struct channel *c)
{
    c->busy++;
}

static void channel_leave(struct channel *c)
{
    c->busy--;
    if (c->free_me && c->busy == 0)
        free(c);
}

static void channel_die(struct channel *c, int err)
{
    if (c->dead)
        return;
    channel_shut(c);
    c->ops->gone(c->self, err);
}

/* For channel_send(): the loop calls gone() later, even when the socket itself never becomes readable. */
static void channel_send_failed(struct channel *c, int err)
{
    c->send_err = err;
    ev_io_stop(c->loop, &c->writer);
    ev_feed_event(c->loop, &c->reader, EV_READ);
}

/* One frame off the socket. True when there may be another one. */
static bool channel_read_one(struct channel *c)
{
    assert(!channel_frame_used);
    int r = frame_recv(c->sock, &channel_frame);

    if (r == -EAGAIN) {
        if (c->send_err < 0)
            channel_die(c, c->send_err);
        return false;
    }
    if (r == FRAME_EOF || r < 0) {
        channel_die(c, r == FRAME_EOF ? 0 : r);
        return false;
    }
    channel_frame_used = true;
    c->frame = &channel_frame;
    r = c->ops->frame(c->self, c->frame);
    c->frame = NULL;
    channel_frame_used = false;
    frame_close_fds(&channel_frame);
    if (r < 0)
        channel_die(c, r);
    return !c->dead;
}

static void channel_on_readable(struct ev_loop *loop, struct ev_io *w, int events)
{
    struct channel *c = w->data;
    bool more = true;

    (void)events;
    channel_enter(c);
    for (int i = 0; more && i < CHANNEL_BURST; i++)
        more = channel_read_one(c);
    if (more && c->send_err < 0) /* nothing else may wake this watcher again */
        ev_feed_event(loop, w, EV_READ);
    channel_leave(c);
}

static void channel_on_writable(struct ev_loop *loop, struct ev_io *w, int events)
{
    struct channel *c = w->data;

    (void)events;
    while (c->head) {
        int r = frame_send(c->sock, c->head->data, c->head->len, c->head->fds, c->head->nfds);
        if (r == -EAGAIN)
            return;
        if (r < 0) {
            channel_send_failed(c, r);
            return;
        }
        _cleanup_(channel_item_freep) struct channel_item *i = c->head;
        c->head = i->next;
        c->queued--;
    }
    c->tail = &c->head;
    ev_io_stop(loop, w);
}

int channel_new(struct ev_loop *loop, int sock, size_t queue_max, const struct channel_ops *ops, void *self,
                struct channel **ret)
{
    struct channel *c = calloc(1, sizeof *c);

    if (!c) {
        cleanup_closep(&sock);
        return -ENOMEM;
    }
    c->loop = loop;
    c->ops = ops;
    c->self = self;
    c->sock = sock;
    c->queue_max = queue_max;
    c->tail = &c->head;
    ev_io_init(&c->reader, channel_on_readable, sock, EV_READ);
    ev_io_init(&c->writer, channel_on_writable, sock, EV_WRITE);
    c->reader.data = c->writer.data = c;
    ev_io_start(loop, &c->reader);
    *ret = c;
    return 0;
}

static int channel_queue(struct channel *c, const void *p, size_t n, const int *fds, size_t nfds)
{
    size_t data_room = (n + sizeof(int) - 1) / sizeof(int) * sizeof(int);
    _cleanup_(channel_item_freep) struct channel_item *i = NULL;

    if (c->queued >= c->queue_max)
        return -EDQUOT;
    i = malloc(sizeof *i + data_room + nfds * sizeof(int));
    if (!i)
        return -ENOMEM;
    *i = (struct channel_item){.len = n, .fds = (void *)(i->data + data_room)};
    memcpy(i->data, p, n);
    for (; i->nfds < nfds; i->nfds++) {
        int fd = fcntl(fds[i->nfds], F_DUPFD_CLOEXEC, 3);
        if (fd < 0)
            return -errno;
        i->fds[i->nfds] = fd;
    }
    *c->tail = i;
    c->tail = &i->next;
    c->queued++;
    ev_io_start(c->loop, &c->writer);
    i = NULL;
    return 0;
}

int channel_send(struct channel *c, const void *p, size_t n, const int *fds, size_t nfds)
{
    int r;

    if (c->dead || c->send_err < 0)
        return -EPIPE;
    if (n == 0 || n > FRAME_MAX || nfds > FRAME_FDS_MAX)
        return -EMSGSIZE;
    if (c->head) /* order: never overtake */
        return channel_queue(c, p, n, fds, nfds);
    r = frame_send(c->sock, p, n, fds, nfds);
    if (r == -EAGAIN)
        return channel_queue(c, p, n, fds, nfds);
    if (r == -EPIPE || r == -ENOTCONN) {
        channel_send_failed(c, r);
        return -EPIPE;
    }
    return r;
}

size_t channel_queued(const struct channel *c)
{
    return c->queued;
}

struct channel *channel_free(struct channel *c)
{
    if (!c)
        return NULL;
    channel_shut(c);
    if (c->busy > 0)
        c->free_me = true;
    else
        free(c);
    return NULL;
}
