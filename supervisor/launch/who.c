/* SPDX-License-Identifier: MIT */
#include "supervisor/launch/who.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#include "common/net/addr.h"

#include <linux/netlink.h>

void who_open(struct who *w, int sock, int proc)
{
    static const struct sockaddr_nl any = {.nl_family = AF_NETLINK};

    *w = (struct who){.line = {.sock = sock,
                               .iface = &iface_who,
                               .side = FROM_SERVER,
                               .role = ROLE_INIT,
                               .peer_role = ROLE_PROXYD}};
    w->proc = fcntl(proc, F_DUPFD_CLOEXEC, 3);
    w->diag = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);
    if (w->diag >= 0 && bind(w->diag, (const struct sockaddr *)&any, sizeof(any)) < 0) {
        close(w->diag);
        w->diag = -EBADF;
    }
}

/* The line is done for; the cell goes on without names of processes. */
static void who_drop(struct who *w)
{
    close(w->line.sock);
    w->line.sock = -EBADF;
}

/* False: proxyd does not read its answers, and nobody waits for it here. */
static bool who_can_send(const struct who *w)
{
    struct pollfd p = {.fd = w->line.sock, .events = POLLOUT};

    return poll(&p, 1, 0) == 1 && (p.revents & POLLOUT);
}

static int who_answer(struct who *w, struct line_msg *m)
{
    const struct who_who_req *q = m->msg.rec;
    struct endpoint_addr local, remote;
    struct who_process found;
    struct ev_process process;
    struct who_who_rep rep = {};
    uint64_t inode = 0;

    if (addr_endpoint_parse(q->local, 0, &local) < 0 || addr_endpoint_parse(q->remote, 0, &remote) < 0)
        return -EPROTO;
    if (w->diag >= 0 && w->proc >= 0 && local.addr.family == remote.addr.family)
        inode = who_inode(w, (enum transport)q->transport, &local, &remote);
    if (inode != 0 && who_holder(w->proc, inode, &found) == 0) {
        process = (struct ev_process){(uint64_t)found.pid, str_of(found.exe)};
        rep.process = &process;
    }
    return who_can_send(w) ? line_send(&w->line, MSG_WHO_WHO_REP, m->msg.seq, &rep, NULL, 0) : -EAGAIN;
}

void who_serve(struct who *w, struct line_msg *m)
{
    int r;

    if (!w->greeted) { /* proxyd's hello is what woke us: nothing is waited for */
        r = who_can_send(w) ? line_hello(&w->line, m) : -EAGAIN;
        w->greeted = true;
    } else {
        r = line_recv(&w->line, m, 0);
        if (r == -EAGAIN)
            return;
        if (r == 0)
            r = m->msg.row->id == MSG_WHO_WHO_REQ ? who_answer(w, m) : -EPROTO;
    }
    if (r != 0)
        who_drop(w);
}
