/* SPDX-License-Identifier: MIT */
#include "signerd/token.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "common/base/clock.h"
#include "common/base/io.h"
#include "common/base/log.h"
#include "signerd/token_child.h"

struct token {
    int fd;
    uint8_t public[ED25519_PUBLIC_LEN];
};

struct token *token_free(struct token *t)
{
    if (t) {
        cleanup_closep(&t->fd); /* its process ends by that */
        free(t);
    }
    return NULL;
}

int token_fd(const struct token *t)
{
    return t->fd;
}

/* The next answer, or -ETIMEDOUT; -EPIPE: the process is gone. */
static int token_receive(int fd, unsigned timeout_ms, struct token_reply *ret)
{
    uint64_t until = clock_boottime_us() + (uint64_t)timeout_ms * 1000;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    ssize_t n;

    for (;;) {
        uint64_t now = clock_boottime_us();
        int r = poll(&p, 1, now < until ? (int)((until - now) / 1000 + 1) : 0);

        if (r > 0)
            break;
        if (r == 0)
            return -ETIMEDOUT;
        if (errno != EINTR)
            return -errno;
    }
    n = recv(fd, ret, sizeof(*ret), 0);
    if (n < 0)
        return -errno;
    return n == (ssize_t)sizeof(*ret) ? ret->error : -EPIPE;
}

/* What is loaded, and what opens the token, must be nobody else's to change. */
static int token_check_file(const char *path, mode_t forbidden, int *ret_fd)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || (st.st_uid != 0 && st.st_uid != geteuid()) || (st.st_mode & forbidden))
        return -EPERM;
    if (ret_fd)
        *ret_fd = TAKE_FD(fd);
    return 0;
}

/* What ends a terminal's programs, or all of a service at once, is not for this process: its parent has still
 * to sign what it accepted, and it ends with its parent. */
static void token_ignore_signals(void)
{
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

    for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
        (void)signal(ignored[i], SIG_IGN);
}

static void token_start_child(const struct token_uri *uri, int fd, int pin, pid_t parent)
{
    int keep[] = {fd, pin};

    token_ignore_signals();
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || io_close_from(3, keep, ARRAY_LEN(keep)) < 0)
        _exit(EXIT_FAILURE);
    token_child(uri, fd, pin);
}

/* Nobody reaps it: this process may not wait once it is confined, and both end together. */
static int token_fork(const struct token_uri *uri, int pin, int *ret_fd)
{
    _cleanup_close_ int ours = -EBADF, theirs = -EBADF;
    pid_t self = getpid(), pid;
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    ours = pair[0];
    theirs = pair[1];
    pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0) {
        cleanup_closep(&ours);
        token_start_child(uri, theirs, pin, self);
    }
    *ret_fd = TAKE_FD(ours);
    return 0;
}

static int token_connect(const struct token_uri *uri, struct token *t)
{
    _cleanup_close_ int pin = -EBADF;
    struct token_reply reply;
    int r = token_check_file(uri->module, 022, NULL);

    if (r < 0)
        return log_errno(r,
                         "the PKCS#11 module %s must be a file that only its owner (you or root) may write",
                         uri->module);
    r = token_check_file(uri->pin_file, 077, &pin);
    if (r < 0)
        return log_errno(r, "the PIN's file %s must be a file of yours or root's with mode 0600",
                         uri->pin_file);
    r = token_fork(uri, pin, &t->fd);
    if (r < 0)
        return log_errno(r, "cannot start the process of the token");
    r = token_receive(t->fd, TOKEN_OPEN_MS, &reply);
    if (r < 0)
        return log_errno(r, "the token \"%s\" cannot be used", uri->token[0] ? uri->token : uri->serial);
    memcpy(t->public, reply.bytes, ED25519_PUBLIC_LEN);
    return 0;
}

int token_open(const char *uri, uint8_t ret_public[static ED25519_PUBLIC_LEN], struct token **ret)
{
    struct token_uri *u = malloc(sizeof(*u));
    struct token *t = malloc(sizeof(*t));
    const char *why;
    int r = u && t ? 0 : -ENOMEM;

    if (t)
        t->fd = -EBADF;
    if (r == 0 && token_uri_parse(str_of(uri), u, &why) < 0)
        r = log_errno(-EINVAL, "the key's URI: %s", why);
    if (r == 0)
        r = token_connect(u, t);
    free(u);
    if (r < 0) {
        token_free(t);
        return r;
    }
    memcpy(ret_public, t->public, ED25519_PUBLIC_LEN);
    *ret = t;
    return 0;
}

int token_sign(struct token *t, const void *msg, size_t n, uint8_t ret_sig[static ED25519_SIG_LEN])
{
    struct token_reply reply;
    int r = 0;

    if (n == 0 || n > TOKEN_MESSAGE_MAX)
        return -EMSGSIZE;
    if (send(t->fd, msg, n, MSG_NOSIGNAL) != (ssize_t)n)
        r = errno ? -errno : -EIO;
    if (r == 0)
        r = token_receive(t->fd, TOKEN_SIGN_MS, &reply);
    if (r < 0)
        return log_errno(r, "the token does not sign any more");
    /* An answer out of step, or of a token that forgot its key, must not get into a log. */
    if (!ed25519_verify(t->public, msg, n, reply.bytes, ED25519_SIG_LEN))
        return log_errno(-EBADMSG, "the token's signature is not one of its key");
    memcpy(ret_sig, reply.bytes, ED25519_SIG_LEN);
    return 0;
}
