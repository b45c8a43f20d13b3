/* SPDX-License-Identifier: MIT */
/* cellctl run: one command in one cell of an embedded suite. Exit status: vocabulary 3. */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>

#include "common/base/io.h"
#include "supervisor/ctl/attachments.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/document.h"
#include "supervisor/ctl/run_operator.h"
#include "supervisor/ctl/session.h"
#include "supervisor/ctl/term.h"

#define LAST_WORDS_MS 1000 /* for a reader of stderr to come, after a signal */

/* The document to run. One that came over standard input leaves the workload /dev/null there (decisions 33).
 */
static int read_spec(const struct run_flags *f, struct buf *doc)
{
    if (!f->document) {
        buf_puts(doc, f->json);
        return doc->err;
    }
    int r = document_read(f->document, doc);
    if (r < 0 || strcmp(f->document, "-") != 0)
        return r;
    _cleanup_close_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return null < 0 || dup2(null, STDIN_FILENO) < 0 ? -errno : 0;
}

/* The three standard fds must exist: the workload gets exactly these. */
static int fill_stdio(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
            return -EBADF;
    return 0;
}

static int save_checkpoint(const char *path, const char *note)
{
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    return fd < 0 ? -errno : io_write_full(fd, note, strlen(note));
}

/* What the run came to, as an exit status; says why when the workload itself could not. */
static int report(const struct suite_outcome *o)
{
    switch (o->result) {
    case RUN_EXITED:
        return (int)o->exit_code;
    case RUN_NOTHING:
        return CTL_OK;
    case RUN_SIGNALED:
        return 128 + (int)o->signal;
    case RUN_TIMED_OUT:
        return ctl_fail(CTL_RUN_TIMEOUT, "run", "the time of the cell is up: every process in it was ended");
    case RUN_NOT_FOUND:
        return ctl_fail(CTL_RUN_NOT_FOUND, "run", "%s", o->text);
    case RUN_NOT_EXECUTABLE:
        return ctl_fail(CTL_RUN_NOT_EXECUTABLE, "run", "%s", o->text);
    case RUN_REJECTED:
        return ctl_fail(CTL_RUN_REFUSED, "run", "the spec was refused: nothing was started");
    default:
        return ctl_fail(CTL_RUN_SUITE, "run", "%s", o->text[0] ? o->text : "the suite failed");
    }
}

static void say_afterwards(const struct run_flags *f, const struct launcher *l, const struct suite_outcome *o)
{
    uint64_t denied = o->l7_denied + o->dns_denied;
    if ((o->result == RUN_EXITED || o->result == RUN_SIGNALED) && o->text[0])
        fprintf(stderr, "cellctl: %s\n", o->text);
    if (denied > 0)
        fprintf(stderr, "cellctl: %llu request%s denied: cellctl why %s\n", (unsigned long long)denied,
                denied == 1 ? " was" : "s were", l->log_path);
    if (f->verbose)
        fprintf(stderr, "cellctl: log %s\ncellctl: last checkpoint:\n%s", l->log_path, o->checkpoint);
}

/* Like every program this one waits until its messages are read, and a signal ends that. One that came
 * earlier, when the cell was ending already and could not obey it, must not be lost by it. */
static void obey_late_signal(const struct session_end *e)
{
    struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (e->signal == 0 || poll(&p, 1, LAST_WORDS_MS) != 0)
        return;
    _cleanup_close_ int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null >= 0)
        (void)dup2(null, STDERR_FILENO);
}

/* Everything has ended and is stored; only now messages, which may wait for their reader. ended: NULL, or how
 * the suite ended otherwise than it should. The exit status. */
static int say_end(const struct run_flags *f, const struct launcher *l, const struct follow *follow,
                   const struct session_end *e, bool saved, const char *ended)
{
    const struct suite_outcome *o = &e->outcome;
    obey_late_signal(e);
    term_status_clear();
    if (e->violations.len > 0)
        (void)fwrite(e->violations.data, 1, e->violations.len, stderr);
    if (follow->failed)
        (void)ctl_fail(0, "run", "--events: writing failed, the events are in %s", l->log_path);
    int status = report(o);
    if (!saved)
        status = ctl_fail(CTL_RUN_SUITE, "run", "the checkpoint cannot be written to %s", f->checkpoint);
    say_afterwards(f, l, o);
    if (ended && o->result != RUN_SUITE_FAILED)
        status = ctl_fail(CTL_RUN_SUITE, "run", "%s: run with -v to see why; the log is in %s", ended,
                          l->log_path);
    return status;
}

