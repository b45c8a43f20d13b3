/* SPDX-License-Identifier: MIT */
/* Over every record of the tables: messages, documents, events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <openssl/sha.h>
#include <sys/mman.h>

#include "common/base/io.h"
#include "tests/unit/proto_records.h"

#define ROUNDS    40
#define BIG       (32u << 20)
#define NO_FIELD  SIZE_MAX
#define ALL(s)    struct records all_ = records_all(), *s = &all_
#define BAD(r, x) check_refused((r), (x), __LINE__)

struct fixture {
    struct rng g;
    struct arena a;   /* of the records made */
    struct arena out; /* of what is decoded */
    struct buf b;
};

static int setup(void **state)
{
    struct fixture *x = calloc(1, sizeof(*x));
    if (!x)
        return -1;
    x->g.s = 4711;
    arena_init(&x->a, 256u << 20);
    arena_init(&x->out, 256u << 20);
    buf_init(&x->b, BIG);
    *state = x;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *x = *state;
    arena_done(&x->a);
    arena_done(&x->out);
    buf_done(&x->b);
    free(x);
    return 0;
}

static void again(struct fixture *x)
{
    arena_done(&x->a);
    arena_done(&x->out);
    buf_clear(&x->b);
}

static int decode(struct fixture *x, const struct schema *s, void *rec)
{
    return codec_decode_all(s, buf_str(&x->b), &x->out, rec);
}

static void fail_for(const struct schema *s, const struct field *f, const char *what)
{
    fail_msg("%s.%s: %s", s->name, f ? f->name : "", what);
}

/* ---- round trip ---- */

static void round_trip(struct fixture *x, const struct schema *s, const void *rec)
{
    void *got = records_alloc(&x->out, s->size);
    struct str first;
    if (codec_encode(s, rec, &x->b) != 0 || decode(x, s, got) != 0)
        fail_for(s, NULL, "no round trip");
    if (!record_same(s, rec, got))
        fail_for(s, NULL, "came back different");
    first = buf_str(&x->b);
    char *copy = records_alloc(&x->a, first.len);
    memcpy(copy, first.p, first.len);
    size_t n = first.len;
    buf_clear(&x->b);
    assert_int_equal(codec_encode(s, got, &x->b), 0);
    assert_int_equal(x->b.len, n); /* one record has one encoding */
    assert_memory_equal(x->b.data, copy, n);
}

static void test_round_trip(void **state)
{
    struct fixture *x = *state;
    ALL(all);
    assert_true(all->n > 60);
    for (size_t i = 0; i < all->n; i++) {
        for (int round = 0; round < ROUNDS; round++) {
            again(x);
            struct record_size size = {1 + rng_below(&x->g, 600), 1 + rng_below(&x->g, 8)};
            round_trip(x, all->v[i], record_random(&x->g, &x->a, all->v[i], size));
        }
    }
}

/* Everything optional absent, then everything present. */
static void test_optional(void **state)
{
    struct fixture *x = *state;
    ALL(all);
    for (size_t i = 0; i < all->n; i++) {
        const struct schema *s = all->v[i];
        for (int present = 0; present < 2; present++) {
            again(x);
            char *rec = records_alloc(&x->a, s->size);
            for (size_t k = 0; k < s->n; k++)
                if (!s->fields[k].optional || present)
                    record_random_field(&x->g, &x->a, &s->fields[k], rec + s->fields[k].offset, record_small);
            round_trip(x, s, rec);
        }
    }
}

/* ---- one place changed ---- */

/* [fields...], where raw (already encoded) stands in place k; drop: it is left out; more: one nil too many.
 */
static void build(struct fixture *x, const struct schema *s, const void *rec, size_t k, struct str raw,
                  bool drop, bool more)
{
    buf_clear(&x->b);
    mp_write_array(&x->b, s->n - (drop ? 1 : 0) + (more ? 1 : 0));
    for (size_t i = 0; i < s->n; i++) {
        if (i != k)
            assert_int_equal(record_encode_field(&s->fields[i], rec, &x->b), 0);
        else if (!drop)
            buf_put_str(&x->b, raw);
    }
    if (more)
        mp_write_nil(&x->b);
    assert_int_equal(x->b.err, 0);
}

static void check_refused(struct fixture *x, const struct schema *s, int line)
{
    void *got = records_alloc(&x->out, s->size);
    int r = decode(x, s, got);
    if (r != -EBADMSG)
        fail_msg("line %d: %s accepted (%d)", line, s->name, r);
}

