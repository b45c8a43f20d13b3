/* SPDX-License-Identifier: MIT */
/* Load for the benchmarks of the network: a server, and clients that run beside or inside a cell. A client
 * says "ready", waits for a line on stdin, works, says "done MICROSECONDS FAILED", and waits for the next
 * line; end of file ends it. The ClientHello is a real one as far as anybody in between reads; what comes
 * back is bytes. load server HOST PORT BYTES       answers each connection's first bytes with BYTES bytes and
 * ends it; with 0 bytes it answers one byte and keeps the connection load connect HOST PORT NAME COUNT
 * PARALLEL   COUNT connections, each: hello, read to the end load hold HOST PORT NAME COUNT    COUNT
 * connections stay open until the next line */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"

#define FD_MAX    70000
#define CHUNK     262144
#define TLS_ALERT 21 /* a denial; the server sends zeros */

static uint8_t chunk[CHUNK];
static uint64_t left[FD_MAX]; /* server: bytes this fd is still owed */
static bool asked[FD_MAX];    /* server: its first bytes came; client: its hello is sent */

static int die(const char *what)
{
    perror(what);
    exit(EXIT_FAILURE);
}

static void watch(int epoll, int fd, uint32_t events, int op)
{
    struct epoll_event e = {.events = events, .data.fd = fd};
    if (epoll_ctl(epoll, op, fd, &e) < 0)
        die("epoll_ctl");
}

static void raise_files(void)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) == 0) {
        l.rlim_cur = l.rlim_max;
        (void)!setrlimit(RLIMIT_NOFILE, &l);
    }
}

/* ---- server ---- */

static void server_accept(int epoll, int listener, uint64_t bytes)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (fd >= FD_MAX) {
            close(fd);
            continue;
        }
        left[fd] = bytes;
        asked[fd] = false;
        watch(epoll, fd, EPOLLIN, EPOLL_CTL_ADD);
    }
}

static void server_serve(int epoll, int fd, uint64_t bytes)
{
    if (!asked[fd]) {
        ssize_t n = recv(fd, chunk, 4096, MSG_DONTWAIT);
        if (n <= 0) {
            close(fd);
            return;
        }
        asked[fd] = true;
        if (bytes == 0) {
            (void)!send(fd, "!", 1, MSG_NOSIGNAL);
            return; /* the next event is its end */
        }
        watch(epoll, fd, EPOLLOUT, EPOLL_CTL_MOD);
    }
    while (left[fd] > 0) {
        ssize_t n = send(fd, chunk, left[fd] < CHUNK ? left[fd] : CHUNK, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0)
            break;
        left[fd] -= (uint64_t)n;
    }
    if (bytes == 0 && recv(fd, chunk, 4096, MSG_DONTWAIT) > 0)
        return;
    close(fd);
}

static int bound(const char *host, uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || inet_pton(AF_INET, host, &a.sin_addr) != 1)
        die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 4096) < 0)
        die("bind");
    return fd;
}

static void server(const char *host, uint16_t port, uint64_t bytes)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC), listener = bound(host, port);
    struct epoll_event e[256];
    watch(epoll, listener, EPOLLIN, EPOLL_CTL_ADD);
    puts("ready");
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(epoll, e, 256, -1);
        for (int i = 0; i < n; i++)
            if (e[i].data.fd == listener)
                server_accept(epoll, listener, bytes);
            else
                server_serve(epoll, e[i].data.fd, bytes);
    }
}

/* ---- clients ---- */

struct client {
    struct sockaddr_in to;
    struct buf hello;
    unsigned failed;
};

