/* SPDX-License-Identifier: MIT */
/* Netlink sockets and one exchange on them: a batch of requests out, every acknowledgement in. netlink(7).
 * Blocking: only netd's forked child, whose life is bounded by its parent, calls these. */
#pragma once

#include <linux/netlink.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/cleanup.h"

/* Room for one answer; a dump's parts are at most this long when the reader says so (netlink(7), af_netlink).
 */
#define NETLINK_REPLY_MAX 32768

/* The length of a message with its padding. */
static inline size_t netlink_padded(const struct nlmsghdr *h)
{
    return (h->nlmsg_len + (size_t)NLMSG_ALIGNTO - 1) & ~((size_t)NLMSG_ALIGNTO - 1);
}

/* An address-bound CLOEXEC socket of this protocol in the current network namespace. The fd or -errno. */
int netlink_open(int protocol) MUST_CHECK;

/* Sends len bytes of requests with sequence numbers first...last, where each of n has NLM_F_ACK, and waits
 * until all n are acknowledged. 0; or the first refusal as -errno with the refused request's number in
 * *ret_seq. Messages of other sequence numbers are left-overs of an exchange that was cut off; they are
 * skipped. */
int netlink_batch(int fd, const void *buf, size_t len, uint32_t first, uint32_t last, unsigned n,
                  uint32_t *ret_seq) MUST_CHECK;

/* Sends one dump request and calls each() for every part until the end. 0, the first negative return of
 * each(), or -errno; -EAGAIN when the table changed meanwhile. */
int netlink_dump(int fd, const struct nlmsghdr *request, int (*each)(const struct nlmsghdr *, void *),
                 void *self) MUST_CHECK;
