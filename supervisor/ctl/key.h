/* SPDX-License-Identifier: MIT */
/* The parts of cellctl key. No secret is ever in this process: what needs one is done by cellos-signerd. */
#pragma once

#include <limits.h>

#include "common/evidence/keyset.h"

struct key_args {
    const char *action; /* new, list, rotate, revoke, export */
    const char *state;  /* NULL: the user's */
    const char *id;     /* revoke */
    const char *at, *reason, *valid_for, *grace, *key, *new_key, *output;
    bool standby, json, vkey, keyset;
};

/* The directory with the keys; made where it is missing if make is set. The fd, or -1: told, with the exit
 * status in *ret_status. path: for messages. */
int key_open_dir(const struct key_args *a, bool make, char path[PATH_MAX], int *ret_status);

/* Reads DIR/keyset into text and chain. CTL_OK; CTL_FAILED and CTL_TAMPERED have been told. absent (may be
 * NULL): set instead of complaining when there is none. */
int key_read(int dirfd, const char *path, struct buf *text, struct keyset_chain *chain, bool *absent);

/* key_list.c. An exit status. */
int key_list(const struct key_args *a);
int key_export(const struct key_args *a);
/* One line about a key, for a person. */
void key_print(int dirfd, const struct keyset_key *k);

/* key_change.c: new, rotate, revoke. An exit status. */
int key_change(const struct key_args *a);
