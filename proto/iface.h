/* SPDX-License-Identifier: MIT */
/* The message tables as data, and one frame to and from its record. No I/O. */
#pragma once

#include "common/ipc/frame.h"
#include "proto/codec.h"
#include "proto/messages.h"

struct msg_row {
    const char *name;
    const struct schema *rec;
    uint32_t id;
    uint32_t from;   /* enum msg_from */
    uint32_t roles;  /* 1 << enum role_name: who may send it */
    uint32_t states; /* LINE_* in which it is allowed */
    uint32_t flags;  /* MSG_* */
    uint32_t nfds;   /* exactly */
    uint32_t max_len;
};

struct iface {
    const char *name;
    const char *what;
    uint32_t version;
    const struct msg_row *rows; /* without HELLO and ERROR, which every line has */
    size_t n;
};

extern const struct iface iface_signer, iface_netd, iface_proxy, iface_zygote, iface_init, iface_control,
    iface_who, iface_pin;

/* All of them, NULL-terminated. */
extern const struct iface *const iface_all[];

/* The row of an id (HELLO and ERROR too), or NULL. */
const struct msg_row *iface_row(const struct iface *i, uint64_t id);

/* A received message. rec points into the arena and the frame's bytes. */
struct msg {
    const struct msg_row *row;
    uint64_t seq;
    const void *rec;
};

/* Words for an ERROR that its bounds take: text as it is when it is UTF-8 and short enough, else escaped and
 * cut. buf holds LIMIT_ERROR_TEXT bytes and backs the result. */
struct str iface_error_text(char *buf, struct str text);

/* Appends the frame [id, seq, fields...]. 0 or a negative errno; -EMSGSIZE over the row's max_len. */
int iface_encode(const struct msg_row *row, uint64_t seq, const void *rec, struct buf *b) MUST_CHECK;

/* Decodes and validates one frame that came from `from` (a peer of role `role`) on a line in state `state`:
 * length, id, direction, role, state, number of fds, arity, every field, nothing left over. 0; -EBADMSG when
 * the frame is broken, -EPROTO when it is not allowed here and now, -ENOMEM. */
int iface_decode(const struct iface *i, uint32_t from, uint32_t role, uint32_t state, const void *p, size_t n,
                 size_t nfds, struct arena *a, struct msg *ret) MUST_CHECK;

/* Notes in *seen (one bit a row, 0 at first) that this row came: 0, or -EPROTO when it is MSG_ONCE and came
 * before. */
int iface_once(const struct iface *i, const struct msg_row *row, uint64_t *seen) MUST_CHECK;
