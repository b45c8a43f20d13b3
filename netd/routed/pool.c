/* SPDX-License-Identifier: MIT */
#include "netd/routed/pool.h"

#include <errno.h>

/* Slots of a prefix with this many bits for hosts: neither its first nor its last address. */
static unsigned slots_of(unsigned host_bits)
{
    unsigned n = host_bits >= 12 ? POOL_SLOTS_MAX : host_bits < 2 ? 0 : (1u << host_bits) - 2;
    return n < POOL_SLOTS_MAX ? n : POOL_SLOTS_MAX;
}

static int take(struct pool *p, struct str one, const char **ret_why)
{
    struct addr_prefix prefix;
    *ret_why = "must be a prefix or two (IPv4, IPv6), host bits zero";
    if (addr_prefix_parse(one, &prefix) < 0)
        return -EINVAL;
    bool v4 = prefix.addr.family == AF_INET;
    struct addr_prefix *to = v4 ? &p->v4 : &p->v6;
    if (to->addr.family != AF_UNSPEC) {
        *ret_why = "must not name two prefixes of one family";
        return -EINVAL;
    }
    unsigned slots = slots_of((v4 ? 32u : 128u) - prefix.bits);
    *ret_why = "must have room for cells: an IPv4 prefix of /30 or wider, an IPv6 one of /126 or wider";
    if (slots == 0)
        return -EINVAL;
    *to = prefix;
    if (p->slots == 0 || slots < p->slots)
        p->slots = slots;
    return 0;
}

int pool_parse(struct str text, struct pool *ret, const char **ret_why)
{
    struct pool p = {0};
    const char *end = text.p + text.len;
    for (const char *at = text.p;;) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const char *stop = comma != NULL ? comma : end;
        int r = take(&p, (struct str){at, (size_t)(stop - at)}, ret_why);
        if (r < 0)
            return r;
        if (comma == NULL)
            break;
        at = comma + 1;
    }
    *ret = p;
    return 0;
}

/* slot is small: it fits the prefix's last two bytes, whose host bits are zero. */
static struct addr at_slot(const struct addr_prefix *p, unsigned slot)
{
    struct addr a = p->addr;
    size_t last = a.family == AF_INET ? 3 : 15;
    if (a.family == AF_UNSPEC)
        return a;
    a.bytes[last] = (uint8_t)(a.bytes[last] | (slot & 0xff));
    a.bytes[last - 1] = (uint8_t)(a.bytes[last - 1] | slot >> 8);
    return a;
}

struct addr pool_ipv4(const struct pool *p, unsigned slot)
{
    return at_slot(&p->v4, slot);
}

struct addr pool_ipv6(const struct pool *p, unsigned slot)
{
    return at_slot(&p->v6, slot);
}
