/* SPDX-License-Identifier: MIT */
/* Secret values and the log: before anything is claimed of a cell, signerd learns how to recognise the values
 * of its secrets (proto/secret_mark.h), and refuses every event that holds one, whoever claims it. What the
 * cell gets later must be exactly what was marked. */
#include <sodium.h>

#include "common/base/log.h"
#include "supervisor/cell.h"

/* ---- marks ---- */

static int mark_one(struct cell *c, struct str name)
{
    char text[SECRETS_TEXT_MAX];
    struct str value;
    int r = 0;
    /* One that is not there ends the cell in its own step; there is nothing to recognise. */
    if (secrets_resolve(c->m->secrets, name, &value, text) == SECRETS_OK)
        r = secret_marks_add_value(c->marks, name, value);
    secrets_forget(c->m->secrets);
    return r;
}

/* These are in every event, or name the cell before any event can: they cannot be left out. */
static const char *stamp_with_a_secret(const struct cell *c, const char **ret_secret)
{
    struct str correlation = c->spec->correlation ? c->spec->correlation->correlation_id : STR_NONE;
    *ret_secret = secret_marks_find(c->marks, str_of(c->id));
    if (*ret_secret)
        return "spec.id";
    *ret_secret = correlation.p ? secret_marks_find(c->marks, correlation) : NULL;
    return *ret_secret ? "spec.correlation.correlationId" : NULL;
}

int cell_mark_secrets(struct cell *c, uint8_t key[static SECRET_KEY_LEN])
{
    const struct strs *names = &c->spec->secrets;
    const char *secret, *where;
    if (names->n == 0)
        return 0;
    randombytes_buf(key, SECRET_KEY_LEN);
    int r = secret_marks_new(key, names->n, names->n * LIMIT_SECRET_FORMS, &c->marks);
    for (size_t i = 0; r == 0 && i < names->n; i++)
        r = mark_one(c, names->v[i]);
    if (r < 0)
        return r;
    secret_marks_seal(c->marks);
    where = stamp_with_a_secret(c, &secret);
    if (!where)
        return 0;
    cell_abort(c, "%s contains the value of the secret %s: nothing was started", where, secret);
    return -EKEYREJECTED;
}

static void on_marked(void *data, const struct error *error, const void *rec, int *fds, size_t nfds)
{
    (void)rec;
    (void)fds;
    (void)nfds;
    struct cell *c = data;
    if (error)
        cell_abort(c, "signerd does not take the marks of the secrets: %.*s", (int)error->text.len,
                   error->text.p);
}

int cell_send_marks(struct cell *c, const uint8_t key[static SECRET_KEY_LEN])
{
    size_t n = secret_marks_count(c->marks);
    struct signer_secret_mark *marks = calloc(n + 1, sizeof(*marks));
    if (!marks)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        const struct secret_mark *m = secret_marks_at(c->marks, i);
        marks[i] = (struct signer_secret_mark){
            m->secret, m->length, m->filter, {(const char *)m->digest, sizeof(m->digest)}};
    }
    struct str names[LIMIT_SECRETS];
    size_t nnames = secret_marks_names(c->marks, names);
    struct signer_secrets_req req = {
        str_of(c->run_id), {(const char *)key, SECRET_KEY_LEN}, {names, nnames}, {marks, n}};
    int r = endpoint_call(signer_client_endpoint(c->m->signer), MSG_SIGNER_SECRETS_REQ, &req, NULL, 0,
                          LIMIT_ACK_MS, on_marked, c);
    free(marks);
    return r;
}

/* ---- claims that were refused for a value ---- */

int cell_mask_body(const struct cell *c, enum event_type type, struct str body, struct buf *ret)
{
    const struct event_row *row = event_row(type);
    _cleanup_(arena_done) struct arena arena = {0};
    arena_init(&arena, LIMIT_ARENA);
    void *rec = arena_alloc(&arena, row->data->size);
    int r = rec ? codec_decode_all(row->data, body, &arena, rec) : -ENOMEM;
    if (r < 0)
        return r;
    if (!secret_record_mask(c->marks, row->data, rec))
        return -EKEYREJECTED; /* signerd sees one where we do not: nothing can be left out */
    return codec_encode(row->data, rec, ret);
}
