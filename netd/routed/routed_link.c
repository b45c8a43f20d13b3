/* SPDX-License-Identifier: MIT */
#include "netd/routed/routed_link.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>

#include "netd/netlink.h"

#define LINK_BUF 4096

_Static_assert(ROUTED_LINK_MAX == IFNAMSIZ, "a link's name");

/* Where the cell sends what is not its own: addresses that only stand for the host's end. */
static const struct addr gateway_v4 = {.family = AF_INET, .bytes = {169, 254, 1, 1}};
static const struct addr gateway_v6 = {.family = AF_INET6, .bytes = {0xfe, 0x80, [15] = 1}};

/* Requests that go out together; step: what each is for. */
struct requests {
    _Alignas(struct nlmsghdr) uint8_t data[LINK_BUF];
    size_t len;
    uint32_t n;
    const char *steps[16];
};

static struct nlmsghdr *put(struct requests *q, uint16_t type, uint16_t flags, const char *step)
{
    struct nlmsghdr *h = mnl_nlmsg_put_header(q->data + q->len);
    h->nlmsg_type = type;
    h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
    h->nlmsg_seq = q->n;
    q->steps[q->n++] = step;
    return h;
}

static void done(struct requests *q, const struct nlmsghdr *h)
{
    q->len += netlink_padded(h);
}

static int send_all(int route, const struct requests *q, const char **ret_step)
{
    uint32_t refused = 0;
    int r = netlink_batch(route, q->data, q->len, 0, q->n - 1, q->n, &refused);
    if (r < 0 && ret_step != NULL)
        *ret_step = q->steps[refused < q->n ? refused : 0];
    return r;
}

static size_t addr_len(const struct addr *a)
{
    return a->family == AF_INET ? 4 : 16;
}

/* ---- the pair ---- */
int routed_link_make(int route, const struct routed_link *l, int netns, const char *alias)
{
    struct requests q = {.len = 0};
    struct nlmsghdr *h = put(&q, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, "make the link");
    struct ifinfomsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
    m->ifi_family = AF_UNSPEC;
    mnl_attr_put_strz(h, IFLA_IFNAME, l->name);
    mnl_attr_put(h, IFLA_ADDRESS, sizeof(l->mac_host), l->mac_host);
    struct nlattr *info = mnl_attr_nest_start(h, IFLA_LINKINFO);
    mnl_attr_put_strz(h, IFLA_INFO_KIND, "veth");
    struct nlattr *data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
    struct nlattr *peer = mnl_attr_nest_start(h, VETH_INFO_PEER);
    struct ifinfomsg *p = mnl_nlmsg_put_extra_header(h, sizeof(*p));
    p->ifi_family = AF_UNSPEC;
    mnl_attr_put_strz(h, IFLA_IFNAME, ROUTED_CELL_NAME);
    mnl_attr_put(h, IFLA_ADDRESS, sizeof(l->mac_cell), l->mac_cell);
    mnl_attr_put_u32(h, IFLA_NET_NS_FD, (uint32_t)netns);
    mnl_attr_nest_end(h, peer);
    mnl_attr_nest_end(h, data);
    mnl_attr_nest_end(h, info);
    done(&q, h);
    h = put(&q, RTM_SETLINK, 0, "name its cell");
    m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
    m->ifi_family = AF_UNSPEC;
    mnl_attr_put_strz(h, IFLA_IFNAME, l->name);
    mnl_attr_put_strz(h, IFLA_IFALIAS, alias);
    done(&q, h);
    return send_all(route, &q, NULL);
}

/* ---- steps of both sides ---- */

