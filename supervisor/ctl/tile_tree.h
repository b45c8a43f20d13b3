/* SPDX-License-Identifier: MIT */
/* A log as a tree of static files that any C2SP tlog-tiles client can read (c2sp.org/tlog-tiles). */
#pragma once

#include "supervisor/ctl/loghead.h"

struct tile_tree {
    const char *verb;
    const char *log_path, *path;
    int dir; /* borrowed */
    const struct loghead *head;
    uint64_t from;           /* of the tree that is there already; 0: none */
    uint64_t entries, tiles; /* counts of what was written */
};

/* Writes all tiles and entry bundles that the head needs and the tree of size from lacks, checks that the
 * tiles as they stand lead to the signed root, and puts the checkpoint (with what witnesses added to it) in
 * place last. An exit status; a failure has been told and leaves the old checkpoint. */
int tile_tree_write(struct tile_tree *t) MUST_CHECK;
