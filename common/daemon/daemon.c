/* SPDX-License-Identifier: MIT */
#include "common/daemon/daemon.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "common/base/io.h"
#include "common/base/log.h"
#include "common/daemon/activation.h"
#include "common/priv/audit.h"
#include "common/priv/drop.h"
#include "common/priv/landlock.h"
#include "common/priv/seccomp.h"

#ifdef CELLOS_SANITIZE
/* A process that is not dumpable cannot be searched for leaks, and its filter lets no symbolizer start. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0:symbolize=0";
}
#endif

/* So that no fd opened later becomes somebody's standard output. */
static int daemon_fill_stdio(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd) /* CLOEXEC would be wrong for stdio */
            return -EBADF;
    return 0;
}

static void daemon_help(const struct role *role)
{
    printf("Usage: cellos-%s --mode embedded|system [-v]\n"
           "A part of CellOS; cellctl or systemd starts it and hands it its sockets.\n\n"
           "  --mode MODE  embedded: for one cellctl run, as the caller; system: as a service\n"
           "  -v           log everything\n"
           "  --version    print the version\n"
           "  --help       print this\n%s",
           role->name, role->help ? role->help : "");
}

static int daemon_parse_mode(const char *s, enum role_mode *ret)
{
    if (s && strcmp(s, "embedded") == 0)
        *ret = ROLE_EMBEDDED;
    else if (s && strcmp(s, "system") == 0)
        *ret = ROLE_SYSTEM;
    else
        return log_errno(-EINVAL, "--mode needs \"embedded\" or \"system\"");
    return 0;
}

/* Takes our options out of argv. */
static int daemon_parse_args(const struct role *role, int *argc, char **argv, struct daemon *d)
{
    int kept = 1, i = 1;
    bool have_mode = false;

    for (; i < *argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--version") == 0) {
            printf("cellos-%s %s\n", role->name, CELLOS_VERSION);
            exit(EXIT_SUCCESS);
        } else if (strcmp(argv[i], "--help") == 0) {
            daemon_help(role);
            exit(EXIT_SUCCESS);
        } else if (strcmp(argv[i], "-v") == 0) {
            d->verbose = true;
        } else if (strcmp(argv[i], "--mode") == 0 || strncmp(argv[i], "--mode=", 7) == 0) {
            const char *value = argv[i][6] ? argv[i] + 7 : i + 1 < *argc ? argv[++i] : NULL;
            int r = daemon_parse_mode(value, &d->mode);
            if (r < 0)
                return r;
            have_mode = true;
        } else {
            argv[kept++] = argv[i];
        }
    }
    while (i < *argc)
        argv[kept++] = argv[i++];
    argv[kept] = NULL;
    *argc = kept;
    return have_mode ? 0 : daemon_parse_mode(NULL, &d->mode);
}

int daemon_begin(const struct role *role, int *argc, char **argv, struct daemon *ret)
{
    struct daemon d = {.role = role, .notify = -EBADF};
    int r = daemon_fill_stdio();

    if (r < 0)
        return r;
    (void)!io_never_wait(STDERR_FILENO); /* where it cannot be had log.c looks before it writes */
    log_init(role->name, LOG_INFO);
    if (role->nfds > DAEMON_FDS_MAX)
        return log_errno(-EINVAL, "the role has too many fds");
    for (size_t i = 0; i < DAEMON_FDS_MAX; i++)
        d.fds[i] = -EBADF;
    r = io_close_from(ACTIVATION_FIRST_FD + activation_count(), /* keep= */ NULL, 0);
    if (r < 0)
        return log_errno(r, "cannot close inherited fds");
    r = daemon_parse_args(role, argc, argv, &d);
    if (r < 0)
        return r;
    log_init(role->name, d.verbose ? LOG_DEBUG : d.mode == ROLE_SYSTEM ? LOG_INFO : LOG_WARNING);
    r = activation_take(role, d.fds);
    if (r < 0)
        return r;
    r = d.mode == ROLE_SYSTEM ? activation_notify_open(&d.notify) : 0;
    if (r < 0)
        return log_errno(r, "cannot connect to NOTIFY_SOCKET");
    *ret = d;
    return 0;
}

static int daemon_audit(const struct daemon *d, const struct drop_report *report, const int *keep,
                        size_t nkeep)
{
    struct audit_fd fds[DAEMON_FDS_MAX + DAEMON_KEEP_MAX + 1];
    size_t n = 0;

    if (nkeep > DAEMON_KEEP_MAX)
        return -EINVAL;
    for (size_t i = 0; i < d->role->nfds; i++)
        fds[n++] = (struct audit_fd){d->fds[i], true, d->role->fds[i].kind};
    for (size_t i = 0; i < nkeep; i++)
        fds[n++] = (struct audit_fd){.fd = keep[i]};
    if (d->notify >= 0)
        fds[n++] = (struct audit_fd){.fd = d->notify};
    return audit_drop(d->role, d->mode, report, fds, n);
}

/* The calls a role's filter lets through decide what Landlock need not deny. */
static unsigned daemon_landlock_keep(const struct role *role)
{
    unsigned keep = 0;

    if (seccomp_lists(role, SCMP_SYS(bind)))
        keep |= LANDLOCK_KEEP_TCP_BIND;
    if (seccomp_lists(role, SCMP_SYS(connect)))
        keep |= LANDLOCK_KEEP_TCP_CONNECT;
    if (seccomp_lists(role, SCMP_SYS(kill)) || seccomp_lists(role, SCMP_SYS(pidfd_send_signal)))
        keep |= LANDLOCK_KEEP_SIGNAL;
    return keep;
}

static int daemon_check_table(const struct role *role)
{
    const struct role_syscall *bad = NULL;
    _cleanup_free_ char *name = NULL;
    int r = seccomp_check(role, &bad);

    if (r == 0)
        return 0;
    name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, bad->nr);
    return log_errno(r, "the filter's row for %s (%s) repeats or widens another one, or is not for this role",
                     name ? name : "a call that does not exist", bad->why ? bad->why : "no reason given");
}

int daemon_confine(const struct daemon *d, const int *keep, size_t nkeep, const struct role_path *paths,
                   size_t npaths)
{
    struct drop_report report;
    int r = daemon_check_table(d->role);

    if (r < 0)
        return r;
    r = drop_privileges(d->role, d->mode, &report);
    if (r < 0)
        return log_errno(r, "cannot drop privileges");
    r = daemon_audit(d, &report, keep, nkeep);
    if (r < 0)
        return log_errno(r, "the audit of the privilege drop failed");
    r = landlock_confine(paths, npaths, daemon_landlock_keep(d->role));
    if (r < 0)
        return log_errno(r, "cannot confine with Landlock");
    log_debug("Landlock ABI in use: %d", r);
    r = seccomp_confine(d->role);
    if (r < 0)
        return log_errno(r, "cannot install the system call filter");
    return 0;
}

int daemon_ready(struct daemon *d)
{
    static const char text[] = "READY=1";
    int fd = TAKE_FD(d->notify);
    int r;

    if (fd < 0)
        return 0;
    r = send(fd, text, sizeof text - 1, MSG_NOSIGNAL) < 0 ? -errno : 0;
    close(fd);
    return r < 0 ? log_errno(r, "cannot report readiness") : 0;
}
