/* SPDX-License-Identifier: MIT */
/* How a checkpoint gets to a witness and its answer back: an add-checkpoint request of c2sp.org/tlog-witness
 * over HTTP (a Unix socket or a URL), or the same bodies as files in a directory that the witness's operator
 * empties by hand. What comes back is foreign bytes. */
#pragma once

#include "common/base/buf.h"
#include "common/evidence/checkpoint.h"

#define WITNESS_TIMEOUT_S  30
#define WITNESS_ANSWER_MAX CHECKPOINT_NOTE_MAX

enum witness_answer {
    WITNESS_COSIGNED = 0, /* body: signature lines */
    WITNESS_CONFLICT = 1, /* size: what the witness saw last */
    WITNESS_WAITING,      /* file drop: the request lies there, nothing came back yet */
    WITNESS_UNKNOWN_LOG,  /* 404 */
    WITNESS_FORBIDDEN,    /* 403: it does not know the key that signed */
    WITNESS_INCONSISTENT, /* 422: the proof does not fit what it has seen */
    WITNESS_REFUSED,      /* another status */
    _WITNESS_ANSWER_MAX,
};

struct witness_reply {
    enum witness_answer answer;
    unsigned status; /* of HTTP; 0: none */
    uint64_t size;   /* WITNESS_CONFLICT */
    struct buf note; /* file drop: the note that body is about (the request's); else empty */
    struct buf body; /* at most WITNESS_ANSWER_MAX */
    char why[256];   /* where a negative errno came back: what libcurl or the system says */
};

void witness_reply_init(struct witness_reply *r);
void witness_reply_done(struct witness_reply *r);

/* to: "unix:PATH", "http://...", "https://..." (the submission prefix). 0, or a negative errno when nobody
 * answered (ret->why). */
int witness_post(const char *to, struct str request, struct witness_reply *ret) MUST_CHECK;

/* to: a directory. Looks first for the answer to the request that lies there (<hash of the origin>.request,
 * .cosignature, .size); with one, takes it and removes the files. Else puts the request in place of the one
 * before. 0 or -errno. */
int witness_drop(const char *to, const char *origin, struct str request,
                 struct witness_reply *ret) MUST_CHECK;
