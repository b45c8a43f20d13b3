/* SPDX-License-Identifier: MIT */
/* The embedded suite of one run: cellctl starts signerd, supervisor, netd and proxyd over socketpairs, handed
 * on by LISTEN_FDS names, the same way systemd does it. No daemon gets a path or an environment but what it
 * needs. */
#pragma once

#include <limits.h>
#include <sys/types.h>

#include "common/base/cleanup.h"
#include "common/base/uuid.h"
#include "supervisor/ctl/run_socket.h"
#include "supervisor/spec/operator.h"

enum launcher_daemon { LAUNCHER_SIGNERD, LAUNCHER_SUPERVISOR, LAUNCHER_NETD, LAUNCHER_PROXYD, _LAUNCHER_MAX };

#define LAUNCHER_END_MS 10000 /* for the daemons to end by themselves, then SIGKILL */

struct launcher {
    char run_id[UUID_TEXT_LEN + 1];
    char log_path[PATH_MAX]; /* of this run */
    int log_dir;
    pid_t pids[_LAUNCHER_MAX];
    int pidfds[_LAUNCHER_MAX];
    int control;              /* our end of the control line; the caller takes it */
    struct run_socket socket; /* other operators' way to the supervisor */
};

struct launcher_options {
    const char *run_id;   /* UUID_TEXT_LEN characters */
    const char *evidence; /* "strict" or "async" */
    bool verbose;
    const char *config_json; /* what the supervisor gets as the operator's configuration; NULL: nothing */
    const char *routed_pool; /* for netd; NULL: no cell is routed */
    const char *ca_file;     /* for proxyd; NULL: the system's */
    const struct operator_log *log; /* for signerd; NULL: its defaults */
    uint64_t quota_rate;            /* for signerd; 0: its default */
};

/* Makes the state directories and starts the four. On failure everything started is ended again and one
 * sentence is in error (cap bytes). 0 or a negative errno. */
int launcher_start(const struct launcher_options *o, struct launcher *ret, char *error,
                   size_t cap) MUST_CHECK;

/* Waits until all have ended (the control line must be closed), kills what is late. True when all ended well;
 * else what the first one that did not came to ("cellos-netd ended with 1") is in why. */
bool launcher_end(struct launcher *l, char *why, size_t cap);

const char *launcher_name(enum launcher_daemon d);

/* The directory the daemons are in: beside cellctl, else in ../libexec/cellos. All of them are there and can
 * be executed. 0 or a negative errno with one sentence in error. */
int launcher_find(char dst[PATH_MAX], char *error, size_t cap) MUST_CHECK;

/* What signerd needs of the environment to find a key that is not in its directory: systemd's credentials,
 * and a software token's configuration. Adds them to env, of which n places are used, at most max. The count.
 */
size_t launcher_key_env(char **env, size_t n, size_t max);
