/* SPDX-License-Identifier: MIT */
/* The nameservers of a resolv.conf(5) text. A pure function: whoever may open the file hands the text in. */
#pragma once

#include "common/net/addr.h"

#define RESOLV_CONF_MAX         65536u /* bytes of the file that are looked at */
#define RESOLV_CONF_NAMESERVERS 3u     /* MAXNS of resolv.h: what the C library uses */

/* The first RESOLV_CONF_NAMESERVERS "nameserver ADDRESS" lines with a usable address, port 53; comments and
 * all other lines are skipped, an IPv6 zone ("%eth0") makes a line unusable. The number of entries in dst. */
size_t resolv_conf_parse(struct str text, struct endpoint_addr dst[RESOLV_CONF_NAMESERVERS]);
