/* SPDX-License-Identifier: MIT */
/* proxyd's attack surface is threefold. On its lines: the supervisor's requests below, netd's answers, and
 * what PID 1 of a cell says of a process. In the sockets of the cells: everything a workload can send; that
 * is read only by dns/, tls/client_hello.c, http/, quic/ and udp/, through checked readers. From outside:
 * what resolvers (resolver/), an upstream proxy (proxied_reply.c) and HTTP servers (http/) send.
 *
 * proxyd holds no privilege at all: no capability, no file, no other process. It may open sockets and
 * connect. A socket of a cell stays in that cell's network namespace; connections out are made from proxyd's
 * own, by name, and only for what the cell's policy allows and signerd has acknowledged.
 *
 * It does not trust: a workload, in anything; a resolver's answer (checked, filtered); the supervisor's fds
 * (each one's kind is checked) and document (sealed, bounded, compared with its digest). What does not fit
 * the table never gets here. */
#include "proxyd/dispatch.h"

#include "proxyd/cell.h"

static uint32_t fail_of_open(int r)
{
    switch (r) {
    case -EBADF:
        return FAIL_BAD_FD;
    case -EBADMSG:
    case -EINVAL:
    case -EFBIG:
        return FAIL_INVALID;
    default:
        return FAIL_INTERNAL;
    }
}

static int cell_open_answer(struct proxy *p, struct endpoint *e, struct endpoint_msg *m, bool routed,
                            int fds[static _CELL_FD_MAX])
{
    const struct proxy_cell_open_req *q = m->rec;
    struct empty done = {};

    if (cell_find(p, q->run_id))
        return endpoint_fail(e, m->seq, FAIL_EXISTS, "this run has a cell already");
    if (p->ncells >= LIMIT_CELLS)
        return endpoint_fail(e, m->seq, FAIL_QUOTA, "there are %u cells", LIMIT_CELLS);
    int r = cell_open(p, q, routed, fds);
    if (r < 0)
        return endpoint_fail(e, m->seq, fail_of_open(r), "the cell cannot be served: %s", strerror(-r));
    return endpoint_reply(e, m->row->id, m->seq, &done, NULL, 0);
}

static int proxy_on_cell_open(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    return cell_open_answer(self, e, m, false, m->fds);
}

static int proxy_on_cell_open_routed(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    int fds[_CELL_FD_MAX] = {m->fds[0], -EBADF, m->fds[1], m->fds[2], -EBADF, -EBADF, -EBADF, -EBADF};
    int r = cell_open_answer(self, e, m, true, fds);

    m->fds[0] = fds[CELL_FD_POLICY]; /* what was not taken is closed behind the handler */
    m->fds[1] = fds[CELL_FD_DNS_UDP];
    m->fds[2] = fds[CELL_FD_DNS_TCP];
    return r;
}

static int proxy_on_cell_policy(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    const struct proxy_cell_policy_req *q = m->rec;
    struct cell *c = cell_find(self, q->run_id);
    struct proxy_cell_policy_rep rep = {0};

    if (!c)
        return endpoint_fail(e, m->seq, FAIL_UNKNOWN, "no such cell");
    if (c->closing)
        return endpoint_fail(e, m->seq, FAIL_STATE, "the cell is being closed");
    int r = cell_policy_set(c, m->fds[0], q->policy_sha256, &rep.connections_cut);
    if (r < 0)
        return endpoint_fail(e, m->seq, fail_of_open(r), "the policy cannot be changed: %s", strerror(-r));
    return endpoint_reply(e, MSG_PROXY_CELL_POLICY_REQ, m->seq, &rep, NULL, 0);
}

static int proxy_on_cell_close(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    const struct proxy_cell_close_req *q = m->rec;
    struct cell *c = cell_find(self, q->run_id);

    if (!c)
        return endpoint_fail(e, m->seq, FAIL_UNKNOWN, "no such cell");
    if (c->closing)
        return endpoint_fail(e, m->seq, FAIL_STATE, "the cell is being closed");
    cell_close(c, m->seq);
    return 0;
}

const struct endpoint_handler *dispatch_supervisor(size_t *ret_n)
{
    static const struct endpoint_handler handlers[] = {
        {MSG_PROXY_CELL_OPEN_REQ, proxy_on_cell_open},
        {MSG_PROXY_CELL_OPEN_ROUTED_REQ, proxy_on_cell_open_routed},
        {MSG_PROXY_CELL_POLICY_REQ, proxy_on_cell_policy},
        {MSG_PROXY_CELL_CLOSE_REQ, proxy_on_cell_close},
    };

    *ret_n = ARRAY_LEN(handlers);
    return handlers;
}
