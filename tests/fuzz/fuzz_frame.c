/* SPDX-License-Identifier: MIT */
/* frame_recv() against a model. The input is a program of two-byte steps over a real socket pair: datagrams
 * of any size with any number of fds, whole or broken, credentials switched on, an fd table that is full, the
 * peer's end. What is received must be what was sent, everything broken must be -EBADMSG, and no fd may leak.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "common/ipc/frame.h"

#define CHECK(cond)                                                                                          \
    do {                                                                                                     \
        if (!(cond))                                                                                         \
            __builtin_trap();                                                                                \
    } while (0)

#define WAITING_MAX 64 /* datagrams sent and not yet received */
#define LIMIT       64 /* fds this process may have */

struct sent {
    size_t len, nfds;
    uint8_t mark;
    bool bad;
};

struct model {
    int peer, sock, null;
    bool closed, credentials;
    struct sent q[WAITING_MAX];
    size_t head, tail;
};

static uint8_t bytes[FRAME_MAX + 4096];
static struct frame frame;

static int open_fds(int below)
{
    int n = 0;

    for (int fd = 0; fd < below; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void step_send(struct model *m, size_t len, size_t nfds, uint8_t mark)
{
    union {
        char room[CMSG_SPACE(sizeof(int) * FRAME_FDS_MAX)];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {bytes, len};
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};

    if (m->closed || m->tail - m->head == WAITING_MAX)
        return;
    bytes[0] = mark;
    if (nfds > 0) {
        h.msg_control = control.room;
        h.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
        for (size_t i = 0; i < nfds; i++)
            memcpy(CMSG_DATA(c) + i * sizeof(int), &m->null, sizeof(int));
    }
    if (sendmsg(m->peer, &h, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return;
    m->q[m->tail++ % WAITING_MAX] = (struct sent){len, nfds, mark, len == 0 || len > FRAME_MAX};
}

static void step_recv(struct model *m)
{
    size_t room = (size_t)(LIMIT - open_fds(LIMIT));
    int r = frame_recv(m->sock, &frame);
    struct sent *s = &m->q[m->head % WAITING_MAX];

    if (m->head == m->tail) {
        CHECK(r == (m->closed ? FRAME_EOF : -EAGAIN));
        return;
    }
    m->head++;
    if (m->closed && s->len == 0 && s->nfds == 0 && !m->credentials && r == FRAME_EOF)
        return; /* at the very end an empty datagram cannot be told from the end */
    if (s->bad || m->credentials || s->nfds > room) {
        CHECK(r == -EBADMSG && frame.nfds == 0);
        return;
    }
    CHECK(r == FRAME_GOT && frame.len == s->len && frame.nfds == s->nfds && frame.data[0] == s->mark);
    for (size_t i = 0; i < frame.nfds; i++)
        CHECK(fcntl(frame.fds[i], F_GETFD) == FD_CLOEXEC);
    frame_close_fds(&frame);
}

static void step(struct model *m, uint8_t op, uint8_t arg)
{
    int on;

    switch (op % 8) {
    case 0:
        step_send(m, arg, 0, op);
        break;
    case 1:
        step_send(m, 1, (size_t)arg % (FRAME_FDS_MAX + 1), op);
        break;
    case 2:
        step_send(m, FRAME_MAX - 128 + arg, op / 64, op);
        break;
    case 3:
        step_send(m, arg % 2, op / 8, op);
        break;
    case 4:
        if (m->head == m->tail) { /* the kernel attaches credentials at send time or at receive time */
            on = m->credentials = arg & 1;
            CHECK(setsockopt(m->sock, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0);
        }
        break;
    case 5:
        if (arg > 250 && !m->closed) {
            close(m->peer);
            m->closed = true;
        }
        break;
    default:
        step_recv(m);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct model m = {0};
    struct rlimit old, low;
    int s[2], before = open_fds(1024);

    CHECK(getrlimit(RLIMIT_NOFILE, &old) == 0);
    low = (struct rlimit){LIMIT, old.rlim_max};
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s) == 0);
    m.peer = s[0];
    m.sock = s[1];
    m.null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK(m.null >= 0 && setrlimit(RLIMIT_NOFILE, &low) == 0);
    for (size_t i = 0; i + 1 < size && i < 512; i += 2)
        step(&m, data[i], data[i + 1]);
    while (m.head != m.tail)
        step_recv(&m);
    step_recv(&m);
    CHECK(setrlimit(RLIMIT_NOFILE, &old) == 0);
    if (!m.closed)
        close(m.peer);
    close(m.sock);
    close(m.null);
    CHECK(open_fds(1024) == before);
    return 0;
}
