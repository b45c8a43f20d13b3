/* SPDX-License-Identifier: MIT */
/* What this host offers to cells. Every check tries the thing itself, in a forked child where it would change
 * something. */
#pragma once

#include "common/base/cleanup.h"
#include "common/base/str.h"

#define DOCTOR_TEXT_MAX 320

enum doctor_status {
    DOCTOR_PASS,
    DOCTOR_NOTE,    /* works, but there is something to know */
    DOCTOR_MISSING, /* does not work: cost says what that means, mend what to do */
    _DOCTOR_STATUS_MAX,
};

struct doctor_result {
    enum doctor_status status;
    char detail[DOCTOR_TEXT_MAX]; /* what was found; may quote the host's files: foreign */
    const char *cost;             /* static; NULL unless status is not DOCTOR_PASS */
    char mend[DOCTOR_TEXT_MAX];   /* the command that mends it, or "" */
};

struct doctor_check {
    const char *name;
    bool essential; /* without it no cell can run */
    void (*run)(struct doctor_result *ret);
};

extern const struct doctor_check doctor_checks[];
extern const size_t doctor_nchecks;

/* Runs probe(arg) in a forked child with its own time limit. What it returned (0 or a negative errno),
 * -ETIMEDOUT, or -ECHILD when it died. */
int doctor_in_child(int (*probe)(void *arg), void *arg) MUST_CHECK;

/* Inside such a child: new namespaces (CLONE_NEW* flags, CLONE_NEWUSER included), the caller's ids mapped to
 * 0 in the user namespace. 0 or -errno. */
int doctor_enter_userns(unsigned long flags) MUST_CHECK;

/* doctor_nft.c: in a network namespace the caller is root of, adds a table with one rule of the given kind.
 * 0, or the kernel's negative errno. */
enum doctor_nft { DOCTOR_NFT_TABLE, DOCTOR_NFT_TPROXY, DOCTOR_NFT_SOCKET, DOCTOR_NFT_LOG };
int doctor_nft_try(enum doctor_nft what) MUST_CHECK;

/* The same place: asks ctnetlink, which reports the ends of flows, something of no consequence. 0 or the
 * kernel's negative errno. */
int doctor_nft_try_flows(void) MUST_CHECK;

/* doctor_kernel.c */
void doctor_kernel(struct doctor_result *ret);
void doctor_syscalls(struct doctor_result *ret);
void doctor_landlock(struct doctor_result *ret);
void doctor_seccomp(struct doctor_result *ret);
void doctor_memfd(struct doctor_result *ret);

/* doctor_namespaces.c */
void doctor_userns(struct doctor_result *ret);
void doctor_netns(struct doctor_result *ret);
void doctor_nft(struct doctor_result *ret);
void doctor_tproxy(struct doctor_result *ret);
void doctor_flow_log(struct doctor_result *ret);
void doctor_overlay(struct doctor_result *ret);
void doctor_proc(struct doctor_result *ret);

/* doctor_host.c */
void doctor_cgroup(struct doctor_result *ret);
void doctor_subids(struct doctor_result *ret);
void doctor_groups(struct doctor_result *ret);
