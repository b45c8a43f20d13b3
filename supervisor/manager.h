/* SPDX-License-Identifier: MIT */
/* The supervisor as a whole: its lines to the siblings, its cells, its end. One object, made in main. */
#pragma once

#include <ev.h>

#include "proto/signer_client.h"
#include "supervisor/cgroup.h"
#include "supervisor/ids.h"
#include "supervisor/secrets/store.h"
#include "supervisor/spec/policy.h"

struct cell;
struct client;

struct manager {
    struct ev_loop *loop;
    struct signer_client *signer; /* each NULL once its line is dead */
    struct endpoint *netd;
    struct endpoint *proxyd;
    struct endpoint *zygote;
    struct endpoint *control; /* the one operator line of an embedded suite */
    struct client *clients;   /* other operators (client.h) */
    unsigned nclients;
    ev_io operators; /* they come in here */
    ev_timer accept_again;
    struct cell *cells;
    unsigned ncells;
    struct secrets *secrets;
    struct cgroup *cgroup;          /* NULL: no usable cgroup v2 tree */
    int ids_dir;                    /* locks of the cell ids in use */
    struct ids_residue *ids;        /* what killed suites left there; borrowed */
    const char *host_resolvers;     /* text of resolv.conf, for specs without resolvers */
    struct spec_operator specs;     /* what the operator says about every spec */
    struct policy_operator network; /* and about every cell's network */
    uint64_t workload_nofile;       /* hard RLIMIT_NOFILE of workloads: a quarter of the daemons' soft one
                                       (decisions 16) */
    const char
        *groups; /* supplementary groups that could not be dropped, for lifecycle.started; NULL = none */
    int exit_status;
    bool ending; /* no new cells; the loop ends with the last cell */
};

struct manager_fds {
    int control, netd, proxyd, signerd, zygote, operators;
};

/* Opens the lines (the fds are taken, on failure too) and starts to serve. 0 or a negative errno. */
int manager_start(struct manager *m, const struct manager_fds *fds) MUST_CHECK;

/* No new cells; ends the running ones with this reason; the loop stops when the last is gone. */
void manager_end(struct manager *m, const char *reason);

void manager_add_cell(struct manager *m, struct cell *c);
void manager_remove_cell(struct manager *m, struct cell *c); /* frees it */

/* The running cell of this run, or NULL. */
struct cell *manager_find(const struct manager *m, struct str run_id);

/* Frees lines; cells must be gone. */
void manager_done(struct manager *m);
