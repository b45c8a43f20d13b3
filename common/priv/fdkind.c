/* SPDX-License-Identifier: MIT */
#include "common/priv/fdkind.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

static int fdkind_option_is(int fd, int option, int want)
{
    int got = -1;
    socklen_t n = sizeof got;

    if (getsockopt(fd, SOL_SOCKET, option, &got, &n) < 0)
        return errno == ENOTSOCK ? -EBADMSG : -errno;
    return got == want ? 0 : -EBADMSG;
}

int fdkind_socket(int fd, int domain, int type, int protocol, bool listening)
{
    int r = fdkind_option_is(fd, SO_DOMAIN, domain);

    if (r < 0)
        return r;
    r = fdkind_option_is(fd, SO_TYPE, type);
    if (r < 0)
        return r;
    r = fdkind_option_is(fd, SO_PROTOCOL, protocol);
    if (r < 0)
        return r;
    return fdkind_option_is(fd, SO_ACCEPTCONN, listening);
}

int fdkind_connected(int fd)
{
    struct sockaddr_storage a;
    socklen_t n = sizeof a;

    if (getpeername(fd, (struct sockaddr *)&a, &n) == 0)
        return 0;
    return errno == ENOTCONN || errno == ENOTSOCK ? -EBADMSG : -errno;
}

int fdkind_namespace(int fd, int nstype)
{
    struct statfs f;
    int r;

    if (fstatfs(fd, &f) < 0)
        return -errno;
    if (f.f_type != NSFS_MAGIC) /* only then is the ioctl known to be the right one */
        return -EBADMSG;
    r = ioctl(fd, NS_GET_NSTYPE);
    if (r < 0)
        return -errno;
    return r == nstype ? 0 : -EBADMSG;
}

int fdkind_sealed_memfd(int fd)
{
    const int all = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    int seals = fcntl(fd, F_GET_SEALS);

    if (seals < 0)
        return errno == EINVAL ? -EBADMSG : -errno; /* EINVAL: the file system has no seals */
    return (seals & all) == all ? 0 : -EBADMSG;
}

int fdkind_directory(int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    return S_ISDIR(st.st_mode) ? 0 : -EBADMSG;
}

int fdkind_pidfd(int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    if (S_ISDIR(st.st_mode)) /* the call below would also take a directory of /proc */
        return -EBADMSG;
    /* Signal 0: EBADF says that it is no pidfd; 0, EPERM and ESRCH that it is one. */
    if (syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0) == 0 || errno == EPERM || errno == ESRCH)
        return 0;
    return errno == EBADF ? -EBADMSG : -errno;
}
