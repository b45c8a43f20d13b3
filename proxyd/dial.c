/* SPDX-License-Identifier: MIT */
#include "proxyd/dial.h"

#include <netinet/tcp.h>

#include "proxyd/hostaddr.h"

static bool exact_literal(const struct allow_rule *r)
{
    return r->is_addr && r->prefix.bits == (r->prefix.addr.family == AF_INET6 ? 128 : 32);
}

bool dial_permitted(const struct proxy_policy *p, const struct judgement *j, const struct addr *addr)
{
    enum addr_class class = addr_classify(addr);

    if (!j->allow || class == ADDR_UNSPECIFIED || class == ADDR_MULTICAST)
        return false;
    if (class == ADDR_METADATA && !policy_metadata_listed(p, addr))
        return false;
    if (class == ADDR_GLOBAL && !hostaddr_is_local(addr))
        return true;
    return j->literal ? exact_literal(&p->allow.rules[j->rule]) : policy_answer_listed(p, &j->name, addr);
}

static void dial_finish(struct dial *d, int err)
{
    int fd = TAKE_FD(d->fd);

    ev_io_stop(d->loop, &d->io);
    if (err < 0) {
        close(fd);
        fd = -EBADF;
    }
    d->done(d->self, err, fd);
}

static void on_connected(struct ev_loop *loop, struct ev_io *w, int events)
{
    int err = 0;
    socklen_t len = sizeof(err);

    (void)loop;
    (void)events;
    if (getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
        err = errno;
    dial_finish(w->data, -err);
}

int dial_start(struct dial *d, struct ev_loop *loop, const struct endpoint_addr *to,
               void (*done)(void *self, int err, int fd), void *self)
{
    struct sockaddr_storage ss;
    socklen_t len = addr_to_sockaddr(to, &ss);
    int one = 1;
    _cleanup_close_ int fd = socket(to->addr.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0) /* the relay never waits for more */
        return -errno;
    if (connect(fd, (struct sockaddr *)&ss, len) < 0 && errno != EINPROGRESS)
        return -errno;
    *d = (struct dial){.loop = loop, .fd = TAKE_FD(fd), .done = done, .self = self};
    ev_io_init(&d->io, on_connected, d->fd, EV_WRITE);
    d->io.data = d;
    ev_io_start(loop, &d->io);
    return 0;
}

void dial_stop(struct dial *d)
{
    if (!d->loop)
        return;
    ev_io_stop(d->loop, &d->io);
    cleanup_closep(&d->fd);
    *d = (struct dial){.fd = -EBADF};
}
