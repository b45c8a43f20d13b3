/* SPDX-License-Identifier: MIT */
/* A value and a text, [length of the value][value][text]: what the marks find must be exactly what a plain
 * search for every form finds. Then the same bytes as an event's record: what was masked is not found again.
 */
#include <sodium.h>
#include <stdio.h>

#include "proto/codec.h"
#include "proto/secret_form.h"
#include "proto/secret_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct plain {
    const uint8_t *text;
    size_t n, nforms;
    bool found;
};

static int search_plain(void *arg, const uint8_t *p, size_t n)
{
    struct plain *s = arg;

    if (++s->nforms > LIMIT_SECRET_FORMS)
        abort();
    if (n < LIMIT_SECRET_SEARCHED)
        s->found |= n == s->n && memcmp(p, s->text, n) == 0;
    else
        s->found |= memmem(s->text, s->n, p, n) != NULL;
    return 0;
}

static void check_text(const struct secret_marks *m, struct str value, struct str text)
{
    uint8_t *folded = malloc(text.len + 1);
    struct plain s = {.text = folded, .n = text.len};

    if (!folded)
        abort();
    secret_fold(text.p, text.len, folded);
    if (secret_forms(value, search_plain, &s) < 0 || (secret_marks_find(m, text) != NULL) != s.found)
        abort();
    free(folded);
}

static void check_record(const struct secret_marks *m, const uint8_t *data, size_t size)
{
    const struct event_row *row = event_row(1 + data[0] % (_EVENT_TYPE_MAX - 1));
    char path[SECRET_PATH_MAX];
    struct arena a;
    void *rec;

    arena_init(&a, LIMIT_ARENA);
    rec = arena_alloc(&a, row->data->size);
    if (rec && codec_decode_all(row->data, (struct str){(const char *)data + 1, size - 1}, &a, rec) == 0) {
        bool found = secret_record_find(m, NULL, row->data, rec, path) != NULL;

        if (secret_record_mask(m, row->data, rec) != found)
            abort();
    }
    arena_done(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t key[SECRET_KEY_LEN] = {42};
    struct secret_marks *m = NULL;

    if (size < 2 || data[0] == 0 || data[0] >= size || sodium_init() < 0)
        return 0;
    const struct str value = {(const char *)data + 1, data[0]};
    const struct str text = {(const char *)data + 1 + data[0], size - 1 - data[0]};

    if (text.len > LIMIT_CLAIM_BODY || secret_marks_new(key, 1, LIMIT_SECRET_FORMS, &m) < 0 ||
        secret_marks_add_value(m, STR_LIT("s"), value) < 0)
        return 0;
    secret_marks_seal(m);
    check_text(m, value, text);
    if (text.len > 0)
        check_record(m, (const uint8_t *)text.p, text.len);
    secret_marks_free(m);
    return 0;
}
