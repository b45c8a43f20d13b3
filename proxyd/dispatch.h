/* SPDX-License-Identifier: MIT */
/* What the supervisor may ask of proxyd. */
#pragma once

#include "proto/endpoint.h"

/* The handlers of the supervisor's line; self is the struct proxy. */
const struct endpoint_handler *dispatch_supervisor(size_t *ret_n);
