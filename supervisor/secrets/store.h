/* SPDX-License-Identifier: MIT */
/* The secrets this suite may hand to cells, from two brokers: env (CELLOS_SECRET_<KEY>) and file
 * (CELLOS_SECRET_FILE_<KEY>), vocabulary 6. They are taken once, at start-up, before the sandbox and before
 * any input is read, and before the first fork: a child would inherit the variables. Later nothing here
 * allocates or opens. Values live in sodium_malloc() memory only and are never logged. */
#pragma once

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "proto/limits.h"

#define SECRETS_STORE_MAX 256u /* variables of one suite */
#define SECRETS_FILES_MAX                                                                                    \
    32u /* of these, files: each holds an fd; a further one is unusable (too many open files) */

struct secrets;

/* Takes every broker variable out of env (normally environ): values are copied and then overwritten in place,
 * so that /proc/PID/environ does not show them either, and the variables are unset. Files are opened with
 * O_NOFOLLOW; one that cannot be opened is remembered and reported when a cell asks for it. 0; -ENOBUFS over
 * SECRETS_STORE_MAX; -ENOMEM. The caller frees *ret with secrets_free. */
int secrets_load(char **env, struct secrets **ret) MUST_CHECK;

enum secrets_outcome {
    SECRETS_OK = 0,
    SECRETS_MISSING = 1,  /* neither variable is set */
    SECRETS_UNUSABLE = 2, /* both are set, the file is not readable or not regular, the value is empty, too
                             long or has NUL */
};

#define SECRETS_TEXT_MAX 512

/* The value of a secret (name: as in the spec, checked). *ret is borrowed: valid until the next call,
 * secrets_forget or secrets_free. Otherwise *ret is untouched and text has one sentence that names the
 * variables and never the value. */
enum secrets_outcome secrets_resolve(struct secrets *s, struct str name, struct str *ret,
                                     char text[SECRETS_TEXT_MAX]);

/* Wipes what the last secrets_resolve left in the scratch memory. NULL-safe. */
void secrets_forget(struct secrets *s);

/* The open fds, for the keep list of the sandbox: their number, at most cap of them in dst. */
size_t secrets_fds(const struct secrets *s, int *dst, size_t cap);

struct secrets *secrets_free(struct secrets *s); /* wipes; NULL-safe; returns NULL */
void secrets_freep(struct secrets **s);
