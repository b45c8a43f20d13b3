/* SPDX-License-Identifier: MIT */
/* The two user namespaces of a cell (user_namespaces(7)). U1 belongs to the zygote and owns every cell's
 * other namespaces; its uid 0 is the zygote. U2 is the workload's, below U1, so that no right of the workload
 * reaches U1's objects. An ordinary caller has one id and so a one-entry map; root has a range of ids nobody
 * else uses, so that a workload is never host uid 0. */
#pragma once

#include <sys/types.h>

#include "supervisor/launch/fault.h"

#define USERNS_RANGE_BASE  1879048192u /* first host id of the range when /etc/subuid has no row `cellos` */
#define USERNS_RANGE_IDS   65536u /* ids of that range; a longer subuid row is used to this length only */
#define USERNS_SLOT_IDS    1024u /* ids of one suite: as many cells of it have a uid of their own at a time */
#define USERNS_SLOTS       (USERNS_RANGE_IDS / USERNS_SLOT_IDS)
#define USERNS_CELL_UID    1000u /* the uid and gid a workload sees when the caller is root */
#define USERNS_CELL_NAME   "cell"
#define USERNS_SUBID_OWNER "cellos"

/* How U1 numbers ids. Root of a container's user namespace gets a part of the ids that are mapped there;
 * where none are to spare, and its 0 is somebody ordinary outside, it is an ordinary caller. */
struct userns_plan {
    uid_t uid; /* host id of U1's 0: the caller */
    gid_t gid;
    uint32_t uid_base; /* host ids of U1's 1 ... count */
    uint32_t gid_base;
    uint32_t count; /* 0: an ordinary caller, nothing but the 0 */
    int slot_fd; /* the lock on the range, held as long as the fd is open; -EBADF when count is 0. Owned. */
};

/* Decides by the effective uid. Root takes the first free slot: a file below locks_dir, which every root-run
 * suite of the host must share, locked with flock(2). 0; -EUSERS when every slot is taken; -errno. */
int userns_plan(int locks_dir, struct userns_plan *ret, struct fault *f) MUST_CHECK;

void userns_plan_done(struct userns_plan *p);

/* Reads the row of owner from the text of subuid(5): 0 and the range, or -ENOENT (no row, or one shorter than
 * USERNS_SLOT_IDS). Malformed rows are skipped. */
int userns_subid_parse(struct str text, struct str owner, uint32_t *ret_base, uint32_t *ret_count) MUST_CHECK;

/* Whether the ids base ... base + count - 1 all exist here, by the text of /proc/self/uid_map or gid_map. */
bool userns_has_ids(struct str map, uint32_t base, uint32_t count);

/* Ids to spare in such a map: the upper half of its longest line but for the last USERNS_SLOT_IDS, where
 * nobody's id may be. 0, or -ENOENT when that is less than USERNS_SLOT_IDS. */
int userns_spare_ids(struct str map, uint32_t *ret_base, uint32_t *ret_count) MUST_CHECK;

/* Moves the calling process, which must have one thread and be dumpable, into a new user namespace mapped by
 * the plan. The maps are written by a child made before the unshare that keeps only the capabilities to write
 * them. */
int userns_enter(const struct userns_plan *p, struct fault *f) MUST_CHECK;

/* The ids of one workload, seen from U1 and from inside U2. */
struct userns_workload {
    uint32_t outer_uid; /* in U1 */
    uint32_t outer_gid;
    uint32_t inner_uid; /* in U2 */
    uint32_t inner_gid;
};

/* Ordinary caller (count 0): U1's 0, inside the caller's own uid and gid (never 0). Else U1's id 1 + index,
 * inside USERNS_CELL_UID. index < count. */
struct userns_workload userns_workload(const struct userns_plan *p, uint32_t index);

/* Writes the maps of pid's user namespace (a child of the caller's) through the proc file system at proc_fd.
 */
int userns_map_workload(int proc_fd, pid_t pid, const struct userns_workload *w, bool ordinary,
                        struct fault *f) MUST_CHECK;