static void test_arity(void **state)
{
    struct fixture *x = *state;
    ALL(all);
    for (size_t i = 0; i < all->n; i++) {
        const struct schema *s = all->v[i];
        again(x);
        const void *rec = record_random(&x->g, &x->a, s, record_small);
        build(x, s, rec, NO_FIELD, STR_NONE, false, true);
        BAD(x, s);
        for (size_t k = 0; k < s->n; k++) {
            build(x, s, rec, k, STR_NONE, true, false);
            BAD(x, s);
        }
        build(x, s, rec, NO_FIELD, STR_NONE, false, false);
        mp_write_nil(&x->b); /* something behind it */
        BAD(x, s);
        build(x, s, rec, NO_FIELD, STR_NONE, false, false);
        for (size_t n = x->b.len; n > 0; n--) { /* every truncation */
            x->b.len = n - 1;
            BAD(x, s);
        }
    }
}

/* Is this token of a kind that the field takes? */
static bool takes(const struct field *f, enum mp_kind kind)
{
    static const enum mp_kind of[] = {
        [FIELD_UINT] = MP_UINT, [FIELD_INT] = MP_INT,    [FIELD_BOOL] = MP_BOOL,
        [FIELD_ENUM] = MP_UINT, [FIELD_STR] = MP_STR,    [FIELD_BIN] = MP_BIN,
        [FIELD_OBJ] = MP_ARRAY, [FIELD_STRS] = MP_ARRAY, [FIELD_LIST] = MP_ARRAY,
    };
    return kind == of[f->kind] || (kind == MP_NIL && f->optional) ||
           (f->kind == FIELD_INT && kind == MP_UINT);
}

static void test_wrong_types(void **state)
{
    static const struct {
        enum mp_kind kind;
        struct str raw;
    } tokens[] = {
        {MP_NIL, STR_LIT("\xc0")},   {MP_BOOL, STR_LIT("\xc3")}, {MP_UINT, STR_LIT("\x01")},
        {MP_INT, STR_LIT("\xff")},   {MP_STR, STR_LIT("\xa0")},  {MP_BIN, STR_LIT("\xc4\0")},
        {MP_ARRAY, STR_LIT("\x90")},
    };
    struct fixture *x = *state;
    ALL(all);
    for (size_t i = 0; i < all->n; i++) {
        const struct schema *s = all->v[i];
        again(x);
        const void *rec = record_random(&x->g, &x->a, s, record_small);
        for (size_t k = 0; k < s->n; k++) {
            for (size_t t = 0; t < ARRAY_LEN(tokens); t++) {
                build(x, s, rec, k, tokens[t].raw, false, false);
                if (!takes(&s->fields[k], tokens[t].kind))
                    BAD(x, s);
            }
            build(x, s, rec, k, STR_LIT("\x80"), false, false); /* a map */
            BAD(x, s);
            build(x, s, rec, k, STR_LIT("\xcb\0\0\0\0\0\0\0\0"), false, false); /* a float */
            BAD(x, s);
            build(x, s, rec, k, STR_LIT("\xdd\xff\xff\xff\xff"), false,
                  false); /* 2^32 elements, none there */
            BAD(x, s);
        }
    }
}

/* ---- bounds ---- */

/* rec with field f at exactly this size; false when the field has no such value in memory. */
static bool set_to(struct fixture *x, const struct field *f, char *m, uint64_t v)
{
    switch (f->kind) {
    case FIELD_UINT:
        if (f->optional)
            *(struct opt_uint *)(void *)m = OPT_UINT(v);
        else
            *(uint64_t *)(void *)m = v;
        return true;
    case FIELD_INT:
        if (f->optional)
            *(struct opt_int *)(void *)m = OPT_INT(-(int64_t)v);
        else
            *(int64_t *)(void *)m = -(int64_t)v;
        return true;
    case FIELD_ENUM:
        *(uint32_t *)(void *)m = (uint32_t)v;
        return true;
    case FIELD_STR:
    case FIELD_BIN: {
        char *p = records_alloc(&x->a, v + 1);
        memset(p, 'x', v);
        *(struct str *)(void *)m = (struct str){p, v};
        return true;
    }
    case FIELD_STRS:
    case FIELD_LIST:
        record_random_list(&x->g, &x->a, f, m, v, (struct record_size){1, 0});
        return true;
    case FIELD_BOOL:
    case FIELD_OBJ:
        break;
    }
    return false;
}

