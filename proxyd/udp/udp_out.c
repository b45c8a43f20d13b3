/* SPDX-License-Identifier: MIT */
#include "proxyd/udp/udp_out.h"

#include <netinet/ip.h>

#include "proxyd/dial.h"
#include "proxyd/l7_event.h"

struct udp_out {
    const struct udp_config *cfg;
    struct udp_want want;
    udp_out_done done;
    void *self;

    struct process_ask *asking;
    bool has_process;
    uint64_t pid;
    char exe[LIMIT_EXE + 1];
    struct dns_resolve *resolving;
    struct claims_ticket ticket;
    struct ev_timer timer; /* patience with a credit, and failures that must not come from inside */
    uint32_t failure;
    int fd;
    struct endpoint_addr dialed;
    bool has_dialed;
};

static void out_free(struct udp_out *o)
{
    ev_timer_stop(o->cfg->loop, &o->timer);
    process_cancel(o->asking);
    dns_resolve_cancel(o->resolving);
    claims_forget(o->cfg->claims, o);
    claims_unwait(&o->ticket);
    cleanup_closep(&o->fd);
    free(o);
}

void udp_out_cancel(struct udp_out *o)
{
    if (o)
        out_free(o);
}

void udp_out_rule_set(struct udp_out *o, ssize_t rule)
{
    o->want.j.rule = rule;
}

static void out_end(struct udp_out *o, uint32_t reason)
{
    struct udp_out_result result = {reason, reason == 0 ? TAKE_FD(o->fd) : -EBADF, o->has_dialed, o->dialed};
    udp_out_done done = o->done;
    void *self = o->self;

    out_free(o);
    done(self, &result);
}

/* ---- evidence before effect ---- */

static void out_claim(struct udp_out *o);

static void on_acked(void *self, int result)
{
    out_end(self, result < 0 ? L7_QUOTA : 0);
}

static void on_timer(struct ev_loop *loop, struct ev_timer *w, int events)
{
    struct udp_out *o = w->data;

    (void)loop;
    (void)events;
    out_end(o, o->failure);
}

/* failure 0: it may go, but not from inside. */
static void out_end_later(struct udp_out *o, uint32_t failure, double seconds)
{
    o->failure = failure;
    ev_timer_set(&o->timer, seconds, 0);
    ev_timer_start(o->cfg->loop, &o->timer);
}

static void on_credit(void *self)
{
    struct udp_out *o = self;

    ev_timer_stop(o->cfg->loop, &o->timer);
    out_claim(o);
}

static void out_claim(struct udp_out *o)
{
    struct ev_process process = {.pid = o->pid, .exe = str_of(o->exe)};
    const struct l7_decision allow = {
        .policy = o->cfg->policy,
        .j = &o->want.j,
        .original = &o->want.original,
        .dialed = &o->dialed,
        .process = o->has_process ? &process : NULL,
    };
    int r = l7_claim_allow(o->cfg->claims, &allow, on_acked, o);

    if (r == CLAIMS_GOES) {
        out_end_later(o, 0, 0);
    } else if (r == -EAGAIN) {
        out_end_later(o, L7_QUOTA, LIMIT_ACK_MS / 1000.0);
        claims_wait(o->cfg->claims, &o->ticket, on_credit, o);
    } else if (r < 0) {
        out_end_later(o, L7_QUOTA, 0);
    }
}

/* ---- the socket ---- */

/* QUIC finds its path's MTU itself and wants no fragments (RFC 9000 section 14); what is too long for the
 * interface is lost, as it would be on the path. */
static int no_fragments(int fd, int family)
{
    int v4 = IP_PMTUDISC_PROBE, v6 = IPV6_PMTUDISC_PROBE;

    if (family == AF_INET6)
        return setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &v6, sizeof(v6));
    return setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &v4, sizeof(v4));
}

static int udp_connect(const struct endpoint_addr *to, bool quic)
{
    struct sockaddr_storage ss;
    socklen_t len = addr_to_sockaddr(to, &ss);
    _cleanup_close_ int fd = socket(to->addr.family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0 || (quic && no_fragments(fd, to->addr.family) < 0) ||
        connect(fd, (struct sockaddr *)&ss, len) < 0)
        return -errno;
    return TAKE_FD(fd);
}

