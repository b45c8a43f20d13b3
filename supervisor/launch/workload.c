/* SPDX-License-Identifier: MIT */
#include "supervisor/launch/workload.h"

#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "common/ipc/frame.h"
#include "common/priv/caps.h"
#include "supervisor/launch/workload_landlock.h"

/* ---- exec ---- */

static int workload_exec_at(const char *path, char *const *argv, char *const *env, struct fault *f)
{
    int err;

    execve(path, argv, env);
    err = errno;
    if (err == ENOENT && faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return fault_set(f, -ENOENT, "%s is there, but its interpreter or loader is not", path);
    return fault_set(f, -err, "%s", path);
}

int workload_exec(char *const *argv, char *const *env, const char *path, struct fault *f)
{
    int result = -ENOENT;
    struct fault denied = {};

    if (strchr(argv[0], '/'))
        return workload_exec_at(argv[0], argv, env, f);
    while (*path) {
        size_t n = strcspn(path, ":");
        char full[PATH_MAX];
        if ((size_t)snprintf(full, sizeof(full), "%.*s/%s", (int)n, path, argv[0]) < sizeof(full) &&
            faccessat(AT_FDCWD, full, F_OK, 0) == 0) {
            int r = workload_exec_at(full, argv, env, f);
            if (r != -EACCES)
                return r;
            result = r; /* a later folder may have one that can be run */
            if (f)
                denied = *f;
        }
        path += n + (path[n] == ':');
    }
    if (result == -EACCES && f)
        *f = denied;
    else
        fault_set(f, result, "%s is not in the cell's PATH " WORKLOAD_PATH, argv[0]);
    return result;
}

/* ---- giving up ---- */

static int workload_ids(const struct workload *w)
{
    /* An ordinary caller's supplementary groups cannot be dropped: its map forbids setgroups(2). */
    if (!w->ordinary && setgroups(0, NULL) < 0)
        return -errno;
    if (setresgid(w->ids.inner_gid, w->ids.inner_gid, w->ids.inner_gid) < 0 ||
        setresuid(w->ids.inner_uid, w->ids.inner_uid, w->ids.inner_uid) < 0)
        return -errno;
    return 0;
}

static int workload_limit(unsigned what, rlim_t max)
{
    struct rlimit l;

    if (getrlimit(what, &l) < 0)
        return -errno;
    if (l.rlim_max == RLIM_INFINITY || l.rlim_max > max)
        l.rlim_max = max;
    if (l.rlim_cur == RLIM_INFINITY || l.rlim_cur > l.rlim_max)
        l.rlim_cur = l.rlim_max;
    return setrlimit(what, &l) < 0 ? -errno : 0;
}

/* core(5): a handler behind a pipe in core_pattern gets the dump at a limit of 0 all the same, with every
 * secret of the workload in it. Only 1 keeps it away, and is less than a dump to a file needs. */
static int workload_no_core(void)
{
    struct rlimit l;

    if (getrlimit(RLIMIT_CORE, &l) < 0)
        return -errno;
    if (l.rlim_max >= 1)
        l.rlim_cur = l.rlim_max = 1;
    return setrlimit(RLIMIT_CORE, &l) < 0 ? -errno : 0;
}

static int workload_capabilities(void)
{
    const struct caps none = {0};
    int r;

    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        return -errno;
    r = caps_bound(0);
    if (r == 0)
        r = caps_set(&none);
    if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        r = -errno;
    return r;
}

static int workload_signals(void)
{
    sigset_t none;
    struct sigaction dfl = {.sa_handler = SIG_DFL};

    for (int s = 1; s < NSIG; s++)
        (void)!sigaction(s, &dfl, NULL); /* KILL, STOP and libc's own refuse */
    sigemptyset(&none);
    return sigprocmask(SIG_SETMASK, &none, NULL) < 0 ? -errno : 0;
}

/* The pair stays, for the failure of the exec; like everything above 2 it goes with the exec. */
static int workload_fds(const struct workload *w)
{
    for (int i = 0; i < 3; i++)
        if (dup2(w->stdio[i], i) < 0)
            return -errno;
    return close_range(3, UINT_MAX, CLOSE_RANGE_CLOEXEC) < 0 ? -errno : 0;
}

static int workload_filters(const struct workload *w, int pair)
{
    _cleanup_close_ int listener = cell_filter_load(w->core, true);
    struct rlimit limit;
    int r;

    if (listener < 0)
        return listener;
    frame_limit_raise(&limit);
    r = frame_send(pair, "L", 1, &listener, 1);
    frame_limit_restore(&limit);
    if (r == 0) /* only now: it would bound what was just sent */
        r = workload_limit(RLIMIT_NOFILE, w->launch->nofile_max);
    return r < 0 ? r : cell_filter_load(w->baseline, false);
}

static const struct workload_step {
    const char *stage, *what;
} workload_steps[] = {
    {"userns", "making the user namespace of the workload"},
    {"uid", "changing to the cell's user"},
    {"cwd", "entering the working directory"},
    {"fds", "passing the standard fds"},
    {"caps", "dropping capabilities"},
    {"landlock", "confining the workload with Landlock"},
    {"limits", "limiting the workload"},
    {"seccomp", "loading the seccomp filters"},
};

static int workload_user(int pair)
{
    char byte;

    if (unshare(CLONE_NEWUSER) < 0)
        return -errno;
    if (write(pair, "u", 1) != 1 || read(pair, &byte, 1) != 1)
        return -EPIPE;
    return 0;
}

static int workload_step(const struct workload *w, size_t step, int pair)
{
    int r = 0;

    switch (step) {
    case 0:
        return workload_user(pair);
    case 1:
        return workload_ids(w);
    case 2:
        return chdir(w->launch->working_directory.p) < 0 ? -errno : 0;
    case 3:
        return workload_fds(w);
    case 4:
        r = workload_signals();
        return r < 0 ? r : workload_capabilities();
    case 5:
        r = workload_landlock(w->launch);
        return r < 0 ? r : 0;
    case 6:
        r = workload_no_core();
        return r < 0 ? r : workload_limit(RLIMIT_NPROC, WORKLOAD_PROCESSES_MAX);
    default:
        return workload_filters(w, pair);
    }
}

/* proc_pid_oom_score_adj(5). When the cell is out of memory, which files on its tmpfs use up as well, the
 * kernel ends a process of the workload and never cell init, which has to tell how it ended. */
static void workload_first_to_go(void)
{
    _cleanup_close_ int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    if (fd >= 0) /* only a preference: no reason to refuse the run */
        (void)!write(fd, "1000", 4);
}

/* The gate. End of file: cell init is gone, and this process is about to be. */
static void workload_wait(int pair)
{
    char byte;
    ssize_t n;

    while ((n = read(pair, &byte, 1)) < 0 && errno == EINTR) {
    }
    if (n != 1) /* cell init is gone */
        _exit(127);
}

static void workload_child(const struct workload *w, int pair, struct workload_failure *out)
{
    struct fault f = {};

    umask(022);
    workload_first_to_go();
    if (setsid() < 0) { /* it was just forked, so it leads no group yet */
        out->error = errno;
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(workload_steps); i++) {
        int r = workload_step(w, i, pair);
        if (r == 0)
            continue;
        fault_set(&f, r, "%s", workload_steps[i].what);
        snprintf(out->stage, sizeof(out->stage), "%s", workload_steps[i].stage);
        memcpy(out->text, f.text, sizeof(out->text));
        out->error = -r;
        return;
    }
    workload_wait(pair);
    out->error = -workload_exec(w->argv, w->env, WORKLOAD_PATH, &f);
    snprintf(out->stage, sizeof(out->stage), "exec");
    memcpy(out->text, f.text, sizeof(out->text));
}

/* ---- cell init's side ---- */

static int workload_map(const struct workload *w, pid_t pid, int proc_fd, int pair, struct fault *f)
{
    struct workload_failure early;
    ssize_t n = read(pair, &early, sizeof(early));
    int r;

    if (n == (ssize_t)sizeof(early)) {
        early.text[sizeof(early.text) - 1] = '\0';
        if (f)
            memcpy(f->text, early.text, sizeof(f->text));
        return early.error > 0 ? -early.error : -EIO;
    }
    if (n != 1)
        return fault_set(f, -EPIPE, "the workload's process ended before it had a user namespace");
    r = userns_map_workload(proc_fd, pid, &w->ids, w->ordinary, f);
    if (r < 0)
        return r;
    /* Only now: the map files of a child of a process that is not dumpable belong to the host's root. */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return fault_set(f, -errno, "hiding cell init from the workload");
    if (write(pair, "m", 1) != 1)
        return fault_set(f, -EPIPE, "the workload's process ended before the exec");
    return 0;
}

int workload_go(int pair)
{
    return send(pair, "g", 1, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

pid_t workload_fork(const struct workload *w, int proc_fd, int *ret_pair, struct fault *f)
{
    _cleanup_close_ int ours = -EBADF, theirs = -EBADF;
    int pair[2], r;
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return fault_set(f, -errno, "making a socket pair");
    ours = pair[0];
    theirs = pair[1];
    pid = fork();
    if (pid < 0)
        return fault_set(f, -errno, "forking the workload");
    if (pid == 0) {
        struct workload_failure out = {.stage = "session"};
        workload_child(w, theirs, &out);
        (void)!frame_send(theirs, &out, sizeof(out), NULL, 0);
        _exit(127);
    }
    r = workload_map(w, pid, proc_fd, ours, f);
    if (r < 0) {
        kill(pid, SIGKILL);
        return r;
    }
    *ret_pair = TAKE_FD(ours);
    return pid;
}
