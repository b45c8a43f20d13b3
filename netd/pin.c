/* SPDX-License-Identifier: MIT */
/* `pin`: before the DNS of a routed cell gives an answer to it, the addresses must be in the cell's sets.
 *
 * proxyd reads what resolvers say, so it is not trusted here: netd finds the cell in its own registry,
 * matches the name with the cell's policy itself and judges every address. All proxyd can do is to make an
 * address reachable under a name that the policy lists, which is what DNS does. One transaction, done when
 * the answer leaves; the kernel does it inside the call, so nobody is waited for. */
#include "netd/pin.h"

#include <errno.h>

#include "common/base/log.h"

static int parse_addresses(const struct pin_pin_req *q, struct addr addrs[LIMIT_PIN_ADDRS])
{
    for (size_t i = 0; i < q->addresses.n; i++)
        if (addr_parse(q->addresses.v[i], &addrs[i]) < 0)
            return -EINVAL;
    return 0;
}

static int on_pin(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    static const struct empty nothing;
    struct netd *n = self;
    const struct pin_pin_req *q = m->rec;
    struct addr addrs[LIMIT_PIN_ADDRS];
    struct name name;
    struct registry_cell *c = registry_find(&n->registry, q->run_id);
    if (c == NULL || c->routed == NULL)
        return endpoint_fail(e, m->seq, FAIL_UNKNOWN, "no such routed cell");
    if (name_parse(q->name, NAME_DNS, &name) != NAME_OK || parse_addresses(q, addrs) < 0)
        return endpoint_fail(e, m->seq, FAIL_INVALID, "not a name and addresses");
    int r = routed_cell_pin(c->routed, &name, addrs, q->addresses.n, (uint32_t)q->ttl_s);
    if (r < 0) {
        log_errno(r, "cell %s: cannot pin the addresses of a name", c->run_id);
        return endpoint_fail(e, m->seq, r == -EDQUOT ? FAIL_QUOTA : FAIL_INTERNAL, "not pinned: %s",
                             strerror(-r));
    }
    return endpoint_reply(e, MSG_PIN_PIN_REQ, m->seq, &nothing, NULL, 0);
}

static void on_gone(void *self, struct endpoint *e, int err)
{
    struct netd *n = self;
    if (err < 0)
        log_errno(err, "proxyd's line broke");
    n->proxyd = endpoint_free(e);
}

int pin_line_new(struct netd *n, int proxyd)
{
    static const struct endpoint_handler handlers[] = {{MSG_PIN_PIN_REQ, on_pin}};
    static const struct endpoint_ops ops = {.handlers = handlers, .n = ARRAY_LEN(handlers), .gone = on_gone};
    const struct endpoint_config cfg = {&iface_pin, FROM_SERVER, ROLE_NETD, ROLE_PROXYD, &ops, n};
    return endpoint_new(n->loop, proxyd, &cfg, &n->proxyd);
}
