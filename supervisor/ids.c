/* SPDX-License-Identifier: MIT */
#include "supervisor/ids.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "common/base/dir.h"

/* The lock is held while the name goes: who opened the file before finds it unlinked, and makes a new one. */
static bool remove_stale(int dir, const char *name)
{
    struct stat st;
    _cleanup_close_ int fd = openat(dir, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
           st.st_nlink == 1 && unlinkat(dir, name, 0) == 0;
}

void ids_sweep(int dir, struct ids_residue *ret)
{
    _cleanup_(dir_closep) DIR *d = NULL;
    struct dirent *e;
    if (dir_open(dir, ".", &d) < 0)
        return;
    for (size_t seen = 0; seen < 2 * LIMIT_CELLS && ret->n < IDS_RESIDUE_MAX && (e = readdir(d)); seen++)
        if (e->d_name[0] != '.' && strlen(e->d_name) <= LIMIT_CELL_ID && remove_stale(dir, e->d_name))
            (void)snprintf(ret->name[ret->n++], sizeof(ret->name[0]), "%.*s", (int)LIMIT_CELL_ID, e->d_name);
}
