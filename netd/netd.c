/* SPDX-License-Identifier: MIT */
#include "netd/netd.h"

#include <stdio.h>
#include <sys/socket.h>

#include "common/base/encoding.h"
#include "common/base/log.h"
#include "netd/dispatch.h"

static int digest_text(const struct ruleset *rs, char dst[LIMIT_DIGEST + 1])
{
    uint8_t sum[DIGEST_LEN];
    _cleanup_(buf_done) struct buf b = {0};
    buf_init(&b, LIMIT_DIGEST + 1);
    int r = ruleset_digest(rs, sum);
    if (r < 0)
        return r;
    buf_puts(&b, "sha256:");
    encoding_hex_put(&b, sum, sizeof(sum));
    const char *text = buf_cstr(&b);
    if (text == NULL)
        return -ENOMEM;
    snprintf(dst, LIMIT_DIGEST + 1, "%s", text);
    return 0;
}

static int peer_uid(int sock, uid_t *ret)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        return -errno;
    if (len != sizeof(peer) || peer.uid == (uid_t)-1)
        return -EPERM;
    *ret = peer.uid;
    return 0;
}

int netd_self_read(int supervisor, struct netd_self *ret)
{
    struct netd_self s = {0};
    int r = digest_init();
    for (uint32_t i = 2; r == 0 && i < 2 * _net_mode_max; i++) {
        const struct ruleset *rs = ruleset_get(i / 2, i % 2 != 0);
        if (rs != NULL)
            r = digest_text(rs, s.digests[i / 2][i % 2]);
    }
    if (r < 0)
        return log_errno(r, "cannot compute the rule set digests");
    r = netns_own_read(&s.own);
    if (r < 0)
        return log_errno(r, "cannot read netd's own namespaces");
    r = sockets_own_cookie(&s.cookie);
    if (r < 0)
        return log_errno(r, "cannot identify netd's own network namespace (Linux 5.14 or later is needed)");
    r = peer_uid(supervisor, &s.owner);
    if (r < 0)
        return log_errno(r, "cannot read the supervisor's uid");
    *ret = s;
    return 0;
}

/* Without the supervisor there is nobody to serve: netd ends. */
static void on_supervisor_gone(void *self, struct endpoint *e, int err)
{
    struct netd *n = self;
    (void)e;
    if (err < 0)
        log_errno(err, "the supervisor's line broke");
    n->failed = err < 0;
    ev_break(n->loop, EVBREAK_ALL);
}

/* No evidence, no new cell: every claim fails from now on. What runs is released by the supervisor. */
static void on_signerd_gone(void *self, int err)
{
    (void)self;
    log_error("signerd is gone (%s): no cell can be attached any more",
              err < 0 ? strerror(-err) : "it closed the line");
}

int netd_new(struct ev_loop *loop, const struct netd_self *self, int supervisor, int signerd,
             struct netd **ret)
{
    _cleanup_close_ int supervisor_fd = supervisor;
    struct netd *n = calloc(1, sizeof(*n));
    if (n == NULL) {
        close(signerd);
        return -ENOMEM;
    }
    *n = (struct netd){.loop = loop, .self = *self};
    n->ops.gone = on_supervisor_gone;
    n->ops.handlers = dispatch_supervisor(&n->ops.n);
    int r = signer_client_new(loop, signerd, ROLE_NETD, on_signerd_gone, n, &n->signer);
    if (r == 0) {
        const struct endpoint_config cfg = {&iface_netd, FROM_SERVER, ROLE_NETD, ROLE_SUPERVISOR, &n->ops, n};
        r = endpoint_new(loop, TAKE_FD(supervisor_fd), &cfg, &n->supervisor);
    }
    if (r < 0) {
        netd_free(n);
        return r;
    }
    *ret = n;
    return 0;
}

struct netd *netd_free(struct netd *n)
{
    if (n == NULL)
        return NULL;
    while (n->registry.cells != NULL)
        registry_remove(&n->registry, n->registry.cells);
    endpoint_free(n->supervisor);
    endpoint_free(n->proxyd);
    signer_client_free(n->signer);
    free(n);
    return NULL;
}
