/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "common/base/io.h"
#include "supervisor/ctl/doctor.h"

#define FILE_TEXT_MAX 65536
#define SUBID_DEFAULT                                                                                        \
    1879048192u /* where cells of a root caller get their host ids without a subuid entry                    \
                 */

static int read_text(const char *path, struct buf *b)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    buf_init(b, FILE_TEXT_MAX);
    if (fd < 0)
        return -errno;
    int r = io_read_to_end(fd, b);
    return r < 0 ? r : (buf_cstr(b) ? 0 : -ENOMEM);
}

/* ---- cgroup v2 ---- */

/* The directory of this process in the v2 hierarchy: its mount point (mountinfo field 5) and the "0::" line.
 */
static int own_cgroup(char *dst, size_t cap)
{
    _cleanup_(buf_done) struct buf mounts, own;
    char mount_point[512] = "", line[1024];
    buf_init(&own, 0);
    int r = read_text("/proc/self/mountinfo", &mounts);
    if (r == 0)
        r = read_text("/proc/self/cgroup", &own);
    if (r < 0)
        return r;
    for (char *p = (char *)mounts.data, *end; *p; p = end + (*end == '\n')) {
        end = strchrnul(p, '\n');
        (void)snprintf(line, sizeof(line), "%.*s", (int)(end - p), p);
        if (strstr(line, " - cgroup2 ") && sscanf(line, "%*s %*s %*s %*s %511s", mount_point) == 1)
            break;
    }
    const char *here = strstr((const char *)own.data, "0::");
    if (!mount_point[0] || !here)
        return -ENOENT;
    here += 3;
    int n = snprintf(dst, cap, "%s%.*s", mount_point, (int)strcspn(here, "\n"), here);
    return n < 0 || (size_t)n >= cap ? -ENAMETOOLONG : 0;
}

static bool has_word(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; (p = strstr(p, word)); p += n)
        if ((p == list || p[-1] == ' ') && (p[n] == '\0' || p[n] == ' ' || p[n] == '\n'))
            return true;
    return false;
}

static int try_subgroup(const char *dir)
{
    char path[1024];
    int n = snprintf(path, sizeof(path), "%s/cellos-doctor-%d", dir, (int)getpid());
    if (n < 0 || (size_t)n >= sizeof(path))
        return -ENAMETOOLONG;
    if (mkdir(path, 0700) < 0)
        return -errno;
    return rmdir(path) < 0 ? -errno : 0;
}

static void no_cgroup(struct doctor_result *ret, const char *mend)
{
    ret->status = DOCTOR_MISSING;
    ret->cost =
        "specs with memory, cpu or pids limits are refused; others run with isolation.cgroup \"none\"";
    (void)snprintf(ret->mend, sizeof(ret->mend), "%s", mend);
}

