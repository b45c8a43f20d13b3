/* SPDX-License-Identifier: MIT */
/* Load for the benchmark of evidence: plays supervisor and proxyd on the lines of a real signerd, and
 * measures this machine's own limits beside it. One JSON object a call.
 *
 *   evidence line SIGNERD DIR SEAL COUNT RATE SEGMENT
 *     COUNT events of about 600 bytes, RATE a second (0: as fast as they are acknowledged), segments of
 * SEGMENT bytes; DIR gets keys/ and log/ evidence raw DIR signatures, verifications, SHA-256 and fdatasync of
 * the same bytes */
#include <ev.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <sched.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "common/base/clock.h"
#include "common/base/uuid.h"
#include "proto/signer_client.h"

#define EVENT_BYTES 600
#define RAW_ROUNDS  20000
#define SYNC_ROUNDS 500

static void die(const char *what)
{
    perror(what);
    exit(EXIT_FAILURE);
}

static void pin(unsigned cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    (void)sched_setaffinity(0, sizeof(set), &set); /* a machine with one core: nothing to choose */
}

static int by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static uint64_t percentile(const uint64_t *sorted, size_t n, unsigned percent)
{
    return n ? sorted[(n - 1) * percent / 100] : 0;
}

/* ---- a real signerd ---- */

struct load {
    struct ev_loop *loop;
    struct signer_client *supervisor, *proxyd;
    char run[UUID_TEXT_LEN + 1];
    uint64_t count, rate, sent, done, failed, began, last;
    uint64_t *sent_at, *took;
    ev_timer timer;
};

static pid_t start_signerd(const char *path, const char *dir, const char *seal, const char *segment,
                           int ours[2])
{
    char keys[256], log[256], pid_text[32];
    int pair[3][2];

    (void)snprintf(keys, sizeof(keys), "%s/keys", dir);
    (void)snprintf(log, sizeof(log), "%s/log", dir);
    if ((mkdir(keys, 0700) < 0 && errno != EEXIST) || (mkdir(log, 0700) < 0 && errno != EEXIST))
        die(dir);
    for (size_t i = 0; i < 3; i++)
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair[i]) < 0)
            die("socketpair");
    pid_t p = fork();
    if (p < 0)
        die("fork");
    if (p == 0) {
        int fds[5] = {pair[0][1], pair[1][1], pair[2][1], open(keys, O_RDONLY | O_DIRECTORY),
                      open(log, O_RDONLY | O_DIRECTORY)};
        char *const argv[] = {(char[]){"cellos-signerd"},
                              (char[]){"--mode"},
                              (char[]){"embedded"},
                              (char[]){"--seal"},
                              strdup(seal),
                              (char[]){"--segment-bytes"},
                              strdup(segment),
                              NULL};
        char *env[] = {(char[]){"LISTEN_FDS=5"}, (char[]){"LISTEN_FDNAMES=supervisor:netd:proxyd:keys:log"},
                       pid_text, NULL};

        pin(0);
        for (size_t i = 0; i < 5; i++)
            fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 20);
        for (int i = 0; i < 5; i++)
            (void)dup2(fds[i], 3 + i);
        (void)snprintf(pid_text, sizeof(pid_text), "LISTEN_PID=%d", getpid());
        execve(path, argv, env);
        die(path);
    }
    for (size_t i = 0; i < 3; i++)
        close(pair[i][1]);
    close(pair[1][0]);
    ours[0] = pair[0][0];
    ours[1] = pair[2][0];
    return p;
}

static void on_gone(void *self, int err)
{
    (void)self;
    (void)fprintf(stderr, "signerd is gone: %s\n", strerror(-err));
    exit(EXIT_FAILURE);
}

static void load_send(struct load *l);

static void on_ack(void *data, int err, uint64_t sequence)
{
    uint64_t *slot = data, now = clock_boottime_us();
    struct load *l = (void *)(uintptr_t)slot[0];
    (void)sequence;
    l->took[l->done++] = now - slot[1];
    l->failed += err < 0;
    l->last = now;
    if (l->done == l->count)
        ev_break(l->loop, EVBREAK_ALL);
    else if (l->rate == 0)
        load_send(l);
}

