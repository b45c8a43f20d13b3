/* SPDX-License-Identifier: MIT */
/* One connection of a cell that speaks HTTP/1 (RFC 9112) or h2c (RFC 9113), from its first bytes to its end:
 * every request and every stream is judged, claimed before it has an effect, and forwarded by name or refused
 * with an answer that says why. */
#pragma once

#include "common/base/buf.h"
#include "common/net/addr.h"

struct gate;
struct http_session;

/* Takes over a connection whose first byte is there and is not that of a TLS record (22). Everything further
 * is the session's: the rest of the head, its time limit, the judgement (also "this is no HTTP"), events,
 * denials, upstream connections, quota of what it moves (but not quota_open/quota_close), counters of g.
 *
 * client_fd: non-blocking; taken, also on failure. seen: what was read from it so far (any number of bytes,
 * perhaps several requests); taken (emptied), also on failure. client: its peer's address.
 * done: once, never from inside http_session_start, when the session has ended; the session is gone then and
 * client_fd is closed. 0, or -ENOMEM: done does not come. */
int http_session_start(struct gate *g, int client_fd, const struct endpoint_addr *original,
                       const struct endpoint_addr *client, struct buf *seen, void (*done)(void *self),
                       void *self, struct http_session **ret) MUST_CHECK;

/* The cell has another policy: requests and streams under way that it does not allow any more are cut, each
 * with its event (those whose decision is open are the gate's, upstream.h). How many. The session may end by
 * that, and done comes from inside. */
uint64_t http_session_policy_changed(struct http_session *s);

/* Resets the client and everything upstream, at once; done does not come. NULL-safe. */
void http_session_free(struct http_session *s);
