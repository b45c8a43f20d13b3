/* SPDX-License-Identifier: MIT */
/* The forms in which a secret's value may turn up in a text. */
#pragma once

#include "common/base/cleanup.h"
#include "common/base/str.h"

/* Calls fn for each form of value, lower-cased (at most LIMIT_SECRET_FORMS; each once). Stops at fn's first
 * negative errno and returns it; -ENOMEM. What it needed is wiped. */
int secret_forms(struct str value, int (*fn)(void *arg, const uint8_t *p, size_t n), void *arg) MUST_CHECK;

/* Copies n bytes, ASCII capitals as small letters. */
void secret_fold(const char *p, size_t n, uint8_t *dst);