void doctor_cgroup(struct doctor_result *ret)
{
    static const char *const wanted[] = {"memory", "cpu", "pids"};
    char dir[1024], path[1088];
    size_t used = 0;
    _cleanup_(buf_done) struct buf controllers;
    buf_init(&controllers, 0);
    int r = own_cgroup(dir, sizeof(dir));
    if (r == 0) {
        (void)snprintf(path, sizeof(path), "%s/cgroup.controllers", dir);
        r = read_text(path, &controllers);
    }
    if (r < 0) {
        (void)snprintf(ret->detail, sizeof(ret->detail), "no cgroup v2: %s", strerrordesc_np(-r));
        no_cgroup(ret, "boot with systemd.unified_cgroup_hierarchy=1");
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        if (!has_word((const char *)controllers.data, wanted[i]))
            used += (size_t)snprintf(ret->detail + used, sizeof(ret->detail) - used, "%s%s",
                                     used ? ", " : "cgroup v2 without the controllers ", wanted[i]);
    if (used) {
        no_cgroup(ret, geteuid() == 0
                           ? "boot with systemd.unified_cgroup_hierarchy=1 (cgroup v1 holds the controllers)"
                           : "systemd-run --user --scope -p Delegate=yes cellctl run ...");
        return;
    }
    r = try_subgroup(dir);
    if (r < 0) {
        (void)snprintf(ret->detail, sizeof(ret->detail), "cannot make a group below %.200s: %s", dir,
                       strerrordesc_np(-r));
        no_cgroup(ret, "systemd-run --user --scope -p Delegate=yes cellctl run ...");
        return;
    }
    (void)snprintf(ret->detail, sizeof(ret->detail), "v2 with memory, cpu and pids, writable");
}

/* ---- ids ---- */

/* In the child: a new user namespace, a word to the parent, then wait until the parent has tried to map it.
 */
static int wait_for_map(int line)
{
    char c;
    return unshare(CLONE_NEWUSER) == 0 && write(line, "u", 1) == 1 && read(line, &c, 1) == 0 ? 0 : 1;
}

/* Root may map any host id, unless it is root of a namespace that does not own the range: write the map of a
 * child. */
static int try_range(void *arg)
{
    int line[2], r;
    char path[64], c, map[64];
    (void)arg;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line) < 0)
        return -errno;
    pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0) {
        close(line[0]);
        _exit(wait_for_map(line[1]));
    }
    close(line[1]);
    if (read(line[0], &c, 1) != 1) {
        r = -EPERM;
    } else {
        (void)snprintf(path, sizeof(path), "/proc/%d/uid_map", (int)pid);
        (void)snprintf(map, sizeof(map), "0 %u 1", SUBID_DEFAULT);
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
        r = fd < 0 ? -errno : io_write_full(fd, map, strlen(map));
    }
    close(line[0]);
    (void)waitpid(pid, NULL, 0);
    return r;
}

void doctor_subids(struct doctor_result *ret)
{
    _cleanup_(buf_done) struct buf subuid;
    buf_init(&subuid, 0);
    if (geteuid() != 0) {
        (void)snprintf(ret->detail, sizeof(ret->detail), "not needed: the workload keeps uid %u",
                       (unsigned)geteuid());
        return;
    }
    bool entry =
        read_text("/etc/subuid", &subuid) == 0 && (strncmp((const char *)subuid.data, "cellos:", 7) == 0 ||
                                                   strstr((const char *)subuid.data, "\ncellos:"));
    int r = doctor_in_child(try_range, NULL);
    if (r == 0) {
        (void)snprintf(ret->detail, sizeof(ret->detail), "%s",
                       entry ? "the range of cellos in /etc/subuid"
                             : "an unprivileged range from 1879048192 on");
        return;
    }
    ret->status = DOCTOR_MISSING;
    (void)snprintf(ret->detail, sizeof(ret->detail), "cannot map host id %u: %s", SUBID_DEFAULT,
                   strerrordesc_np(-r));
    ret->cost = "a cell started by root would have to run as host root, so none is started";
    (void)snprintf(ret->mend, sizeof(ret->mend), "run cellctl as an ordinary user, or outside the container");
}

void doctor_groups(struct doctor_result *ret)
{
    gid_t groups[64];
    int n = getgroups(0, NULL), extra = 0, have = getgroups(ARRAY_LEN(groups), groups);
    for (int i = 0; i < have; i++)
        extra += groups[i] != getegid();
    if (have < 0)
        extra = n;
    if (geteuid() == 0 || extra == 0) {
        (void)snprintf(ret->detail, sizeof(ret->detail), "%s", extra ? "dropped (root caller)" : "none");
        return;
    }
    ret->status = DOCTOR_NOTE;
    (void)snprintf(ret->detail, sizeof(ret->detail), "%d of this user stay with the workload", extra);
    ret->cost = "files that such a group may read are readable where a cell is shown them";
    (void)snprintf(ret->mend, sizeof(ret->mend),
                   "start with setpriv --clear-groups (as root), or as a user without groups");
}
