/* SPDX-License-Identifier: MIT */
/* The parts of struct key_dir: key_dir.c has the lock and the ways to touch a file there, key_dir_find.c
 * reads keys, key_dir_files.c makes, places and removes them, key_dir_keyset.c writes the next version of the
 * keyset. */
#pragma once

#include "signerd/key_dir.h"

#define KEY_DIR_TMP    "new.key.tmp"
#define KEY_DIR_ID_LEN 16 /* hex digits of the key in a file's name */
#define KEY_DIR_NAME   (KEY_DIR_ID_LEN + sizeof(".key"))

/* <16 hex><suffix> */
void key_dir_name(const char *keyid, const char *suffix, char dst[static KEY_DIR_NAME]);

/* Adds what every opening here needs: no link is followed (-EPERM), nothing is waited for. The fd or -errno.
 */
int key_dir_open_file(const struct key_dir *d, const char *name, int flags) MUST_CHECK;

/* Replaces a file as a whole, durably. 0 or -errno. */
int key_dir_write(const struct key_dir *d, const char *name, struct str bytes) MUST_CHECK;

/* Overwrites a seed before its name goes. On a file system that writes elsewhere, or on flash, the old bytes
 * may stay somewhere all the same. 0, also when there is none; -errno. */
int key_dir_wipe(const struct key_dir *d, const char *name) MUST_CHECK;

/* Makes the names durable. 0 or -errno. */
int key_dir_sync(const struct key_dir *d) MUST_CHECK;
