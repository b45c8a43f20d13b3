/* SPDX-License-Identifier: MIT */
#include "supervisor/client.h"

#include <sys/socket.h>

#include "common/base/log.h"
#include "common/ipc/peer.h"

#define ACCEPT_PAUSE_S 1.0 /* out of file descriptors: not a loop that spins */

/* It is on no list any more. */
static void client_free(struct client *c)
{
    c->m->nclients--;
    policy_change_forget(c->m, c);
    endpoint_free(c->line);
    free(c);
}

static void client_remove(struct client *c)
{
    for (struct client **at = &c->m->clients; *at; at = &(*at)->next)
        if (*at == c) {
            *at = c->next;
            client_free(c);
            return;
        }
}

static void on_gone(void *self, struct endpoint *e, int err)
{
    (void)e;
    struct client *c = self;
    if (err < 0)
        log_failed(LOG_NOTICE, err, "an operator (uid %u) broke the protocol and lost its line", c->uid);
    client_remove(c);
}

/* Takes sock. */
static int client_new(struct manager *m, int sock, uint32_t uid)
{
    static const struct endpoint_handler handlers[] = {{MSG_CONTROL_POLICY_REQ, client_on_policy}};
    static const struct endpoint_ops ops = {handlers, ARRAY_LEN(handlers), NULL, on_gone};
    struct client *c = calloc(1, sizeof(*c));
    if (!c) {
        close(sock);
        return -ENOMEM;
    }
    *c = (struct client){.m = m, .uid = uid};
    struct endpoint_config cfg = {&iface_control, FROM_SERVER, ROLE_SUPERVISOR, ROLE_CELLCTL, &ops, c};
    int r = endpoint_new(m->loop, sock, &cfg, &c->line);
    if (r < 0) {
        free(c);
        return r;
    }
    c->next = m->clients;
    m->clients = c;
    m->nclients++;
    return 0;
}

/* Who is not the suite's own user or root gets no word. */
static int admit(struct manager *m, int sock)
{
    struct peer p;
    int r = peer_cred(sock, &p);
    if (r == 0 && p.uid != 0 && p.uid != geteuid())
        r = -EPERM;
    if (r == 0 && m->nclients >= LIMIT_POLICY_CLIENTS)
        r = -EDQUOT;
    if (r < 0) {
        close(sock);
        return r;
    }
    return client_new(m, sock, p.uid);
}

static void on_connect(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)revents;
    struct manager *m = w->data;
    int sock = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (sock < 0) {
        if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
            return;
        log_failed(LOG_WARNING, -errno, "an operator could not be let in");
        ev_io_stop(loop, w);
        ev_timer_set(&m->accept_again, ACCEPT_PAUSE_S, 0);
        ev_timer_start(loop, &m->accept_again);
        return;
    }
    int r = admit(m, sock);
    if (r < 0)
        log_failed(LOG_NOTICE, r, "an operator was turned away");
}

static void on_again(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)revents;
    struct manager *m = w->data;
    ev_io_start(loop, &m->operators);
}

void clients_listen(struct manager *m, int listener)
{
    ev_io_init(&m->operators, on_connect, listener, EV_READ);
    ev_timer_init(&m->accept_again, on_again, ACCEPT_PAUSE_S, 0);
    m->operators.data = m->accept_again.data = m;
    ev_io_start(m->loop, &m->operators);
}

void clients_end(struct manager *m)
{
    ev_io_stop(m->loop, &m->operators);
    ev_timer_stop(m->loop, &m->accept_again);
    for (struct client *c = m->clients, *next; c; c = next) {
        next = c->next;
        client_free(c);
    }
    m->clients = NULL;
}
