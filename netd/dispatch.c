/* SPDX-License-Identifier: MIT */
/* netd's whole attack surface. Only the supervisor talks to netd, on the one line it was started with;
 * signerd only answers claims.
 *
 * netd may enter the user namespaces of that supervisor's uid and build, in network namespaces below them,
 * the one rule set this program holds. In the embedded suite it has no capability for that (the owner of a
 * user namespace needs none), in the system suite CAP_SYS_ADMIN alone. It opens no file, executes nothing,
 * and touches no network outside a cell.
 *
 * It does not trust: the two fds (netns_check() judges them before anything is entered), the runId (its form;
 * which cell it names is netd's own registry), the order of requests (states are netd's own). No request
 * carries netlink, addresses, paths, interface names or pids: only verbs on cells. What does not fit the
 * table never gets here. */
#include "netd/dispatch.h"

#include "netd/cell.h"

static struct registry_request request_of(const struct endpoint_msg *m)
{
    return (struct registry_request){m->row->id, m->seq};
}

static uint32_t fail_of_add(int r)
{
    return r == -EINVAL   ? FAIL_INVALID
           : r == -EEXIST ? FAIL_EXISTS
           : r == -EDQUOT ? FAIL_QUOTA
                          : FAIL_INTERNAL;
}

static int attach(struct netd *n, enum net_mode mode, struct endpoint *e, struct endpoint_msg *m)
{
    const struct netd_cell_attach_req *q = m->rec;
    struct registry_cell *c = NULL;
    int r = registry_add(&n->registry, q->run_id, &c);
    if (r < 0)
        return endpoint_fail(e, m->seq, fail_of_add(r), "runId refused: %s", strerror(-r));
    c->netd = n;
    cell_attach(c, mode, TAKE_FD(m->fds[0]), TAKE_FD(m->fds[1]), request_of(m));
    return 0;
}

static int netd_on_cell_attach(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    return attach(self, NET_MODE_INTERCEPT, e, m);
}

static int netd_on_cell_attach_none(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    return attach(self, NET_MODE_NONE, e, m);
}

static int netd_on_cell_counters(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    struct netd *n = self;
    const struct netd_cell_ref *q = m->rec;
    struct registry_cell *c = registry_find(&n->registry, q->run_id);
    if (c == NULL)
        return endpoint_fail(e, m->seq, FAIL_UNKNOWN, "no such cell");
    if (c->state != REGISTRY_ATTACHED)
        return endpoint_fail(e, m->seq, FAIL_STATE, "another request is under way");
    cell_counters(c, request_of(m));
    return 0;
}

static int netd_on_cell_detach(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    struct netd *n = self;
    const struct netd_cell_ref *q = m->rec;
    struct registry_cell *c = registry_find(&n->registry, q->run_id);
    if (c == NULL)
        return endpoint_fail(e, m->seq, FAIL_UNKNOWN, "no such cell");
    if (c->request.id == MSG_NETD_CELL_DETACH_REQ)
        return endpoint_fail(e, m->seq, FAIL_STATE, "the cell is being detached");
    cell_detach(c, request_of(m));
    return 0;
}

const struct endpoint_handler *dispatch_supervisor(size_t *ret_n)
{
    static const struct endpoint_handler handlers[] = {
        {MSG_NETD_CELL_ATTACH_REQ, netd_on_cell_attach},
        {MSG_NETD_CELL_ATTACH_NONE_REQ, netd_on_cell_attach_none},
        {MSG_NETD_CELL_COUNTERS_REQ, netd_on_cell_counters},
        {MSG_NETD_CELL_DETACH_REQ, netd_on_cell_detach},
    };
    *ret_n = ARRAY_LEN(handlers);
    return handlers;
}
