/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdio.h>

#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/doctor.h"
#include "supervisor/ctl/term.h"

const struct doctor_check doctor_checks[] = {
    {"kernel", true, doctor_kernel},
    {"system calls", true, doctor_syscalls},
    {"user namespaces", true, doctor_userns},
    {"network namespace", true, doctor_netns},
    {"nft", true, doctor_nft},
    {"nft tproxy", true, doctor_tproxy},
    {"flow log", false, doctor_flow_log},
    {"overlay", true, doctor_overlay},
    {"fresh /proc", true, doctor_proc},
    {"seccomp", true, doctor_seccomp},
    {"memfd sealing", true, doctor_memfd},
    {"landlock", false, doctor_landlock},
    {"cgroup limits", false, doctor_cgroup},
    {"ids for cells", true, doctor_subids},
    {"supplementary groups", false, doctor_groups},
};
const size_t doctor_nchecks = ARRAY_LEN(doctor_checks);

static const char *status_word(enum doctor_status s)
{
    static const char *const words[] = {"ok", "note", "missing"};
    return words[s];
}

static void print_text(const struct doctor_check *c, const struct doctor_result *r)
{
    static const enum term_color colors[] = {TERM_GREEN, TERM_YELLOW, TERM_RED};
    char detail[4 * DOCTOR_TEXT_MAX];
    bool color = term_colors(STDOUT_FILENO);
    (void)printf("%s%-7s%s  %-20s  %s\n", term_code(color, colors[r->status]), status_word(r->status),
                 term_code(color, TERM_PLAIN), c->name,
                 str_escape(detail, sizeof(detail), r->detail, strlen(r->detail)));
    if (r->cost)
        (void)printf("         cost: %s\n", r->cost);
    if (r->mend[0])
        (void)printf("         mend: %s\n", r->mend);
}

static json_t *as_json(const struct doctor_check *c, const struct doctor_result *r)
{
    char detail[4 * DOCTOR_TEXT_MAX];
    json_t *o =
        json_pack("{s:s, s:s, s:b, s:s}", "check", c->name, "status", status_word(r->status), "essential",
                  c->essential, "detail", str_escape(detail, sizeof(detail), r->detail, strlen(r->detail)));
    if (o && r->cost)
        (void)json_object_set_new(o, "cost", json_string(r->cost));
    if (o && r->mend[0])
        (void)json_object_set_new(o, "mend", json_string(r->mend));
    return o;
}

static int finish_json(json_t *list, bool can_run)
{
    json_t *o = json_pack("{s:b, s:o}", "cellsCanRun", can_run, "checks", list);
    if (!o)
        return ctl_fail(CTL_FAILED, "doctor", "out of memory");
    (void)json_dumpf(o, stdout, JSON_INDENT(2));
    (void)putchar('\n');
    json_decref(o);
    return can_run ? CTL_OK : CTL_FAILED;
}

static int examine(bool json)
{
    json_t *list = json ? json_array() : NULL;
    bool can_run = true;
    for (size_t i = 0; i < doctor_nchecks; i++) {
        struct doctor_result r = {.status = DOCTOR_PASS};
        doctor_checks[i].run(&r);
        if (doctor_checks[i].essential && r.status == DOCTOR_MISSING)
            can_run = false;
        if (json)
            (void)json_array_append_new(list, as_json(&doctor_checks[i], &r));
        else
            print_text(&doctor_checks[i], &r);
    }
    if (json)
        return finish_json(list, can_run);
    (void)printf("\ncells %s on this host\n", can_run ? "can run" : "cannot run");
    return can_run ? CTL_OK : CTL_FAILED;
}

static int run(int argc, char **argv)
{
    bool json = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") != 0)
            return ctl_fail(CTL_USAGE, "doctor", "unknown argument \"%s\": only --json is known", argv[i]);
        json = true;
    }
    return examine(json);
}

const struct ctl_verb ctl_verb_doctor = {
    .name = "doctor",
    .summary = "checks what this host offers to cells, and how to mend the rest",
    .help =
        "usage: cellctl doctor [--json]\n\n"
        "Tries every kernel mechanism that cells need, as the calling user, and says for each: ok, note or\n"
        "missing, what that costs, and the command that mends it. Changes nothing.\n"
        "Exit status: 0 cells can run, 2 they cannot.\n",
    .run = run,
};
