/* SPDX-License-Identifier: MIT */
#include "supervisor/launch/userns.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "common/base/buf.h"
#include "common/base/io.h"
#include "common/base/num.h"

#define USERNS_SUBID_FILE_MAX (1u << 20)
#define USERNS_MAP_TEXT       96

static struct str userns_next_field(struct str *rest, char sep)
{
    const char *at = rest->len ? memchr(rest->p, sep, rest->len) : NULL;
    struct str field = {rest->p, at ? (size_t)(at - rest->p) : rest->len};
    size_t used = field.len + (at ? 1 : 0);

    *rest = (struct str){rest->p + used, rest->len - used};
    return field;
}

int userns_subid_parse(struct str text, struct str owner, uint32_t *ret_base, uint32_t *ret_count)
{
    while (text.len > 0) {
        struct str line = userns_next_field(&text, '\n');
        struct str name = userns_next_field(&line, ':');
        struct str base = userns_next_field(&line, ':');
        uint64_t b, n;

        /* Ids below 2^31 only: some file systems and tools treat the rest as negative. Host ids below 1000
         * are system users on every distribution, so such a row is a mistake. */
        if (!str_eq(name, owner) || num_parse_u64(base, 1000, INT32_MAX, &b) < 0 ||
            num_parse_u64(line, USERNS_SLOT_IDS, UINT32_MAX, &n) < 0 || b + n > (uint64_t)INT32_MAX + 1)
            continue;
        *ret_base = (uint32_t)b;
        *ret_count = n < USERNS_RANGE_IDS ? (uint32_t)n : USERNS_RANGE_IDS;
        return 0;
    }
    return -ENOENT;
}

/* The next line "inside outside count" of a map, or false at the end. */
static bool userns_next_extent(struct str *map, uint64_t ret[3])
{
    while (map->len > 0) {
        struct str line = userns_next_field(map, '\n');
        size_t n = 0;
        while (n < 3 && line.len > 0) {
            struct str word = userns_next_field(&line, ' ');
            if (word.len > 0 && num_parse_u64(word, 0, UINT32_MAX, &ret[n++]) < 0)
                return false;
        }
        if (n == 3)
            return true;
    }
    return false;
}

bool userns_has_ids(struct str map, uint32_t base, uint32_t count)
{
    uint64_t e[3];

    while (userns_next_extent(&map, e))
        if (base >= e[0] && (uint64_t)base + count <= e[0] + e[2])
            return true;
    return false;
}

int userns_spare_ids(struct str map, uint32_t *ret_base, uint32_t *ret_count)
{
    uint64_t e[3], base = 0, count = 0;

    while (userns_next_extent(&map, e)) {
        uint64_t half = e[2] / 2;
        if (half >= 2 * (uint64_t)USERNS_SLOT_IDS && half - USERNS_SLOT_IDS > count) {
            base = e[0] + e[2] - half;
            count = half - USERNS_SLOT_IDS;
        }
    }
    if (count == 0)
        return -ENOENT;
    *ret_base = (uint32_t)base;
    *ret_count = count < USERNS_RANGE_IDS ? (uint32_t)count : USERNS_RANGE_IDS;
    return 0;
}

static int userns_read(const char *file, struct buf *b)
{
    _cleanup_close_ int fd = open(file, O_RDONLY | O_CLOEXEC);

    buf_init(b, USERNS_SUBID_FILE_MAX);
    return fd < 0 ? -errno : io_read_to_end(fd, b);
}

/* The range of one kind of ids: the administrator's row, else the built-in one, else what a container has to
 * spare. */
static int userns_range(const char *subids, const char *map, uint32_t *ret_base, uint32_t *ret_count)
{
    _cleanup_(buf_done) struct buf rows = {0}, ids = {0};
    int r = userns_read(map, &ids);

    *ret_base = USERNS_RANGE_BASE;
    *ret_count = USERNS_RANGE_IDS;
    if (userns_read(subids, &rows) == 0)
        (void)!userns_subid_parse(buf_str(&rows), STR_LIT(USERNS_SUBID_OWNER), ret_base, ret_count);
    if (r < 0 || userns_has_ids(buf_str(&ids), *ret_base, *ret_count))
        return r;
    return userns_spare_ids(buf_str(&ids), ret_base, ret_count);
}

