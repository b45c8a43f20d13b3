/* SPDX-License-Identifier: MIT */
/* A log with every event there is, each with as little and as much in it as its record allows, in both seal
 * modes: it verifies. With CELLOS_EVENTS_DIR=DIR the logs are left in DIR/event/log and DIR/batch/log, for
 * tests that look at them with tools of others (tests/integ/test_event_types.py). */
#include "tests/unit/proto_records.h"
#include "tests/unit/signerd_rig.h"

#define MANY_BYTES 700 /* of a text or list: with all of an event's fields below what a line holds */

enum edge { EDGE_LEAST, EDGE_MOST };

static void *edge_record(struct rng *g, struct arena *a, const struct schema *s, enum edge edge,
                         size_t entries);

static void edge_list(struct rng *g, struct arena *a, const struct field *f, char *m, size_t entries)
{
    size_t n = (size_t)record_min(f->max, entries);

    if (f->kind == FIELD_STRS) {
        struct str *v = records_alloc(a, n * sizeof(*v));
        for (size_t i = 0; i < n; i++) {
            size_t len = (size_t)record_min(f->entry_max, MANY_BYTES / entries);
            v[i] = rng_text(g, records_alloc(a, len + 1), len);
        }
        *(struct strs *)(void *)m = (struct strs){v, n};
        return;
    }
    char *v = records_alloc(a, n * f->sub->size);
    for (size_t i = 0; i < n; i++)
        memcpy(v + i * f->sub->size, edge_record(g, a, f->sub, EDGE_MOST, 1), f->sub->size);
    *(struct schema_list *)(void *)m = (struct schema_list){v, n};
}

static void edge_number(const struct field *f, char *m, enum edge edge)
{
    uint64_t v = edge == EDGE_MOST ? f->max : 0;

    if (f->kind == FIELD_ENUM)
        *(uint32_t *)(void *)m = edge == EDGE_MOST ? (uint32_t)f->names->n : 1;
    else if (f->kind == FIELD_UINT && f->optional)
        *(struct opt_uint *)(void *)m = OPT_UINT(v);
    else if (f->kind == FIELD_UINT)
        *(uint64_t *)(void *)m = v;
    else if (f->kind == FIELD_INT && f->optional)
        *(struct opt_int *)(void *)m = OPT_INT(-(int64_t)v);
    else if (f->kind == FIELD_INT)
        *(int64_t *)(void *)m = -(int64_t)v;
    else if (f->optional)
        *(struct opt_bool *)(void *)m = OPT_BOOL(v != 0);
    else
        *(bool *)m = edge == EDGE_MOST;
}

static void edge_field(struct rng *g, struct arena *a, const struct field *f, char *m, enum edge edge,
                       size_t entries)
{
    size_t len = edge == EDGE_MOST ? (size_t)record_min(f->max, MANY_BYTES) : 0;

    if (f->kind == FIELD_STR)
        *(struct str *)(void *)m = rng_text(g, records_alloc(a, len + 1), len);
    else if (f->kind == FIELD_BIN)
        *(struct str *)(void *)m = rng_bytes(g, records_alloc(a, len + 1), len);
    else if (f->kind == FIELD_OBJ)
        *(const void **)(void *)m = edge_record(g, a, f->sub, edge, entries);
    else if (f->kind == FIELD_STRS || f->kind == FIELD_LIST)
        edge_list(g, a, f, m, edge == EDGE_MOST ? entries : 0);
    else
        edge_number(f, m, edge);
}

static void *edge_record(struct rng *g, struct arena *a, const struct schema *s, enum edge edge,
                         size_t entries)
{
    char *rec = records_alloc(a, s->size);

    memset(rec, 0, s->size);
    for (size_t i = 0; i < s->n; i++)
        if (!s->fields[i].optional || edge == EDGE_MOST)
            edge_field(g, a, &s->fields[i], rec + s->fields[i].offset, edge, entries);
    return rec;
}

/* These say something about the log they are in: true ones come with the second start, with pruning, and with
 * a rotated key (test_keys.py). */
static bool is_of_the_log_itself(const struct event_row *row)
{
    return row->type == EVENT_RECOVERED || row->type == EVENT_PRUNED || row->type == EVENT_KEYSET_CHANGED;
}

static void submit(struct rig *r, const struct event_row *row, enum edge edge, struct rig_ack *ack)
{
    struct event_stamps stamps = {.cell_id = STR_NONE};
    _cleanup_(buf_done) struct buf json = {.data = NULL};
    struct rng g = {.s = row->type};
    struct cell *cell = NULL;
    struct arena a;
    int e = -EMSGSIZE;

    if (!(row->states & CELL_STATE_LOG)) {
        cell = rig_cell(r, edge == EDGE_MOST ? "a-cell.with_every-field" : "c");
        stamps.cell_id = str_of(cell->cell_id);
        stamps.run_id = str_of(cell->run_id);
    }
    buf_init(&json, LIMIT_EVENT_DATA);
    for (size_t entries = 16; e == -EMSGSIZE && entries > 0;
         entries /= 2) { /* as much as there is room for */
        arena_init(&a, 16u << 20);
        buf_clear(&json);
        e = event_render(row, edge_record(&g, &a, row->data, edge, entries), &stamps, &json);
        arena_done(&a);
    }
    if (e < 0)
        fail_msg("%s: %d", row->suffix, e);
    struct elog_event ev = {
        .role = (uint32_t)__builtin_ctz(row->roles), .row = row, .cell = cell, .data = buf_str(&json)};
    assert_int_equal(elog_submit(r->log, &ev, rig_on_ack, ack), 0);
}

static void every_event(const char *name, uint32_t seal)
{
    const char *dir = getenv("CELLOS_EVENTS_DIR");
    struct log_report report;
    char path[64];
    unsigned n = 0;
    struct rig r;

    if (dir) {
        assert_true(snprintf(path, sizeof(path), "%s/%s", dir, name) < (int)sizeof(path));
        assert_int_equal(mkdir(path, 0700), 0);
        rig_init_at(&r, path);
    } else {
        rig_init_fast(&r);
    }
    r.config.seal = seal;
    assert_int_equal(rig_open(&r), 0);
    for (uint64_t type = 1; event_row(type); type++)
        for (enum edge edge = EDGE_LEAST; edge <= EDGE_MOST; edge++) {
            struct rig_ack ack = {.done = false};

            if (is_of_the_log_itself(event_row(type)))
                continue;
            submit(&r, event_row(type), edge, &ack);
            rig_flush(&r);
            if (!ack.done || ack.err)
                fail_msg("%s: %d", event_row(type)->suffix, ack.err);
            n++;
        }
    rig_close(&r);
    assert_int_equal(rig_open(&r), 0);
    rig_close(&r);
    rig_verify(&r, &report);
    assert_int_equal(report.verdict, LOG_GOOD);
    assert_int_equal(report.lines, n + 1);
    assert_int_equal(report.bare, 0);
    print_message("%u events\n", n + 1);
    if (dir)
        r.dir[0] = '\0'; /* is left there */
    rig_done(&r);
}

static void test_every_event_sealed(void **state)
{
    (void)state;
    every_event("event", SEAL_EVENT);
}

static void test_every_event_sealed_by_batch(void **state)
{
    (void)state;
    every_event("batch", SEAL_BATCH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_event_sealed),
        cmocka_unit_test(test_every_event_sealed_by_batch),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
