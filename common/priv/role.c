/* SPDX-License-Identifier: MIT */
#include "common/priv/role.h"

#include <sys/socket.h>

#include "common/priv/fdkind.h"

int role_fd_check(int fd, enum role_fd_kind kind)
{
    int r;

    switch (kind) {
    case ROLE_FD_DIR:
        return fdkind_directory(fd);
    case ROLE_FD_LISTEN:
        return fdkind_socket(fd, AF_UNIX, SOCK_SEQPACKET, 0, /* listening= */ true);
    case ROLE_FD_CHANNEL:
        r = fdkind_socket(fd, AF_UNIX, SOCK_SEQPACKET, 0, /* listening= */ false);
        return r < 0 ? r : fdkind_connected(fd);
    }
    return -EINVAL;
}