/* Whether our uid 0 is not 0 outside either: then a workload may have it. */
static bool userns_root_is_ordinary(void)
{
    _cleanup_(buf_done) struct buf b = {0};
    struct str map;
    uint64_t e[3];

    if (userns_read("/proc/self/uid_map", &b) < 0)
        return false;
    map = buf_str(&b);
    while (userns_next_extent(&map, e))
        if (e[0] == 0)
            return e[1] != 0;
    return false;
}

static int userns_lock_slot(int locks_dir, uint32_t slots, uint32_t *ret_slot, struct fault *f)
{
    for (uint32_t i = 0; i < slots; i++) {
        _cleanup_close_ int fd = -EBADF;
        char name[32];

        snprintf(name, sizeof(name), "ids-%u", i);
        fd = openat(locks_dir, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
            return fault_set(f, -errno, "opening the lock %s of a range of user ids", name);
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
            *ret_slot = i;
            return TAKE_FD(fd);
        }
        if (errno != EWOULDBLOCK)
            return fault_set(f, -errno, "locking %s, a range of user ids", name);
    }
    return fault_set(f, -EUSERS, "all %u ranges of user ids are in use by running suites", slots);
}

int userns_plan(int locks_dir, struct userns_plan *ret, struct fault *f)
{
    struct userns_plan p = {.uid = geteuid(), .gid = getegid(), .slot_fd = -EBADF};
    uint32_t uids = 0, gids = 0, slot = 0;
    int r;

    if (p.uid != 0) {
        *ret = p;
        return 0;
    }
    r = userns_range("/etc/subuid", "/proc/self/uid_map", &p.uid_base, &uids);
    if (r == 0)
        r = userns_range("/etc/subgid", "/proc/self/gid_map", &p.gid_base, &gids);
    if (r == -ENOENT && userns_root_is_ordinary()) {
        p.uid_base = p.gid_base = 0;
        *ret = p;
        return 0;
    }
    if (r < 0)
        return fault_set(f, r,
                         "this user namespace has no user ids to spare for cells (see /proc/self/uid_map)");
    p.slot_fd = userns_lock_slot(locks_dir, (uids < gids ? uids : gids) / USERNS_SLOT_IDS, &slot, f);
    if (p.slot_fd < 0)
        return p.slot_fd;
    p.uid_base += slot * USERNS_SLOT_IDS;
    p.gid_base += slot * USERNS_SLOT_IDS;
    p.count = USERNS_SLOT_IDS;
    *ret = p;
    return 0;
}

void userns_plan_done(struct userns_plan *p)
{
    cleanup_closep(&p->slot_fd);
    p->slot_fd = -EBADF;
}

struct userns_workload userns_workload(const struct userns_plan *p, uint32_t index)
{
    if (p->count == 0)
        return (struct userns_workload){0, 0, p->uid ? p->uid : USERNS_CELL_UID,
                                        p->gid ? p->gid : USERNS_CELL_UID};
    return (struct userns_workload){1 + index, 1 + index, USERNS_CELL_UID, USERNS_CELL_UID};
}

