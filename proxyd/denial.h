/* SPDX-License-Identifier: MIT */
/* What a gate denies: counted at once, claimed when the process is known, or known to be unknown. */
#pragma once

#include "proxyd/judge.h"

#define DENIALS_WAITING_MAX 64u /* of one cell; more are claimed without their process */

struct gate;

/* j->reason says why (j->allow is taken as false); client: the client's end, whose process the event names,
 * or NULL; dialed: the address that was tried last, or NULL. */
void gate_deny(struct gate *g, const struct judgement *j, const struct endpoint_addr *original,
               const struct endpoint_addr *client, const struct endpoint_addr *dialed);

/* Claims all that wait, whatever is known by now. */
void gate_denials_flush(struct gate *g);
