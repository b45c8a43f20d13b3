/* SPDX-License-Identifier: MIT */
#include "netd/netns.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>

#ifndef NS_GET_ID
#define NS_GET_ID _IOR(NSIO, 0xd, uint64_t) /* Linux 6.18; not in Debian 12's headers */
#endif

static int identity_of(int fd, struct netns_identity *ret)
{
    struct stat st;
    uint64_t id = 0;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (ioctl(fd, NS_GET_ID, &id) < 0) {
        if (errno != ENOTTY && errno != EINVAL)
            return -errno;
        id = 0;
    }
    *ret = (struct netns_identity){.dev = st.st_dev, .ino = st.st_ino, .id = id};
    return 0;
}

bool netns_same(const struct netns_identity *a, const struct netns_identity *b)
{
    if (a->id != 0 && b->id != 0 && a->id != b->id)
        return false;
    return a->dev == b->dev && a->ino == b->ino;
}

static int own_read_one(const char *path, struct netns_identity *ret)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : identity_of(fd, ret);
}

int netns_own_read(struct netns_own *ret)
{
    struct netns_own own;
    int r = own_read_one("/proc/self/ns/user", &own.user);
    if (r < 0)
        return r;
    r = own_read_one("/proc/self/ns/net", &own.net);
    if (r < 0)
        return r;
    *ret = own;
    return 0;
}

/* The file system is looked at first: on another kind of file the same ioctl number may mean anything. */
static int check_type(int fd, int want)
{
    struct statfs fs;
    if (fstatfs(fd, &fs) < 0)
        return -errno;
    if (fs.f_type != NSFS_MAGIC)
        return NETNS_E_NOT_NAMESPACE;
    int type = ioctl(fd, NS_GET_NSTYPE);
    if (type < 0)
        return -errno;
    return type == want ? NETNS_OK : NETNS_E_TYPE;
}

/* The owner of a network namespace, or the parent of a user namespace, must be the namespace want. The kernel
 * answers EPERM when it lies outside our own user namespace: then it is certainly not want. */
static int check_relation(int fd, unsigned long request, const struct netns_identity *want, int verdict)
{
    _cleanup_close_ int other = ioctl(fd, request);
    if (other < 0)
        return errno == EPERM ? verdict : -errno;
    struct netns_identity id = {0};
    int r = identity_of(other, &id);
    if (r < 0)
        return r;
    return netns_same(&id, want) ? NETNS_OK : verdict;
}

static int check_owner_uid(int userns, uid_t owner)
{
    uid_t uid = (uid_t)-1;
    if (ioctl(userns, NS_GET_OWNER_UID, &uid) < 0)
        return -errno;
    return uid == owner ? NETNS_OK : NETNS_E_UID;
}

int netns_check(const struct netns_own *own, int userns, int netns, uid_t owner)
{
    struct netns_identity user_id = {0}, net_id = {0};
    int r = check_type(userns, CLONE_NEWUSER);
    if (r != NETNS_OK)
        return r;
    r = check_type(netns, CLONE_NEWNET);
    if (r != NETNS_OK)
        return r;
    r = identity_of(userns, &user_id);
    if (r < 0)
        return r;
    r = identity_of(netns, &net_id);
    if (r < 0)
        return r;
    if (netns_same(&user_id, &own->user) || netns_same(&net_id, &own->net))
        return NETNS_E_OWN;
    r = check_relation(netns, NS_GET_USERNS, &user_id, NETNS_E_OTHER_OWNER);
    if (r != NETNS_OK)
        return r;
    r = check_relation(userns, NS_GET_PARENT, &own->user, NETNS_E_NOT_CHILD);
    if (r != NETNS_OK)
        return r;
    return check_owner_uid(userns, owner);
}

const char *netns_verdict_text(int verdict)
{
    static const char *const text[_NETNS_VERDICT_MAX] = {
        [NETNS_OK] = "accepted",
        [NETNS_E_NOT_NAMESPACE] = "not a namespace",
        [NETNS_E_TYPE] = "not a user namespace and a network namespace, in this order",
        [NETNS_E_OWN] = "netd's own namespace",
        [NETNS_E_OTHER_OWNER] = "the network namespace is not owned by this user namespace",
        [NETNS_E_NOT_CHILD] = "the user namespace is not a child of netd's",
        [NETNS_E_UID] = "the user namespace belongs to another uid than the supervisor's",
    };
    assert(verdict >= 0 && verdict < _NETNS_VERDICT_MAX);
    return text[verdict];
}

int netns_join_user(int userns)
{
    return setns(userns, CLONE_NEWUSER) < 0 ? -errno : 0;
}

int netns_join_net(int netns)
{
    return setns(netns, CLONE_NEWNET) < 0 ? -errno : 0;
}
