/* SPDX-License-Identifier: MIT */
/* The files of cell ids in use: one a running cell, locked while it lives (cell_check.c). */
#pragma once

#include "common/base/cleanup.h"
#include "proto/limits.h"

#define IDS_RESIDUE_MAX 64u

/* Ids whose files a killed supervisor left. */
struct ids_residue {
    char name[IDS_RESIDUE_MAX][LIMIT_CELL_ID + 1];
    unsigned n;
    unsigned told; /* of these, how many the first cell has claimed */
};

/* Removes files that nobody holds locked, at most IDS_RESIDUE_MAX at a time. Before the sandbox: it reads the
 * directory. What cannot be removed is left to the next start. */
void ids_sweep(int dir, struct ids_residue *ret);
