/* SPDX-License-Identifier: MIT */
/* Values for any record of the tables: the smallest one that is valid, made from its schema alone. */
#pragma once

#include "proto/codec.h"

/* Zero numbers, first enum values, empty lists, no optional field; texts with a form of their own (ids,
 * times) have it. NULL when the arena is full. */
void *record_least(const struct schema *s, struct arena *a);

/* Puts text into the member called name wherever s has it (not in its objects). */
void record_set(const struct schema *s, void *rec, const char *name, struct str text);
