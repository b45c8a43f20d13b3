/* SPDX-License-Identifier: MIT */
/* The events of a cell's DNS as claims. */
#pragma once

#include "proxyd/claims.h"
#include "proxyd/dns/dns.h"

/* self of these functions is the cell's struct claims. */
extern const struct dns_events dns_events_claims;
