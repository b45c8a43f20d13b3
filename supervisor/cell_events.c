/* SPDX-License-Identifier: MIT */
/* The supervisor's own events, from what the cell knows about itself. */
#include <stdio.h>

#include <openssl/sha.h>

#include "common/base/encoding.h"
#include "common/base/log.h"
#include "supervisor/cell.h"
#include "supervisor/spec/policy.h"

#define ARGV_EVENT_BYTES 32768u /* of argv in one event; the rest is counted and digested */

void cell_digest_text(const uint8_t sha256[32], char dst[LIMIT_DIGEST + 1])
{
    static const char hex[] = "0123456789abcdef";
    memcpy(dst, "sha256:", 7);
    for (size_t i = 0; i < 32; i++) {
        dst[7 + 2 * i] = hex[sha256[i] >> 4];
        dst[8 + 2 * i] = hex[sha256[i] & 15];
    }
    dst[LIMIT_DIGEST] = '\0';
}

int cell_claim_network_scope(struct cell *c)
{
    struct ev_network_scope ev;
    int r = policy_network_scope(&c->policy, &c->arena, &ev);
    return r < 0 ? r : cell_claim(c, EVENT_NETWORK_SCOPE, &ev);
}

int cell_claim_identity(struct cell *c, enum event_type type)
{
    struct ev_provenance from = {str_of(c->spec_digest), PARENT_SPEC};
    struct ev_identity ev = {c->spec->secrets, DELIVERY_ENV, &from};
    return cell_claim(c, type, &ev);
}

int cell_set_isolation(struct cell *c, const struct init_ready *r)
{
    struct str *names = arena_alloc(&c->arena, r->namespaces.n * sizeof(*names));
    struct str uid_map = arena_copy(&c->arena, r->uid_map);
    char *landlock = arena_alloc(&c->arena, 32);
    if (!names || !uid_map.p || !landlock)
        return -ENOMEM;
    for (size_t i = 0; i < r->namespaces.n; i++)
        if (!(names[i] = arena_copy(&c->arena, r->namespaces.v[i])).p)
            return -ENOMEM;
    if (r->landlock_abi > 0)
        snprintf(landlock, 32, "abi %llu", (unsigned long long)r->landlock_abi);
    else
        snprintf(landlock, 32, "none");
    c->isolation = (struct ev_isolation){.namespaces = {names, r->namespaces.n},
                                         .cgroup = STR_LIT("none"),
                                         .seccomp = STR_LIT("core+baseline"),
                                         .landlock = str_of(landlock),
                                         .uid_map = uid_map,
                                         .supplementary_groups = str_of(c->m->groups)};
    return 0;
}

int cell_claim_started(struct cell *c)
{
    c->isolation.cgroup = str_of(cgroup_describe(c->cgroup ? c->m->cgroup : NULL));
    struct ev_started ev = {.ttl_seconds = c->spec->ttl_s,
                            .backend = c->spec->run ? c->spec->run->backend : (uint32_t)BACKEND_PROCESS,
                            .spec_digest = str_of(c->spec_digest),
                            .evidence = c->m->network.evidence,
                            .isolation = &c->isolation};
    return cell_claim(c, EVENT_STARTED, &ev);
}

/* As many whole entries as fit into one event; the digest is over the complete list's encoding. */
static int cut_argv(const struct strs *argv, struct ev_completed *ev, char digest[LIMIT_DIGEST + 1])
{
    size_t n = 0, bytes = 0;
    while (n < argv->n && bytes + argv->v[n].len + 8 <= ARGV_EVENT_BYTES)
        bytes += argv->v[n++].len + 8;
    ev->argv = (struct strs){argv->v, n};
    if (n == argv->n)
        return 0;
    _cleanup_(buf_done) struct buf b = {0};
    buf_init(&b, LIMIT_ARGV_BYTES + 16 * LIMIT_ARGV);
    mp_write_array(&b, argv->n);
    for (size_t i = 0; i < argv->n; i++)
        mp_write_str(&b, argv->v[i]);
    if (b.err < 0)
        return b.err;
    uint8_t sha256[32];
    SHA256(b.data, b.len, sha256);
    cell_digest_text(sha256, digest);
    ev->argv_truncated = OPT_BOOL(true);
    ev->argv_count = OPT_UINT(argv->n);
    ev->argv_digest = str_of(digest);
    return 0;
}

static const char *spawn_error(struct cell *c, char *dst, size_t cap)
{
    struct policy_deadline d = policy_deadline(c->spec);
    switch (c->result) {
    case RUN_TIMED_OUT:
        snprintf(dst, cap, "%s of %llu ms reached, every process of the cell was ended",
                 d.is_timeout ? "run.timeoutMs" : "lifetime.ttlSeconds", (unsigned long long)d.ms);
        return dst;
    case RUN_NOT_FOUND:
    case RUN_NOT_EXECUTABLE:
    case RUN_SUITE_FAILED:
        return c->text[0] ? c->text : "the suite failed";
    case RUN_SIGNALED: /* by the kernel, for want of memory */
        return c->text[0] && !c->forced ? c->text : NULL;
    default:
        return NULL;
    }
}

