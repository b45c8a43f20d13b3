/* SPDX-License-Identifier: MIT */
/* Addresses and routes of a cell, by rtnetlink(7): only lo, up, with one own address a family, and a local
 * default route that makes every other address local too (AnyIP). Nothing can leave: there is no other
 * interface. */
#pragma once

#include "common/net/addr.h"

/* The same in every cell: no cell ever sees another's network. */
#define ROUTE_CELL_IPV4                                                                                      \
    {                                                                                                        \
        .family = AF_INET, .bytes = { 10, 88, 0, 2 }                                                         \
    }
#define ROUTE_CELL_IPV6                                                                                      \
    {                                                                                                        \
        .family = AF_INET6, .bytes = { 0xfd, 0x00, 0xce, 0x11, [15] = 2 }                                    \
    }

/* Sets the current network namespace up, which must be blank: an address or route that is already there is an
 * error
 * (-EEXIST). 0 or -errno, then *ret_step names what was refused (a constant). */
int route_apply(const char **ret_step) MUST_CHECK;
