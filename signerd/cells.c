/* SPDX-License-Identifier: MIT */
#include "signerd/cells.h"

#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/encoding.h"
#include "signerd/authority.h"

#define CELLS_BUCKETS 1024u

/* Run ids as the 16 bytes they stand for, in a ring: the oldest is overwritten. */
struct cells {
    struct cell *bucket[CELLS_BUCKETS];
    size_t n;
    uint8_t (*closed)[16];
    size_t nclosed;        /* ever */
    uint64_t forgotten_ms; /* greatest time stamp of a run id that fell out of the ring */
};

int cells_new(struct cells **ret)
{
    struct cells *c = calloc(1, sizeof(*c));

    if (!c)
        return -ENOMEM;
    c->closed = calloc(LIMIT_CLOSED_RUNS, sizeof(*c->closed));
    if (!c->closed) {
        free(c);
        return -ENOMEM;
    }
    *ret = c;
    return 0;
}

static void cell_free(struct cell *cell)
{
    secret_marks_free(cell->secrets);
    free(cell);
}

struct cells *cells_free(struct cells *c)
{
    if (!c)
        return NULL;
    for (size_t i = 0; i < CELLS_BUCKETS; i++)
        while (c->bucket[i]) {
            struct cell *cell = c->bucket[i];

            c->bucket[i] = cell->next;
            cell_free(cell);
        }
    free(c->closed);
    free(c);
    return NULL;
}

static struct cell **cells_place(const struct cells *c, struct str run_id)
{
    uint32_t h = 2166136261u; /* FNV-1a; the ids come from the supervisor alone */

    for (size_t i = 0; i < run_id.len; i++)
        h = (h ^ (uint8_t)run_id.p[i]) * 16777619u;
    return (struct cell **)&c->bucket[h % CELLS_BUCKETS];
}

struct cell *cells_find(const struct cells *c, struct str run_id)
{
    for (struct cell *cell = *cells_place(c, run_id); cell; cell = cell->next)
        if (str_is(run_id, cell->run_id))
            return cell;
    return NULL;
}

static void cells_pack(const char *text, uint8_t ret[static 16])
{
    size_t n = 0;

    /* uuid_v7_valid() has seen it: hex digits and hyphens. */
    for (const char *p = text; *p && n < 32; p++) {
        uint8_t v = *p == '-' ? 16 : *p <= '9' ? (uint8_t)(*p - '0') : (uint8_t)(*p - 'a' + 10);

        if (v == 16)
            continue;
        ret[n / 2] = (uint8_t)(n % 2 ? ret[n / 2] | v : v << 4);
        n++;
    }
}

static uint64_t cells_stamp_ms(const uint8_t id[static 16])
{
    uint64_t ms = 0;

    for (unsigned i = 0; i < 6; i++)
        ms = ms << 8 | id[i];
    return ms;
}

bool cells_was_closed(const struct cells *c, struct str run_id, bool *ret_unsure)
{
    char text[UUID_TEXT_LEN + 1];
    uint8_t id[16] = {0};
    size_t n = c->nclosed < LIMIT_CLOSED_RUNS ? c->nclosed : LIMIT_CLOSED_RUNS;

    memcpy(text, run_id.p, UUID_TEXT_LEN);
    text[UUID_TEXT_LEN] = '\0';
    cells_pack(text, id);
    *ret_unsure = c->nclosed > LIMIT_CLOSED_RUNS && cells_stamp_ms(id) <= c->forgotten_ms;
    for (size_t i = 0; i < n; i++)
        if (memcmp(c->closed[i], id, sizeof(id)) == 0)
            return true;
    return false;
}

static bool cells_id_ok(struct str s)
{
    if (s.len == 0 || s.len > LIMIT_CELL_ID || s.p[0] == '.' || s.p[0] == '_' || s.p[0] == '-')
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char ch = s.p[i];

        if (!((ch >= '0' && ch <= '9') || (ch >= 'A' && ch <= 'Z') || (ch >= 'a' && ch <= 'z') || ch == '.' ||
              ch == '_' || ch == '-'))
            return false;
        if (ch == '.' && i > 0 && s.p[i - 1] == '.')
            return false;
    }
    return true;
}

static bool cells_digest_ok(struct str s)
{
    uint8_t bytes[32];

    return s.len == LIMIT_DIGEST && memcmp(s.p, "sha256:", 7) == 0 &&
           encoding_hex_get((struct str){s.p + 7, 64}, bytes, sizeof(bytes)) == 0;
}

static void cells_copy(char *dst, struct str s)
{
    size_t n = s.p ? s.len : 0;

    if (n > 0)
        memcpy(dst, s.p, n);
    dst[n] = '\0';
}

int cells_add(struct cells *c, const struct cells_open *o, struct cell **ret)
{
    struct cell *cell, **place;

    if (!uuid_v7_valid(o->run_id) || !cells_id_ok(o->cell_id) ||
        (o->policy_digest.p && !cells_digest_ok(o->policy_digest)) ||
        (o->correlation_id.p && (o->correlation_id.len == 0 || o->correlation_id.len > LIMIT_LABEL)))
        return -EINVAL;
    if (cells_find(c, o->run_id))
        return -EEXIST;
    if (c->n == LIMIT_CELLS)
        return -EDQUOT;
    cell = calloc(1, sizeof(*cell));
    if (!cell)
        return -ENOMEM;
    cells_copy(cell->run_id, o->run_id);
    cells_copy(cell->cell_id, o->cell_id);
    cells_copy(cell->policy_digest, o->policy_digest);
    cells_copy(cell->correlation_id, o->correlation_id);
    cell->state = CELL_STATE_OPENED;
    place = cells_place(c, o->run_id);
    cell->next = *place;
    *place = cell;
    c->n++;
    *ret = cell;
    return 0;
}

static void cells_remember(struct cells *c, const struct cell *cell)
{
    uint8_t *slot = c->closed[c->nclosed % LIMIT_CLOSED_RUNS];

    if (c->nclosed >= LIMIT_CLOSED_RUNS && cells_stamp_ms(slot) > c->forgotten_ms)
        c->forgotten_ms = cells_stamp_ms(slot);
    memset(slot, 0, 16);
    cells_pack(cell->run_id, slot);
    c->nclosed++;
}

void cells_remove(struct cells *c, struct cell *cell)
{
    for (struct cell **place = cells_place(c, str_of(cell->run_id)); *place; place = &(*place)->next)
        if (*place == cell) {
            *place = cell->next;
            c->n--;
            if (cell->state == AUTHORITY_CLOSED)
                cells_remember(c, cell);
            cell_free(cell);
            return;
        }
}

size_t cells_count(const struct cells *c)
{
    return c->n;
}