static void load_one(struct load *l)
{
    struct ev_dns_query ev = {.query_name = STR_LIT("service.internal.example.org"),
                              .query_type = STR_LIT("A"),
                              .action = ACTION_ALLOW,
                              .reason_code = DNS_ALLOWLIST_MATCH,
                              .origin = STR_LIT("cell"),
                              .resolver_id = STR_LIT("resolver-0")};
    uint64_t *slot = &l->sent_at[2 * l->sent];

    slot[0] = (uint64_t)(uintptr_t)l;
    slot[1] = clock_boottime_us();
    if (signer_claim(l->proxyd, l->run, EVENT_DNS_QUERY, &ev, false, on_ack, slot) < 0)
        die("signer_claim");
    l->sent++;
}

static void load_send(struct load *l)
{
    while (l->sent < l->count && l->sent - l->done < LIMIT_CLAIMS_SENT)
        load_one(l);
}

static void on_tick(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct load *l = w->data;
    uint64_t due = (clock_boottime_us() - l->began) * l->rate / 1000000;
    (void)loop;
    (void)revents;
    while (l->sent < l->count && l->sent < due)
        load_one(l);
}

static void on_started(void *data, int err, uint64_t sequence)
{
    struct load *l = data;
    (void)sequence;
    if (err < 0)
        die("started");
    l->began = clock_boottime_us();
    if (l->rate) {
        ev_timer_init(&l->timer, on_tick, 0, 0.0005);
        l->timer.data = l;
        ev_timer_start(l->loop, &l->timer);
    } else {
        load_send(l);
    }
}

static void on_opened(void *data, const struct error *error, const void *rec, int *fds, size_t nfds)
{
    static const struct str namespaces[] = {{"user", 4}};
    struct ev_isolation iso = {.namespaces = {namespaces, 1},
                               .cgroup = STR_LIT("none"),
                               .seccomp = STR_LIT("core"),
                               .landlock = STR_LIT("abi"),
                               .uid_map = STR_LIT("0")};
    struct ev_started ev = {
        .ttl_seconds = 60,
        .backend = BACKEND_PROCESS,
        .evidence = EVIDENCE_ASYNC,
        .isolation = &iso,
        .spec_digest = STR_LIT("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")};
    struct load *l = data;
    (void)rec;
    (void)fds;
    (void)nfds;
    if (error || signer_claim(l->supervisor, l->run, EVENT_STARTED, &ev, false, on_started, l) < 0)
        die("cell_open");
}

static uint64_t bytes_below(const char *dir)
{
    char command[512], text[64] = "0";
    (void)snprintf(command, sizeof(command), "cat %s/log/*.jsonl 2>/dev/null | wc -c", dir);
    FILE *f = popen(command, "r");
    if (f) {
        (void)!fgets(text, sizeof(text), f);
        (void)pclose(f);
    }
    return strtoull(text, NULL, 10);
}

