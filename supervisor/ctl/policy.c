/* SPDX-License-Identifier: MIT */
/* cellctl policy: the egress rules of a running cell, and changes of them. */
#include <inttypes.h>
#include <stdio.h>

#include <jansson.h>

#include "proto/line.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/run_find.h"
#include "supervisor/ctl/run_socket.h"
#include "supervisor/spec/policy.h"

/* The supervisor waits at most for the log, netd and proxyd. */
#define ANSWER_MS (int)(LIMIT_ACK_MS + 2 * LIMIT_ATTACH_MS)

#define POLICY_HELP                                                                                          \
    "usage: cellctl policy RUN [--add RULE]... [--remove RULE]... [--json]\n\n"                              \
    "Prints the egress rules of a running cell, one a line; with --add or --remove it changes them first.\n" \
    "RUN is a run id, the end of one, the cell's name run-..., or the path of its log.\n\n"                  \
    "  --add RULE     in the words of --allow: HOST[:PORT[-PORT]][/PROTO]; names may be resolved from "      \
    "then\n"                                                                                                 \
    "                 on; the event is in the log before the rule takes effect\n"                            \
    "  --remove RULE  a rule as it is printed; connections that no rule allows any more are cut\n"           \
    "  --json         {\"egressRules\": [...], \"connectionsCut\": N}\n\n"                                   \
    "Removals come first. The change is one event, lifecycle.v1.policy_changed. Only the suite's own user\n" \
    "and root may ask.\n"

struct args {
    const char *run;
    struct str add[LIMIT_POLICY_CHANGES], remove[LIMIT_POLICY_CHANGES];
    size_t nadd, nremove;
    bool json;
};

static int take(const char *flag, const char *value, struct str *list, size_t *n)
{
    if (!value)
        return ctl_fail(CTL_USAGE, "policy", "%s needs a rule: HOST[:PORT[-PORT]][/PROTO]", flag);
    if (*n == LIMIT_POLICY_CHANGES)
        return ctl_fail(CTL_USAGE, "policy", "at most %u rules can be added or removed at once",
                        LIMIT_POLICY_CHANGES);
    if (strlen(value) >= POLICY_RULE_TEXT_MAX || !str_utf8_valid(value, strlen(value)))
        return ctl_fail(CTL_USAGE, "policy", "%s %.80s: must be HOST[:PORT[-PORT]][/PROTO]", flag, value);
    list[(*n)++] = str_of(value);
    return CTL_OK;
}

static int parse(int argc, char **argv, struct args *a)
{
    for (int i = 1; i < argc; i++) {
        int r = CTL_OK;
        if (strcmp(argv[i], "--add") == 0) {
            r = take(argv[i], i + 1 < argc ? argv[i + 1] : NULL, a->add, &a->nadd);
            i++;
        } else if (strcmp(argv[i], "--remove") == 0) {
            r = take(argv[i], i + 1 < argc ? argv[i + 1] : NULL, a->remove, &a->nremove);
            i++;
        } else if (strcmp(argv[i], "--json") == 0) {
            a->json = true;
        } else if (argv[i][0] == '-') {
            r = ctl_fail(CTL_USAGE, "policy", "unknown flag %s: see `cellctl policy --help`", argv[i]);
        } else if (a->run) {
            r = ctl_fail(CTL_USAGE, "policy", "one run only, %s is a second one", argv[i]);
        } else {
            a->run = argv[i];
        }
        if (r != CTL_OK)
            return r;
    }
    return a->run ? CTL_OK
                  : ctl_fail(CTL_USAGE, "policy", "give a run: `cellctl policy --help` shows the usage");
}

/* ---- the answer ---- */

static int print_json(const struct egress_rules *rules, uint64_t cut)
{
    json_t *list = json_array(), *root;
    for (size_t i = 0; list && i < rules->rules.n; i++) {
        const struct policy_egress *r = &rules->rules.v[i];
        char port[16];
        (void)snprintf(port, sizeof(port), "%u-%u", (unsigned)r->port_lo, (unsigned)r->port_hi);
        json_t *o =
            json_pack("{s:s%, s:o}", "host", r->host.p, r->host.len, "port",
                      r->port_lo == r->port_hi ? json_integer((json_int_t)r->port_lo) : json_string(port));
        if (o && r->protocol != EGRESS_ANY)
            (void)json_object_set_new(o, "protocol",
                                      json_string(enum_text(&enum_egress_protocol, r->protocol)));
        (void)json_array_append_new(list, o);
    }
    root = json_pack("{s:o, s:I}", "egressRules", list, "connectionsCut", (json_int_t)cut);
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    if (!text)
        return ctl_fail(CTL_FAILED, "policy", "out of memory");
    (void)puts(text);
    free(text);
    return CTL_OK;
}

