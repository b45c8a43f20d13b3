/* SPDX-License-Identifier: MIT */
/* The sockets of a cell, made inside its network namespace and served by proxyd from outside: a socket stays
 * in the namespace it was made in. All are marked, so that the rules let pass what they send; non-blocking;
 * CLOEXEC; without SO_REUSEPORT and SO_REUSEADDR, so that nobody can sit beside them. */
#pragma once

#include "common/base/cleanup.h"
#include "common/base/str.h"

/* In the order of the attach reply. */
enum sockets_index {
    SOCKETS_DNS_UDP, /* [::]:53, transparent, both families; packet info and original destination with each
                        datagram */
    SOCKETS_DNS_TCP, /* [::]:53, listening */
    SOCKETS_TCP, /* [::]:1, listening, transparent: getsockname() of a connection is what the workload dialled
                  */
    SOCKETS_UDP, /* [::]:1, transparent */
    SOCKETS_RAW4, /* sends whole IPv4 packets into the cell, header included */
    SOCKETS_RAW6,
    _SOCKETS_MAX,
};

/* Makes all of them in the current network namespace. 0, and the fds are the caller's; or -errno, *ret_failed
 * the one that could not be made. */
int sockets_open(int ret[static _SOCKETS_MAX], enum sockets_index *ret_failed) MUST_CHECK;

/* True when fd is the socket number i: domain, type, protocol, port, listening, mark, transparent, and the
 * namespace with this cookie (SO_NETNS_COOKIE, socket(7)). */
bool sockets_is(int fd, enum sockets_index i, uint64_t cookie);

/* True when fd is a netfilter netlink socket of this namespace. */
bool sockets_is_netfilter(int fd, uint64_t cookie);

/* The cookie of the namespace a socket lives in; never reused. 0 or -errno. */
int sockets_netns_cookie(int fd, uint64_t *ret) MUST_CHECK;

/* The same for the calling process. */
int sockets_own_cookie(uint64_t *ret) MUST_CHECK;

/* The first n of them; sockets_open() makes all. */
int sockets_open_first(int *ret, size_t n, enum sockets_index *ret_failed) MUST_CHECK;

const char *sockets_name(enum sockets_index i);
