/* SPDX-License-Identifier: MIT */
#include "proxyd/udp/udp_flow.h"
#include "proxyd/udp/udp_io.h"

#define READS 4 /* batches of one flow in one turn of the loop */

static void arm(struct udp_flow *f, double seconds)
{
    ev_timer_stop(f->u->cfg.loop, &f->timer);
    ev_timer_set(&f->timer, seconds, 0);
    ev_timer_start(f->u->cfg.loop, &f->timer);
}

/* What the network said about an earlier datagram goes on to the client, as it would without a proxy. */
static void tell_client(struct udp_flow *f)
{
    struct udp_datagram d = {.from = f->client, .to = f->original};

    udp_unreachable(f->u->denials, &d);
}

static bool is_network_error(int err)
{
    return err == -ECONNREFUSED || err == -EHOSTUNREACH || err == -ENETUNREACH || err == -EPERM ||
           err == -EACCES;
}

/* ---- out ---- */

static int send_once(const struct udp_flow *f, const uint8_t *p, size_t n)
{
    return send(f->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

void udp_relay_send(struct udp_flow *f, const uint8_t *p, size_t n)
{
    struct udp *u = f->u;

    if (u->cfg.quota &&
        quota_wait(u->cfg.quota) > 0) { /* policed: who sends faster than allowed loses some */
        u->count.dropped++;
        return;
    }
    int r = send_once(f, p, n);
    if (is_network_error(r)) { /* about an earlier one; this one was not sent */
        tell_client(f);
        r = send_once(f, p, n);
    }
    if (r < 0) {
        u->count.dropped++;
        return;
    }
    f->active = ev_now(u->cfg.loop);
    u->count.packets_sent++;
    u->count.bytes_sent += n;
    if (u->cfg.quota && !quota_count(u->cfg.quota, QUOTA_SENT, n))
        udp_flow_deny(f, L7_QUOTA, NULL);
}

void udp_relay_flush(struct udp_flow *f)
{
    struct udp_held *held = f->held;
    struct endpoint_addr client = f->client, original = f->original;
    struct udp *u = f->u;

    f->held = NULL;
    f->held_end = &f->held;
    f->nheld = f->held_bytes = 0;
    while (held) {
        struct udp_held *next = held->next;
        if (udp_flow_find(u, &client, &original) == f) /* the quota may have ended it */
            udp_relay_send(f, held->bytes, held->len);
        free(held);
        held = next;
    }
}

/* ---- back ---- */

/* False: the cell's bytes are used up and f is gone. */
static bool deliver(struct udp_flow *f, const struct str *v, size_t n)
{
    struct udp *u = f->u;
    int raw = f->original.addr.family == AF_INET6 ? u->raw6 : u->raw4;
    size_t sent = udp_io_send_cell(raw, &f->original, &f->client, v, n);
    uint64_t bytes = 0;

    for (size_t i = 0; i < n; i++)
        bytes += v[i].len;
    f->active = ev_now(u->cfg.loop);
    f->replied = true;
    u->count.dropped += n - sent;
    u->count.packets_received += sent;
    u->count.bytes_received += bytes;
    if (!u->cfg.quota || quota_count(u->cfg.quota, QUOTA_RECEIVED, bytes))
        return true;
    udp_flow_deny(f, L7_QUOTA, NULL);
    return false;
}

static void on_upstream(struct ev_loop *loop, struct ev_io *w, int events)
{
    struct udp_flow *f = w->data;

    (void)events;
    for (int i = 0; i < READS; i++) {
        double wait = f->u->cfg.quota ? quota_wait(f->u->cfg.quota) : 0;
        if (wait > 0) { /* the kernel's queue waits, and then loses, as a slow link would */
            ev_io_stop(loop, w);
            f->paused = true;
            arm(f, wait);
            return;
        }
        const struct str *v;
        ssize_t n = udp_io_recv(f->fd, &v);
        if (is_network_error((int)n))
            tell_client(f);
        else if (n <= 0 || !deliver(f, v, (size_t)n) || (size_t)n < UDP_BATCH)
            return;
    }
}

/* ---- time ---- */

static void on_timer(struct ev_loop *loop, struct ev_timer *w, int events)
{
    struct udp_flow *f = w->data;
    double limit = f->replied ? UDP_IDLE_S : UDP_UNREPLIED_S, idle = ev_now(loop) - f->active;

    (void)events;
    if (f->paused) {
        f->paused = false;
        ev_io_start(loop, &f->io);
    } else if (idle >= limit) {
        udp_flow_free(f);
        return;
    }
    arm(f, idle < limit ? limit - idle : 0.1);
}

void udp_relay_start(struct udp_flow *f, int fd)
{
    struct ev_loop *loop = f->u->cfg.loop;

    f->fd = fd;
    f->state = FLOW_OPEN;
    f->active = ev_now(loop);
    ev_io_init(&f->io, on_upstream, fd, EV_READ);
    f->io.data = f;
    ev_io_start(loop, &f->io);
    ev_set_cb(&f->timer, on_timer);
    arm(f, UDP_UNREPLIED_S);
    if (!f->quic || !quic_waits(f->quic))
        udp_relay_flush(f);
}

void udp_relay_stop(struct udp_flow *f)
{
    if (f->state == FLOW_OPEN)
        ev_io_stop(f->u->cfg.loop, &f->io);
    cleanup_closep(&f->fd);
    f->fd = -EBADF;
}