/* 1: connected; 0: not permitted, or no way there; -errno: not even a socket. */
static int out_try(struct udp_out *o, const struct addr *a)
{
    if (!dial_permitted(o->cfg->policy, &o->want.j, a))
        return 0;
    o->dialed = (struct endpoint_addr){.addr = *a, .port = o->want.original.port};
    o->has_dialed = true;
    int fd = udp_connect(&o->dialed, o->want.j.protocol == L7_QUIC);
    if (fd == -EMFILE || fd == -ENFILE || fd == -ENOBUFS || fd == -ENOMEM)
        return fd;
    if (fd < 0)
        return 0;
    o->fd = fd;
    return 1;
}

/* The address that the client itself chose comes first, then those of its family. */
static unsigned rank(const struct udp_out *o, const struct addr *a)
{
    return addr_eq(a, &o->want.original.addr) ? 0 : a->family == o->want.original.addr.family ? 1 : 2;
}

static void out_dial(struct udp_out *o, const struct addr *addrs, size_t n)
{
    for (unsigned k = 0; k <= 2; k++) {
        for (size_t i = 0; i < n; i++) {
            int r = rank(o, &addrs[i]) == k ? out_try(o, &addrs[i]) : 0;
            if (r < 0) {
                out_end_later(o, L7_QUOTA, 0);
                return;
            }
            if (r > 0) {
                out_claim(o);
                return;
            }
        }
    }
    out_end_later(o, o->has_dialed ? L7_UPSTREAM_UNREACHABLE : L7_DESTINATION_DENIED, 0);
}

/* ---- the name, and who asks ---- */

static uint32_t resolve_failure(int result, enum dns_reason_code reason)
{
    switch (result) {
    case -EPERM:
        return L7_DESTINATION_DENIED;
    case -ENOENT:
    case -EHOSTUNREACH:
        return L7_UPSTREAM_UNREACHABLE;
    case -ETIMEDOUT: /* without a reason it is signerd that did not answer */
        return reason == DNS_UPSTREAM_TIMEOUT ? L7_UPSTREAM_UNREACHABLE : L7_QUOTA;
    default:
        return L7_QUOTA;
    }
}

static void on_resolved(void *data, int result, enum dns_reason_code reason, const struct addr *addrs,
                        size_t n)
{
    struct udp_out *o = data;

    o->resolving = NULL;
    if (result < 0)
        out_end(o, resolve_failure(result, reason));
    else
        out_dial(o, addrs, n);
}

/* The operator's proxy carries streams only; going around it is nobody's to decide here. */
static void out_resolve(struct udp_out *o)
{
    if (o->cfg->policy->upstream != 0)
        out_end_later(o, L7_UPSTREAM_UNREACHABLE, 0);
    else if (o->want.j.literal || o->want.j.pinned)
        out_dial(o, &o->want.original.addr, 1);
    else if (dns_resolve(o->cfg->dns, &o->want.j.name, on_resolved, o, &o->resolving) < 0)
        out_end_later(o, L7_QUOTA, 0);
}

static void on_process(void *self, const struct ev_process *process)
{
    struct udp_out *o = self;

    o->asking = NULL;
    o->has_process = process != NULL;
    if (process) {
        o->pid = process->pid;
        memcpy(o->exe, process->exe.p, process->exe.len);
    }
    out_resolve(o);
}

int udp_out_start(const struct udp_config *cfg, const struct udp_want *want, udp_out_done done, void *self,
                  struct udp_out **ret)
{
    struct udp_out *o = calloc(1, sizeof(*o));

    if (!o)
        return -ENOMEM;
    *o = (struct udp_out){.cfg = cfg, .want = *want, .done = done, .self = self, .fd = -EBADF};
    ev_timer_init(&o->timer, on_timer, 0, 0);
    o->timer.data = o;
    *ret = o;
    if (!cfg->process || process_ask(cfg->process, TRANSPORT_UDP, &want->client, &want->original, on_process,
                                     o, &o->asking) < 0)
        out_resolve(o);
    return 0;
}
