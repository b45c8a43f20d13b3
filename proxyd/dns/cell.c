/* SPDX-License-Identifier: MIT */
#include "proxyd/dns/cell.h"

int dns_cell_new(struct ev_loop *loop, const struct dns_policy *policy, int udp_fd, int tcp_fd,
                 const struct dns_events *events, void *self, struct dns_cell **ret)
{
    struct dns_cell *cell = calloc(1, sizeof(*cell));

    if (!cell)
        return -ENOMEM;
    cell->loop = loop;
    cell->policy = policy;
    cell->events = events;
    cell->self = self;
    cell->udp_fd = cell->tcp_fd = -EBADF;
    buf_init(&cell->out, 2 * DNS_MESSAGE_MAX + DNS_ANSWERS_MAX * 3 * DNS_WIRE_NAME_MAX);
    dns_evidence_init(cell);
    dns_resolve_init(cell);
    cell->cache = dns_cache_new();
    int r = cell->cache ? dns_udp_init(cell, udp_fd) : -ENOMEM;
    if (r == 0)
        r = dns_tcp_init(cell, tcp_fd);
    if (r < 0) {
        /* the sockets stay the caller's */
        ev_io_stop(loop, &cell->udp_io);
        dns_cache_free(cell->cache);
        free(cell);
        return r;
    }
    *ret = cell;
    return 0;
}

struct dns_cell *dns_cell_free(struct dns_cell *cell)
{
    if (!cell)
        return NULL;
    dns_udp_done(cell);
    dns_tcp_done(cell);
    dns_resolve_done(cell);
    dns_query_drop_all(cell);
    dns_evidence_gap_flush(cell);
    dns_cache_free(cell->cache);
    buf_done(&cell->out);
    free(cell);
    return NULL;
}

void dns_cell_counters(const struct dns_cell *cell, struct dns_counters *ret)
{
    *ret = cell->counters;
}
