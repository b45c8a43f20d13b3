/* SPDX-License-Identifier: MIT */
/* The life of one cell at netd: attach → counters (any number of times) → detach. Each call starts the work
 * and returns; the answer to the supervisor's request follows when the work and its events are through. */
#pragma once

#include "netd/netd.h"

/* Checks the namespaces, builds the network in a forked child, claims network_enforcement, and answers once
 * the claim is durable, in mode intercept with the sockets. On any failure the claim says applied: false, and
 * the cell is forgotten. mode: intercept or none. Takes both fds. */
void cell_attach(struct registry_cell *c, enum net_mode mode, int userns, int netns,
                 struct registry_request request);

/* Reads the counters and claims a network_flow_decision for every row that was not reported yet, or not with
 * this count; answers once all are durable. */
void cell_counters(struct registry_cell *c, struct registry_request request);

/* The same and everything the flow log has still to say, then answers and forgets the cell, whatever went
 * wrong on the way. Another request that still waits is answered with an error. */
void cell_detach(struct registry_cell *c, struct registry_request request);
