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
#include "netd/evidence.h"

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

/* The policy is read, and the host asked for what it lacks, before anything is made. */
static int netd_on_cell_attach_routed(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    struct netd *n = self;
    const struct netd_cell_attach_routed_req *q = m->rec;
    struct registry_cell *c = NULL;
    struct routed_cell *host = NULL;
    const char *step = "";
    if (n->routed == NULL)
        return endpoint_fail(e, m->seq, FAIL_STATE, "netd was not started with a pool for routed cells");
    int r = registry_add(&n->registry, q->run_id, &c);
    if (r < 0)
        return endpoint_fail(e, m->seq, fail_of_add(r), "runId refused: %s", strerror(-r));
    c->netd = n;
    r = routed_cell_new(n->routed, m->fds[2], q->policy_sha256, &host, &step);
    if (r < 0) {
        registry_remove(&n->registry, c);
        return endpoint_fail(e, m->seq, r == -EINVAL ? FAIL_INVALID : FAIL_STATE, "cannot %s: %s", step,
                             strerror(-r));
    }
    c->routed = host;
    for (; n->routed->nresidue > 0; n->routed->nresidue--) {
        const struct routed_residue *left = &n->routed->residue[n->routed->nresidue - 1];
        r = evidence_residue(n, c->run_id, left->kind, left->name);
        if (r < 0)
            break;
    }
    cell_attach(c, NET_MODE_ROUTED, TAKE_FD(m->fds[0]), TAKE_FD(m->fds[1]), request_of(m));
    return 0;
}

static int netd_on_cell_policy(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    struct netd *n = self;
    const struct netd_cell_policy_req *q = m->rec;
    struct netd_cell_policy_rep rep = {0};
    struct registry_cell *c = registry_find(&n->registry, q->run_id);
    if (c == NULL || c->routed == NULL)
        return endpoint_fail(e, m->seq, FAIL_UNKNOWN, "no such routed cell");
    if (c->state == REGISTRY_ATTACHING)
        return endpoint_fail(e, m->seq, FAIL_STATE, "the cell is being attached");
    int r = routed_cell_policy(c->routed, m->fds[0], q->policy_sha256, &rep.flows_cut);
    if (r < 0)
        return endpoint_fail(e, m->seq, r == -EINVAL ? FAIL_INVALID : FAIL_INTERNAL,
                             "the policy is not in force: %s", strerror(-r));
    return endpoint_reply(e, MSG_NETD_CELL_POLICY_REQ, m->seq, &rep, NULL, 0);
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
        {MSG_NETD_CELL_ATTACH_ROUTED_REQ, netd_on_cell_attach_routed},
        {MSG_NETD_CELL_POLICY_REQ, netd_on_cell_policy},
        {MSG_NETD_CELL_COUNTERS_REQ, netd_on_cell_counters},
        {MSG_NETD_CELL_DETACH_REQ, netd_on_cell_detach},
    };
    *ret_n = ARRAY_LEN(handlers);
    return handlers;
}
