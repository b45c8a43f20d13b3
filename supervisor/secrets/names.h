/* SPDX-License-Identifier: MIT */
/* The names a secret goes by: in the spec, at its broker, in the workload. Pure functions. */
#pragma once

#include "common/base/str.h"
#include "proto/limits.h"

#define SECRET_ENV_PREFIX  "CELLOS_SECRET_"
#define SECRET_FILE_PREFIX "CELLOS_SECRET_FILE_"

#define SECRET_VARIABLE_MAX (sizeof(SECRET_FILE_PREFIX) + LIMIT_SECRET_NAME)

/* "npm-token" -> "CELLOS_SECRET_NPM_TOKEN" (prefix + upper case, "-" becomes "_"; vocabulary 6). name is at
 * most LIMIT_SECRET_NAME bytes. Returns dst. */
const char *secret_broker_variable(const char *prefix, struct str name, char dst[SECRET_VARIABLE_MAX]);

/* The variable of the workload: the name as declared, "-" becomes "_" so that a shell can read it. Returns
 * dst. */
const char *secret_workload_variable(struct str name, char dst[LIMIT_SECRET_NAME + 1]);

/* True when two names have one broker variable (they differ in case or in "-" and "_" only). */
bool secret_names_collide(struct str a, struct str b);

/* True for names whose variable the suite sets itself or keeps for itself (PATH, CELLOS_*), and for FILE_*:
 * its env variable would be the file variable of another secret. */
bool secret_name_reserved(struct str name);
