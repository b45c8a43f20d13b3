/* SPDX-License-Identifier: MIT */
/* The kernel's own account of a cell's flows, on one netlink socket of the cell's network namespace: packets
 * that a rule logs (nfnetlink_log), and flows that end, with their totals (ctnetlink).
 *
 * The socket is made by netd's forked child, which has the right to configure it; reading it needs none, so
 * the parent keeps it. Only the kernel can write to it: whoever lacks CAP_NET_ADMIN over the namespace cannot
 * send to another netlink socket (netlink(7)), and a sender other than 0 is thrown away here. */
#pragma once

#include "netd/packet.h"
#include "netd/ruleset.h"

struct nlmsghdr;

/* One datagram. A logged packet with its attributes takes less than 400 bytes. */
#define NFLOG_DATAGRAM_MAX 8192

/* What may wait in the socket: about 300 packets. The kernel doubles the value, and cuts it to its own limit.
 */
#define NFLOG_BUFFER 212992

enum nflog_kind {
    NFLOG_PACKET, /* a rule of the row logged it */
    NFLOG_ENDED,  /* a flow that the row had accepted */
};

struct nflog_record {
    enum nflog_kind kind;
    int row;          /* of the rule set; RULESET_UNCOUNTED: not ours, or not readable */
    bool has_tuple;   /* the headers could be read */
    uint32_t seq;     /* PACKET: numbers every packet for this socket from 0, so that a loss is seen; wraps */
    uint64_t packets; /* ENDED: both directions */
    uint64_t bytes;   /* PACKET: its length; ENDED: both directions, IP headers included */
    struct packet_tuple tuple;
};

/* Opens the socket in the current network namespace and asks for both: every logged packet at once and
 * numbered, and, with flows, the end of each flow. The fd; -EOPNOTSUPP when this kernel has no nfnetlink_log
 * or no ctnetlink; -EEXIST when somebody reads this namespace's log already; -errno. */
int nflog_open(bool flows) MUST_CHECK;

/* Reads one datagram without waiting and calls each() for every record. > 0: done, there may be more;
 * -EAGAIN: nothing is there; -ENOBUFS: the kernel had to leave something out (a gap in seq says how much);
 * -errno. */
int nflog_read(int fd, const struct ruleset *rs, void (*each)(void *self, const struct nflog_record *r),
               void *self) MUST_CHECK;

/* The same on the bytes of a datagram. Unknown messages are passed over. */
void nflog_parse(const void *p, size_t n, const struct ruleset *rs,
                 void (*each)(void *self, const struct nflog_record *r), void *self);

/* The request for all flows of a namespace (on another socket), and one of its answers: 0, *ret filled in;
 * -EBADMSG. */
struct nlmsghdr *nflog_put_dump(void *buf, uint32_t seq);
int nflog_parse_flow(const struct nlmsghdr *h, const struct ruleset *rs, struct nflog_record *ret) MUST_CHECK;