/* The same field with the bound one higher: it encodes what the real one must refuse. */
static struct field widened(const struct field *f, struct enum_names *names)
{
    struct field w = *f;
    w.max++;
    w.entry_max++;
    if (f->names) {
        *names = *f->names;
        names->n++;
        w.names = names;
    }
    return w;
}

static void check_over(struct fixture *x, const struct schema *s, size_t k, char *rec, const char *what)
{
    struct enum_names names;
    struct field w = widened(&s->fields[k], &names);
    _cleanup_(buf_done) struct buf raw = {0};

    buf_clear(&x->b);
    if (codec_encode(s, rec, &x->b) != -EINVAL)
        fail_for(s, &s->fields[k], what);
    buf_init(&raw, BIG);
    assert_int_equal(record_encode_field(&w, rec, &raw), 0);
    build(x, s, rec, k, buf_str(&raw), false, false);
    void *got = records_alloc(&x->out, s->size);
    if (decode(x, s, got) != -EBADMSG)
        fail_for(s, &s->fields[k], what);
}

static void check_bounds(struct fixture *x, const struct schema *s, size_t k)
{
    const struct field *f = &s->fields[k];
    uint64_t max = f->kind == FIELD_ENUM ? f->names->n : f->max;
    again(x);
    char *rec = record_random(&x->g, &x->a, s, record_small);
    if (!set_to(x, f, rec + f->offset, max))
        return;
    round_trip(x, s, rec); /* the bound itself is allowed */
    if (max != UINT64_MAX) {
        set_to(x, f, rec + f->offset, max + 1);
        check_over(x, s, k, rec, "one beyond its bound");
    }
    if (f->kind == FIELD_INT) {
        if (f->optional)
            *(struct opt_int *)(void *)(rec + f->offset) = OPT_INT((int64_t)max + 1);
        else
            *(int64_t *)(void *)(rec + f->offset) = (int64_t)max + 1;
        check_over(x, s, k, rec, "one beyond its positive bound");
    }
}

static void check_entry_bound(struct fixture *x, const struct schema *s, size_t k)
{
    const struct field *f = &s->fields[k];
    again(x);
    char *rec = record_random(&x->g, &x->a, s, record_small);
    struct str *entry = records_alloc(&x->a, sizeof(*entry));
    char *p = records_alloc(&x->a, f->entry_max + 1);
    memset(p, 'x', f->entry_max + 1);
    *entry = (struct str){p, f->entry_max};
    *(struct strs *)(void *)(rec + f->offset) = (struct strs){entry, 1};
    round_trip(x, s, rec);
    entry->len++;
    check_over(x, s, k, rec, "an entry one beyond its bound");
    *entry = STR_LIT("\xff"); /* no UTF-8 */
    buf_clear(&x->b);
    assert_int_equal(codec_encode(s, rec, &x->b), -EINVAL);
}

static void test_bounds(void **state)
{
    struct fixture *x = *state;
    ALL(all);
    for (size_t i = 0; i < all->n; i++) {
        for (size_t k = 0; k < all->v[i]->n; k++) {
            check_bounds(x, all->v[i], k);
            if (all->v[i]->fields[k].kind == FIELD_STRS)
                check_entry_bound(x, all->v[i], k);
        }
    }
}

/* What a record in memory must not be: an enum of 0, a missing object, text that is no text. */
static void test_bad_records(void **state)
{
    struct fixture *x = *state;
    ALL(all);
    for (size_t i = 0; i < all->n; i++) {
        const struct schema *s = all->v[i];
        for (size_t k = 0; k < s->n; k++) {
            const struct field *f = &s->fields[k];
            again(x);
            char *rec = record_random(&x->g, &x->a, s, record_small);
            char *m = rec + f->offset;
            if (f->kind == FIELD_ENUM && !f->optional)
                *(uint32_t *)(void *)m = 0;
            else if (f->kind == FIELD_OBJ && !f->optional)
                *(const void **)(void *)m = NULL;
            else if (f->kind == FIELD_STR && f->max >= 2)
                *(struct str *)(void *)m = STR_LIT("a\0");
            else
                continue;
            if (codec_encode(s, rec, &x->b) != -EINVAL)
                fail_for(s, f, "a bad value was encoded");
            if (f->kind == FIELD_ENUM) {
                build(x, s, rec, k, STR_LIT("\0"), false, false);
                BAD(x, s);
            }
        }
    }
}

/* ---- limits of the whole ---- */

