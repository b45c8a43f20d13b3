/* SPDX-License-Identifier: MIT */
/* Starts one embedded suite and runs COUNT cells in it, one after the other, each `true`. Prints the time of
 * each from request to answer, in microseconds, one a line. */
#include <stdio.h>

#include <openssl/sha.h>

#include "common/base/clock.h"
#include "common/base/io.h"
#include "proto/endpoint.h"
#include "supervisor/ctl/launcher.h"

struct bench {
    struct ev_loop *loop;
    struct endpoint *control;
    uint64_t begun_us;
    unsigned left, number;
    bool failed;
};

static int run_one(struct bench *b);

static void on_answer(void *data, const struct error *error, const void *rec, int *fds, size_t nfds)
{
    (void)fds;
    (void)nfds;
    struct bench *b = data;
    const struct control_run_rep *r = rec;
    printf("%llu\n", (unsigned long long)(clock_boottime_us() - b->begun_us));
    if (error || r->result != RUN_EXITED || r->exit_code.v != 0) {
        const struct str text = error ? error->text : r->text;
        fprintf(stderr, "a cell failed: %.*s\n", (int)text.len, text.p);
        b->failed = true;
    }
    if (--b->left == 0 || b->failed || run_one(b) < 0)
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

static int run_one(struct bench *b)
{
    char doc[1024], run_id[UUID_TEXT_LEN + 1], name[32];
    uint8_t sha256[32];
    uuid_v7(run_id);
    snprintf(name, sizeof(name), "bench-%u", b->number++);
    int n = snprintf(
        doc, sizeof(doc),
        "{\"apiVersion\":\"cellos.io/v1\",\"kind\":\"ExecutionCell\",\"spec\":{\"id\":\"%s\",\"authority\":"
        "{\"secretRefs\":[]},\"lifetime\":{\"ttlSeconds\":60},\"run\":{\"argv\":[\"/bin/true\"]}}}",
        name);
    _cleanup_close_ int memfd = io_memfd_sealed("spec", doc, (size_t)n);
    if (memfd < 0)
        return memfd;
    SHA256((const uint8_t *)doc, (size_t)n, sha256);
    const int fds[] = {memfd, STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO};
    struct control_run_req req = {str_of(run_id), str_of(name), {(const char *)sha256, 32}};
    b->begun_us = clock_boottime_us();
    return endpoint_call(b->control, MSG_CONTROL_RUN_REQ, &req, fds, 4, 0, on_answer, b);
}

int main(int argc, char **argv)
{
    static const struct endpoint_handler handlers[] = {{MSG_CONTROL_STEP, on_step},
                                                       {MSG_CONTROL_REJECTED, on_step}};
    static const struct endpoint_ops ops = {handlers, ARRAY_LEN(handlers), NULL, on_gone};
    char error[512], run_id[UUID_TEXT_LEN + 1];
    struct launcher l;
    struct bench b = {.loop = ev_default_loop(0), .left = argc > 1 ? (unsigned)atoi(argv[1]) : 20};
    uuid_v7(run_id);
    struct launcher_options o = {run_id, "strict", false};
    if (!b.loop || launcher_start(&o, &l, error, sizeof(error)) < 0) {
        fprintf(stderr, "the suite did not start: %s\n", b.loop ? error : "no event loop");
        return EXIT_FAILURE;
    }
    struct endpoint_config cfg = {&iface_control, FROM_CLIENT, ROLE_CELLCTL, ROLE_SUPERVISOR, &ops, &b};
    if (endpoint_new(b.loop, TAKE_FD(l.control), &cfg, &b.control) < 0 || run_one(&b) < 0)
        return EXIT_FAILURE;
    ev_run(b.loop, 0);
    endpoint_free(b.control);
    return launcher_end(&l, error, sizeof(error)) && !b.failed ? EXIT_SUCCESS : EXIT_FAILURE;
}
