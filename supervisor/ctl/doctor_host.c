/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "common/base/io.h"
#include "supervisor/cgroup.h"
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

static const char *cgroup_mend(void)
{
    if (cgroup_missing_on_host())
        return "boot with systemd.unified_cgroup_hierarchy=1 (cgroup v1 holds the controllers)";
    if (geteuid() == 0)
        return "run cellctl outside the container, or where its cgroup tree is writable";
    return "systemd-run --user --scope -p Delegate=yes cellctl run ...";
}

/* What a suite of this user would get, by the same code. */
void doctor_cgroup(struct doctor_result *ret)
{
    static const struct cgroup_limits limits[] = {{.memory_max_bytes = {true, 1}},
                                                  {.cpu_quota_us = {true, 1}, .cpu_period_us = 1},
                                                  {.pids_max = {true, 1}}};
    struct cgroup *c = NULL;
    struct fault f = {};
    size_t used = 0;
    int r = cgroup_open(0, &c, &f);

    for (size_t i = 0; r >= 0 && i < ARRAY_LEN(limits); i++) {
        const char *missing = cgroup_missing(c, &limits[i]);
        if (missing)
            used += (size_t)snprintf(ret->detail + used, sizeof(ret->detail) - used, "%s%s",
                                     used ? ", " : "cgroup v2 without the controllers ", missing);
    }
    cgroup_free(c);
    if (r >= 0 && used == 0) {
        (void)snprintf(ret->detail, sizeof(ret->detail), "v2 with memory, cpu and pids, writable");
        return;
    }
    if (r < 0)
        (void)snprintf(ret->detail, sizeof(ret->detail), "%.300s", f.text);
    ret->status = DOCTOR_MISSING;
    ret->cost = "specs with memory, cpu or pids limits are refused; others run with isolation.cgroup "
                "\"none\" or \"v2\"";
    (void)snprintf(ret->mend, sizeof(ret->mend), "%s", cgroup_mend());
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
    _cleanup_(buf_done) struct buf subuid = {0};
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
