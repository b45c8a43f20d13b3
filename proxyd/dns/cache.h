/* SPDX-License-Identifier: MIT */
/* The checked answers of one cell, by name and type: at most LIMIT_DNS_CACHE of them and DNS_CACHE_BYTES of
 * records; the one that was used longest ago goes first. Only answers whose dns_answer event is durable come
 * here. */
#pragma once

#include "proxyd/dns/reply.h"

struct dns_cache;

struct dns_cache *dns_cache_new(void);                 /* NULL on ENOMEM */
struct dns_cache *dns_cache_free(struct dns_cache *c); /* accepts NULL; returns NULL */

/* A borrowed answer that is still fresh at now_us (CLOCK_BOOTTIME), or NULL. */
struct dns_reply *dns_cache_get(struct dns_cache *c, const struct name *name, uint16_t qtype,
                                uint64_t now_us);

/* Takes a reference of its own; replaces an older answer. An answer with ttl_s 0 is not kept. Out of memory:
 * not kept. */
void dns_cache_put(struct dns_cache *c, const struct name *name, uint16_t qtype, struct dns_reply *reply);
