/* SPDX-License-Identifier: MIT */
#include "proxyd/resolver/ubevent.h"

#include <sys/time.h>

struct ubevent {
    struct ub_event super; /* first */
    LIST_ENTRY(ubevent) link;
    struct ubevent_base *base;
    int fd; /* -1: only a timer */
    short bits;
    void (*cb)(int, short, void *);
    void *arg;
    ev_io io;
    ev_timer timer;
};

static struct ubevent *of(struct ub_event *e)
{
    return (struct ubevent *)e;
}

static void disarm(struct ubevent *e)
{
    ev_io_stop(e->base->loop, &e->io);
    ev_timer_stop(e->base->loop, &e->timer);
}

/* As libevent does it: an event that is not persistent is over before its call-back runs. The call-back may
 * free it. */
static void fire(struct ubevent *e, short bits)
{
    if (!(e->bits & UB_EV_PERSIST))
        disarm(e);
    else if (e->timer.repeat > 0.)
        ev_timer_again(e->base->loop, &e->timer);
    e->cb(e->fd, bits, e->arg);
}

static void on_io(struct ev_loop *loop, ev_io *w, int events)
{
    struct ubevent *e = w->data;
    short bits = (short)((events & EV_READ ? UB_EV_READ : 0) | (events & EV_WRITE ? UB_EV_WRITE : 0));

    (void)loop;
    fire(e, (short)(bits & e->bits));
}

static void on_timer(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop;
    (void)events;
    fire(w->data, UB_EV_TIMEOUT);
}

static void event_add_bits(struct ub_event *super, short bits)
{
    of(super)->bits = (short)(of(super)->bits | bits);
}

static void event_del_bits(struct ub_event *super, short bits)
{
    of(super)->bits = (short)(of(super)->bits & ~bits);
}

static void event_set_fd(struct ub_event *super, int fd)
{
    of(super)->fd = fd;
}

static void event_free(struct ub_event *super)
{
    struct ubevent *e = of(super);

    disarm(e);
    LIST_REMOVE(e, link);
    free(e);
}

static void arm_timer(struct ubevent *e, const struct timeval *tv)
{
    double s = (double)tv->tv_sec + (double)tv->tv_usec / 1e6;

    ev_timer_stop(e->base->loop, &e->timer);
    ev_timer_set(&e->timer, s, e->bits & UB_EV_PERSIST ? s : 0.);
    ev_timer_start(e->base->loop, &e->timer);
}

static int event_add(struct ub_event *super, struct timeval *tv)
{
    struct ubevent *e = of(super);
    int events = (e->bits & UB_EV_READ ? EV_READ : 0) | (e->bits & UB_EV_WRITE ? EV_WRITE : 0);

    disarm(e);
    if (e->fd >= 0 && events) {
        ev_io_set(&e->io, e->fd, events);
        ev_io_start(e->base->loop, &e->io);
    }
    if (tv && e->bits & UB_EV_TIMEOUT)
        arm_timer(e, tv);
    return 0;
}

static int event_del(struct ub_event *super)
{
    disarm(of(super));
    return 0;
}

static int event_add_timer(struct ub_event *super, struct ub_event_base *base, void (*cb)(int, short, void *),
                           void *arg, struct timeval *tv)
{
    struct ubevent *e = of(super);

    (void)base;
    e->cb = cb;
    e->arg = arg;
    disarm(e);
    arm_timer(e, tv);
    return 0;
}

/* Signals are the daemon's own; libunbound asks for none when it is called by event. */
static int event_signal(struct ub_event *super, struct timeval *tv)
{
    (void)super;
    (void)tv;
    return -1;
}

static void winsock_unregister(struct ub_event *super)
{
    (void)super;
}

static void winsock_wouldblock(struct ub_event *super, int bit)
{
    (void)super;
    (void)bit;
}

static struct ub_event_vmt event_vmt = {
    .add_bits = event_add_bits,
    .del_bits = event_del_bits,
    .set_fd = event_set_fd,
    .free = event_free,
    .add = event_add,
    .del = event_del,
    .add_timer = event_add_timer,
    .del_timer = event_del,
    .add_signal = event_signal,
    .del_signal = event_del,
    .winsock_unregister_wsaevent = winsock_unregister,
    .winsock_tcp_wouldblock = winsock_wouldblock,
};

static struct ub_event *base_new_event(struct ub_event_base *super, int fd, short bits,
                                       void (*cb)(int, short, void *), void *arg)
{
    struct ubevent_base *b = (struct ubevent_base *)super;
    struct ubevent *e = calloc(1, sizeof(*e));

    if (!e)
        return NULL;
    *e = (struct ubevent){.super = {UB_EVENT_MAGIC, &event_vmt}, .base = b, .fd = fd, .bits = bits};
    e->cb = cb;
    e->arg = arg;
    ev_init(&e->io, on_io);
    ev_init(&e->timer, on_timer);
    e->io.data = e->timer.data = e;
    LIST_INSERT_HEAD(&b->events, e, link);
    return &e->super;
}

static struct ub_event *base_new_signal(struct ub_event_base *super, int fd, void (*cb)(int, short, void *),
                                        void *arg)
{
    (void)super;
    (void)fd;
    (void)cb;
    (void)arg;
    return NULL;
}

static void base_free(struct ub_event_base *super)
{
    (void)super;
}

static int base_dispatch(struct ub_event_base *super)
{
    (void)super;
    return -1; /* the loop is run by its owner */
}

static int base_loopexit(struct ub_event_base *super, struct timeval *tv)
{
    (void)super;
    (void)tv;
    return 0;
}

static struct ub_event *base_wsaevent(struct ub_event_base *super, void *wsaevent,
                                      void (*cb)(int, short, void *), void *arg)
{
    (void)wsaevent;
    return base_new_signal(super, -1, cb, arg);
}

static struct ub_event_base_vmt base_vmt = {
    .free = base_free,
    .dispatch = base_dispatch,
    .loopexit = base_loopexit,
    .new_event = base_new_event,
    .new_signal = base_new_signal,
    .winsock_register_wsaevent = base_wsaevent,
};

void ubevent_base_init(struct ubevent_base *b, struct ev_loop *loop)
{
    b->super = (struct ub_event_base){UB_EVENT_MAGIC, &base_vmt};
    b->loop = loop;
    LIST_INIT(&b->events);
}

bool ubevent_any_fd(const struct ubevent_base *b, bool (*fn)(void *data, int fd), void *data)
{
    struct ubevent *e;

    LIST_FOREACH(e, &b->events, link)
    if (e->fd >= 0 && fn(data, e->fd))
        return true;
    return false;
}
