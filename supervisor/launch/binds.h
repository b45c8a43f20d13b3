/* SPDX-License-Identifier: MIT */
/* What a spec brings into a cell from the host: checked by identity, not by name, and freed of everything
 * that leads out of the cell again (sockets and FIFOs work through a read-only mount, too). */
#pragma once

#include <sys/stat.h>

#include "supervisor/launch/fault.h"
#include "supervisor/launch/mnt.h"

#define BINDS_ENTRIES_MAX   524288u /* entries below all paths of one cell that are looked at */
#define BINDS_COVERED_MAX   1024u   /* sockets, FIFOs, unreadable directories that are covered */
#define BINDS_DEPTH_MAX     128u
#define BINDS_FORBIDDEN_MAX 8u

struct file_id {
    dev_t dev;
    ino_t ino;
};

static inline struct file_id file_id_of(const struct stat *st)
{
    return (struct file_id){st->st_dev, st->st_ino};
}

struct binds {
    const struct file_id
        *forbidden; /* directories no cell may see: the suite's state, its runtime directory */
    size_t nforbidden;
    int stage; /* directory with the empty file `blank` and the empty directory `void`, in the caller's mount
                  namespace */
    dev_t stage_dev;
    unsigned entries; /* looked at so far */
    unsigned covered;
};

/* Opens path (absolute, without . and .. parts; symbolic links are followed, once, here) as O_PATH and checks
 * that it is a directory or a regular file, on a file system of files, and neither is nor contains nor lies
 * below a forbidden directory as far as its ancestors tell. outer: 0, or the length of the part of path that
 * cells may write below: another one may have put a link there, so none is followed in the rest. The fd or
 * -errno. */
int binds_open(const struct binds *b, const char *path, size_t outer, struct stat *ret,
               struct fault *f) MUST_CHECK;

/* Climbs from fd (st is its) to the root. 0; -EACCES when it or an ancestor is forbidden; -errno. */
int binds_check_above(const struct binds *b, int fd, const struct stat *st) MUST_CHECK;

/* Walks the mounted tree at fd (a directory in its final place): covers sockets and FIFOs with an empty file,
 * and directories that cannot be read with an empty directory. -EACCES when a forbidden directory is in it;
 * -E2BIG over a limit; -errno. path is for messages. */
int binds_cover(struct binds *b, int fd, const char *path, struct fault *f) MUST_CHECK;
