/* SPDX-License-Identifier: MIT */
/* proxyd's line to netd: before an answer of a routed cell's DNS leaves, its addresses are in the kernel's
 * sets. */
#pragma once

#include "proto/endpoint.h"
#include "proxyd/dns/dns.h"

#define NETD_LINE_MS                                                                                         \
    LIMIT_ACK_MS /* netd answers within a transaction; after this the asker gets SERVFAIL                    \
                  */

struct netd_line;

/* Takes sock, also on failure. A line that ends later fails every pin and nothing else. 0 or -errno. */
int netd_line_new(struct ev_loop *loop, int sock, struct netd_line **ret) MUST_CHECK;
struct netd_line *netd_line_free(struct netd_line *l); /* NULL-safe; open pins fail with -EPIPE */

/* One cell's way to it. */
struct netd_line_cell {
    struct netd_line *line;
    const char *run_id;
};

/* A dns_pin_fn; self is a struct netd_line_cell. done comes once: 0; -EPIPE without a line, -ETIMEDOUT,
 * -EDQUOT (netd holds as many as it may), -EHOSTUNREACH when netd refuses. */
void netd_line_pin(void *self, const struct name *name, const struct addr *addrs, size_t n, uint32_t ttl_s,
                   dns_ack_cb done, void *data);
