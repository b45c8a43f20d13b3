/* SPDX-License-Identifier: MIT */
/* The TCP side of one cell: accepts what the cell's namespace hands to the transparent listener, judges it,
 * and dials, by name, what is allowed (decisions 25-30). One l7_egress_decision event a decision: an allowed
 * one is durable before the dial (a second address that has to be tried is a decision of its own); a denial
 * acts at once. */
#pragma once

#include "proxyd/claims.h"
#include "proxyd/dns/dns.h"
#include "proxyd/policy.h"
#include "proxyd/process.h"
#include "proxyd/relay.h"

struct gate;

struct gate_config { /* all borrowed until gate_free */
    struct ev_loop *loop;
    const struct proxy_policy *policy;
    struct claims *claims;
    struct dns_cell *dns;
    struct relay_pool *pool;
    struct quota *quota;
    struct process_line *who; /* NULL: every process is unknown */
};

struct gate_counters {
    uint64_t allowed, denied;
};

/* listener: a listening TCP socket; taken on success. The local address of what it accepts is the original
 * destination. 0 or -errno. */
int gate_new(const struct gate_config *cfg, int listener, struct gate **ret) MUST_CHECK;

/* Resets every connection; every denial has been claimed by then. NULL-safe; returns NULL. */
struct gate *gate_free(struct gate *g);

/* Another policy, borrowed from now on instead of the old one; the DNS of the cell has it already. What it
 * does not allow any more is cut, each with its event. How many connections. */
uint64_t gate_policy_set(struct gate *g, const struct proxy_policy *policy);

void gate_counters(const struct gate *g, struct gate_counters *ret);
/* How many connections this rule of the present policy has allowed, under earlier policies too. */
uint64_t gate_rule_uses(const struct gate *g, size_t rule);
size_t gate_open(const struct gate *g); /* connections */
