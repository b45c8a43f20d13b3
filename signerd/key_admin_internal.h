/* SPDX-License-Identifier: MIT */
#pragma once

#include "signerd/key_dir.h"

struct key_admin_options {
    const char *verb;
    bool standby;
    uint64_t valid_for_s; /* of a new key; 0: open */
    uint64_t grace_s;     /* rotate: how long the old key still counts; 0: open */
    const char *id;       /* revoke: 4 or more hex digits a key's id begins with */
    uint64_t at_s;        /* revoke; 0: now */
    const char *reason;   /* revoke; may be NULL */
    const char *key;      /* where the active key is; NULL: key_dir_active() looks */
    const char *new_key;  /* where a new one is; NULL: it is made here */
};

struct key_admin {
    struct key_admin_options o;
    struct key_dir dir;
    struct key_store *old;   /* the active key; NULL: there is none, or none here */
    struct key_store *fresh; /* the key that becomes standby or active; made only once confined if NULL */
    struct keyset next;
};

/* argv[0] is the program. 0, or -EINVAL (logged). */
int key_admin_parse(int argc, char **argv, struct key_admin_options *ret) MUST_CHECK;

/* Opens what is outside the directory, or in a token, and finishes what a crash left. 0 or -errno (logged).
 */
int key_admin_prepare(struct key_admin *a) MUST_CHECK;

/* Does it. 0 or -errno (logged). */
int key_admin_do(struct key_admin *a) MUST_CHECK;
