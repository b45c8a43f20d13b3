/* SPDX-License-Identifier: MIT */
#include "netd/route.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include "netd/netlink.h"

#define ROUTE_LO_INDEX 1 /* the loopback device is the first of every network namespace */

static const struct addr cell_ipv4 = ROUTE_CELL_IPV4, cell_ipv6 = ROUTE_CELL_IPV6;

static struct nlmsghdr *request_put(void *buf, uint16_t type, uint16_t flags, uint32_t seq)
{
    struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
    h->nlmsg_type = type;
    h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
    h->nlmsg_seq = seq;
    return h;
}

static size_t addr_len(const struct addr *a)
{
    return a->family == AF_INET ? 4 : 16;
}

static struct nlmsghdr *put_link_up(void *buf, uint32_t seq, const struct addr *unused)
{
    (void)unused;
    struct nlmsghdr *h = request_put(buf, RTM_NEWLINK, 0, seq);
    struct ifinfomsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
    m->ifi_family = AF_UNSPEC;
    m->ifi_index = ROUTE_LO_INDEX;
    m->ifi_flags = IFF_UP;
    m->ifi_change = IFF_UP;
    return h;
}

static struct nlmsghdr *put_address(void *buf, uint32_t seq, const struct addr *a)
{
    struct nlmsghdr *h = request_put(buf, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, seq);
    struct ifaddrmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
    m->ifa_family = a->family;
    m->ifa_prefixlen = (uint8_t)(8 * addr_len(a));
    m->ifa_index = ROUTE_LO_INDEX;
    m->ifa_scope = RT_SCOPE_UNIVERSE;
    m->ifa_flags = a->family == AF_INET6 ? IFA_F_NODAD : 0;
    mnl_attr_put(h, IFA_LOCAL, addr_len(a), a->bytes);
    mnl_attr_put(h, IFA_ADDRESS, addr_len(a), a->bytes);
    return h;
}

/* local default dev lo src ADDR: a route of type "local" in the table "local", so it wins before any other.
 */
static struct nlmsghdr *put_local_default(void *buf, uint32_t seq, const struct addr *a)
{
    struct nlmsghdr *h = request_put(buf, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, seq);
    struct rtmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
    m->rtm_family = a->family;
    m->rtm_table = RT_TABLE_LOCAL;
    m->rtm_protocol = RTPROT_BOOT;
    m->rtm_scope = a->family == AF_INET ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
    m->rtm_type = RTN_LOCAL;
    mnl_attr_put_u32(h, RTA_OIF, ROUTE_LO_INDEX);
    mnl_attr_put(h, RTA_PREFSRC, addr_len(a), a->bytes);
    return h;
}

static const struct {
    const char *name;
    struct nlmsghdr *(*put)(void *buf, uint32_t seq, const struct addr *a);
    const struct addr *addr;
} route_steps[] = {
    {"bring lo up", put_link_up, NULL},
    {"add the IPv4 address", put_address, &cell_ipv4},
    {"add the IPv6 address", put_address, &cell_ipv6},
    {"add the IPv4 local default route", put_local_default, &cell_ipv4},
    {"add the IPv6 local default route", put_local_default, &cell_ipv6},
};

int route_apply(const char **ret_step)
{
    _Alignas(struct nlmsghdr) uint8_t buf[1024];
    _cleanup_close_ int fd = netlink_open(NETLINK_ROUTE);
    size_t len = 0;
    uint32_t seq = 0, refused = 0;
    if (fd < 0) {
        *ret_step = "open rtnetlink";
        return fd;
    }
    for (; seq < ARRAY_LEN(route_steps); seq++)
        len += netlink_padded(route_steps[seq].put(buf + len, seq, route_steps[seq].addr));
    int r = netlink_batch(fd, buf, len, 0, seq - 1, seq, &refused);
    if (r < 0)
        *ret_step = route_steps[refused].name;
    return r;
}
