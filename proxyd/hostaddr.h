/* SPDX-License-Identifier: MIT */
/* Which addresses belong to the host that proxyd runs on: a name that resolves to one of them would reach the
 * host's own services (decisions 26). Asked of the kernel at each dial, so the answer is never stale and
 * needs no file and no netlink socket behind the sandbox. */
#pragma once

#include "common/net/addr.h"

/* Finds out once whether bind(2) can tell (it can not with net.ipv4.ip_nonlocal_bind set). Before the sandbox
 * or after. */
void hostaddr_init(void);

/* Would a connection to this address (or to the IPv4 address wrapped in it) end on this host? True when in
 * doubt. */
bool hostaddr_is_local(const struct addr *a);
