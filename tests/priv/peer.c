/* SPDX-License-Identifier: MIT */
/* Plays the siblings of one daemon, badly.
 *
 *   peer hostile KIND BIN-DIR DIR   every broken frame there is on every line of KIND (signerd, netd, proxyd,
 * supervisor, zygote), each on a fresh daemon peer claims BIN-DIR DIR         every event type from every
 * role in every state of a cell, to one signerd peer crowd BIN-DIR DIR          one daemon of each kind and
 * siblings that never say hello, or go away at once
 *   peer frames                         prints what an operator could send to a suite, sends nothing
 *
 * One JSON object a line on stdout; the judgement is the caller's (test_peers.py). DIR must exist and be
 * empty. */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "tests/priv/claims.h"
#include "tests/priv/suspect.h"

#ifdef CELLOS_SANITIZE
#define PATIENCE_MS 20000
#else
#define PATIENCE_MS 5000
#endif

static void print_end(struct suspect *s)
{
    bool late;
    int status = suspect_end(s, PATIENCE_MS, &late);

    printf("\"late\": %s, \"exit\": %d, \"signal\": %d, \"log\": ", late ? "true" : "false",
           WIFEXITED(status) ? WEXITSTATUS(status) : -1, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    suspect_print_log(s);
    printf("}\n");
    fflush(stdout);
}

/* The other lines that still answer, comma-separated. */
static void print_alive(const struct suspect *s, size_t attacked)
{
    const char *comma = "";

    printf("\"alive\": [");
    for (size_t i = 0; i < s->kind->nlines; i++)
        if (i != attacked && s->kind->line[i].side == FROM_CLIENT &&
            strcmp(s->kind->name, "supervisor") != 0 && suspect_answers(s, i, PATIENCE_MS)) {
            printf("%s\"%s\"", comma, s->kind->line_names[i]);
            comma = ", ";
        }
    printf("], ");
}

static void run_case(const struct suspect_kind *k, const char *bin_dir, const char *base, size_t line,
                     const char *kind_name, const struct hostile *h)
{
    static struct frame f;
    struct suspect s;

    suspect_start(k, bin_dir, base, &s);
    for (size_t i = 0; i < k->nlines; i++)
        if (i != line)
            suspect_hello(&s, i);
    if (!h->instead)
        suspect_hello(&s, line);
    bool greeted = suspect_recv(&s, line, &f, PATIENCE_MS) > 0;
    suspect_send(&s, line, h->bytes.data, h->bytes.len, h->nfds);
    bool cut = suspect_is_cut(&s, line, PATIENCE_MS);
    printf("{\"line\": \"%s\", \"kind\": \"%s\", \"what\": \"%s\", \"greeted\": %s, \"cut\": %s, ",
           k->line_names[line], kind_name, h->what, greeted ? "true" : "false", cut ? "true" : "false");
    print_alive(&s, line);
    for (size_t i = 0; i < k->nlines; i++)
        suspect_close(&s, i);
    print_end(&s);
}

static int hostile(const char *name, const char *bin_dir, const char *base)
{
    const struct suspect_kind *k = suspect_kind(name);
    struct hostile h = {};

    if (!k)
        return 2;
    buf_init(&h.bytes, HOSTILE_BYTES_MAX);
    for (size_t line = 0; line < k->nlines; line++)
        for (size_t kind = 0; kind < hostile_kinds(); kind++)
            for (size_t nth = 0; hostile_make(kind, nth, &k->line[line], &h); nth++)
                run_case(k, bin_dir, base, line, hostile_kind_name(kind), &h);
    buf_done(&h.bytes);
    return 0;
}

static void print_frame(const char *kind, const struct hostile *h)
{
    printf("{\"kind\": \"%s\", \"what\": \"%s\", \"instead\": %s, \"fds\": %zu, \"bytes\": \"", kind, h->what,
           h->instead ? "true" : "false", h->nfds);
    for (size_t i = 0; i < h->bytes.len; i++)
        printf("%02x", h->bytes.data[i]);
    printf("\"}\n");
}

/* Every frame an operator could send to a suite, for a caller that finds the suite itself: the hello, the
 * requests that are in order, and all that are not. */
static int frames(void)
{
    static const struct hostile_line l = {&iface_control, FROM_CLIENT, ROLE_CELLCTL};
    struct hostile h = {};

    buf_init(&h.bytes, HOSTILE_BYTES_MAX);
    for (size_t nth = 0; hostile_good(nth, &l, &h); nth++)
        print_frame("good", &h);
    for (size_t kind = 0; kind < hostile_kinds(); kind++)
        for (size_t nth = 0; hostile_make(kind, nth, &l, &h); nth++)
            print_frame(hostile_kind_name(kind), &h);
    buf_done(&h.bytes);
    return 0;
}

/* Siblings that never say hello (silent), all daemons at once because each waits for LIMIT_HELLO_MS; or that
 * are gone before they said it. */
static int crowd(const char *bin_dir, const char *base)
{
    static const char *const names[] = {"signerd", "netd", "proxyd", "supervisor", "zygote"};
    struct suspect silent[ARRAY_LEN(names)], gone[ARRAY_LEN(names)];

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        suspect_start(suspect_kind(names[i]), bin_dir, base, &silent[i]);
        suspect_start(suspect_kind(names[i]), bin_dir, base, &gone[i]);
    }
    for (size_t i = 0; i < 2 * ARRAY_LEN(names); i++) {
        bool is_silent = i >= ARRAY_LEN(names);
        struct suspect *s = is_silent ? &silent[i - ARRAY_LEN(names)] : &gone[i];
        bool cut = is_silent && suspect_is_cut(s, 0, LIMIT_HELLO_MS + PATIENCE_MS);
        for (size_t l = 0; l < s->kind->nlines; l++)
            suspect_close(s, l);
        printf("{\"daemon\": \"%s\", \"kind\": \"%s\", \"cut\": %s, ", s->kind->name,
               is_silent ? "silent" : "gone", cut ? "true" : "false");
        print_end(s);
    }
    return 0;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    if (argc == 5 && strcmp(argv[1], "hostile") == 0)
        return hostile(argv[2], argv[3], argv[4]);
    if (argc == 4 && strcmp(argv[1], "claims") == 0)
        return claims(argv[2], argv[3]);
    if (argc >= 5 && argc <= 5 + SUSPECT_OPTIONS && strcmp(argv[1], "many") == 0) {
        suspect_options(argv + 5, (size_t)argc - 5);
        return claims_many(strtoul(argv[2], NULL, 10), argv[3], argv[4]);
    }
    if (argc == 4 && strcmp(argv[1], "crowd") == 0)
        return crowd(argv[2], argv[3]);
    if (argc == 2 && strcmp(argv[1], "frames") == 0)
        return frames();
    fprintf(stderr, "usage: peer hostile KIND BIN-DIR DIR | claims BIN-DIR DIR | many COUNT BIN-DIR DIR "
                    "[OPTION VALUE]... | "
                    "crowd BIN-DIR DIR | frames\n");
    return 2;
}