static void print_text(const struct args *a, const struct egress_rules *rules, uint64_t cut)
{
    char text[POLICY_RULE_TEXT_MAX];
    for (size_t i = 0; i < rules->rules.n; i++)
        (void)puts(policy_rule_text(&rules->rules.v[i], text));
    if (rules->rules.n == 0)
        (void)fputs("cellctl policy: no rule: the cell may reach nothing\n", stderr);
    if (a->nadd + a->nremove > 0)
        (void)fprintf(stderr, "cellctl policy: done; %" PRIu64 " connection%s cut\n", cut,
                      cut == 1 ? " was" : "s were");
}

static int show(const struct args *a, struct line_msg *m)
{
    _cleanup_(buf_done) struct buf bytes = {0};
    _cleanup_(arena_done) struct arena arena = {0};
    const struct control_policy_rep *rep = m->msg.rec;
    struct egress_rules rules;
    buf_init(&bytes, LIMIT_POLICY_DOC);
    arena_init(&arena, LIMIT_ARENA);
    int r = codec_from_memfd(&schema_egress_rules, m->frame.fds[0], LIMIT_POLICY_DOC, rep->rules_sha256,
                             &bytes, &arena, &rules);
    if (r < 0)
        return ctl_fail(CTL_FAILED, "policy", "the supervisor's answer cannot be read: %s",
                        strerrordesc_np(-r));
    if (a->json)
        return print_json(&rules, rep->connections_cut);
    print_text(a, &rules, rep->connections_cut);
    return CTL_OK;
}

/* ---- the question ---- */

static int refused(const struct error *e)
{
    return ctl_fail(e->fail == FAIL_INVALID ? CTL_INVALID : CTL_FAILED, "policy", "%.*s", (int)e->text.len,
                    e->text.p);
}

static int ask(struct line *l, struct line_msg *m, const struct args *a, const char *run)
{
    struct control_policy_req req = {str_of(run), {a->add, a->nadd}, {a->remove, a->nremove}};
    int r = line_hello(l, m);
    if (r == 0)
        r = line_send(l, MSG_CONTROL_POLICY_REQ, 0, &req, NULL, 0);
    if (r == 0)
        r = line_recv(l, m, ANSWER_MS);
    if (r == 0 && m->msg.row->id == MSG_ERROR)
        return refused(m->msg.rec);
    if (r == 0 && m->msg.row->id == MSG_CONTROL_POLICY_REP)
        return show(a, m);
    if (r == -EDQUOT || r == -EMSGSIZE || r == -EINVAL)
        return ctl_fail(CTL_USAGE, "policy", "too much for one request: fewer rules at once");
    return ctl_fail(CTL_FAILED, "policy", "the supervisor of run %s gave no answer: the run has ended, or %s",
                    run, "it serves as many operators as it may already");
}

static int policy_run(int argc, char **argv)
{
    char run[64] = "";
    struct args a = {.run = NULL};
    int r = parse(argc, argv, &a);
    if (r != CTL_OK)
        return r;
    _cleanup_close_ int dir = run_find_live("policy", a.run, run, sizeof(run));
    if (dir < 0)
        return -dir;
    _cleanup_close_ int sock = run_socket_connect(dir);
    if (sock == -ECONNREFUSED || sock == -ENOENT)
        return ctl_fail(CTL_FAILED, "policy",
                        "the run %s has ended (its cellctl was killed): nobody listens any more", run);
    if (sock < 0)
        return ctl_fail(CTL_FAILED, "policy", "cannot reach the supervisor of run %s: %s", run,
                        strerrordesc_np(-sock));
    struct line l = {.sock = sock,
                     .iface = &iface_control,
                     .side = FROM_CLIENT,
                     .role = ROLE_CELLCTL,
                     .peer_role = ROLE_SUPERVISOR};
    struct line_msg m;
    line_msg_init(&m);
    r = ask(&l, &m, &a, run);
    line_msg_done(&m);
    return r;
}

const struct ctl_verb ctl_verb_policy = {
    "policy",
    "show or change what a running cell may reach",
    POLICY_HELP,
    policy_run,
};
