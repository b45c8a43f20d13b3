/* SPDX-License-Identifier: MIT */
/* One embedded suite and many cells. Prints "pids SIGNERD SUPERVISOR NETD PROXYD"; then, for each line of
 * stdin, which is the path of a spec, starts a cell and prints "ended MICROSECONDS RESULT" when it is over,
 * counted from the request. What the workloads write goes to stdout between these lines. End of file ends
 * all. Options: --evidence strict|async. */
#include <fcntl.h>
#include <stdio.h>

#include <openssl/sha.h>

#include "common/base/clock.h"
#include "common/base/io.h"
#include "proto/endpoint.h"
#include "supervisor/ctl/launcher.h"

#define LINE_MAX_ 4096

struct bench {
    struct ev_loop *loop;
    struct endpoint *control;
    struct ev_io input;
    struct buf in;
    int null;
    unsigned open;
    bool ending, failed;
};

struct run {
    struct bench *b;
    uint64_t begun_us;
};

static void on_answer(void *data, const struct error *error, const void *rec, int *fds, size_t nfds)
{
    (void)fds;
    (void)nfds;
    struct run *run = data;
    struct bench *b = run->b;
    const struct control_run_rep *r = rec;
    if (error)
        fprintf(stderr, "a cell failed: %.*s\n", (int)error->text.len, error->text.p);
    else if (r->result != RUN_EXITED && !b->ending)
        fprintf(stderr, "a cell failed: %.*s\n", (int)r->text.len, r->text.p);
    printf("ended %llu %s\n", (unsigned long long)(clock_boottime_us() - run->begun_us),
           error ? "error" : enum_text(&enum_run_result, r->result));
    fflush(stdout);
    free(run);
    if (--b->open == 0 && b->ending)
        ev_break(b->loop, EVBREAK_ALL);
}

static int on_step(void *self, struct endpoint *e, struct endpoint_msg *m)
{
    (void)self;
    (void)e;
    (void)m;
    return 0;
}

static void on_gone(void *self, struct endpoint *e, int err)
{
    (void)e;
    (void)err;
    struct bench *b = self;
    b->failed = true;
    ev_break(b->loop, EVBREAK_ALL);
}

static int read_spec(const char *path, struct buf *doc)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    buf_init(doc, LIMIT_SPEC);
    return fd < 0 ? -errno : io_read_to_end(fd, doc);
}

static int run_one(struct bench *b, const char *path)
{
    static const struct attachments none;
    char run_id[UUID_TEXT_LEN + 1];
    uint8_t sha256[32], files_sha256[32];
    _cleanup_(buf_done) struct buf doc = {0};
    int r = read_spec(path, &doc);
    if (r < 0)
        return r;
    uuid_v7(run_id);
    _cleanup_close_ int memfd = io_memfd_sealed("spec", doc.data, doc.len);
    _cleanup_close_ int files =
        codec_to_memfd(&schema_attachments, &none, LIMIT_ATTACHMENTS_DOC, files_sha256);
    struct run *run = calloc(1, sizeof(*run));
    if (memfd < 0 || files < 0 || !run) {
        free(run);
        return -ENOMEM;
    }
    SHA256(doc.data, doc.len, sha256);
    const int fds[] = {memfd, files, b->null, STDOUT_FILENO, STDERR_FILENO};
    struct control_run_req req = {
        str_of(run_id), STR_LIT("bench"), {(const char *)sha256, 32}, {(const char *)files_sha256, 32}};
    *run = (struct run){b, clock_boottime_us()};
    b->open++;
    return endpoint_call(b->control, MSG_CONTROL_RUN_REQ, &req, fds, ARRAY_LEN(fds), 0, on_answer, run);
}

static void end(struct bench *b)
{
    b->ending = true;
    ev_io_stop(b->loop, &b->input);
    ev_break(b->loop, EVBREAK_ALL);
}

static void on_input(struct ev_loop *loop, struct ev_io *w, int events)
{
    struct bench *b = w->data;
    uint8_t *room = buf_reserve(&b->in, LINE_MAX_), *newline;
    (void)loop;
    (void)events;
    ssize_t n = room ? read(w->fd, room, LINE_MAX_) : 0;
    if (n <= 0) {
        end(b);
        return;
    }
    b->in.len += (size_t)n;
    while ((newline = memchr(b->in.data, '\n', b->in.len))) {
        *newline = '\0';
        int r = run_one(b, (const char *)b->in.data);
        if (r < 0) {
            fprintf(stderr, "%s: %s\n", (const char *)b->in.data, strerror(-r));
            b->failed = true;
            end(b);
            return;
        }
        buf_consume(&b->in, (size_t)(newline - b->in.data) + 1);
    }
}

static int start(struct bench *b, struct launcher *l)
{
    static const struct endpoint_handler handlers[] = {{MSG_CONTROL_STEP, on_step},
                                                       {MSG_CONTROL_REJECTED, on_step}};
    static const struct endpoint_ops ops = {handlers, ARRAY_LEN(handlers), NULL, on_gone};
    struct endpoint_config cfg = {&iface_control, FROM_CLIENT, ROLE_CELLCTL, ROLE_SUPERVISOR, &ops, b};
    b->null = open("/dev/null", O_RDWR | O_CLOEXEC);
    buf_init(&b->in, 1u << 20);
    ev_io_init(&b->input, on_input, STDIN_FILENO, EV_READ);
    b->input.data = b;
    ev_io_start(b->loop, &b->input);
    printf("pids %d %d %d %d\n", l->pids[LAUNCHER_SIGNERD], l->pids[LAUNCHER_SUPERVISOR],
           l->pids[LAUNCHER_NETD], l->pids[LAUNCHER_PROXYD]);
    fflush(stdout);
    return b->null < 0 ? -errno : endpoint_new(b->loop, TAKE_FD(l->control), &cfg, &b->control);
}

int main(int argc, char **argv)
{
    char error[512], run_id[UUID_TEXT_LEN + 1];
    struct launcher l;
    struct bench b = {.loop = ev_default_loop(0)};
    bool async = argc == 3 && strcmp(argv[1], "--evidence") == 0 && strcmp(argv[2], "async") == 0;
    uuid_v7(run_id);
    struct launcher_options o = {.run_id = run_id, .evidence = async ? "async" : "strict"};
    if (!b.loop || launcher_start(&o, &l, error, sizeof(error)) < 0) {
        fprintf(stderr, "the suite did not start: %s\n", b.loop ? error : "no event loop");
        return EXIT_FAILURE;
    }
    if (start(&b, &l) < 0)
        return EXIT_FAILURE;
    ev_run(b.loop, 0);
    endpoint_free(b.control);
    bool ended = launcher_end(&l, error, sizeof(error));
    return ended && !b.failed ? EXIT_SUCCESS : EXIT_FAILURE;
}
