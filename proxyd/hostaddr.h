/* SPDX-License-Identifier: MIT */
/* Which addresses belong to the host that proxyd runs on: a name that resolves to one of them would reach the
 * host's own services (decisions 26). Asked of the kernel, which needs no file and no netlink socket behind
 * the sandbox; an answer is used again for HOSTADDR_KEEP_MS, so that it is never staler than a dial under
 * way. */
#pragma once

#include "common/net/addr.h"

#define HOSTADDR_KEEP_MS 250u
#define HOSTADDR_KNOWN   64u /* addresses */

/* Finds out once whether bind(2) can tell (it can not with net.ipv4.ip_nonlocal_bind set). Before the sandbox
 * or after. */
void hostaddr_init(void);

/* Would a connection to this address (or to the IPv4 address wrapped in it) end on this host? True when in
 * doubt. */
bool hostaddr_is_local(const struct addr *a);
