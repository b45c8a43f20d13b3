/* SPDX-License-Identifier: MIT */
#include "common/base/dir.h"

#include <fcntl.h>

int dir_take(int fd, DIR **ret)
{
    DIR *d = fdopendir(fd);

    if (!d) {
        int r = -errno;

        close(fd);
        return r;
    }
    *ret = d;
    return 0;
}

int dir_open(int dirfd, const char *name, DIR **ret)
{
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    return fd < 0 ? -errno : dir_take(fd, ret);
}

void dir_closep(DIR **d)
{
    if (*d)
        closedir(*d);
}