static int run_in_suite(const struct run_flags *f, const struct run_operator *op, const char *run_id,
                        struct session_request *req, struct follow *follow)
{
    char error[RUN_FLAGS_ERROR_MAX + 64], why[128];
    struct launcher l;
    struct launcher_options lo = {.run_id = run_id,
                                  .evidence = enum_text(&enum_evidence, op->config->network.evidence),
                                  .verbose = f->verbose,
                                  .config_json = op->json,
                                  .ca_file = op->config->ca_file.p,
                                  .log = &op->config->log,
                                  .quota_rate = operator_quota_rate(op->config)};
    if (op->config->network.mode == NET_MODE_ROUTED)
        lo.routed_pool = op->config->routed_pool.p;
    if (launcher_start(&lo, &l, error, sizeof(error)) < 0)
        return ctl_fail(CTL_RUN_SUITE, "run", "%s", error);
    _cleanup_(session_end_done) struct session_end e = {.signal = 0};
    if (follow_start(follow, l.log_dir) < 0)
        (void)ctl_fail(0, "run", "--events: the log cannot be watched, its lines come at the end");
    session_run(&l, req, follow, &e);
    follow_step(follow, true);
    bool saved = !f->checkpoint || !e.outcome.checkpoint[0] ||
                 save_checkpoint(f->checkpoint, e.outcome.checkpoint) >= 0;
    bool in_order = launcher_end(&l, why, sizeof(why));
    return say_end(f, &l, follow, &e, saved, in_order ? NULL : why);
}

static int run_document(const struct run_flags *f, const char *run_id, struct str document)
{
    _cleanup_(follow_done) struct follow follow = {.out = -EBADF, .inotify = -EBADF};
    _cleanup_(run_operator_done) struct run_operator op = {0};
    _cleanup_(arena_done) struct arena arena = {0};
    struct session_request req = {.document = document, .name = f->name, .verbose = f->verbose};
    if (run_operator_load(f, &op) < 0)
        return CTL_RUN_SUITE;
    arena_init(&arena, LIMIT_ATTACHMENTS_DOC + LIMIT_ARENA);
    struct spec_operator specs = {.metadata = op.config->network.metadata};
    if (attachments_read("run", document, &specs, &arena, &req.attachments) < 0)
        return ctl_fail(CTL_RUN_SUITE, "run", "out of memory");
    int r = follow_open(f->events, &follow);
    if (r < 0)
        return ctl_fail(CTL_RUN_SUITE, "run", "--events: cannot write to %s: %s", f->events, strerror(-r));
    return run_in_suite(f, &op, run_id, &req, &follow);
}

static int run(int argc, char **argv)
{
    char run_id[UUID_TEXT_LEN + 1], error[RUN_FLAGS_ERROR_MAX];
    _cleanup_(run_flags_done) struct run_flags f = {};
    _cleanup_(buf_done) struct buf doc = {0};
    buf_init(&doc, LIMIT_SPEC + 2);
    uuid_v7(run_id);
    int r = run_flags_parse(argc, argv, run_id, &f, error);
    if (r != RUN_FLAGS_OK)
        return ctl_fail(CTL_RUN_SUITE, "run", "%s", r < 0 ? "out of memory" : error);
    if (f.print_spec)
        return fputs(f.json, stdout) < 0 || fflush(stdout) != 0 ? CTL_RUN_SUITE : CTL_OK;
    if (fill_stdio() < 0)
        return CTL_RUN_SUITE;
    r = read_spec(&f, &doc);
    if (r < 0)
        return ctl_fail(CTL_RUN_SUITE, "run", "cannot read the document %s: %s", f.document, strerror(-r));
    return run_document(&f, run_id, buf_str(&doc));
}

const struct ctl_verb ctl_verb_run = {"run", "run a command in a cell", run_flags_help, run};
