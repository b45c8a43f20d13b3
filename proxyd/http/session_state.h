/* SPDX-License-Identifier: MIT */
/* What the two kinds of session share. Private to proxyd/http. */
#pragma once

#include "proxyd/http/env.h"
#include "proxyd/http/io.h"
#include "proxyd/http/session.h"

struct h1;
struct h2;

struct http_session {
    struct http_env env;
    struct endpoint_addr original, client;
    void (*done)(void *self);
    void *self;
    struct h1 *h1; /* one of the two */
    struct h2 *h2;
};

/* As http_session_start, with the surroundings given. */
int http_session_new(const struct http_env *env, int client_fd, const struct endpoint_addr *original,
                     const struct endpoint_addr *client, struct buf *seen, void (*done)(void *self),
                     void *self, struct http_session **ret) MUST_CHECK;

/* The session has ended; h1 or h2 is gone already. Frees s and says so. */
void http_session_end(struct http_session *s);

/* Does the policy as it is now still allow it? If not, j says why. */
bool http_session_still_allowed(const struct http_session *s, struct judgement *j);

/* What is claimed about a judgement. */
struct upstream_want http_session_want(const struct http_session *s, const struct judgement *j);

/* ---- HTTP/1 ---- */

/* fd and seen: taken on success. 0 or -ENOMEM. */
int h1_new(struct http_session *s, int fd, struct buf *seen) MUST_CHECK;
void h1_free(struct h1 *h);               /* resets; NULL-safe */
uint64_t h1_policy_changed(struct h1 *h); /* h may be gone afterwards */

/* ---- h2c ---- */

#define H2_PREFACE     "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" /* RFC 9113 section 3.4 */
#define H2_PREFACE_LEN 24u

/* With an upgrade: the head of the HTTP/1 request that becomes stream 1; its bytes are at the front of seen.
 * fd and seen: taken, also on failure. -EBADMSG: the settings of the upgrade are broken. */
int h2_new(struct http_session *s, int fd, struct buf *seen, const struct http_head *upgrade) MUST_CHECK;
void h2_free(struct h2 *h);
uint64_t h2_policy_changed(struct h2 *h);
