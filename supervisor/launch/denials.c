/* SPDX-License-Identifier: MIT */
#include "supervisor/launch/denials.h"

#include <linux/seccomp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "supervisor/launch/cell_filter.h"

int denials_init(struct denials *d, int listener)
{
    struct seccomp_notif_sizes sizes;

    *d = (struct denials){.listener = listener};
    if (syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) < 0)
        return -errno;
    /* A newer kernel's structures are longer than the header's. */
    d->req_size = sizes.seccomp_notif > sizeof(struct seccomp_notif) ? sizes.seccomp_notif
                                                                     : sizeof(struct seccomp_notif);
    d->resp_size = sizes.seccomp_notif_resp > sizeof(struct seccomp_notif_resp)
                       ? sizes.seccomp_notif_resp
                       : sizeof(struct seccomp_notif_resp);
    d->req = malloc(d->req_size);
    d->resp = malloc(d->resp_size);
    return d->req && d->resp ? 0 : -ENOMEM;
}

void denials_done(struct denials *d)
{
    cleanup_closep(&d->listener);
    free(d->req);
    free(d->resp);
    *d = (struct denials){.listener = -EBADF};
}

void denials_count(struct denials *d, int call, int family)
{
    for (size_t i = 0; i < d->nkinds; i++)
        if (d->kinds[i].call == call && d->kinds[i].family == family) {
            d->kinds[i].count++;
            return;
        }
    if (d->nkinds < DENIALS_KINDS)
        d->kinds[d->nkinds++] = (struct denial){call, family, 1};
    else
        d->other++;
}

void denials_serve(struct denials *d, short revents)
{
    struct seccomp_notif *req = d->req;
    struct seccomp_notif_resp *resp = d->resp;
    uint64_t args[6];
    bool socket_call;

    if (!(revents & POLLIN)) { /* POLLHUP: every process under the filter is gone */
        cleanup_closep(&d->listener);
        d->listener = -EBADF;
        return;
    }
    memset(req, 0, d->req_size);
    memset(resp, 0, d->resp_size);
    if (ioctl(d->listener, SECCOMP_IOCTL_NOTIF_RECV, req) < 0)
        return; /* killed while it waited */
    for (size_t i = 0; i < ARRAY_LEN(args); i++)
        args[i] = req->data.args[i];
    resp->id = req->id;
    resp->error = -core_filter_errno(req->data.nr, args);
    (void)!ioctl(d->listener, SECCOMP_IOCTL_NOTIF_SEND, resp); /* ENOENT: killed meanwhile */
    socket_call = req->data.nr == SCMP_SYS(socket) || req->data.nr == SCMP_SYS(socketpair);
    denials_count(d, req->data.nr, socket_call ? (int)(args[0] & INT32_MAX) : -1);
}

int denials_due(const struct denials *d, uint64_t now_ms)
{
    bool any = d->other > 0;

    for (size_t i = 0; i < d->nkinds && !any; i++)
        any = d->kinds[i].count > 0;
    if (!any)
        return -1;
    if (d->reported_ms == 0 || now_ms >= d->reported_ms + DENIALS_REPORT_MS)
        return 0;
    return (int)(d->reported_ms + DENIALS_REPORT_MS - now_ms);
}

/* False when it could not be sent now: the count stays. */
static bool denials_send(struct line *l, const char *call, const char *family, uint64_t count)
{
    struct ev_syscall_denied ev = {.syscall = str_of(call), .family = str_of(family), .count = count};
    struct pollfd p = {.fd = l->sock, .events = POLLOUT};

    return poll(&p, 1, 0) == 1 && line_send(l, MSG_INIT_DENIED, 0, &ev, NULL, 0) == 0;
}

static bool denials_send_one(struct line *l, struct denial *k)
{
    _cleanup_free_ char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, k->call);
    char number[24], family[24];
    const char *family_name = core_filter_family(k->family);

    snprintf(number, sizeof(number), "%d", k->call);
    snprintf(family, sizeof(family), "%d", k->family);
    if (!family_name)
        family_name = family;
    if (!denials_send(l, name && strlen(name) <= 32 ? name : number, k->family < 0 ? NULL : family_name,
                      k->count))
        return false;
    k->count = 0;
    return true;
}

void denials_report(struct denials *d, struct line *l, uint64_t now_ms, bool last)
{
    size_t sent = 0;

    if (last ? denials_due(d, now_ms) < 0 : denials_due(d, now_ms) != 0)
        return;
    d->reported_ms = now_ms;
    for (size_t i = 0; i < d->nkinds; i++) {
        if (d->kinds[i].count == 0)
            continue;
        if (sent++ == DENIALS_BATCH && !last)
            return;
        if (!denials_send_one(l, &d->kinds[i]))
            return;
    }
    if (d->other > 0 && denials_send(l, "other", NULL, d->other))
        d->other = 0;
}
