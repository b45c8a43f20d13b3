/* SPDX-License-Identifier: MIT */
#include "netd/nflog.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <sys/socket.h>

#include "netd/netlink.h"

#define TYPE(subsystem, message) ((uint16_t)((subsystem) << 8 | (message)))

/* One packet with its attributes fits; the default of a page wastes the socket's buffer on empty space. */
#define NFLOG_MESSAGE_ROOM 512

static struct nlmsghdr *put_request(void *buf, uint16_t type, uint16_t flags, uint32_t seq, uint16_t resource)
{
    struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
    h->nlmsg_type = type;
    h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    h->nlmsg_seq = seq;
    struct nfgenmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
    m->nfgen_family = AF_UNSPEC;
    m->version = NFNETLINK_V0;
    m->res_id = htons(resource);
    return h;
}

static int exchange(int fd, const struct nlmsghdr *h)
{
    uint32_t refused = 0;
    int r = netlink_batch(fd, h, h->nlmsg_len, h->nlmsg_seq, h->nlmsg_seq, 1, &refused);
    if (r == -EPERM || r == -EBUSY) /* the group has another reader: this namespace is not a blank one */
        return -EEXIST;
    /* EINVAL: nfnetlink knows no such subsystem, nor could it load one */
    return r == -EINVAL || r == -ENOENT || r == -EPROTONOSUPPORT ? -EOPNOTSUPP : r;
}

/* Every packet is sent on by itself (threshold 1): what a cell did is known before it has ended. */
static int configure_log(int fd)
{
    _Alignas(struct nlmsghdr) uint8_t buf[256];
    const struct nfulnl_msg_config_cmd bind = {.command = NFULNL_CFG_CMD_BIND};
    const struct nfulnl_msg_config_mode mode = {.copy_range = htonl(RULESET_LOG_BYTES),
                                                .copy_mode = NFULNL_COPY_PACKET};
    struct nlmsghdr *h =
        put_request(buf, TYPE(NFNL_SUBSYS_ULOG, NFULNL_MSG_CONFIG), NLM_F_ACK, 1, RULESET_LOG_GROUP);
    mnl_attr_put(h, NFULA_CFG_CMD, sizeof(bind), &bind);
    mnl_attr_put(h, NFULA_CFG_MODE, sizeof(mode), &mode);
    mnl_attr_put_u32(h, NFULA_CFG_NLBUFSIZ, htonl(NFLOG_MESSAGE_ROOM));
    mnl_attr_put_u32(h, NFULA_CFG_QTHRESH, htonl(1));
    mnl_attr_put_u16(h, NFULA_CFG_FLAGS, htons(NFULNL_CFG_F_SEQ));
    return exchange(fd, h);
}

/* A question of no consequence: joining the group loads a missing ctnetlink only some time later. */
static int probe_flows(int fd)
{
    _Alignas(struct nlmsghdr) uint8_t buf[64];
    return exchange(fd,
                    put_request(buf, TYPE(NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET_STATS), NLM_F_ACK, 2, 0));
}

static int join_ended(int fd)
{
    const int group = NFNLGRP_CONNTRACK_DESTROY;
    return setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0 ? -errno : 0;
}

/* What a cell sends before netd's next turn waits here. */
static int set_buffer(int fd)
{
    const int bytes = NFLOG_BUFFER;
    return setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)) < 0 ? -errno : 0;
}

int nflog_open(bool flows)
{
    _cleanup_close_ int fd = netlink_open(NETLINK_NETFILTER);
    if (fd < 0)
        return fd;
    int r = set_buffer(fd);
    if (r == 0)
        r = configure_log(fd);
    if (r == 0 && flows)
        r = probe_flows(fd);
    if (r == 0 && flows)
        r = join_ended(fd);
    return r < 0 ? r : TAKE_FD(fd);
}

struct nlmsghdr *nflog_put_dump(void *buf, uint32_t seq)
{
    return put_request(buf, TYPE(NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET), NLM_F_DUMP, seq, 0);
}

int nflog_read(int fd, const struct ruleset *rs, void (*each)(void *self, const struct nflog_record *r),
               void *self)
{
    _Alignas(struct nlmsghdr) uint8_t buf[NFLOG_DATAGRAM_MAX];
    struct sockaddr_nl from = {0};
    struct iovec iov = {buf, sizeof(buf)};
    struct msghdr msg = {.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT);
    if (n < 0)
        return errno == EINTR ? 1 : -errno;
    if (n == 0 || msg.msg_namelen != sizeof(from) || from.nl_pid != 0)
        return 1;
    nflog_parse(buf, (size_t)n, rs, each, self);
    return 1;
}
