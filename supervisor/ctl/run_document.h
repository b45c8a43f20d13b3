/* SPDX-License-Identifier: MIT */
/* A spec document in the making: what the flags of `cellctl run` add up to. */
#pragma once

#include <jansson.h>

#include "common/base/cleanup.h"
#include "common/base/str.h"

struct run_document {
    json_t *secrets;
    json_t *egress;
    json_t *names; /* of egress, each once */
    json_t *resolvers;
    json_t *answers;
    json_t *read_only;
    json_t *read_write;
    json_t *given;  /* [text, real path] of each of these two */
    json_t *limits; /* NULL until one is set */
    json_t *quota;  /* the same */
    bool dnssec;    /* of all resolvers */
    json_t *argv;
    char *cwd;          /* absolute; NULL = not given */
    bool relative_path; /* --ro or --rw was given relative to the caller's directory */
    uint64_t ttl_s;
    uint64_t timeout_ms; /* 0 = not given */
};

/* 0 or -ENOMEM; release with run_document_done in any case. */
int run_document_init(struct run_document *d) MUST_CHECK;
void run_document_done(struct run_document *d);

/* Each takes the text of one flag: 0; 1 with one clause in why (cap bytes) when it is not such a thing;
 * -ENOMEM. */
int run_document_allow(struct run_document *d, const char *text, char *why, size_t cap) MUST_CHECK;
int run_document_answer(struct run_document *d, const char *text, char *why, size_t cap) MUST_CHECK;
int run_document_dns(struct run_document *d, const char *text, char *why, size_t cap) MUST_CHECK;
int run_document_quota(struct run_document *d, const char *key, const char *text, char *why,
                       size_t cap) MUST_CHECK;
int run_document_secret(struct run_document *d, const char *text, char *why, size_t cap) MUST_CHECK;
int run_document_path(struct run_document *d, json_t *list, const char *text, char *why,
                      size_t cap) MUST_CHECK;
/* All flags are in: no path leaves a --rw directory by a symbolic link. 0 or 1. */
int run_document_check_paths(const struct run_document *d, char *why, size_t cap) MUST_CHECK;
int run_document_cwd(struct run_document *d, const char *text, char *why, size_t cap) MUST_CHECK;
int run_document_memory(struct run_document *d, const char *text, char *why, size_t cap) MUST_CHECK;
int run_document_pids(struct run_document *d, const char *text, char *why, size_t cap) MUST_CHECK;
int run_document_cpu(struct run_document *d, const char *text, char *why, size_t cap) MUST_CHECK;
int run_document_argument(struct run_document *d, const char *text, char *why, size_t cap) MUST_CHECK;

/* The whole document as text with a line feed at the end; *ret is the caller's to free. 0; 1 with a clause in
 * why; -ENOMEM. */
int run_document_finish(struct run_document *d, const char *id, char **ret, char *why, size_t cap) MUST_CHECK;
