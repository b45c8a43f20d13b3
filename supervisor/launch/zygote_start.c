/* SPDX-License-Identifier: MIT */
/* The supervisor's side, and the zygote until it re-executes itself. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "common/base/io.h"
#include "supervisor/launch/zygote.h"
#include "supervisor/launch/zygote_boot.h"

/* What lies below a system folder would be shown by it: every cell has these whole. */
static int zygote_hidden_place(const char *path, struct fault *f)
{
    static const char *const shown[] = {"/usr",   "/bin",   "/sbin",   "/lib",
                                        "/lib32", "/lib64", "/libx32", "/etc"};
    _cleanup_close_ int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct file_id ids[ARRAY_LEN(shown)];
    struct binds b = {.forbidden = ids};
    struct stat st;
    int r;

    if (fd < 0)
        return fault_set(f, -errno, "looking at %s, which is kept from cells", path);
    for (size_t i = 0; i < ARRAY_LEN(shown); i++)
        if (stat(shown[i], &st) == 0)
            ids[b.nforbidden++] = file_id_of(&st);
    r = fstat(fd, &st) < 0 ? -errno : binds_check_above(&b, fd, &st);
    return r < 0
               ? fault_set(f, r,
                           "%s lies in a folder that every cell sees: give another place with XDG_STATE_HOME",
                           path)
               : 0;
}

static int zygote_forbidden(const struct zygote_config *cfg, struct zygote_boot *b, struct fault *f)
{
    if (cfg->nforbidden > BINDS_FORBIDDEN_MAX)
        return fault_set(f, -E2BIG, "more than %u directories kept from cells", BINDS_FORBIDDEN_MAX);
    for (size_t i = 0; i < cfg->nforbidden; i++) {
        struct stat st;
        if (stat(cfg->forbidden[i], &st) < 0)
            return fault_set(f, -errno, "looking at %s, which is kept from cells", cfg->forbidden[i]);
        b->forbidden[b->nforbidden++] = file_id_of(&st);
        int r = zygote_hidden_place(cfg->forbidden[i], f);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Moves the fds to their numbers, everything else away. They lie above the numbers, so none is overwritten.
 */
static int zygote_place_fds(int line, int slot, int report)
{
    int fds[] = {fcntl(line, F_DUPFD, 16), fcntl(slot, F_DUPFD, 16), fcntl(report, F_DUPFD_CLOEXEC, 16)};
    const int keep[] = {ZYGOTE_FD_LINE, ZYGOTE_FD_SLOT, fds[2]};

    if (fds[0] < 0 || fds[2] < 0)
        return -errno;
    if (dup2(fds[0], ZYGOTE_FD_LINE) < 0)
        return -errno;
    if (fds[1] < 0)
        close(ZYGOTE_FD_SLOT);
    else if (dup2(fds[1], ZYGOTE_FD_SLOT) < 0)
        return -errno;
    int r = io_close_from(3, keep, ARRAY_LEN(keep));
    return r < 0 ? r : fds[2];
}

/* The standard input and output are the caller's and would be every cell init's. Messages go to standard
 * error. */
static int zygote_detach(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0)
        return -errno;
    if (null > 1)
        close(null);
    if (setsid() < 0) /* the terminal's signals are for cellctl alone */
        return -errno;
    return chdir("/") < 0 ? -errno : 0;
}

static int zygote_become(const struct zygote_config *cfg, pid_t parent, int line, int *report,
                         struct fault *f)
{
    struct zygote_boot b = {.parent = parent};
    struct zygote_args args;
    char *const env[] = {NULL};
    int r;

    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
        return fault_set(f, -ESRCH, "the supervisor ended");
    r = zygote_detach();
    if (r < 0)
        return fault_set(f, r, "leaving the caller's session");
    r = zygote_forbidden(cfg, &b, f);
    if (r == 0)
        r = userns_plan(cfg->locks_dir, &b.plan, f);
    if (r < 0)
        return r;
    r = zygote_place_fds(line, b.plan.slot_fd, *report);
    if (r < 0)
        return fault_set(f, r, "placing fds");
    *report = r;
    r = userns_enter(&b.plan, f);
    if (r < 0)
        return r;
    zygote_boot_write(&b, &args);
    execve("/proc/self/exe", args.argv, env);
    return fault_set(f, -errno, "executing the zygote again");
}

struct zygote_report {
    int error;
    struct fault fault;
};

/* End of file: the exec closed it, all is well. */
static int zygote_hear(int fd, struct fault *f)
{
    struct zygote_report rep;
    ssize_t n;

    do
        n = read(fd, &rep, sizeof(rep));
    while (n < 0 && errno == EINTR);
    if (n == 0)
        return 0;
    if (n != (ssize_t)sizeof(rep))
        return fault_set(f, -EIO, "the zygote broke off");
    rep.fault.text[sizeof(rep.fault.text) - 1] = '\0';
    if (f)
        *f = rep.fault;
    return rep.error < 0 ? rep.error : -EIO;
}

static void zygote_child(const struct zygote_config *cfg, pid_t parent, int line, int report)
    __attribute__((noreturn));

static void zygote_child(const struct zygote_config *cfg, pid_t parent, int line, int report)
{
    struct zygote_report rep = {0};

    rep.error = zygote_become(cfg, parent, line, &report, &rep.fault);
    (void)!write(report, &rep, sizeof(rep));
    _exit(1);
}

int zygote_start(const struct zygote_config *cfg, int *ret_sock, int *ret_pidfd, struct fault *f)
{
    _cleanup_close_ int ours = -EBADF, theirs = -EBADF, hear = -EBADF, report = -EBADF, pidfd = -EBADF;
    int line[2], pipe_fds[2], r;
    pid_t parent = getpid(), pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, line) < 0)
        return fault_set(f, -errno, "making the zygote's line");
    ours = line[0];
    theirs = line[1];
    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        return fault_set(f, -errno, "making a pipe");
    hear = pipe_fds[0];
    report = pipe_fds[1];
    pid = fork();
    if (pid < 0)
        return fault_set(f, -errno, "forking the zygote");
    if (pid == 0)
        zygote_child(cfg, parent, theirs, report);
    pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0)
        return fault_set(f, -errno, "opening the zygote's pidfd");
    cleanup_closep(&report);
    report = -EBADF;
    r = zygote_hear(hear, f);
    if (r < 0) {
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
        return r;
    }
    *ret_sock = TAKE_FD(ours);
    *ret_pidfd = TAKE_FD(pidfd);
    return 0;
}
