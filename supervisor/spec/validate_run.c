/* SPDX-License-Identifier: MIT */
#include "proto/limits.h"
#include "supervisor/spec/validate.h"

static void argv(struct validate *v, const struct doc_at *at, struct spec_run *run)
{
    size_t n, bytes = 0;
    if (!doc_array(&v->doc, at, 1, LIMIT_ARGV, &n))
        return;
    struct str *list = doc_alloc(&v->doc, n, sizeof(*list));
    if (!list)
        return;
    for (size_t i = 0; i < n; i++) {
        struct doc_at e = doc_element(at, i);
        if (!doc_text(&v->doc, &e, LIMIT_ARGV_BYTES, &list[i]))
            continue;
        if (i == 0 && list[0].len == 0)
            doc_complain(&v->doc, &e, "not-empty", "must not be empty");
        bytes += list[i].len + 1;
    }
    if (bytes > LIMIT_ARGV_BYTES)
        doc_complain(&v->doc, at, "size", "must be at most %u bytes in all, not %zu", LIMIT_ARGV_BYTES,
                     bytes);
    run->argv = (struct strs){list, n};
}

static void working_directory(struct validate *v, const struct doc_at *at, struct spec_run *run)
{
    struct str s;
    if (!validate_path(v, at, &s))
        return;
    if (s.len == 1 || validate_mount_path(v, at, &s))
        run->cwd = s;
}

static void cpu_max(struct validate *v, const struct doc_at *at, struct spec_limits *l)
{
    static const struct doc_key keys[] = {{"quotaMicros", true}, {"periodMicros", false}};
    struct doc_at f;
    uint64_t quota;
    if (!doc_object(&v->doc, at, keys, ARRAY_LEN(keys)))
        return;
    if (doc_member(at, "quotaMicros", &f) && doc_uint(&v->doc, &f, SPEC_CPU_MIN_US, INT64_MAX / 1000, &quota))
        l->cpu_quota_us = OPT_UINT(quota);
    if (doc_member(at, "periodMicros", &f))
        doc_uint(&v->doc, &f, SPEC_CPU_MIN_US, SPEC_CPU_MAX_US, &l->cpu_period_us);
}

static void limits(struct validate *v, const struct doc_at *at, struct spec_limits *l)
{
    static const struct doc_key keys[] = {
        {"memoryMaxBytes", false}, {"cpuMax", false}, {"pidsMax", false}, {"gracefulShutdownSeconds", false}};
    struct doc_at f;
    uint64_t n;
    if (!doc_object(&v->doc, at, keys, ARRAY_LEN(keys)))
        return;
    if (doc_member(at, "memoryMaxBytes", &f) && doc_uint(&v->doc, &f, SPEC_MEMORY_MIN, INT64_MAX, &n))
        l->memory_max_bytes = OPT_UINT(n);
    if (doc_member(at, "cpuMax", &f))
        cpu_max(v, &f, l);
    if (doc_member(at, "pidsMax", &f) && doc_uint(&v->doc, &f, 1, SPEC_PIDS_MAX, &n))
        l->pids_max = OPT_UINT(n);
    if (doc_member(at, "gracefulShutdownSeconds", &f))
        doc_uint(&v->doc, &f, 0, LIMIT_GRACE_S, &l->grace_s);
}

/* A word or a path; unsupported.c refuses the paths. */
static void seccomp(struct validate *v, const struct doc_at *at)
{
    struct str s;
    if (doc_str(&v->doc, at, LIMIT_PATH, &s) && !str_is(s, SECCOMP_PROFILE_BASELINE) && s.p[0] != '/')
        doc_complain(&v->doc, at, "one-of", "must be \"" SECCOMP_PROFILE_BASELINE "\" or an absolute path");
}

static void run_members(struct validate *v, const struct doc_at *at, struct spec_run *run)
{
    struct doc_at f;
    uint64_t ms;
    if (doc_member(at, "argv", &f))
        argv(v, &f, run);
    if (doc_member(at, "workingDirectory", &f))
        working_directory(v, &f, run);
    if (doc_member(at, "secretDelivery", &f))
        doc_enum(&v->doc, &f, &enum_delivery, &run->delivery);
    if (doc_member(at, "timeoutMs", &f) && doc_uint(&v->doc, &f, 1, SPEC_TIMEOUT_MAX_MS, &ms))
        run->timeout_ms = OPT_UINT(ms);
    if (doc_member(at, "limits", &f))
        limits(v, &f, &run->limits);
    if (doc_member(at, "backend", &f))
        doc_enum(&v->doc, &f, &enum_backend, &run->backend);
    if (doc_member(at, "seccomp", &f))
        seccomp(v, &f);
}

void validate_run(struct validate *v, const struct doc_at *at)
{
    static const struct doc_key keys[] = {
        {"argv", true},    {"workingDirectory", false}, {"secretDelivery", false}, {"timeoutMs", false},
        {"limits", false}, {"backend", false},          {"seccomp", false}};
    if (!doc_object(&v->doc, at, keys, ARRAY_LEN(keys)))
        return;
    struct spec_run *run = doc_alloc(&v->doc, 1, sizeof(*run));
    if (!run)
        return;
    *run = (struct spec_run){
        .delivery = DELIVERY_ENV,
        .limits = {.cpu_period_us = SPEC_CPU_PERIOD_US, .grace_s = SPEC_GRACE_DEFAULT_S},
        .backend = BACKEND_PROCESS,
        .seccomp = STR_LIT(SECCOMP_PROFILE_BASELINE),
    };
    run_members(v, at, run);
    v->spec->run = run;
}
