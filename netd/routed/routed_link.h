/* SPDX-License-Identifier: MIT */
/* The veth pair of a routed cell, by rtnetlink(7): the host's end in netd's own network namespace, the other
 * in the cell's. Neither end asks for neighbours: both know the other's MAC address, so nothing but the
 * cell's own packets has to pass. What the kernel does here it does inside the call: nobody is waited for. */
#pragma once

#include "common/net/addr.h"

#define ROUTED_LINK_MAX    16 /* a name, with NUL (IFNAMSIZ) */
#define ROUTED_CELL_NAME   "eth0"
#define ROUTED_LINK_PREFIX "ce" /* and eight hexadecimal digits of the suite, "-", four of the slot */

/* Both ends of one link. */
struct routed_link {
    char name[ROUTED_LINK_MAX];
    struct addr v4, v6; /* of the cell; family AF_UNSPEC: none */
    uint8_t mac_host[6], mac_cell[6];
};

/* Makes the pair, down, one end in netns. route: NETLINK_ROUTE in the host's namespace. 0 or -errno. */
int routed_link_make(int route, const struct routed_link *l, int netns, const char *alias) MUST_CHECK;

/* Host: takes the cell's addresses as routes (-EEXIST: another suite has one of them), then sets the link up.
 * 0 or -errno; what is left is removed with the link. */
int routed_link_up(int route, const struct routed_link *l) MUST_CHECK;

/* 0, also when it is gone already; or -errno. */
int routed_link_remove(int route, const char *name) MUST_CHECK;

/* Calls each() with every link's name that begins with ROUTED_LINK_PREFIX and has its form. 0 or -errno. */
int routed_link_list(int route, void (*each)(void *self, const char *name), void *self) MUST_CHECK;

/* In the cell's namespace: lo and the cell's end with its addresses, the default routes last. 0, or -errno
 * and *ret_step (a constant) says what was refused. */
int routed_link_cell(const struct routed_link *l, const char **ret_step) MUST_CHECK;
