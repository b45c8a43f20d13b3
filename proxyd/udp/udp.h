/* SPDX-License-Identifier: MIT */
/* The UDP side of one cell beside DNS (decisions 24-29). A flow is what goes between one client endpoint and
 * one original destination. Its first datagrams are judged: as QUIC where a rule for QUIC covers the port, by
 * the server name in the ClientHello (quic/initial.h); else by the raw `udp` rules, by address. An allowed
 * flow has a connected socket of its own in proxyd's namespace, made only after its event is durable; what
 * comes back is sent into the cell in the name of the address the client spoke to. A denied datagram is
 * answered with "port unreachable" and leaves an event. */
#pragma once

#include "proxyd/claims.h"
#include "proxyd/dns/dns.h"
#include "proxyd/policy.h"
#include "proxyd/process.h"
#include "proxyd/quota.h"

/* A flow whose judgement and event are still to come may have so many datagrams and bytes waiting; more are
 * lost, as on any busy path. */
#define UDP_HELD_MAX   16u
#define UDP_HELD_BYTES 32768u
#define UDP_FLOWS_MAX  1024u /* of one cell; beyond: l7_quota */
/* RFC 4787 REQ-5: a mapping without traffic stays no less than two minutes; one that nobody ever answered is
 * given up earlier. */
#define UDP_IDLE_S       120.0
#define UDP_UNREPLIED_S  30.0
#define UDP_DENIED_FLOWS 64u /* denied flows remembered, so that each has one event a second */

struct udp;

struct udp_config { /* all borrowed until udp_free */
    struct ev_loop *loop;
    const struct proxy_policy *policy;
    struct claims *claims;
    struct dns_cell *dns;
    struct process_line *process; /* NULL: every process is unknown */
    struct quota *quota;          /* NULL: no quota */
};

struct udp_counters {
    uint64_t allowed, denied; /* flows; datagrams, the repeated ones too */
    uint64_t packets_sent, packets_received, bytes_sent, bytes_received; /* by the cell, of payload */
    uint64_t dropped; /* datagrams of allowed or waiting flows that a full queue or a limit cost */
};

/* sock: the transparent UDP socket, which tells the original destination of each datagram
 * (IP_RECVORIGDSTADDR, IPV6_RECVORIGDSTADDR); raw4, raw6: raw sockets that take the IP header. All three are
 * taken on success. 0 or -errno. */
int udp_new(const struct udp_config *cfg, int sock, int raw4, int raw6, struct udp **ret) MUST_CHECK;
/* Ends every flow without a word. NULL-safe; returns NULL. */
struct udp *udp_free(struct udp *u);

/* Another policy, borrowed from now on instead of the old one; the DNS of the cell has it already. What it
 * does not allow any more is cut, each with its event. How many flows. */
uint64_t udp_policy_set(struct udp *u, const struct proxy_policy *policy);

void udp_counters(const struct udp *u, struct udp_counters *ret);
/* How many flows this rule of the present policy has allowed, under earlier policies too. */
uint64_t udp_rule_uses(const struct udp *u, size_t rule);
size_t udp_open(const struct udp *u); /* flows */
