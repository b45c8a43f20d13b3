/* SPDX-License-Identifier: MIT */
/* A hostile supervisor, a hostile netd, a hostile PID 1 and a hostile cell against proxyd's real table,
 * handlers and servers, in a network namespace with nothing but loopback. Input: up to 16 steps, each
 * [what][2 bytes length][bytes]. what: 0 a raw frame to the supervisor's line, the number of fds in the high
 * bits; 1 a policy document, opened with good sockets (bit 3: as the new policy of the open cell; bit 4: for
 * a routed cell); 2 a TCP connection of the cell that says the bytes; 3 a datagram to the transparent UDP
 * socket; 4 a DNS datagram; 5 close; 6 signerd answers no longer; 7 a raw frame of netd
 * (bit 3: of the cell's PID 1, on the who line). */
#include <linux/in6.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "common/base/cursor.h"
#include "common/base/io.h"
#include "common/base/log.h"
#include "common/evidence/digest.h"
#include "proxyd/cell.h"
#include "proxyd/netd_line.h"
#include "tests/unit/signer_groups.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define STEPS_MAX 16
#define RUN_ID    "0197a2c0-0000-7000-8000-000000000001"

static struct ev_loop *loop;
static bool silent;
static int cell_fds[_CELL_FD_MAX];
static uint16_t ports[_CELL_FD_MAX];
static uint64_t seq;
static int netd, init; /* our ends of the lines to proxyd */

static void must(bool ok)
{
    if (!ok)
        abort();
}

static int on_claim(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    const struct signer_claim *q = m->rec;
    const struct event_row *row = event_row(q->type);
    struct arena a;
    union {
        struct ev_l7 l7;
        struct ev_gap gap;
        struct ev_dns_query query;
        struct ev_dns_answer answer;
        struct ev_dns_authority authority;
    } rec;
    (void)self;
    arena_init(&a, LIMIT_ARENA); /* whatever the input: a claim keeps to its own row */
    must(row && (row->roles & 1u << ROLE_PROXYD) && row->data->size <= sizeof(rec));
    must(codec_decode_all(row->data, q->body, &a, &rec) == 0);
    arena_done(&a);
    return silent ? 0 : signer_groups_answer(e, m->seq, 0, 1);
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

static int cell_socket(enum cell_fd i, int type, int protocol)
{
    struct sockaddr_in6 any = {.sin6_family = AF_INET6};
    socklen_t len = sizeof(any);
    int off = 0, on = 1;
    int fd = socket(i == CELL_FD_RAW4 ? AF_INET : AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
    must(fd >= 0);
    if (type == SOCK_RAW)
        return fd;
    must(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) == 0);
    if (type == SOCK_DGRAM) {
        must(setsockopt(fd, IPPROTO_IP, IP_RECVORIGDSTADDR, &on, sizeof(on)) == 0);
        must(setsockopt(fd, IPPROTO_IPV6, 74, &on, sizeof(on)) == 0); /* IPV6_RECVORIGDSTADDR */
    }
    must(bind(fd, (struct sockaddr *)&any, sizeof(any)) == 0);
    must(type != SOCK_STREAM || listen(fd, 64) == 0);
    must(getsockname(fd, (struct sockaddr *)&any, &len) == 0);
    ports[i] = ntohs(any.sin6_port);
    return fd;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    unsigned uid = getuid();
    (void)argc;
    (void)argv;
    signal(SIGPIPE, SIG_IGN);
    log_init("fuzz", -1);
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
        return 1;
    FILE *f = fopen("/proc/self/uid_map", "w");
    must(f && fprintf(f, "0 %u 1", uid) > 0 && fclose(f) == 0);
    must(system("ip link set lo up") == 0 && digest_init() == 0);
    loop = ev_loop_new(EVFLAG_AUTO);
    cell_fds[CELL_FD_DNS_UDP] = cell_socket(CELL_FD_DNS_UDP, SOCK_DGRAM, 0);
    cell_fds[CELL_FD_DNS_TCP] = cell_socket(CELL_FD_DNS_TCP, SOCK_STREAM, 0);
    cell_fds[CELL_FD_TCP] = cell_socket(CELL_FD_TCP, SOCK_STREAM, 0);
    cell_fds[CELL_FD_UDP] = cell_socket(CELL_FD_UDP, SOCK_DGRAM, 0);
    cell_fds[CELL_FD_RAW4] = cell_socket(CELL_FD_RAW4, SOCK_RAW, IPPROTO_RAW);
    cell_fds[CELL_FD_RAW6] = cell_socket(CELL_FD_RAW6, SOCK_RAW, IPPROTO_RAW);
    return 0;
}

static void turn(void)
{
    for (int i = 0; i < 4; i++)
        ev_run(loop, EVRUN_NOWAIT);
}

static void send_msg(int sock, uint32_t id, const void *rec, const int *fds, size_t nfds)
{
    _cleanup_(buf_done) struct buf b = {0};
    buf_init(&b, LIMIT_FRAME);
    must(iface_encode(iface_row(&iface_proxy, id), ++seq, rec, &b) == 0);
    (void)!frame_send(sock, b.data, b.len, fds, nfds);
}

/* A who line of its own for every cell; PID 1 is polite until the input says otherwise. */
static int who_line(void)
{
    static const uint8_t hello[] = "\x95\x00\x00\xa3who\x01\x07";
    int pair[2];
    must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    cleanup_closep(&init);
    init = pair[0];
    (void)!frame_send(init, hello, sizeof(hello) - 1, NULL, 0);
    return pair[1];
}

static void step_policy(int sock, uint8_t what, const uint8_t *p, size_t n)
{
    uint8_t sha256[DIGEST_LEN];
    digest_sha256(p, n, sha256);
    struct proxy_cell_open_req req = {STR_LIT(RUN_ID), STR_LIT("cell"), {(char *)sha256, sizeof(sha256)}};
    struct proxy_cell_policy_req change = {STR_LIT(RUN_ID), req.policy_sha256};
    _cleanup_close_ int doc = io_memfd_sealed("policy", p, n);
    must(doc >= 0);
    if (what & 8) {
        send_msg(sock, MSG_PROXY_CELL_POLICY_REQ, &change, &doc, 1);
    } else if (what & 16) {
        const int fds[] = {doc, cell_fds[CELL_FD_DNS_UDP], cell_fds[CELL_FD_DNS_TCP]};
        send_msg(sock, MSG_PROXY_CELL_OPEN_ROUTED_REQ, &req, fds, ARRAY_LEN(fds));
    } else {
        _cleanup_close_ int who = who_line();
        cell_fds[CELL_FD_POLICY] = doc;
        cell_fds[CELL_FD_WHO] = who;
        send_msg(sock, MSG_PROXY_CELL_OPEN_REQ, &req, cell_fds, _CELL_FD_MAX);
    }
}

static void step_neighbour(uint8_t what, const uint8_t *p, size_t n)
{
    int line = what & 8 ? init : netd;
    if (n > 0 && line >= 0)
        (void)!frame_send(line, p, n, &cell_fds[CELL_FD_RAW4], what >> 4 & 1);
}

static void step_cell(enum cell_fd i, int type, const uint8_t *p, size_t n)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(ports[i]), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    _cleanup_close_ int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    must(fd >= 0);
    (void)!connect(fd, (struct sockaddr *)&to, sizeof(to));
    (void)!send(fd, p, n / 2, MSG_NOSIGNAL);
    turn();
    (void)!send(fd, p + n / 2, n - n / 2, MSG_NOSIGNAL);
    turn();
}

