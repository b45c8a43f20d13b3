/* SPDX-License-Identifier: MIT */
/* A connection to NATS with JetStream, over libnats: the flags that say how, the rules every verb keeps, and
 * errors an operator can act on. What is said over it is the caller's business, with libnats's own calls on
 * nc and js.
 *
 * libnats runs threads of its own. Nothing of this project runs on them but one write to an eventfd: a verb
 * waits on jetstream_wake_fd() and looks at the connection itself, from its own thread. */
#pragma once

#include <nats/nats.h>

#include "common/base/cleanup.h"

#define JETSTREAM_URLS_MAX      16
#define JETSTREAM_URL_MAX       256
#define JETSTREAM_WHY_MAX       512
#define JETSTREAM_USER_FILE_MAX 1024
#define JETSTREAM_CONNECT_MS    10000 /* one server's connect and hello */
#define JETSTREAM_PING_MS       10000 /* a dead peer is known after two of these */
#define JETSTREAM_WRITE_MS      10000
#define JETSTREAM_REQUEST_MS    10000 /* of the JetStream API */
#define JETSTREAM_SCHEME_HELP   "nats://HOST[:PORT] or tls://HOST[:PORT]"

struct jetstream_options {
    const char *urls;      /* one or several with commas, tried in this order */
    const char *creds;     /* file: user JWT and seed, as `nsc` and `nats` write it */
    const char *user_file; /* file with one line user:password */
    const char *ca;        /* file: the certificates to trust instead of the system's */
    const char *cert;      /* file: our own certificate chain, and */
    const char *key;       /* file: its private key */
    const char *name;      /* shown by the server; NULL: "cellctl" */
    bool reconnect;        /* libnats connects again by itself, for ever, with our back-off */
};

/* The flags all verbs share: --creds, --user-file, --ca-file, --cert-file, --key-file. Where to put the
 * flag's value, or NULL when it is none of them. */
const char **jetstream_flag(struct jetstream_options *o, const char *flag);
#define JETSTREAM_FLAGS_HELP                                                                                 \
    "  --creds FILE       NATS credentials (user JWT and seed)\n"                                            \
    "  --user-file FILE   one line, user:password\n"                                                         \
    "  --ca-file FILE     certificates to trust instead of the system's\n"                                   \
    "  --cert-file FILE   our certificate, when the server wants one, and\n"                                 \
    "  --key-file FILE    its private key\n"

/* Whether the options are ones to try at all: URLs of the right form without user or password in them (a
 * command line is public). 0, or -EINVAL with a sentence. */
int jetstream_check(const struct jetstream_options *o, char why[static JETSTREAM_WHY_MAX]) MUST_CHECK;

struct jetstream {
    natsConnection *nc;
    jsCtx *js;
};

/* Tries every server once. 0; -EINVAL: the options or a file they name; -EACCES: a server refuses us;
 * -EPROTO: TLS; -EHOSTUNREACH: no server could be reached; -ENOMEM. On failure one sentence in why. The
 * credentials are read at every call: a file that was renewed counts. */
int jetstream_connect(const struct jetstream_options *o, struct jetstream **ret,
                      char why[static JETSTREAM_WHY_MAX]) MUST_CHECK;

/* Closes without waiting for anything: what was not flushed may be lost. NULL-safe; returns NULL. */
struct jetstream *jetstream_free(struct jetstream *j);
void jetstream_freep(struct jetstream **j);

/* Readable after a connection of this process was lost, made again or closed: read 8 bytes, then look at
 * natsConnection_Status(). One for the process, never closed. The fd or -errno. */
int jetstream_wake_fd(void) MUST_CHECK;

/* One sentence about a failed call: the server's own text, and for what an operator can mend how. s and js as
 * the call gave them (js 0: none); what: what was tried, "publishing". Returns dst. */
const char *jetstream_error(natsStatus s, jsErrCode js, const char *what, char dst[static JETSTREAM_WHY_MAX]);

/* A name of a stream, a consumer or one token of a subject: 1...max bytes of A-Z a-z 0-9 _ -. */
bool jetstream_token_ok(const char *s, size_t max);