/* RFC 8446 section 4.1.2, as much as names a server. */
static void hello_make(struct buf *b, const char *name)
{
    size_t n = strlen(name), sni = n + 5, ext = sni + 4, body = 2 + 32 + 1 + 2 + 2 + 1 + 1 + 2 + ext;
    buf_init(b, 1024);
    buf_put(b, "\x16\x03\x01", 3);
    buf_put_be16(b, (uint16_t)(body + 4));
    buf_put(b, "\x01\x00", 2);
    buf_put_be16(b, (uint16_t)body);
    buf_put(b, "\x03\x03", 2);
    for (int i = 0; i < 32; i++)
        buf_putc(b, 'R');
    buf_put(b, "\x00\x00\x02\x13\x01\x01\x00", 7);
    buf_put_be16(b, (uint16_t)ext);
    buf_put(b, "\x00\x00", 2);
    buf_put_be16(b, (uint16_t)sni);
    buf_put_be16(b, (uint16_t)(n + 3));
    buf_putc(b, 0);
    buf_put_be16(b, (uint16_t)n);
    buf_put(b, name, n);
}

static int start_one(struct client *c, int epoll)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    if (fd < 0 || fd >= FD_MAX)
        die("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(fd, (struct sockaddr *)&c->to, sizeof(c->to)) < 0 && errno != EINPROGRESS)
        die("connect");
    asked[fd] = false;
    watch(epoll, fd, EPOLLOUT, EPOLL_CTL_ADD);
    return fd;
}

/* True when the connection is at its end (or, holding, has its answer). */
static bool serve_one(struct client *c, int epoll, int fd, bool hold)
{
    if (!asked[fd]) {
        asked[fd] = true;
        if (send(fd, c->hello.data, c->hello.len, MSG_NOSIGNAL) != (ssize_t)c->hello.len) {
            c->failed++;
            return true;
        }
        watch(epoll, fd, EPOLLIN, EPOLL_CTL_MOD);
        return false;
    }
    for (bool any = left[fd] > 0;;) {
        ssize_t n = recv(fd, chunk, CHUNK, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            return false;
        if (n <= 0 || (!any && chunk[0] == TLS_ALERT)) {
            if (n < 0 || !any)
                c->failed++;
            return true;
        }
        any = true;
        left[fd] = 1;
        if (hold) {
            watch(epoll, fd, 0, EPOLL_CTL_DEL);
            return true;
        }
    }
}

static void work(struct client *c, unsigned count, unsigned parallel, bool hold)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e[256];
    unsigned begun = 0, done = 0;
    while (done < count) {
        while (begun < count && begun - done < parallel) {
            int fd = start_one(c, epoll);
            left[fd] = 0;
            begun++;
        }
        int n = epoll_wait(epoll, e, 256, 20000);
        if (n == 0)
            die("nothing moves any more");
        for (int i = 0; i < n; i++)
            if (serve_one(c, epoll, e[i].data.fd, hold)) {
                done++;
                if (!hold)
                    close(e[i].data.fd);
            }
    }
    close(epoll);
}

static int client(char **argv, bool hold)
{
    struct client c = {.to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))}};
    unsigned count = (unsigned)atoi(argv[3]), parallel = hold ? 64 : (unsigned)atoi(argv[4]);
    char line[64];
    if (inet_pton(AF_INET, argv[0], &c.to.sin_addr) != 1)
        return EXIT_FAILURE;
    hello_make(&c.hello, argv[2]);
    if (hold) {
        work(&c, count, parallel, true);
        printf("held %u\n", c.failed);
        fflush(stdout);
        for (;;)
            pause();
    }
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin)) {
        uint64_t from = clock_boottime_us();
        c.failed = 0;
        work(&c, count, parallel, false);
        printf("done %llu %u\n", (unsigned long long)(clock_boottime_us() - from), c.failed);
        fflush(stdout);
    }
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    raise_files();
    if (argc == 5 && strcmp(argv[1], "server") == 0)
        server(argv[2], (uint16_t)atoi(argv[3]), strtoull(argv[4], NULL, 10));
    if (argc == 7 && strcmp(argv[1], "connect") == 0)
        return client(argv + 2, false);
    if (argc == 6 && strcmp(argv[1], "hold") == 0)
        return client(argv + 2, true);
    fputs("see the head of tests/bench/load.c\n", stderr);
    return EXIT_FAILURE;
}