/* proc(5): one write, the whole map. */
static int userns_write(int proc_fd, pid_t pid, const char *name, const char *text)
{
    _cleanup_close_ int fd = -EBADF;
    char path[64];
    ssize_t n;

    snprintf(path, sizeof(path), "%d/%s", (int)pid, name);
    fd = openat(proc_fd, path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    n = write(fd, text, strlen(text));
    if (n < 0)
        return -errno;
    return (size_t)n == strlen(text) ? 0 : -EIO;
}

static int userns_write_maps(int proc_fd, pid_t pid, const char *uids, const char *gids, bool no_setgroups)
{
    int r = 0;

    /* Without a capability over the gids the kernel takes a gid map only after setgroups(2) was given up. */
    if (no_setgroups)
        r = userns_write(proc_fd, pid, "setgroups", "deny");
    if (r == 0)
        r = userns_write(proc_fd, pid, "uid_map", uids);
    if (r == 0)
        r = userns_write(proc_fd, pid, "gid_map", gids);
    return r;
}

int userns_map_workload(int proc_fd, pid_t pid, const struct userns_workload *w, bool ordinary,
                        struct fault *f)
{
    char uids[USERNS_MAP_TEXT], gids[USERNS_MAP_TEXT];
    int r;

    snprintf(uids, sizeof(uids), "%u %u 1\n", w->inner_uid, w->outer_uid);
    snprintf(gids, sizeof(gids), "%u %u 1\n", w->inner_gid, w->outer_gid);
    r = userns_write_maps(proc_fd, pid, uids, gids, ordinary);
    if (r < 0)
        return fault_set(f, r, "mapping the user of the cell");
    return 0;
}

static int userns_keep_map_caps(uid_t uid)
{
    struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct d[2] = {0};
    uint32_t keep = 1u << CAP_SETUID | 1u << CAP_SETGID;

    /* user_namespaces(7): since Linux 5.12 mapping the parent's uid 0 also asks for CAP_SETFCAP. */
    if (uid == 0)
        keep |= 1u << CAP_SETFCAP;
    if (syscall(SYS_capget, &h, d) < 0)
        return -errno;
    d[0].permitted &= keep;
    d[1].permitted = 0;
    d[0].effective = d[0].permitted;
    d[1].effective = d[0].inheritable = d[1].inheritable = 0;
    return syscall(SYS_capset, &h, d) < 0 ? -errno : 0;
}

/* The helper: waits until the parent has unshared, writes its maps, answers with the result. */
static int userns_helper(const struct userns_plan *p, pid_t pid, int sock)
{
    _cleanup_close_ int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    char uids[USERNS_MAP_TEXT], gids[USERNS_MAP_TEXT], byte;
    int r;

    if (proc < 0)
        return -errno;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != pid)
        return -ESRCH;
    r = userns_keep_map_caps(p->uid);
    if (r < 0)
        return r;
    if (read(sock, &byte, 1) != 1)
        return -ESRCH;
    if (p->count > 0) {
        snprintf(uids, sizeof(uids), "0 %u 1\n1 %u %u\n", p->uid, p->uid_base, p->count);
        snprintf(gids, sizeof(gids), "0 %u 1\n1 %u %u\n", p->gid, p->gid_base, p->count);
    } else {
        snprintf(uids, sizeof(uids), "0 %u 1\n", p->uid);
        snprintf(gids, sizeof(gids), "0 %u 1\n", p->gid);
    }
    return userns_write_maps(proc, pid, uids, gids, p->count == 0);
}

static int userns_unshare(int sock, struct fault *f)
{
    int r = 0;

    if (unshare(CLONE_NEWUSER) < 0)
        return fault_set(
            f, -errno,
            "making a user namespace (is kernel.unprivileged_userns_clone 0, user.max_user_namespaces 0, "
            "or kernel.apparmor_restrict_unprivileged_userns 1?)");
    if (write(sock, "u", 1) != 1 || read(sock, &r, sizeof(r)) != (ssize_t)sizeof(r))
        return fault_set(f, -EPIPE, "the helper that maps user ids ended");
    if (r < 0)
        return fault_set(
            f, r, "mapping user ids (is the range mapped here? see /proc/self/uid_map and /etc/subuid)");
    return 0;
}

int userns_enter(const struct userns_plan *p, struct fault *f)
{
    int pair[2], r;
    pid_t self = getpid(), helper;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return fault_set(f, -errno, "making a socket pair");
    helper = fork();
    if (helper < 0) {
        r = fault_set(f, -errno, "forking the helper that maps user ids");
        close(pair[0]);
        close(pair[1]);
        return r;
    }
    if (helper == 0) {
        close(pair[0]);
        r = userns_helper(p, self, pair[1]);
        _exit(write(pair[1], &r, sizeof(r)) == (ssize_t)sizeof(r) ? 0 : 1);
    }
    close(pair[1]);
    r = userns_unshare(pair[0], f);
    close(pair[0]); /* a helper that still waits sees the end of file and goes */
    while (waitpid(helper, NULL, 0) < 0 && errno == EINTR)
        ;
    return r;
}
