/* SPDX-License-Identifier: MIT */
#include "proxyd/proxy.h"

#include "common/base/log.h"
#include "proxyd/cell.h"
#include "proxyd/dispatch.h"
#include "proxyd/netd_line.h"

/* Without the supervisor there is nobody to serve. */
static void on_supervisor_gone(void *self, struct endpoint *e, int err)
{
    struct proxy *p = self;

    (void)e;
    if (err < 0)
        log_errno(err, "the supervisor's line broke");
    p->failed = err < 0;
    ev_break(p->loop, EVBREAK_ALL);
}

/* Strict decisions are denied from now on: their claims fail at once. Ending the cells is the supervisor's.
 */
static void on_signerd_gone(void *self, int err)
{
    (void)self;
    log_error("signerd is gone (%s): nothing more is allowed",
              err < 0 ? strerror(-err) : "it closed the line");
}

int proxy_new(struct ev_loop *loop, int supervisor, int signerd, struct proxy **ret)
{
    _cleanup_close_ int supervisor_fd = supervisor;
    _cleanup_close_ int signerd_fd = signerd;
    struct proxy *p = calloc(1, sizeof(*p));

    if (!p)
        return -ENOMEM;
    p->loop = loop;
    p->ops.gone = on_supervisor_gone;
    p->ops.handlers = dispatch_supervisor(&p->ops.n);
    int r = relay_pool_init(&p->pool, LIMIT_PIPES);
    if (r == 0)
        r = signer_client_new(loop, TAKE_FD(signerd_fd), ROLE_PROXYD, on_signerd_gone, p, &p->signer);
    if (r == 0) {
        const struct endpoint_config cfg = {&iface_proxy,    FROM_SERVER, ROLE_PROXYD,
                                            ROLE_SUPERVISOR, &p->ops,     p};
        r = endpoint_new(loop, TAKE_FD(supervisor_fd), &cfg, &p->supervisor);
    }
    if (r < 0) {
        proxy_free(p);
        return r;
    }
    *ret = p;
    return 0;
}

struct proxy *proxy_free(struct proxy *p)
{
    if (!p)
        return NULL;
    while (p->cells)
        cell_free(p->cells);
    endpoint_free(p->supervisor);
    signer_client_free(p->signer);
    netd_line_free(p->netd);
    relay_pool_done(&p->pool);
    free(p);
    return NULL;
}
