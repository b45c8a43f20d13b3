/* SPDX-License-Identifier: MIT */
/* A hostile supervisor and a hostile proxyd against netd's real tables and handlers. Input: frames, each [fds
 * 0..3][2 bytes length][bytes]; bit 7 of the fds: it goes to proxyd's line. The honest hellos go before them
 * unless the first byte is 0xff. Fds are taken from a small set, none a pair that netd may enter. A signerd
 * acknowledges every claim. */
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

#include "common/base/cursor.h"
#include "common/base/log.h"
#include "netd/netd.h"
#include "netd/pin.h"
#include "tests/unit/signer_groups.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define FUZZ_FRAMES_MAX 16

static struct ev_loop *loop;
static int fuzz_fds[4];
static bool silent; /* signerd never acknowledges */

static int on_claim(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    (void)self;
    if (silent)
        return 0;
    return signer_groups_answer(e, m->seq, 0, 1);
}

static int on_claims(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    return signer_groups_take(self, e, m, on_claim);
}

static void on_gone(void *self, struct endpoint *e, int err)
{
    (void)self;
    (void)e;
    (void)err;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    signal(SIGPIPE, SIG_IGN);
    log_init("fuzz", -1);
    loop = ev_loop_new(EVFLAG_AUTO);
    fuzz_fds[0] = open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC);
    fuzz_fds[1] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    fuzz_fds[2] = open("/dev/null", O_RDWR | O_CLOEXEC);
    fuzz_fds[3] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return loop == NULL || fuzz_fds[1] < 0;
}

static void turn(void)
{
    for (int i = 0; i < 4; i++)
        ev_run(loop, EVRUN_NOWAIT);
}

static void send_frames(int sock, int pin, struct cursor c)
{
    static const uint8_t hello[] = "\x95\x00\x00\xa4netd\x01\x01";
    static const uint8_t pin_hello[] = "\x95\x00\x00\xa3pin\x01\x03";
    uint8_t nfds = 0;
    uint16_t len = 0;
    const uint8_t *p = NULL;
    silent = cursor_left(&c) > 0 && *c.p == 0xfe;
    if (silent)
        (void)!cursor_u8(&c, &nfds);
    if (cursor_left(&c) > 0 && *c.p == 0xff) {
        (void)!cursor_u8(&c, &nfds);
    } else {
        (void)!frame_send(sock, hello, sizeof(hello) - 1, NULL, 0);
        (void)!frame_send(pin, pin_hello, sizeof(pin_hello) - 1, NULL, 0);
    }
    for (int i = 0; i < FUZZ_FRAMES_MAX; i++) {
        if (cursor_u8(&c, &nfds) < 0 || cursor_be16(&c, &len) < 0)
            return;
        size_t n = len < cursor_left(&c) ? len : cursor_left(&c);
        if (cursor_bytes(&c, n, &p) < 0 || n == 0)
            return;
        (void)!frame_send(nfds & 0x80 ? pin : sock, p, n, fuzz_fds + (nfds >> 2 & 1), nfds & 3);
        turn();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct endpoint_handler handlers[] = {{MSG_SIGNER_CLAIMS_REQ, on_claims}};
    static const struct endpoint_ops ops = {.handlers = handlers, .n = ARRAY_LEN(handlers), .gone = on_gone};
    const struct endpoint_config cfg = {&iface_signer, FROM_SERVER, ROLE_SIGNERD, ROLE_NETD, &ops, NULL};
    static struct netd_self self;
    struct endpoint *signerd = NULL;
    struct netd *n = NULL;
    int sup[2], sig[2], pin[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sup) < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sig) < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pin) < 0)
        abort();
    if (self.cookie == 0 && netd_self_read(sup[1], &self) < 0)
        abort();
    if (netd_new(loop, &self, sup[1], sig[1], &n) < 0 || pin_line_new(n, pin[1]) < 0 ||
        endpoint_new(loop, sig[0], &cfg, &signerd) < 0)
        abort();
    turn();
    send_frames(sup[0], pin[0], cursor_of(data, size));
    turn();
    close(pin[0]);
    turn();
    close(sup[0]);
    turn();
    netd_free(n);
    endpoint_free(signerd);
    return 0;
}
