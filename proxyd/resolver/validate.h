/* SPDX-License-Identifier: MIT */
/* DNSSEC: answers validated by libunbound on our loop. libunbound asks a socket of ours on the loopback
 * address (its feeder), and what it asks there goes to the one resolver over that resolver's own transport:
 * so validation works over every transport alike, and libunbound itself never talks to the network. */
#pragma once

#include "proxyd/resolver/server.h"

#define DNS_VALIDATIONS_MAX 1024u /* questions of one validator at a time; more fail */

struct dns_validation;

/* As dns_try_new; a bogus answer is an answer. The result's dnssec is never absent when its error is 0. */
int dns_validation_new(struct dns_server *s, const struct dns_question *q, struct dns_counters *counters,
                       dns_try_cb cb, void *data, struct dns_validation **ret) MUST_CHECK;
struct dns_validation *dns_validation_free(struct dns_validation *d); /* accepts NULL; returns NULL */

struct dns_validator *dns_validator_free(struct dns_validator *v); /* after its validations; accepts NULL */
