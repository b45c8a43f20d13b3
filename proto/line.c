/* SPDX-License-Identifier: MIT */
#include "proto/line.h"

#include <poll.h>

void line_msg_init(struct line_msg *m)
{
    m->msg = (struct msg){0};
    m->frame.len = 0;
    m->frame.nfds = 0;
    arena_init(&m->arena, LIMIT_ARENA);
}

void line_msg_done(struct line_msg *m)
{
    frame_close_fds(&m->frame);
    arena_done(&m->arena);
}

static int wait_for(int sock, short events, int timeout_ms)
{
    struct pollfd p = {.fd = sock, .events = events};
    for (;;) {
        int r = poll(&p, 1, timeout_ms);
        if (r > 0)
            return 0;
        if (r == 0)
            return -EAGAIN;
        if (errno != EINTR)
            return -errno;
    }
}

int line_recv(struct line *l, struct line_msg *m, int timeout_ms)
{
    line_msg_done(m);
    line_msg_init(m);
    int r;
    while ((r = frame_recv(l->sock, &m->frame)) == -EAGAIN) {
        r = wait_for(l->sock, POLLIN, timeout_ms);
        if (r < 0)
            return r;
    }
    if (r < 0)
        return r;
    if (r == FRAME_EOF)
        return 1;
    r = iface_decode(l->iface, l->side == FROM_CLIENT ? FROM_SERVER : FROM_CLIENT, l->peer_role, l->state,
                     m->frame.data, m->frame.len, m->frame.nfds, &m->arena, &m->msg);
    return r < 0 ? r : iface_once(l->iface, m->msg.row, &l->once);
}

int line_send(struct line *l, uint32_t id, uint64_t seq, const void *rec, const int *fds, size_t nfds)
{
    const struct msg_row *row = iface_row(l->iface, id);
    if (!row || row->nfds != nfds || !(row->from & l->side))
        return -EINVAL;
    _cleanup_(buf_done) struct buf b = {0};
    buf_init(&b, LIMIT_FRAME);
    int r = iface_encode(row, seq ? seq : l->next_seq++, rec, &b);
    if (r < 0)
        return r;
    while ((r = frame_send(l->sock, b.data, b.len, fds, nfds)) == -EAGAIN) {
        r = wait_for(l->sock, POLLOUT, LIMIT_HELLO_MS);
        if (r < 0)
            return r;
    }
    return r;
}

int line_fail(struct line *l, uint64_t seq, uint32_t fail, const char *text)
{
    char room[LIMIT_ERROR_TEXT];
    struct error err = {.fail = fail, .text = iface_error_text(room, str_of(text))};
    return line_send(l, MSG_ERROR, seq, &err, NULL, 0);
}

int line_hello(struct line *l, struct line_msg *m)
{
    struct hello mine = {str_of(l->iface->name), l->iface->version, l->role};
    l->state = LINE_HELLO;
    l->next_seq = 1;
    l->once = 0;
    int r = line_send(l, MSG_HELLO, 0, &mine, NULL, 0);
    if (r < 0)
        return r;
    r = line_recv(l, m, LIMIT_HELLO_MS);
    if (r != 0)
        return r < 0 ? r : -ECONNRESET;
    if (m->msg.row->id != MSG_HELLO)
        return -EPROTO;
    const struct hello *h = m->msg.rec;
    if (!str_is(h->interface, l->iface->name) || h->version != l->iface->version || h->role != l->peer_role)
        return -EPROTO;
    l->state = LINE_READY;
    return 0;
}
