/* SPDX-License-Identifier: MIT */
/* The pair of namespace fds a cell arrives as: U1 (the user namespace of the supervisor's zygote) and the
 * cell's network namespace. Nothing is entered before the pair has passed netns_check(). ioctl_ns(2),
 * setns(2). */
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include "common/base/cleanup.h"
#include "common/base/str.h"

/* A namespace's identity. Inodes of dead namespaces are recycled, so the never reused 64-bit id of newer
 * kernels is compared as well where both sides have one. */
struct netns_identity {
    dev_t dev;
    ino_t ino;
    uint64_t id; /* 0: this kernel has no NS_GET_ID */
};

/* netd's own namespaces, taken before it loses sight of /proc. */
struct netns_own {
    struct netns_identity user;
    struct netns_identity net;
};

enum netns_verdict {
    NETNS_OK = 0,
    NETNS_E_NOT_NAMESPACE = 1, /* an fd is not on nsfs */
    NETNS_E_TYPE,              /* not (user, net) in this order */
    NETNS_E_OWN,               /* one of netd's own namespaces */
    NETNS_E_OTHER_OWNER,       /* the network namespace belongs to another user namespace */
    NETNS_E_NOT_CHILD,         /* the user namespace is not a child of netd's own */
    NETNS_E_UID,               /* the user namespace belongs to another uid */
    _NETNS_VERDICT_MAX,
};

/* Reads /proc/self/ns. 0 or -errno. */
int netns_own_read(struct netns_own *ret) MUST_CHECK;

/* True when both are the same namespace. */
bool netns_same(const struct netns_identity *a, const struct netns_identity *b);

/* Judges the pair: both on nsfs, types user and net in this order, neither netd's own, the network namespace
 * owned by exactly this user namespace, which is a child of netd's and was made by owner (in netd's user
 * namespace). Needs no capability. A netns_verdict, or -errno when the kernel does not answer. The fds stay
 * the caller's. */
int netns_check(const struct netns_own *own, int userns, int netns, uid_t owner) MUST_CHECK;

/* One phrase for a verdict other than NETNS_OK. */
const char *netns_verdict_text(int verdict);

/* Moves the calling process, which must be single-threaded, into the user namespace: it then has every
 * capability there, and none outside. 0 or -errno. */
int netns_join_user(int userns) MUST_CHECK;

/* The network namespace after its owner. 0 or -errno. */
int netns_join_net(int netns) MUST_CHECK;