#define NEST1_FIELDS(F, X) F(X, STRS, REQ, deep, "deep", 8, 8)
SCHEMA_DECLARE(nest1, NEST1_FIELDS)
SCHEMA_DEFINE(nest1, NEST1_FIELDS)
#define NEST2_FIELDS(F, X) F(X, OBJ, REQ, in, "in", nest1, 0)
SCHEMA_DECLARE(nest2, NEST2_FIELDS)
SCHEMA_DEFINE(nest2, NEST2_FIELDS)
#define NEST3_FIELDS(F, X) F(X, OBJ, REQ, in, "in", nest2, 0)
SCHEMA_DECLARE(nest3, NEST3_FIELDS)
SCHEMA_DEFINE(nest3, NEST3_FIELDS)
#define NEST4_FIELDS(F, X) F(X, LIST, REQ, in, "in", nest2, 4)
SCHEMA_DECLARE(nest4, NEST4_FIELDS)
SCHEMA_DEFINE(nest4, NEST4_FIELDS)

static void test_depth(void **state)
{
    struct fixture *x = *state;
    struct nest1 one = {{(struct str[]){STR_LIT("x")}, 1}};
    struct nest2 two = {&one};
    struct nest3 three = {&two};
    struct nest4 four = {{&two, 1}};
    struct nest3 got3;
    struct nest4 got4;

    assert_int_equal(codec_encode(&schema_nest3, &three, &x->b), 0); /* [[[["x"]]]] */
    assert_int_equal(decode(x, &schema_nest3, &got3), 0);
    assert_true(str_is(got3.in->in->deep.v[0], "x"));
    struct cursor c = cursor_of(x->b.data, x->b.len); /* one array is open around it: depth 5 */
    assert_int_equal(codec_decode(&schema_nest3, &c, 1, &x->out, &got3), -EBADMSG);
    buf_clear(&x->b);
    assert_int_equal(codec_encode(&schema_nest4, &four, &x->b), 0); /* [[[[["x"]]]]] */
    assert_int_equal(decode(x, &schema_nest4, &got4), -EBADMSG);
}

/* Every record of the tables fits into the nesting that is allowed: a message has one array around. */
static unsigned depth_of(const struct schema *s)
{
    unsigned most = 0;
    for (size_t i = 0; i < s->n; i++) {
        unsigned d = s->fields[i].sub ? depth_of(s->fields[i].sub) : 0;
        d += s->fields[i].kind == FIELD_LIST || s->fields[i].kind == FIELD_STRS;
        most = d > most ? d : most;
    }
    return 1 + most;
}

static void test_tables_fit_depth(void **state)
{
    ALL(all);
    (void)state;
    for (size_t i = 0; i < all->n; i++)
        assert_in_range(depth_of(all->v[i]), 1, LIMIT_DEPTH);
}

static void test_memory_limit(void **state)
{
    struct fixture *x = *state;
    struct arena small;
    struct policy p, *rec;

    do
        rec = record_random(&x->g, &x->a, &schema_policy, (struct record_size){20, 200});
    while (rec->egress.n < 20);
    assert_int_equal(codec_encode(&schema_policy, rec, &x->b), 0);
    arena_init(&small, 256);
    assert_int_equal(codec_decode_all(&schema_policy, buf_str(&x->b), &small, &p), -ENOMEM);
    assert_true(small.used <= small.max);
    arena_done(&small);
    arena_init(&small, SIZE_MAX);
    assert_null(arena_alloc(&small, SIZE_MAX)); /* no overflow */
    assert_null(arena_alloc(&small, SIZE_MAX - 8));
    arena_done(&small);
}

static void test_buffer_limit(void **state)
{
    struct fixture *x = *state;
    struct buf small;
    buf_init(&small, 10);
    struct error e = {FAIL_INTERNAL, STR_LIT("more than ten bytes")};
    (void)x;
    assert_int_equal(codec_encode(&schema_error, &e, &small), -ENOBUFS);
    buf_done(&small);
}

static void test_arena_copy(void **state)
{
    struct fixture *x = *state;
    struct str c = arena_copy(&x->a, STR_LIT("abc"));
    assert_true(str_is(c, "abc"));
    assert_int_equal(c.p[3], 0);
    c = arena_copy(&x->a, STR_NONE);
    assert_int_equal(c.len, 0);
    assert_non_null(c.p);
}

/* ---- documents ---- */

