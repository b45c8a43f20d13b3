/* SPDX-License-Identifier: MIT */
/* Operators beside the one that started the suite (cellctl policy): they come in over the listening socket,
 * must be of the suite's own uid or root, and may only ask for or change the policy of a running cell. One
 * that does anything else loses its connection, and nothing else happens. */
#pragma once

#include "proto/endpoint.h"
#include "supervisor/manager.h"

struct client {
    struct client *next;
    struct manager *m;
    struct endpoint *line;
    uint32_t uid;
};

/* Starts to accept. The fd stays the caller's. */
void clients_listen(struct manager *m, int listener);
void clients_end(struct manager *m);

/* policy_change.c: MSG_CONTROL_POLICY_REQ */
int client_on_policy(void *self, struct endpoint *e, struct endpoint_msg *msg);
/* The client is going: its open changes go on, answered to nobody. */
void policy_change_forget(struct manager *m, const struct client *c);