/* No address of its own making, and so no duplicate address detection or router solicitation either. */
static void put_no_autoconf(struct requests *q, int index)
{
    struct nlmsghdr *h = put(q, RTM_SETLINK, 0, "keep the link from addressing itself");
    struct ifinfomsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
    m->ifi_family = AF_UNSPEC;
    m->ifi_index = index;
    struct nlattr *spec = mnl_attr_nest_start(h, IFLA_AF_SPEC);
    struct nlattr *inet6 = mnl_attr_nest_start(h, AF_INET6);
    mnl_attr_put_u8(h, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
    mnl_attr_nest_end(h, inet6);
    mnl_attr_nest_end(h, spec);
    done(q, h);
}

static void put_up(struct requests *q, int index, const char *step)
{
    struct nlmsghdr *h = put(q, RTM_SETLINK, 0, step);
    struct ifinfomsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
    m->ifi_family = AF_UNSPEC;
    m->ifi_index = index;
    m->ifi_flags = IFF_UP;
    m->ifi_change = IFF_UP;
    done(q, h);
}

static void put_neighbour(struct requests *q, int index, const struct addr *a, const uint8_t mac[6])
{
    struct nlmsghdr *h = put(q, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, "name the neighbour");
    struct ndmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
    m->ndm_family = a->family;
    m->ndm_ifindex = index;
    m->ndm_state = NUD_PERMANENT;
    mnl_attr_put(h, NDA_DST, addr_len(a), a->bytes);
    mnl_attr_put(h, NDA_LLADDR, 6, mac);
    done(q, h);
}

static void put_address(struct requests *q, int index, const struct addr *a)
{
    struct nlmsghdr *h = put(q, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, "add the address");
    struct ifaddrmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
    m->ifa_family = a->family;
    m->ifa_prefixlen = (uint8_t)(8 * addr_len(a));
    m->ifa_index = (unsigned)index;
    m->ifa_scope = RT_SCOPE_UNIVERSE;
    m->ifa_flags = a->family == AF_INET6 ? IFA_F_NODAD : 0;
    mnl_attr_put(h, IFA_LOCAL, addr_len(a), a->bytes);
    mnl_attr_put(h, IFA_ADDRESS, addr_len(a), a->bytes);
    done(q, h);
}

/* to NULL: the default route. via NULL: directly on the link. */
static void put_route(struct requests *q, int index, uint8_t family, const struct addr *to,
                      const struct addr *via, const char *step)
{
    struct nlmsghdr *h = put(q, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, step);
    struct rtmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
    m->rtm_family = family;
    m->rtm_table = RT_TABLE_MAIN;
    m->rtm_protocol = RTPROT_STATIC;
    m->rtm_scope = via != NULL || family == AF_INET6 ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
    m->rtm_type = RTN_UNICAST;
    if (to != NULL) {
        m->rtm_dst_len = (uint8_t)(8 * addr_len(to));
        mnl_attr_put(h, RTA_DST, addr_len(to), to->bytes);
    }
    if (via != NULL) {
        m->rtm_flags = RTNH_F_ONLINK;
        mnl_attr_put(h, RTA_GATEWAY, addr_len(via), via->bytes);
    }
    mnl_attr_put_u32(h, RTA_OIF, (uint32_t)index);
    done(q, h);
}

/* ---- host ---- */
static int take_index(const struct nlmsghdr *h, void *self)
{
    if (h->nlmsg_type == RTM_NEWLINK && mnl_nlmsg_get_payload_len(h) >= sizeof(struct ifinfomsg))
        *(int *)self = ((const struct ifinfomsg *)mnl_nlmsg_get_payload(h))->ifi_index;
    return 0;
}

static int index_of(int route, const char *name)
{
    struct requests q = {.len = 0};
    int index = 0;
    struct nlmsghdr *h = put(&q, RTM_GETLINK, 0, "find the link");
    struct ifinfomsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
    m->ifi_family = AF_UNSPEC;
    mnl_attr_put_strz(h, IFLA_IFNAME, name);
    int r = netlink_dump(route, h, take_index, &index);
    return r < 0 ? r : index > 0 ? index : -ENODEV;
}

int routed_link_up(int route, const struct routed_link *l)
{
    struct requests q = {.len = 0};
    const struct addr *const addrs[] = {&l->v4, &l->v6};
    int index = index_of(route, l->name);
    if (index < 0)
        return index;
    put_no_autoconf(&q, index);
    put_up(&q, index, "set the link up");
    for (size_t i = 0; i < ARRAY_LEN(addrs); i++) {
        if (addrs[i]->family == AF_UNSPEC)
            continue;
        put_neighbour(&q, index, addrs[i], l->mac_cell);
        put_route(&q, index, addrs[i]->family, addrs[i], NULL, "route the cell's address");
    }
    return send_all(route, &q, NULL);
}

int routed_link_remove(int route, const char *name)
{
    struct requests q = {.len = 0};
    struct nlmsghdr *h = put(&q, RTM_DELLINK, 0, "remove the link");
    struct ifinfomsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
    m->ifi_family = AF_UNSPEC;
    mnl_attr_put_strz(h, IFLA_IFNAME, name);
    done(&q, h);
    int r = send_all(route, &q, NULL);
    return r == -ENODEV ? 0 : r;
}

struct listing {
    void (*each)(void *self, const char *name);
    void *self;
};

static int list_one(const struct nlmsghdr *h, void *self)
{
    const struct listing *l = self;
    const struct nlattr *a;
    if (h->nlmsg_type != RTM_NEWLINK || mnl_nlmsg_get_payload_len(h) < sizeof(struct ifinfomsg))
        return 0;
    const char *end = mnl_nlmsg_get_payload_tail(h);
    for (a = mnl_nlmsg_get_payload_offset(h, sizeof(struct ifinfomsg));
         mnl_attr_ok(a, (int)(end - (const char *)a)); a = mnl_attr_next(a)) {
        if (mnl_attr_get_type(a) != IFLA_IFNAME || mnl_attr_validate(a, MNL_TYPE_NUL_STRING) < 0)
            continue;
        const char *name = mnl_attr_get_str(a);
        if (strlen(name) == ROUTED_LINK_MAX - 1 && strncmp(name, ROUTED_LINK_PREFIX, 2) == 0 &&
            name[10] == '-')
            l->each(l->self, name);
    }
    return 0;
}

int routed_link_list(int route, void (*each)(void *self, const char *name), void *self)
{
    struct requests q = {.len = 0};
    struct listing l = {each, self};
    struct nlmsghdr *h = put(&q, RTM_GETLINK, NLM_F_DUMP, "list the links");
    struct ifinfomsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
    m->ifi_family = AF_UNSPEC;
    return netlink_dump(route, h, list_one, &l);
}

/* ---- cell ---- */
int routed_link_cell(const struct routed_link *l, const char **ret_step)
{
    struct requests q = {.len = 0};
    _cleanup_close_ int route = netlink_open(NETLINK_ROUTE);
    if (route < 0) {
        *ret_step = "open rtnetlink";
        return route;
    }
    int index = index_of(route, ROUTED_CELL_NAME);
    if (index < 0) {
        *ret_step = "find " ROUTED_CELL_NAME;
        return index;
    }
    put_up(&q, 1, "bring lo up");
    put_no_autoconf(&q, index);
    if (l->v4.family != AF_UNSPEC)
        put_address(&q, index, &l->v4);
    if (l->v6.family != AF_UNSPEC)
        put_address(&q, index, &l->v6);
    put_up(&q, index, "bring " ROUTED_CELL_NAME " up");
    put_neighbour(&q, index, &gateway_v4, l->mac_host);
    put_neighbour(&q, index, &gateway_v6, l->mac_host);
    if (l->v4.family != AF_UNSPEC)
        put_route(&q, index, AF_INET, NULL, &gateway_v4, "add the IPv4 default route");
    if (l->v6.family != AF_UNSPEC)
        put_route(&q, index, AF_INET6, NULL, &gateway_v6, "add the IPv6 default route");
    return send_all(route, &q, ret_step);
}