static int line(char **argv)
{
    struct load l = {.loop = ev_default_loop(EVFLAG_NOENV),
                     .count = strtoull(argv[5], NULL, 10),
                     .rate = strtoull(argv[6], NULL, 10)};
    struct rusage before, after;
    int ours[2], status;
    pid_t p = start_signerd(argv[2], argv[3], argv[4], argv[7], ours);

    pin(1);
    l.sent_at = calloc(l.count, 2 * sizeof(*l.sent_at));
    l.took = calloc(l.count, sizeof(*l.took));
    uuid_v7(l.run);
    if (!l.sent_at || !l.took ||
        signer_client_new(l.loop, ours[0], ROLE_SUPERVISOR, on_gone, &l, &l.supervisor) < 0 ||
        signer_client_new(l.loop, ours[1], ROLE_PROXYD, on_gone, &l, &l.proxyd) < 0)
        die("lines");
    struct signer_cell_open_req open_req = {.run_id = str_of(l.run), .cell_id = STR_LIT("bench")};
    if (endpoint_call(signer_client_endpoint(l.supervisor), MSG_SIGNER_CELL_OPEN_REQ, &open_req, NULL, 0,
                      5000, on_opened, &l) < 0)
        die("cell_open");
    (void)getrusage(RUSAGE_CHILDREN, &before);
    ev_run(l.loop, 0);
    l.supervisor = signer_client_free(l.supervisor);
    l.proxyd = signer_client_free(l.proxyd);
    (void)waitpid(p, &status, 0);
    (void)getrusage(RUSAGE_CHILDREN, &after);
    double cpu = (double)after.ru_utime.tv_sec + (double)after.ru_stime.tv_sec +
                 (double)(after.ru_utime.tv_usec + after.ru_stime.tv_usec) / 1e6;
    double wall = (double)(l.last - l.began) / 1e6;
    qsort(l.took, l.count, sizeof(*l.took), by_value);
    printf("{\"events\":%" PRIu64 ",\"failed\":%" PRIu64
           ",\"wall\":%.4f,\"per_second\":%.0f,\"cpu_micros\":%.2f,\"p50\":%" PRIu64 ",\"p99\":%" PRIu64
           ",\"bytes\":%" PRIu64 ",\"rss_kib\":%ld,\"status\":%d}\n",
           l.count, l.failed, wall, (double)l.count / wall, cpu * 1e6 / (double)l.count,
           percentile(l.took, l.count, 50), percentile(l.took, l.count, 99), bytes_below(argv[3]),
           after.ru_maxrss, status);
    return l.failed || status ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* ---- the limits of this machine ---- */

static double per_second(uint64_t from, uint64_t rounds)
{
    return (double)rounds * 1e6 / (double)(clock_boottime_us() - from);
}

/* One event written and synced, again and again: pause 0, or so many microseconds apart, as a log that is not
 * busy has it. */
static void measure_sync(const char *dir, useconds_t pause, uint64_t ret[static SYNC_ROUNDS])
{
    static const uint8_t event[EVENT_BYTES] = {1};
    char path[256];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/sync", dir);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        die(path);
    (void)posix_fallocate(fd, 0, (off_t)SYNC_ROUNDS * EVENT_BYTES);
    for (unsigned i = 0; i < SYNC_ROUNDS; i++) {
        if (pause)
            (void)usleep(pause);
        uint64_t t = clock_boottime_us();
        if (pwrite(fd, event, sizeof(event), (off_t)i * EVENT_BYTES) < 0 || fdatasync(fd) < 0)
            die("fdatasync");
        ret[i] = clock_boottime_us() - t;
    }
    qsort(ret, SYNC_ROUNDS, sizeof(*ret), by_value);
    (void)close(fd);
}

static int raw(const char *dir)
{
    static uint8_t event[EVENT_BYTES], public[32], secret[64], sig[64], digest[32];
    static uint64_t sync[SYNC_ROUNDS], paced[SYNC_ROUNDS];

    if (sodium_init() < 0)
        die("sodium");
    pin(1);
    randombytes_buf(event, sizeof(event));
    crypto_sign_keypair(public, secret);
    uint64_t t = clock_boottime_us();
    for (unsigned i = 0; i < RAW_ROUNDS; i++)
        crypto_sign_detached(sig, NULL, event, sizeof(event), secret);
    double signs = per_second(t, RAW_ROUNDS);
    t = clock_boottime_us();
    for (unsigned i = 0; i < RAW_ROUNDS / 4; i++)
        if (crypto_sign_verify_detached(sig, event, sizeof(event), public) != 0)
            die("verify");
    double verifies = per_second(t, RAW_ROUNDS / 4);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_MD *md = EVP_MD_fetch(NULL, "SHA256", NULL);
    t = clock_boottime_us();
    for (unsigned i = 0; i < RAW_ROUNDS * 10; i++) {
        (void)EVP_DigestInit_ex2(ctx, md, NULL);
        (void)EVP_DigestUpdate(ctx, event, sizeof(event));
        (void)EVP_DigestFinal_ex(ctx, digest, NULL);
    }
    double hashes = per_second(t, RAW_ROUNDS * 10);
    EVP_MD_free(md);
    EVP_MD_CTX_free(ctx);
    measure_sync(dir, 0, sync);
    measure_sync(dir, 1000, paced);
    printf("{\"signs\":%.0f,\"verifies\":%.0f,\"hashes\":%.0f,\"sync_p50\":%" PRIu64 ",\"sync_p99\":%" PRIu64
           ",\"paced_p50\":%" PRIu64 ",\"paced_p99\":%" PRIu64 "}\n",
           signs, verifies, hashes, percentile(sync, SYNC_ROUNDS, 50), percentile(sync, SYNC_ROUNDS, 99),
           percentile(paced, SYNC_ROUNDS, 50), percentile(paced, SYNC_ROUNDS, 99));
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    if (argc == 8 && strcmp(argv[1], "line") == 0)
        return line(argv);
    if (argc == 3 && strcmp(argv[1], "raw") == 0)
        return raw(argv[2]);
    (void)fprintf(stderr, "usage: evidence line SIGNERD DIR SEAL COUNT RATE SEGMENT | evidence raw DIR\n");
    return 2;
}
