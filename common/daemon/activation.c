/* SPDX-License-Identifier: MIT */
#include "common/daemon/activation.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/base/log.h"
#include "common/base/num.h"

#define ACTIVATION_FDS_MAX 1024 /* more is no number of fds: as if none had come */

static int activation_env_number(const char *name)
{
    uint64_t n;
    int r = num_parse_u64(str_of(getenv(name)), 0, INT_MAX, &n);

    return r < 0 ? r : (int)n;
}

int activation_count(void)
{
    int n = activation_env_number("LISTEN_FDS");

    return n > 0 && n <= ACTIVATION_FDS_MAX && activation_env_number("LISTEN_PID") == getpid() ? n : 0;
}

static void activation_unset(void)
{
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    unsetenv("LISTEN_PIDFDID");
}

/* The next of the colon-separated names; false behind the last one. */
static bool activation_next_name(struct str *rest, struct str *ret)
{
    const char *colon;

    if (!rest->p)
        return false;
    colon = memchr(rest->p, ':', rest->len);
    *ret = (struct str){rest->p, colon ? (size_t)(colon - rest->p) : rest->len};
    *rest = colon ? (struct str){colon + 1, rest->len - ret->len - 1} : STR_NONE;
    return true;
}

static int activation_place(const struct role *role, struct str name, int fd, int *fds)
{
    char shown[64];
    int r;

    for (size_t i = 0; i < role->nfds; i++) {
        if (!str_is(name, role->fds[i].name))
            continue;
        if (fds[i] >= 0)
            return log_errno(-EEXIST, "activation: fd %s came twice", role->fds[i].name);
        r = role_fd_check(fd, role->fds[i].kind);
        if (r < 0)
            return log_errno(r, "activation: fd %s is not what it should be", role->fds[i].name);
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
            return log_errno(-errno, "activation: fd %s", role->fds[i].name);
        fds[i] = fd;
        return 0;
    }
    return log_errno(-EINVAL, "activation: no fd is called %s here",
                     str_escape(shown, sizeof shown, name.p, name.len));
}

static int activation_match(const struct role *role, int *fds)
{
    struct str rest = str_of(getenv("LISTEN_FDNAMES")), name;
    int n = activation_count();
    int i = 0;

    if ((size_t)n != role->nfds)
        return log_errno(-EINVAL,
                         "activation: %d fds came, %zu are needed; start this with cellctl or systemd", n,
                         role->nfds);
    for (; i < n && activation_next_name(&rest, &name); i++) {
        int r = activation_place(role, name, ACTIVATION_FIRST_FD + i, fds);
        if (r < 0)
            return r;
    }
    if (n > 0 && (i != n || rest.p))
        return log_errno(-EINVAL, "activation: LISTEN_FDNAMES does not name %d fds", n);
    return 0;
}

int activation_take(const struct role *role, int *ret_fds)
{
    int r;

    for (size_t i = 0; i < role->nfds; i++)
        ret_fds[i] = -EBADF;
    r = activation_match(role, ret_fds);
    activation_unset();
    return r;
}

int activation_notify_open(int *ret)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    _cleanup_close_ int fd = -EBADF;
    size_t n;

    if (!path) { /* systemd without Type=notify */
        *ret = -EBADF;
        return 0;
    }
    n = strlen(path);
    if ((path[0] != '/' && path[0] != '@') || n < 2 || n >= sizeof a.sun_path)
        return -EAFNOSUPPORT;
    memcpy(a.sun_path, path, n);
    if (path[0] == '@')
        a.sun_path[0] = '\0';
    else
        n++; /* a path ends in NUL, an abstract name does not */
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) < 0)
        return -errno;
    *ret = TAKE_FD(fd);
    return 0;
}
