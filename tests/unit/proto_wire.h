/* SPDX-License-Identifier: MIT */
/* A peer by hand: it sends and receives frames over a bare socket, allowed or not. */
#pragma once

#include <fcntl.h>
#include <sys/socket.h>

#include "proto/iface.h"

struct wire {
    int sock;
    const struct iface *iface;
    uint32_t side, role; /* of this peer */
    struct frame frame;
    struct arena arena;
};

static inline void wire_init(struct wire *w, int sock, const struct iface *i, uint32_t side, uint32_t role)
{
    w->sock = sock;
    w->iface = i;
    w->side = side;
    w->role = role;
    w->frame.len = w->frame.nfds = 0;
    arena_init(&w->arena, LIMIT_ARENA);
}

static inline void wire_close(struct wire *w)
{
    cleanup_closep(&w->sock);
    w->sock = -EBADF;
    frame_close_fds(&w->frame);
    arena_done(&w->arena);
}

/* The row may be changed by the test: nothing is checked. */
static inline int wire_send_row(struct wire *w, const struct msg_row *row, uint64_t seq, const void *rec,
                                const int *fds, size_t nfds)
{
    _cleanup_(buf_done) struct buf b = {0};
    buf_init(&b, LIMIT_FRAME);
    int r = iface_encode(row, seq, rec, &b);
    return r < 0 ? r : frame_send(w->sock, b.data, b.len, fds, nfds);
}

static inline int wire_send(struct wire *w, uint32_t id, uint64_t seq, const void *rec)
{
    return wire_send_row(w, iface_row(w->iface, id), seq, rec, NULL, 0);
}

/* n copies of an fd of its own go along. */
static inline int wire_send_fds(struct wire *w, uint32_t id, uint64_t seq, const void *rec, size_t n)
{
    int fds[FRAME_FDS_MAX];
    _cleanup_close_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    for (size_t i = 0; i < n; i++)
        fds[i] = null;
    return wire_send_row(w, iface_row(w->iface, id), seq, rec, fds, n);
}

static inline int wire_hello(struct wire *w)
{
    struct hello h = {str_of(w->iface->name), w->iface->version, w->role};
    return wire_send(w, MSG_HELLO, 0, &h);
}

static inline int wire_error(struct wire *w, uint64_t seq, uint32_t fail, const char *text)
{
    struct error e = {fail, str_of(text)};
    return wire_send(w, MSG_ERROR, seq, &e);
}

/* The next frame of the other side, decoded: 0, or what frame_recv or iface_decode said. */
static inline int wire_recv(struct wire *w, uint32_t peer_role, uint32_t state, struct msg *m)
{
    frame_close_fds(&w->frame);
    int r = frame_recv(w->sock, &w->frame);
    if (r != FRAME_GOT)
        return r;
    return iface_decode(w->iface, w->side == FROM_CLIENT ? FROM_SERVER : FROM_CLIENT, peer_role, state,
                        w->frame.data, w->frame.len, w->frame.nfds, &w->arena, m);
}