int cell_claim_completed(struct cell *c)
{
    char digest[LIMIT_DIGEST + 1], text[256];
    uint64_t us = c->ended_us > c->started_us ? c->ended_us - c->started_us : 0;
    struct ev_completed ev = {.exit_code = c->result == RUN_EXITED ? (int64_t)c->exit_code : -1,
                              .duration_ms = us / 1000,
                              .spawn_error = str_of(spawn_error(c, text, sizeof(text)))};
    int r = cut_argv(&c->spec->run->argv, &ev, digest);
    if (r < 0)
        return r;
    if (c->result == RUN_SIGNALED)
        ev.signal = OPT_UINT(c->signal);
    if (c->usage.cpu_micros.set || c->usage.memory_peak_bytes.set || c->usage.pids_peak.set)
        ev.usage = &c->usage;
    return cell_claim(c, EVENT_COMPLETED, &ev);
}

int cell_claim_summary(struct cell *c)
{
    struct ev_summary ev = {.lifetime_ttl_seconds = c->spec->ttl_s,
                            .egress_rule_count = c->spec->negress,
                            .secret_delivery_mode = c->spec->secrets.n > 0 ? DELIVERY_ENV : 0,
                            .placement = c->spec->placement,
                            .correlation = c->spec->correlation};
    if (c->started && c->spec->run)
        ev.command_exit_code = OPT_INT(c->result == RUN_EXITED ? (int64_t)c->exit_code : -1);
    return cell_claim(c, EVENT_SUMMARY, &ev);
}

int cell_claim_homeostasis(struct cell *c)
{
    size_t n = 0, bytes = 0;
    struct str *unused = arena_alloc(&c->arena, c->policy.egress.n * sizeof(*unused));
    if (!unused)
        return -ENOMEM;
    for (size_t i = 0; i < c->policy.egress.n && bytes < ARGV_EVENT_BYTES; i++) {
        char text[POLICY_RULE_TEXT_MAX];
        if (c->rule_used[i])
            continue;
        unused[n] = arena_copy(&c->arena, str_of(policy_rule_text(&c->policy.egress.v[i], text)));
        if (!unused[n].p)
            return -ENOMEM;
        bytes += unused[n++].len + 8;
    }
    struct ev_homeostasis ev = {.declared_egress_rules = c->policy.egress.n,
                                .exercised_egress_connections = c->connections,
                                .unused_egress_rules = {unused, n},
                                .dns_allowed = c->dns_allowed,
                                .dns_denied = c->dns_denied,
                                .l7_denied = c->l7_denied,
                                .bytes_sent = c->bytes_sent,
                                .bytes_received = c->bytes_received,
                                .dns_apexes = {c->apexes, c->napexes}};
    if (c->spec->run) {
        ev.memory_max_bytes = c->spec->run->limits.memory_max_bytes;
        ev.pids_max = c->spec->run->limits.pids_max;
    }
    if (c->usage.cpu_micros.set || c->usage.memory_peak_bytes.set || c->usage.pids_peak.set)
        ev.peak = &c->usage;
    return cell_claim(c, EVENT_HOMEOSTASIS, &ev);
}

int cell_claim_bundle(struct cell *c)
{
    struct ev_bundle ev = {.events = {c->refs, c->nrefs}};
    return cell_claim(c, EVENT_BUNDLE, &ev);
}

static const char *end_reason(struct cell *c, char *dst, size_t cap)
{
    switch (c->result) {
    case RUN_EXITED:
        return c->text[0] ? c->text : "the command ended";
    case RUN_NOTHING:
        return "nothing to run";
    case RUN_TIMED_OUT:
        return spawn_error(c, dst, cap);
    case RUN_SIGNALED:
        return c->text[0] ? c->text : "the command was ended by a signal";
    default:
        return c->text[0] ? c->text : "the suite failed";
    }
}

int cell_claim_destroyed(struct cell *c)
{
    char text[256];
    bool good = !c->failed && (c->result == RUN_NOTHING || (c->result == RUN_EXITED && c->exit_code == 0));
    struct ev_destroyed ev = {.outcome = good ? OUTCOME_SUCCEEDED : OUTCOME_FAILED,
                              .terminal_state = c->forced ? TERMINAL_FORCED : TERMINAL_CLEAN,
                              .reason = str_of(end_reason(c, text, sizeof(text))),
                              .residue_class = c->residue[0] ? RESIDUE_DOCUMENTED_EXCEPTION : RESIDUE_NONE};
    if (c->residue[0])
        ev.residue_exception = str_of(c->residue);
    return cell_claim(c, EVENT_DESTROYED, &ev);
}

int cell_claim_rejected(struct cell *c)
{
    struct ev_violation v[LIMIT_VIOLATIONS];
    size_t n = 0, bytes = 0;
    for (; n < c->violations.n; n++) {
        const struct violation *x = &c->violations.v[n];
        bytes += strlen(x->path) + strlen(x->message) + strlen(x->rule) + 48;
        if (bytes > ARGV_EVENT_BYTES)
            break;
        v[n] = (struct ev_violation){str_of(x->path), str_of(x->rule), str_of(x->message)};
    }
    char digest[LIMIT_DIGEST + 1];
    struct ev_rejected ev = {.spec_digest = str_of(c->spec_digest), .violations = {v, n}};
    if (n < c->violations.n || c->violations.more) {
        _cleanup_(buf_done) struct buf all = {0};
        buf_init(&all, LIMIT_VIOLATIONS * 1024);
        violations_print(&c->violations, &all);
        uint8_t sha256[32];
        SHA256(all.data, all.len, sha256);
        cell_digest_text(sha256, digest);
        ev.violations_truncated = OPT_BOOL(true);
        ev.violations_count = OPT_UINT(c->violations.n);
        ev.violations_digest = str_of(digest);
    }
    return cell_claim(c, EVENT_REJECTED, &ev);
}
