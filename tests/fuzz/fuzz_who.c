/* SPDX-License-Identifier: MIT */
/* A hostile proxyd against PID 1 of a cell: frames on its who line, and who_serve() as cell init calls it.
 * Input: frames, each [fds 0..3][2 bytes length][bytes]; the honest hello goes before them unless the first
 * byte is 0xff. Bit 7 of the fds: the answers are not read any more. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "common/base/cursor.h"
#include "supervisor/launch/who.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define FUZZ_FRAMES_MAX 16

static int proc, null;
static bool deaf;

static void must(bool ok)
{
    if (!ok)
        abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    signal(SIGPIPE, SIG_IGN);
    proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    return proc < 0 || null < 0;
}

/* What cell init says must be in the table. */
static void drain(int sock)
{
    static struct frame f;

    while (!deaf && frame_recv(sock, &f) == FRAME_GOT) {
        struct arena a;
        struct msg m;
        arena_init(&a, LIMIT_ARENA);
        must(iface_decode(&iface_who, FROM_SERVER, ROLE_INIT, ~0u, f.data, f.len, f.nfds, &a, &m) == 0);
        arena_done(&a);
        frame_close_fds(&f);
    }
}

/* As often as poll(2) says so. Never more often than there were frames: cell init does not spin. */
static void serve(struct who *w, struct line_msg *m, int sock)
{
    struct pollfd p = {.events = POLLIN};

    for (int i = 0; (p.fd = w->line.sock) >= 0 && poll(&p, 1, 0) == 1; i++) {
        must(i <= FUZZ_FRAMES_MAX + 2);
        who_serve(w, m);
        drain(sock);
    }
}

static void send_frames(struct who *w, struct line_msg *m, int sock, struct cursor c)
{
    static const uint8_t hello[] = "\x95\x00\x00\xa3who\x01\x03";
    const int fds[] = {null, null, null};
    const uint8_t *p = NULL;
    uint8_t how = 0;
    uint16_t len = 0;

    if (cursor_left(&c) > 0 && *c.p == 0xff)
        must(cursor_u8(&c, &how) == 0);
    else
        (void)!frame_send(sock, hello, sizeof(hello) - 1, NULL, 0);
    serve(w, m, sock);
    for (int i = 0; i < FUZZ_FRAMES_MAX; i++) {
        if (cursor_u8(&c, &how) < 0 || cursor_be16(&c, &len) < 0)
            return;
        size_t n = len < cursor_left(&c) ? len : cursor_left(&c);
        if (cursor_bytes(&c, n, &p) < 0 || n == 0)
            return;
        deaf = deaf || how & 0x80;
        (void)!frame_send(sock, p, n, fds, how & 3);
        serve(w, m, sock);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct who w;
    static struct line_msg m;
    int pair[2];

    deaf = false;
    line_msg_init(&m);
    must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    who_open(&w, pair[0], proc);
    send_frames(&w, &m, pair[1], cursor_of(data, size));
    close(pair[1]);
    serve(&w, &m, -EBADF);
    must(w.line.sock < 0); /* gone with proxyd */
    cleanup_closep(&w.proc);
    cleanup_closep(&w.diag);
    line_msg_done(&m);
    return 0;
}