static void test_memfd(void **state)
{
    struct fixture *x = *state;
    struct policy got, *p = record_random(&x->g, &x->a, &schema_policy, record_small);
    _cleanup_(buf_done) struct buf bytes = {0};
    _cleanup_close_ int fd = -EBADF;
    uint8_t digest[32];
    struct str sha = {(const char *)digest, 32};

    buf_init(&bytes, LIMIT_POLICY_DOC);
    fd = codec_to_memfd(&schema_policy, p, LIMIT_POLICY_DOC, digest);
    assert_true(fd >= 0);
    assert_int_equal(codec_from_memfd(&schema_policy, fd, LIMIT_POLICY_DOC, sha, &bytes, &x->out, &got), 0);
    assert_true(record_same(&schema_policy, (const char *)p, (const char *)&got));
    size_t n = bytes.len;

    buf_clear(&bytes); /* too long for the reader's bound */
    assert_int_equal(codec_from_memfd(&schema_policy, fd, n - 1, sha, &bytes, &x->out, &got), -EFBIG);
    buf_clear(&bytes); /* another digest, or none */
    digest[0] ^= 1;
    assert_int_equal(codec_from_memfd(&schema_policy, fd, n, sha, &bytes, &x->out, &got), -EBADMSG);
    digest[0] ^= 1;
    buf_clear(&bytes);
    sha.len = 31;
    assert_int_equal(codec_from_memfd(&schema_policy, fd, n, sha, &bytes, &x->out, &got), -EBADMSG);
    sha.len = 32;
    buf_clear(&bytes); /* another record */
    assert_int_equal(codec_from_memfd(&schema_launch, fd, n, sha, &bytes, &x->out, &(struct launch){0}),
                     -EBADMSG);
}

static void test_memfd_refused(void **state)
{
    struct fixture *x = *state;
    struct policy got, *p = record_random(&x->g, &x->a, &schema_policy, record_small);
    _cleanup_(buf_done) struct buf bytes = {0};
    _cleanup_close_ int open = memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    uint8_t digest[32];
    struct str sha = {(const char *)digest, 32};

    assert_int_equal(codec_encode(&schema_policy, p, &x->b), 0);
    SHA256(x->b.data, x->b.len, digest);
    assert_int_equal(io_write_full(open, x->b.data, x->b.len), 0);
    buf_init(&bytes, LIMIT_POLICY_DOC); /* its writer could still change it */
    assert_int_equal(codec_from_memfd(&schema_policy, open, LIMIT_POLICY_DOC, sha, &bytes, &x->out, &got),
                     -EBADMSG);
    assert_int_equal(codec_to_memfd(&schema_policy, p, x->b.len - 1, digest), -ENOBUFS);
    p->evidence = 0;
    assert_int_equal(codec_to_memfd(&schema_policy, p, LIMIT_POLICY_DOC, digest), -EINVAL);
}

/* ---- words ---- */

static void test_enums(void **state)
{
    ALL(all);
    (void)state;
    for (size_t i = 0; i < all->n; i++) {
        for (size_t k = 0; k < all->v[i]->n; k++) {
            const struct enum_names *e = all->v[i]->fields[k].names;
            for (uint32_t v = 1; e && v <= e->n; v++)
                assert_int_equal(enum_value(e, str_of(enum_text(e, v))), v); /* no word twice */
            if (e) {
                assert_string_equal(enum_text(e, 0), "?");
                assert_string_equal(enum_text(e, e->n + 1), "?");
                assert_int_equal(enum_value(e, STR_LIT("no such word")), 0);
            }
        }
    }
}

static void test_event_rows(void **state)
{
    uint64_t t;
    (void)state;
    assert_null(event_row(0));
    for (t = 1; event_row(t); t++) {
        const struct event_row *r = event_row(t);
        assert_int_equal(r->type, t);
        assert_true(r->roles != 0 && r->states != 0);
        assert_ptr_equal(event_row_by_suffix(str_of(r->suffix)), r); /* no suffix twice */
    }
    assert_int_equal(t, _EVENT_TYPE_MAX);
    assert_null(event_row(UINT64_MAX));
    assert_null(event_row_by_suffix(STR_LIT("lifecycle.v1")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_optional, setup, teardown),
        cmocka_unit_test_setup_teardown(test_arity, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_types, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_records, setup, teardown),
        cmocka_unit_test_setup_teardown(test_depth, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tables_fit_depth, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_buffer_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_arena_copy, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memfd, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memfd_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_enums, setup, teardown),
        cmocka_unit_test_setup_teardown(test_event_rows, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
