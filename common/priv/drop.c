/* SPDX-License-Identifier: MIT */
#include "common/priv/drop.h"

#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "common/priv/caps.h"
#include "common/priv/seccomp.h"

static int drop_check_ids(enum role_mode mode)
{
    uid_t ruid, euid, suid;
    gid_t rgid, egid, sgid;

    if (getresuid(&ruid, &euid, &suid) < 0 || getresgid(&rgid, &egid, &sgid) < 0)
        return -errno;
    if (ruid != euid || ruid != suid || rgid != egid || rgid != sgid)
        return -EPERM;
    return mode == ROLE_SYSTEM && (ruid == 0 || rgid == 0) ? -EPERM : 0;
}

static int drop_limit(int what, rlim_t soft, rlim_t hard)
{
    struct rlimit l = {soft, hard};

    return setrlimit((__rlimit_resource_t)what, &l) < 0 ? -errno : 0;
}

static int drop_limits(const struct role *role)
{
    struct rlimit l;
    int r = drop_limit(RLIMIT_CORE, 0, 0);

    if (r < 0)
        return r;
    if (!role->may_fork && !seccomp_lists(role, SCMP_SYS(clone))) {
        r = drop_limit(RLIMIT_NPROC, 0, 0);
        if (r < 0)
            return r;
    }
    if (getrlimit(RLIMIT_NOFILE, &l) < 0)
        return -errno;
    if (l.rlim_cur >= role->nofile)
        return 0;
    return drop_limit(RLIMIT_NOFILE, role->nofile < l.rlim_max ? role->nofile : l.rlim_max, l.rlim_max);
}

static int drop_surroundings(const struct role *role)
{
    umask(077);
    if (chdir("/") < 0)
        return -errno;
    if (clearenv() != 0)
        return -ENOMEM;
    return drop_limits(role);
}

/* Steps that need a capability come before the capset that takes it. */
static int drop_groups_and_caps(uint64_t keep, struct drop_report *report)
{
    struct caps c;
    int r = caps_get(&c);

    if (r < 0)
        return r;
    if ((c.permitted & keep) != keep)
        return -EPERM;
    c.effective = c.permitted;
    r = caps_set(&c);
    if (r < 0)
        return r;
    if (c.permitted & CAPS_BIT(CAP_SETGID)) {
        /* A user namespace may have setgroups forbidden for ever (user_namespaces(7)): then they stay, as
         * reported. */
        report->groups_cleared = setgroups(0, NULL) == 0;
        if (!report->groups_cleared && errno != EPERM)
            return -errno;
    }
    if (c.permitted & CAPS_BIT(CAP_SETPCAP)) {
        r = caps_bound(keep);
        if (r < 0)
            return r;
        report->bounding_cleared = true;
    }
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        return -errno;
    return caps_set(&(struct caps){.effective = keep, .permitted = keep});
}

/* Each of these must fail. */
static int drop_prove(uint64_t keep)
{
    uint64_t all = caps_known();

    if (keep != all && caps_set(&(struct caps){all, all, 0}) == 0)
        return -EPERM;
    if (!(keep & CAPS_BIT(CAP_SETGID)) &&
        (setgroups(0, NULL) == 0 || setresgid((gid_t)-1, getgid() + 1, (gid_t)-1) == 0))
        return -EPERM;
    if (!(keep & CAPS_BIT(CAP_SETUID)) && setresuid((uid_t)-1, getuid() + 1, (uid_t)-1) == 0)
        return -EPERM;
    if (getuid() != 0 && (setresuid(0, 0, 0) == 0 || setresuid((uid_t)-1, 0, (uid_t)-1) == 0))
        return -EPERM;
    return 0;
}

int drop_privileges(const struct role *role, enum role_mode mode, struct drop_report *ret)
{
    struct drop_report report = {0};
    int r = drop_check_ids(mode);

    if (r < 0)
        return r;
    r = drop_surroundings(role);
    if (r < 0)
        return r;
    r = drop_groups_and_caps(role->caps[mode], &report);
    if (r < 0)
        return r;
    /* The kernel resets it when credentials change, so only now (prctl(2)). */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return -errno;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    r = drop_prove(role->caps[mode]);
    if (r < 0)
        return r;
    *ret = report;
    return 0;
}
