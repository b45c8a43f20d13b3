/* SPDX-License-Identifier: MIT */
#include "proxyd/dns/cell.h"

#include <stdio.h>

#include "common/base/clock.h"

#define VIEW_BUCKETS 256u

static void cell_init(struct dns_cell *cell, const struct dns_cell_config *cfg)
{
    cell->loop = cfg->loop;
    cell->policy = cfg->policy;
    cell->events = cfg->events;
    cell->self = cfg->self;
    cell->pin = cfg->pin;
    cell->pin_self = cfg->pin_self;
    (void)snprintf(cell->run_id, sizeof(cell->run_id), "%s", cfg->run_id);
    cell->udp_fd = cell->tcp_fd = -EBADF;
    dns_table_init(&cell->views, VIEW_BUCKETS);
    buf_init(&cell->out, 2 * DNS_MESSAGE_MAX + DNS_ANSWERS_MAX * 3 * DNS_WIRE_NAME_MAX);
    dns_evidence_init(cell);
    dns_resolve_init(cell);
    dns_refresh_init(cell);
}

/* What a policy needs beside itself. Nothing changes on failure. */
static int policy_needs(struct dns_cell *cell, const struct dns_policy *policy)
{
    if (!policy->synthetic || cell->synthetic)
        return 0;
    cell->synthetic = dns_synthetic_new(cell->run_id);
    return cell->synthetic ? 0 : -ENOMEM;
}

static void cell_release(struct dns_cell *cell)
{
    dns_view_clear(cell);
    dns_table_done(&cell->views);
    dns_history_free(cell->history);
    dns_pins_free(cell->pins);
    dns_synthetic_free(cell->synthetic);
    dns_tunnel_free(cell->tunnel);
    dns_authority_unref(cell->authority);
    buf_done(&cell->out);
    free(cell);
}

int dns_cell_new(const struct dns_cell_config *cfg, struct dns_cell **ret)
{
    struct dns_cell *cell = calloc(1, sizeof(*cell));

    if (!cell)
        return -ENOMEM;
    cell_init(cell, cfg);
    int r = dns_authority_get(cfg->loop, cfg->policy, &cell->authority);
    if (r == 0)
        r = policy_needs(cell, cfg->policy);
    if (r == 0)
        r = dns_udp_init(cell, cfg->udp_fd);
    if (r == 0)
        r = dns_tcp_init(cell, cfg->tcp_fd);
    if (r < 0) {
        /* the sockets stay the caller's */
        ev_io_stop(cfg->loop, &cell->udp_io);
        cell_release(cell);
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
    dns_refresh_done(cell);
    dns_resolve_done(cell);
    dns_flight_drop_all(cell);
    dns_evidence_gap_flush(cell);
    cell_release(cell);
    return NULL;
}

static bool still_listed(void *self, const struct name *name)
{
    return dns_policy_listed(self, name, /* own= */ true);
}

int dns_cell_policy_set(struct dns_cell *cell, const struct dns_policy *policy)
{
    struct dns_authority *authority = NULL;

    if (!dns_authority_fits(cell->authority, policy)) {
        int r = dns_authority_get(cell->loop, policy, &authority);
        if (r < 0)
            return r;
    }
    int r = policy_needs(cell, policy);
    if (r < 0) {
        dns_authority_unref(authority);
        return r;
    }
    if (authority)
        dns_flight_fail_all(cell); /* what other resolvers say is of no use any more */
    cell->policy = policy;
    cell->generation++;
    dns_view_clear(cell);
    dns_pins_sift(cell->pins, still_listed, (void *)(uintptr_t)policy);
    if (authority) {
        dns_flight_detach(cell);
        dns_authority_unref(cell->authority);
        cell->authority = authority;
    }
    return 0;
}

void dns_cell_counters(const struct dns_cell *cell, struct dns_counters *ret)
{
    *ret = cell->counters;
}

size_t dns_cell_apexes(const struct dns_cell *cell, struct dns_apex ret[LIMIT_APEXES])
{
    return dns_tunnel_apexes(cell->tunnel, ret, LIMIT_APEXES);
}

bool dns_pin_find(const struct dns_cell *cell, const struct addr *addr,
                  bool (*fits)(void *self, const struct name *name), void *self, struct name *ret_name,
                  bool *ret_synthetic)
{
    struct name name;

    if (dns_synthetic_name(cell->synthetic, addr, &name)) {
        if (!dns_policy_listed(cell->policy, &name, /* own= */ true) || !fits(self, &name))
            return false;
        *ret_name = name;
        *ret_synthetic = true;
        return true;
    }
    if (!dns_pins_find(cell->pins, addr, clock_boottime_us(), fits, self, ret_name))
        return false;
    *ret_synthetic = false;
    return true;
}