static void step(int sock, uint8_t what, const uint8_t *p, size_t n)
{
    struct proxy_cell_close_req req = {STR_LIT(RUN_ID)};
    switch (what & 7) {
    case 1:
        step_policy(sock, what, p, n);
        break;
    case 2:
        step_cell(CELL_FD_TCP, SOCK_STREAM, p, n);
        break;
    case 3:
        step_cell(CELL_FD_UDP, SOCK_DGRAM, p, n);
        break;
    case 4:
        step_cell(CELL_FD_DNS_UDP, SOCK_DGRAM, p, n);
        break;
    case 5:
        send_msg(sock, MSG_PROXY_CELL_CLOSE_REQ, &req, NULL, 0);
        break;
    case 6:
        silent = true;
        break;
    case 7:
        step_neighbour(what, p, n);
        break;
    default:
        cell_fds[CELL_FD_POLICY] = cell_fds[CELL_FD_WHO] = cell_fds[CELL_FD_RAW4];
        if (n > 0) /* bit 3: all eight */
            (void)!frame_send(sock, p, n, cell_fds, what & 8 ? _CELL_FD_MAX : what >> 4 & 7);
    }
    turn();
}

static void run_steps(int sock, struct cursor c)
{
    uint8_t what = 0;
    uint16_t len = 0;
    const uint8_t *p = NULL;
    for (int i = 0; i < STEPS_MAX; i++) {
        if (cursor_u8(&c, &what) < 0 || cursor_be16(&c, &len) < 0)
            return;
        size_t n = len < cursor_left(&c) ? len : cursor_left(&c);
        if (cursor_bytes(&c, n, &p) == 0)
            step(sock, what, p, n);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct endpoint_handler handlers[] = {{MSG_SIGNER_CLAIMS_REQ, on_claims}};
    static const struct endpoint_ops ops = {.handlers = handlers, .n = ARRAY_LEN(handlers), .gone = on_gone};
    const struct endpoint_config cfg = {&iface_signer, FROM_SERVER, ROLE_SIGNERD, ROLE_PROXYD, &ops, NULL};
    const struct hello hello = {STR_LIT("proxy"), iface_proxy.version, ROLE_SUPERVISOR};
    struct endpoint *signerd = NULL;
    struct proxy *p = NULL;
    static const uint8_t netd_hello[] = "\x95\x00\x00\xa3pin\x01\x02";
    int sup[2], sig[2], pin[2];
    must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sup) == 0);
    must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sig) == 0);
    must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pin) == 0);
    netd = pin[0];
    init = -EBADF;
    silent = false;
    seq = (uint64_t)-1; /* the hello's is 0 */
    must(proxy_new(loop, sup[1], sig[1], &p) == 0 && endpoint_new(loop, sig[0], &cfg, &signerd) == 0);
    must(netd_line_new(loop, pin[1], &p->netd) == 0);
    (void)!frame_send(netd, netd_hello, sizeof(netd_hello) - 1, NULL, 0);
    send_msg(sup[0], MSG_HELLO, &hello, NULL, 0);
    turn();
    run_steps(sup[0], cursor_of(data, size));
    close(netd);
    cleanup_closep(&init);
    turn();
    close(sup[0]);
    turn();
    proxy_free(p);
    endpoint_free(signerd);
    return 0;
}
