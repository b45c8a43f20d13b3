/* SPDX-License-Identifier: MIT */
#include "common/priv/audit.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "common/base/dir.h"
#include "common/base/log.h"
#include "common/base/num.h"
#include "common/priv/caps.h"

/* Logs the difference; true when it is none. */
static bool audit_same(const char *what, uint64_t is, uint64_t want)
{
    if (is != want)
        log_error("audit: %s is 0x%" PRIx64 ", the role says 0x%" PRIx64, what, is, want);
    return is == want;
}

static int audit_ids(enum role_mode mode, const struct drop_report *report)
{
    uid_t ruid, euid, suid;
    gid_t rgid, egid, sgid;
    int ngroups;
    bool ok;

    if (getresuid(&ruid, &euid, &suid) < 0 || getresgid(&rgid, &egid, &sgid) < 0)
        return -errno;
    ngroups = getgroups(0, NULL);
    if (ngroups < 0)
        return -errno;
    ok = audit_same("effective uid", euid, ruid);
    ok &= audit_same("saved uid", suid, ruid);
    ok &= audit_same("effective gid", egid, rgid);
    ok &= audit_same("saved gid", sgid, rgid);
    if (mode == ROLE_SYSTEM) {
        ok &= audit_same("uid is root", ruid == 0, false);
        ok &= audit_same("gid is root", rgid == 0, false);
    }
    if (report->groups_cleared)
        ok &= audit_same("number of supplementary groups", (uint64_t)ngroups, 0);
    return ok ? 0 : -EPERM;
}

static int audit_caps(const struct role *role, enum role_mode mode, const struct drop_report *report)
{
    uint64_t want = role->caps[mode];
    struct caps c;
    bool ok;
    int r = caps_get(&c);

    if (r < 0)
        return r;
    ok = audit_same("effective set", c.effective, want);
    ok &= audit_same("permitted set", c.permitted, want);
    ok &= audit_same("inheritable set", c.inheritable, 0);
    ok &= audit_same("ambient set", caps_ambient(), 0);
    /* Without CAP_SETPCAP an ordinary caller's bounding set stays full; no_new_privs makes it ineffective. In
     * system mode systemd was to set it. */
    if (report->bounding_cleared || mode == ROLE_SYSTEM)
        ok &= audit_same("bounding set", caps_bounding(), want);
    return ok ? 0 : -EPERM;
}

static int audit_process(void)
{
    struct rlimit core;
    bool ok;

    if (getrlimit(RLIMIT_CORE, &core) < 0)
        return -errno;
    ok = audit_same("no_new_privs", (uint64_t)prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
    ok &= audit_same("dumpable", (uint64_t)prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
    ok &= audit_same("core limit", core.rlim_max, 0);
    return ok ? 0 : -EPERM;
}

/* Calls for each entry of a /proc directory of numbers, except the fd that reads it. The count, or -errno. */
static int audit_each(const char *path, int (*fn)(int number, void *self), void *self)
{
    _cleanup_(dir_closep) DIR *d = opendir(path);
    int count = 0;

    if (!d)
        return -errno;
    for (;;) {
        uint64_t n;
        struct dirent *e;
        int r;
        errno = 0;
        e = readdir(d);
        if (!e)
            return errno > 0 ? -errno : count;
        if (e->d_name[0] == '.')
            continue;
        r = num_parse_u64(str_of(e->d_name), 0, INT_MAX, &n);
        if (r < 0)
            return r;
        if (fn && (int)n == dirfd(d))
            continue;
        count++;
        r = fn ? fn((int)n, self) : 0;
        if (r < 0)
            return r;
    }
}

struct audit_fd_list {
    const struct audit_fd *fds;
    size_t n;
    size_t extra;
};

static int audit_see_fd(int fd, void *self)
{
    struct audit_fd_list *l = self;
    char link[64], target[128], shown[160];
    ssize_t n;

    if (fd <= 2)
        return 0;
    for (size_t i = 0; i < l->n; i++)
        if (l->fds[i].fd == fd)
            return 0;
    l->extra++;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, target, sizeof target);
    log_error("audit: fd %d (%s) is open, the role does not have it", fd,
              str_escape(shown, sizeof shown, target, n < 0 ? 0 : (size_t)n));
    return 0;
}

static int audit_fds(const struct audit_fd *fds, size_t n)
{
    struct audit_fd_list list = {fds, n, 0};
    bool ok = true;
    int r = audit_each("/proc/self/fd", audit_see_fd, &list);

    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++) {
        r = fds[i].checked                  ? role_fd_check(fds[i].fd, fds[i].kind)
            : fcntl(fds[i].fd, F_GETFD) < 0 ? -errno
                                            : 0;
        if (r < 0) {
            ok = false;
            log_failed(LOG_ERR, r, "audit: fd %d is missing or of another kind", fds[i].fd);
        }
    }
    for (int fd = 0; fd <= 2; fd++)
        ok &= audit_same("fd 0, 1 or 2 is closed", fcntl(fd, F_GETFD) < 0, false);
    return ok && list.extra == 0 ? 0 : -EPERM;
}

static int audit_one_thread(void)
{
    int r = audit_each("/proc/self/task", /* fn= */ NULL, /* self= */ NULL);

    if (r < 0)
        return r;
    return audit_same("number of threads", (uint64_t)r, 1) ? 0 : -EPERM;
}

int audit_drop(const struct role *role, enum role_mode mode, const struct drop_report *report,
               const struct audit_fd *fds, size_t n)
{
    const int results[] = {
        audit_ids(mode, report), audit_caps(role, mode, report), audit_process(), audit_one_thread(),
        audit_fds(fds, n),
    };

    for (size_t i = 0; i < ARRAY_LEN(results); i++)
        if (results[i] < 0)
            return results[i];
    log_info("audit: uid %u, gid %u, %d supplementary groups, capabilities 0x%" PRIx64
             ", no_new_privs, not dumpable, "
             "%zu fds: as the role says",
             getuid(), getgid(), getgroups(0, NULL), role->caps[mode], n + 3);
    return 0;
}
